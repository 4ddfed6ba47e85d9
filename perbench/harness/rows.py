"""The examples of a task in lm-eval, and their requests: from the task's data, or from a written file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.api import Example
from perbench.contracts.independent import Asking, Independent, IndependentRequest
from perbench.disk.digests import read_sha256
from perbench.errors import PerbenchError
from perbench.harness.tasks import independent
from perbench.lm.context import TooLong
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec


@dataclass(frozen=True)
class AskedExample:
    """An example with its persona, and its requests: None if it is left out as too long, or if the protocol
    holds its conversations."""

    example: Example
    asking: Asking | None


class TaskRows(ABC):
    """`examples` are those of the test split, in their order, without personas."""

    task: Named[TaskSpec]
    own: Independent | None
    examples: Sequence[Example]
    digest: str
    """sha256 of the examples."""
    needs_tokenizer = True
    """Whether the requests are still to be built."""

    @abstractmethod
    def asked(self, places: Sequence[int], tokenizer: Any, context: int | None) -> list[AskedExample]:
        """The examples at these places, in order."""


class SpecRows(TaskRows):
    """Read and built now.

    Raises:
        PerbenchError: the task is unknown, or its data are not on this machine.
    """

    def __init__(
        self,
        name: str,
        data: Mapping[str, str],
        roots: Sequence[str] = (),
        *,
        overrides: Mapping[str, Any] = {},
        limit: int | None = None,
    ) -> None:
        from perbench.data import load_examples
        from perbench.specs.load import load_task

        if roots:
            plugins.include(*roots)
        folders = {family: Path(folder) for family, folder in data.items()}
        self.task = load_task(name, data=folders, overrides=overrides)
        self.own = independent(self.task)
        found = load_examples(self.task, "test", limit)
        self.examples, self.digest = found.examples, found.digest

    def asked(self, places: Sequence[int], tokenizer: Any, context: int | None) -> list[AskedExample]:
        from perbench.matrix.catalogue import Catalogue
        from perbench.matrix.engines import PersonaModels, open_model
        from perbench.persona.build import build_personas
        from perbench.specs.matrix import MatrixSpec

        spec, examples = self.task.spec, [self.examples[place] for place in places]
        if spec.prompt is not None:
            models = PersonaModels(Catalogue(MatrixSpec.model_construct(), {}, None), open_model)
            examples = build_personas(spec, examples, models).examples
        return [AskedExample(example, self._asking(example, tokenizer, context)) for example in examples]

    def _asking(self, example: Example, tokenizer: Any, context: int | None) -> Asking | None:
        if self.own is None:
            return None
        try:
            return self.own.ask(example, tokenizer, context)
        except TooLong:
            if self.task.spec.on_too_long == "fail":
                raise
            return None


class WrittenRows(TaskRows):
    """Read from a file of `perbench lm-eval write`, with the task's spec beside it.

    Raises:
        PerbenchError: the file is absent or has been changed.
    """

    needs_tokenizer = False

    def __init__(self, name: str, file: Path, sha256: str, spec: Mapping[str, Any], data_sha256: str) -> None:
        from perbench.specs.compose import task_spec

        if not file.is_file():
            raise PerbenchError(f"{file} is missing; copy it from where the task was written")
        if read_sha256(file) != sha256:
            raise PerbenchError(f"{file} has been changed since it was written; write the task again")
        self.task = Named(name, task_spec().model_validate(spec), None)
        self.own, self.digest = independent(self.task), data_sha256
        self._asked = [_read(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
        self.examples = [one.example for one in self._asked]

    def asked(self, places: Sequence[int], tokenizer: Any, context: int | None) -> list[AskedExample]:
        return [self._asked[place] for place in places]


def written(asked: AskedExample) -> dict[str, Any]:
    """A row of a written file."""
    row: dict[str, Any] = {"example": asked.example.values}
    if asked.asking is not None:
        row |= {
            "requests": [asdict(request) for request in asked.asking.requests],
            "facts": asked.asking.facts,
        }
    return row


def _read(row: Mapping[str, Any]) -> AskedExample:
    example = Example(**{**row["example"], "persona": tuple(row["example"]["persona"])})
    if "requests" not in row:
        return AskedExample(example, None)
    return AskedExample(
        example, Asking([IndependentRequest(**request) for request in row["requests"]], row["facts"])
    )
