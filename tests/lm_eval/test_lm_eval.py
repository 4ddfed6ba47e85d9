"""lm-eval's tasks as targets: identity without documents, numbers equal to lm-eval's own, resuming."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from ast import literal_eval
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.conformance.protocol import MemoryStore
from perbench.contracts.engine import Engine
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError, SpecError
from perbench.protocols.lm_eval import catalogue
from perbench.protocols.lm_eval import documents as protocol
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.owners import run


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
    run(
        task,
        load_examples(task, "test", limit),
        One(engine),
        store,
        seed=0,
        tick=lambda done, total, _: ticks.append((done, total)),
    )
    return owner_of(task.spec).score(store.samples()), ticks


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


def test_a_task_says_of_which_metrics_lower_values_are_better(lm_root: Path) -> None:
    file = lm_root / "lm_eval" / "tiny_choice.yaml"
    listed = "[{metric: acc}, {metric: brier_score, higher_is_better: false}]"
    file.write_text(file.read_text().replace("task: tiny_choice", f"task: tiny_loss\nmetric_list: {listed}"))
    owner = owner_of(load_task("lm_eval:tiny_loss").spec)
    assert owner.better(["acc", "brier_score,none"]) == {"brier_score,none": "lower"}


def test_a_group_is_all_its_documents(lm_root: Path, engine: TransformersEngine) -> None:
    scored, _ = evaluate("tiny_all", engine, MemoryStore(), limit=2)
    assert scored.counts == {"samples": 4, "tasks": 2}
    assert (scored.metrics["acc"].n, scored.metrics["acc"].missing) == (2, 2)


def test_metrics_without_a_value_are_noted_with_their_reason(
    lm_root: Path, engine: TransformersEngine
) -> None:
    folder = lm_root / "lm_eval"
    with (folder / "utils.py").open("a") as file:
        file.write("def both(doc, results):\n    return {'own': 1.0, 'odd': {}, 'seen': 2}\n")
        file.write("def top(items):\n    return max(items)\n")
    listed = "metric_list:\n- {metric: own, aggregation: !function utils.top, higher_is_better: true}\n"
    listed += "- {metric: seen, aggregation: mean, higher_is_better: true}\n"
    given = (folder / "tiny_choice.yaml").read_text().replace("task: tiny_choice", "task: tiny_own")
    (folder / "tiny_own.yaml").write_text(f"{given}process_results: !function utils.both\n{listed}")
    scored, _ = evaluate("tiny_own", engine, MemoryStore(), 2)
    assert {name: metric.value for name, metric in scored.metrics.items()} == {"seen": 2.0}
    odd, own = scored.notes
    assert odd.startswith("metric odd absent: ")
    assert "dict" in odd
    assert own.startswith("metric own absent: ")
    assert "function top" in own
    assert load_task("lm_eval:tiny_own").spec.headline == "seen"
    assert load_task("lm_eval:tiny_rolling").spec.headline == "word_perplexity"


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


def test_identity_holds_the_limit(lm_root: Path) -> None:
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
    with pytest.raises(PerbenchError, match=r"lm-eval's task tiny_choice does not load: .*online"):
        evaluate("tiny_choice", engine, MemoryStore())


def test_without_the_package_the_command_is_told(lm_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(catalogue, "version", absent)
    with pytest.raises(
        PerbenchError, match=r"need the package lm_eval; run: pip install 'perbench\[lm-eval\]'"
    ):
        load_task("lm_eval:tiny_choice")


def test_options_are_checked(lm_root: Path) -> None:
    with pytest.raises(SpecError, match=r"lm_eval\.num_fewshot"):
        load_task("lm_eval:tiny_choice", overrides={"lm_eval.num_fewshot": -1})
    with pytest.raises(SpecError, match="lm_eval: is not used by protocol generation"):
        load_task("embedded/sotu_writing", overrides={"lm_eval.num_fewshot": 1})


def test_an_engine_without_a_model_in_this_process(lm_root: Path) -> None:
    class Far:
        name = "far"

    with pytest.raises(PerbenchError, match="engine far has none"):
        evaluate("tiny_choice", Far(), MemoryStore())


# ---------------------------------------------------------------- precision, system turns, warnings


def test_choices_are_told_apart_in_float32_whatever_the_weights(lm_root: Path, tiny_model_dir: Path) -> None:
    """In bfloat16 a log-prob near -20 has steps of 1/8: close choices tie, and the first of them wins."""
    low, store = TransformersEngine(tiny_model_dir, dtype="bfloat16"), MemoryStore()
    evaluate("tiny_choice", low, store)
    for row in store.rows:
        found = [value for value, _ in literal_eval(row["response"])]
        prompt = low.tokenizer(row["question"], add_special_tokens=False)["input_ids"]
        choices = [
            low.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
            for word in ("red", "green", "blue")
        ]
        exact = [float(logp.sum()) for logp in low.score([prompt] * 3, choices)]
        assert found == pytest.approx(exact, rel=2e-3)
        assert any(float(torch.tensor(value).bfloat16()) != value for value in found)


@pytest.mark.parametrize("task", ["tiny_choice", "tiny_words"])
def test_a_model_without_numbers_has_no_score(lm_root: Path, tiny_model_dir: Path, task: str) -> None:
    spoilt = TransformersEngine(tiny_model_dir, dtype="float32")
    with torch.no_grad():
        spoilt.model.model.norm.weight[0] = torch.nan
    with pytest.raises(PerbenchError, match="not finite"):
        evaluate(task, spoilt, MemoryStore())


TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "a system role": TURNS,
    "refuses it": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + TURNS,
    "leaves it out": TURNS.replace("in messages %}", "in messages if m['role'] != 'system' %}"),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("shots", [0, 2])
def test_a_tasks_description_is_kept_under_every_template(
    lm_root: Path, engine: TransformersEngine, name: str, shots: int
) -> None:
    file = lm_root / "lm_eval" / "tiny_choice.yaml"
    file.write_text(file.read_text() + "description: Name the colour.\n")
    other = copy.copy(engine)
    other.tokenizer = copy.deepcopy(engine.tokenizer)
    other.tokenizer.chat_template = TEMPLATES[name]
    store = MemoryStore()
    scored, _ = evaluate(
        "tiny_choice", other, store, 2, **{"lm_eval.chat_template": True, "lm_eval.num_fewshot": shots}
    )
    system = name == "a system role"
    for row in store.rows:
        turns = row["question"].split("<|im_start|>")[1:]
        assert turns[0].startswith("system\nName the colour." if system else "user\nName the colour.\n\nQ: ")
        assert len(turns) == 2 + 2 * shots + system
        assert row["question"].count("Name the colour.") == 1
    assert scored.notes == []


def test_what_lm_eval_warns_of_is_a_note_of_the_record(
    lm_root: Path, engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_ = protocol._evaluate

    def warning(*args: Any) -> Any:
        logging.getLogger("lm_eval.api.task").warning(
            "length was %d, cut in %s", len(args[3]), Path.cwd() / "x"
        )
        logging.getLogger("lm_eval.api.task").info("nothing to see")
        warnings.warn("the filter is odd", UserWarning, stacklevel=1)
        warnings.warn("old spelling", DeprecationWarning, stacklevel=1)
        return evaluate_(*args)

    monkeypatch.setattr(protocol, "_evaluate", warning)
    monkeypatch.setattr(protocol, "CHUNK", 4)
    store = MemoryStore()
    scored, _ = evaluate("tiny_choice", engine, store)
    assert scored.notes == [
        "lm-eval warns: length was 4, cut in x (and 1 more like it)",
        "lm-eval warns: the filter is odd",
    ]
    rescored = owner_of(load_task("lm_eval:tiny_choice").spec).score(store.samples())
    assert rescored.notes == scored.notes


def test_a_plain_run_warns_of_nothing(lm_root: Path, engine: TransformersEngine) -> None:
    assert evaluate("tiny_all", engine, MemoryStore())[0].notes == []
