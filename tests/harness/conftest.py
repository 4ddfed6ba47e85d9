"""perbench's own evaluation and plain lm-eval's, of the same tiny model in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perbench.conformance.protocol import MemoryStore
from perbench.contracts.data import Dataset
from perbench.contracts.run import Scored
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.harness.folder import task_folder
from perbench.persona.build import build_personas
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.matrix.conftest import make_root, root

__all__ = ["make_root", "root"]

LONGLAMP = Path(__file__).parents[1] / "golden" / "cache" / "data" / "longlamp"
"""Stand-in texts in the official schema."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


class Cast:
    """The subject's engine is every other model's, too."""

    users = None

    def __init__(self, subject: Any) -> None:
        self.subject = subject

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Any]:
        yield self.subject

    def named(self, model: str) -> Any:
        return self.subject

    scorer = named  # type: ignore[assignment]


def own(
    name: str,
    engine: TransformersEngine,
    *,
    data: Mapping[str, Path] = {},
    overrides: Mapping[str, Any] = {},
    identifier: Any = None,
    limit: int | None = None,
) -> tuple[dict[str, dict[str, Any]], Scored]:
    """perbench's samples by id, and their scores."""
    task = load_task(name, data=data, overrides=overrides)
    found = load_examples(task, "test", limit)
    examples = found.examples
    if task.spec.prompt is not None:
        examples = build_personas(task.spec, examples, None).examples  # type: ignore[arg-type]
    dataset, owner, store = Dataset(examples, ""), owner_of(task.spec), MemoryStore()
    if identifier is not None:
        ids = owner.sample_ids(dataset)
        owner.identify(dataset, identifier, engine, store, planned=ids, tick=lambda *_: None)  # type: ignore[arg-type]
    else:
        ids = owner.sample_ids(dataset)
        owner.run(dataset, Cast(engine), store, planned=ids, seed=0, tick=lambda *_: None)  # type: ignore[arg-type]
    return {row["id"]: row for row in store.rows}, owner.score(store.rows)


@pytest.fixture
def theirs(tiny_model_dir: Path) -> Callable[..., dict[str, Any]]:
    def evaluate(
        *tasks: str,
        metadata: Mapping[str, Any] = {},
        folder: Path | None = None,
        data: Mapping[str, Path] = {},
        model: Any = None,
        **options: Any,
    ) -> dict[str, Any]:
        """lm-eval's results of perbench's tasks, as its command computes them."""
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        place = folder or task_folder(data)
        manager = TaskManager(include_path=str(place), include_defaults=False, metadata=dict(metadata))
        served = model or HFLM(pretrained=str(tiny_model_dir), dtype="float32", device="cpu", batch_size=3)
        given = {"apply_chat_template": True, "bootstrap_iters": 0, **options}
        found: dict[str, Any] = simple_evaluate(
            model=served, tasks=list(tasks), task_manager=manager, **given
        )
        return found

    return evaluate


def logged(found: dict[str, Any], task: str) -> dict[str, dict[str, Any]]:
    """lm-eval's logged samples by the example's id."""
    rows: Sequence[dict[str, Any]] = found["samples"][task]
    return {row["doc"]["id"]: row for row in rows}
