"""Plain lm-eval as a user calls it, and perbench's evaluation of the same task and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perbench.conformance.protocol import MemoryStore
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.protocols.lm_eval import documents
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.owners import run


def plain_model(folder: Path, adapter: Path | None = None, batch: int = 1, dtype: str = "float32") -> Any:
    """`lm_eval run --model hf --model_args pretrained=FOLDER,peft=ADAPTER,dtype=...`"""
    from lm_eval.models.huggingface import HFLM

    peft = {"peft": str(adapter)} if adapter is not None else {}
    return HFLM(pretrained=str(folder), dtype=dtype, device="cpu", batch_size=batch, **peft)


def plain_results(root: Path, model: Any, task: str, *, chat: bool = False, **options: Any) -> dict[str, Any]:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=[str(root / "lm_eval")], include_defaults=False)
    found = simple_evaluate(
        model=model,
        tasks=[task],
        task_manager=manager,
        bootstrap_iters=0,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        **options,
    )
    assert found is not None
    return dict(found)


class One:
    def __init__(self, subject: Any) -> None:
        self.subject = subject


def ours(
    engine: TransformersEngine, task: str, store: MemoryStore | None = None, **overrides: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """(scores, samples)."""
    store = store or MemoryStore()
    named = load_task(f"lm_eval:{task}", overrides=overrides)
    run(named, load_examples(named, "test"), One(engine), store, seed=0, tick=lambda *_: None)
    return owner_of(named.spec).score(store.samples()), list(store.samples())


def numbers(results: dict[str, Any], task: str) -> dict[str, float]:
    """lm-eval's values of a task or group, named as perbench names them."""
    found = {}
    for key, value in results["results"][task].items():
        metric, _, filtered = key.partition(",")
        if filtered and not metric.endswith("_stderr"):
            found[documents.metric_name(metric, filtered)] = float(value)
    return found
