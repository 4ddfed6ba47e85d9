"""lm-eval's tasks as targets: identity without documents, numbers equal to lm-eval's own, resuming."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from perbench.data import load_examples
from perbench.engines.base import Engine
from perbench.engines.transformers import TransformersEngine
from perbench.errors import PerbenchError, SpecError
from perbench.lm_eval import catalogue, protocol
from perbench.specs.load import load_task
from tests.lm_eval.conftest import choice_rows, write_tasks
from tests.protocols.conftest import MemoryStore


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


class One:
    def __init__(self, subject: Engine) -> None:
        self.subject = subject

    def named(self, model: str) -> Engine:
        raise AssertionError(f"lm-eval asked for {model}")

    scorer = named  # type: ignore[assignment]


def evaluate(name: str, engine: Any, store: MemoryStore, limit: int | None = None, **overrides: Any) -> Any:
    task = load_task(f"lm_eval:{name}", overrides=overrides)
    ticks: list[tuple[int, int]] = []
    protocol.run(
        task,
        load_examples(task, "test", limit),
        One(engine),  # type: ignore[arg-type]
        store,
        seed=0,
        tick=lambda done, total, _: ticks.append((done, total)),
    )
    return protocol.score(task, store.samples()), ticks


def own_numbers(name: str, engine: TransformersEngine) -> dict[str, Any]:
    """What lm-eval's own entry point says."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=engine.model, backend="causal", tokenizer=engine.tokenizer, batch_size=3)
    found = simple_evaluate(
        model=model, tasks=[name], task_manager=catalogue.manager(name), bootstrap_iters=0
    )
    return dict(found["results"][name])


def test_numbers_are_lm_evals_own(lm_root: Path, engine: TransformersEngine) -> None:
    scored, ticks = evaluate("tiny_choice", engine, MemoryStore())
    own = own_numbers("tiny_choice", engine)
    assert {name: metric.value for name, metric in scored.metrics.items()} == pytest.approx(
        {"acc": own["acc,none"], "acc_norm": own["acc_norm,none"]}
    )
    assert scored.metrics["acc"].n == 7
    assert scored.metrics["acc"].ci is not None
    assert len(scored.scores.scores["acc"]) == 7
    assert ticks == [(0, 7), (7, 7)]
    assert scored.metrics["acc"].signature.startswith(
        f"acc|lm_eval:{catalogue.lm_eval_version()}|task:tiny_choice"
    )


def test_filters_and_functions(lm_root: Path, engine: TransformersEngine) -> None:
    store = MemoryStore()
    scored, _ = evaluate("tiny_words", engine, store)
    own = own_numbers("tiny_words", engine)
    assert {name: metric.value for name, metric in scored.metrics.items()} == {
        "exact_match,first": own["exact_match,first"],
        "exact_match,word": own["exact_match,word"],
    }
    assert load_task("lm_eval:tiny_words").spec.headline == "exact_match,first"
    assert store.rows[1]["reference"] == "green"


def test_a_group_is_all_its_documents(lm_root: Path, engine: TransformersEngine) -> None:
    scored, _ = evaluate("tiny_all", engine, MemoryStore(), limit=2)
    assert scored.counts == {"samples": 4, "tasks": 2}
    assert (scored.metrics["acc"].n, scored.metrics["acc"].missing) == (2, 2)


def test_what_is_no_mean_is_left_out_and_told(lm_root: Path, engine: TransformersEngine) -> None:
    store = MemoryStore()
    task = load_task("lm_eval:tiny_choice")
    with pytest.raises(PerbenchError, match="'tiny_rolling' names no metric"):
        load_task("lm_eval:tiny_rolling")
    protocol.run(task, load_examples(task, "test"), One(engine), store, seed=0, tick=lambda *_: None)  # type: ignore[arg-type]
    rows = [{**row, "unscored": ["word_perplexity"]} for row in store.rows]
    notes = protocol.score(task, rows).notes
    assert notes == ["metric word_perplexity absent: lm-eval does not average it over documents"]


@pytest.mark.parametrize("fuse", [0, 2, 5])
def test_killed_and_resumed_equals_uninterrupted(
    lm_root: Path, engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, fuse: int
) -> None:
    monkeypatch.setattr(protocol, "CHUNK", 3)
    whole, store = MemoryStore(), MemoryStore(fuse=fuse)
    options = {"lm_eval.num_fewshot": 2}
    evaluate("tiny_choice", engine, whole, **options)
    with pytest.raises(MemoryStore.Killed):
        evaluate("tiny_choice", engine, store, **options)
    resumed = MemoryStore(store.rows)
    evaluate("tiny_choice", engine, resumed, **options)
    assert resumed.rows == whole.rows
    assert whole.rows[0]["question"].count("Q:") == 3


def test_the_chat_template_is_an_option(lm_root: Path, engine: TransformersEngine) -> None:
    store = MemoryStore()
    evaluate("tiny_choice", engine, store, 1, **{"lm_eval.chat_template": True})
    assert store.rows[0]["question"].startswith("<|im_start|>user\nQ:")


def test_identity_follows_the_content_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for place, count in (("here", 7), ("there", 7), ("more", 8)):
        root = write_tasks(tmp_path / place, choice_rows(count))
        monkeypatch.setenv("PERBENCH_INCLUDE", str(root))
        digests[place] = load_examples(load_task("lm_eval:tiny_words"), "test").digest
        configs = catalogue.leaves("tiny_words")
        configs[0]["dataset_kwargs"].pop("cache_dir")
        assert str(root) not in str(configs)
        if place == "there":
            before = catalogue.leaves("tiny_words")
            (root / "lm_eval" / "utils.py").write_text("def answer(doc):\n    return 'red'\n")
            assert catalogue.leaves("tiny_words") != before
    task = load_task("lm_eval:tiny_words")
    assert load_examples(task, "test", 3).digest != load_examples(task, "test").digest
    assert load_examples(task, "test", 3).source["limit"] == 3


def test_describing_a_task_needs_neither_torch_nor_documents(lm_root: Path) -> None:
    import subprocess

    (lm_root / "lm_eval" / "rows.jsonl").unlink()
    code = (
        "import sys\n"
        "from perbench.data import load_examples\n"
        "from perbench.specs.load import load_task\n"
        "print(load_examples(load_task('lm_eval:tiny_choice'), 'test').source['lm_eval'])\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["tiny_choice", "[]"]


def test_documents_that_do_not_load(lm_root: Path, engine: TransformersEngine) -> None:
    (lm_root / "lm_eval" / "rows.jsonl").unlink()
    with pytest.raises(PerbenchError, match=r"lm-eval's task tiny_choice does not load: .*offline"):
        evaluate("tiny_choice", engine, MemoryStore())


def test_without_the_package_the_command_is_told(lm_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(catalogue, "version", absent)
    with pytest.raises(
        PerbenchError, match=r"need the package lm_eval. Run: pip install 'perbench\[lm-eval\]'"
    ):
        load_task("lm_eval:tiny_choice")


def test_options_are_checked(lm_root: Path) -> None:
    with pytest.raises(SpecError, match=r"lm_eval\.num_fewshot"):
        load_task("lm_eval:tiny_choice", overrides={"lm_eval.num_fewshot": -1})
    with pytest.raises(SpecError, match="lm_eval: has no reader under protocol generation"):
        load_task("embedded/sotu_writing", overrides={"lm_eval.num_fewshot": 1})


def test_an_engine_without_a_model_in_this_process(lm_root: Path) -> None:
    class Far:
        name = "far"

    with pytest.raises(PerbenchError, match="the engine far has none"):
        evaluate("tiny_choice", Far(), MemoryStore())
