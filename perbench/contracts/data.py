"""What a protocol is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perbench.api import Example


@dataclass(frozen=True)
class Dataset:
    """`digest`: sha256 over canonical JSON of `examples`, what all share (`data.shared`) once; `skipped`:
    reason -> rows left out; `source`: where the rows come from, without a machine's paths; `places`: of every
    example's id, where its row is."""

    examples: list[Example]
    digest: str
    skipped: dict[str, int] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
