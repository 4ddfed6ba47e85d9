"""The task section `lm_eval` and the data source of its documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from perbench.contracts.base import folders
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
        raise PerbenchError(f"the documents of {self.keys.lm_eval} can only be read by lm-eval")

    def files(self, folder: Path) -> list[Path]:
        return folders("lm_eval")

    def get(self, described: Mapping[str, Any]) -> str:
        return "pip install 'perbench[lm-eval]'"


class LmEvalSpec(Strict):
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """None: the task's own number."""
    chat_template: bool = False
