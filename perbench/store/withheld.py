"""Samples that were left out of a copy of a cell, because the licence of their texts does not allow to share
them: the digest of each stands in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perbench.disk.sealed import SEAL, open_sealed, seal
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict

WITHHELD = "samples.withheld.json"


class Withheld(Strict):
    """`why`: the reason; `samples`: by id, in order, the sha256 that ends the sample's line in
    samples.jsonl."""

    why: str
    samples: dict[str, str]

    def __str__(self) -> str:
        return f"its samples are not in this copy, only their digests: {self.why}"


class SamplesWithheld(PerbenchError):
    """Samples that this copy of a cell does not hold."""


def sample_digests(identity: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The digest of each sample of a cell, by its id: the seal of its line."""
    return {str(sample["id"]): seal(sample, identity, place)[SEAL] for place, sample in enumerate(samples)}


def withheld(identity: str, why: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of a cell's WITHHELD, from its samples in order."""
    return seal({"why": why, "samples": sample_digests(identity, samples)}, identity)


def read_withheld(folder: Path, identity: str) -> Withheld | None:
    """What was left out of a cell's folder, or None if nothing was.

    Raises:
        ValueError: the file is damaged; the message says how, without the path.
        OSError: it cannot be read.
    """
    try:
        return Withheld.model_validate(open_sealed(folder / WITHHELD, identity)[0])
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"damaged: {error.errors()[0]['msg']}") from None
