"""The task section `lm_eval` and the data source of its documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from perbench.contracts.base import folders
from perbench.contracts.source import Rows, Source
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER
from perbench.shapes.task import FieldSpec


class DocumentKeys(Strict):
    lm_eval: str


class Documents(Source[DocumentKeys]):
    """A task of lm-evaluation-harness, which reads its own documents."""

    Keys = DocumentKeys
    reads = frozenset()

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        raise PerbenchError(f"the documents of {self.keys.lm_eval} can only be read by lm-eval")

    def files(self, folder: Path) -> list[Path]:
        return folders("lm_eval")

    def get(self, described: Mapping[str, Any]) -> str:
        return "pip install 'perbench[lm-eval]'"


OF_MODELS = ("pretrained", "tokenizer", "model", "trust_remote_code")
"""What such functions read of the model's; they may load code from there."""
PLAIN = re.compile(r"[\w .+-]{0,64}")
"""Texts that are no paths, addresses or names of repositories: a matrix may be a stranger's."""


def _plain(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    for key, value in (metadata or {}).items():
        if key in OF_MODELS:
            raise ValueError(f"{key}: is that of the model under evaluation; remove it")
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, int | float) and not (isinstance(one, str) and PLAIN.fullmatch(one)):
                raise ValueError(f"{key}: give numbers, booleans or words, or lists of these")
    return metadata


class LmEvalSpec(Strict):
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """None: the task's own number."""
    chat_template: bool = False
    metadata: Annotated[dict[str, Any] | None, LATER, AfterValidator(_plain)] = None
    """Passed to the function that makes the task's documents (custom_dataset), besides the model's folder."""
