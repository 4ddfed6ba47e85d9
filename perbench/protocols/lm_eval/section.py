"""Which task of lm-evaluation-harness, and how it is put to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from perbench.contracts.source import Rows, Source
from perbench.errors import PerbenchError
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class DocumentKeys(Strict):
    lm_eval: str


class Documents(Source[DocumentKeys]):
    """A task of lm-evaluation-harness, which reads its own documents."""

    Keys = DocumentKeys
    reads = frozenset()

    def read(self, split: str, folder: Path, fields: FieldSpec) -> Rows:
        raise PerbenchError(f"lm-eval reads the documents of {self.keys.lm_eval} by itself")


class LmEvalSpec(Strict):
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """None: as many as the task itself says."""
    chat_template: bool = False
