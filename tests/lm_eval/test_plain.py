"""lm-eval's tasks give the numbers, log-probs and texts of plain lm-eval, in float32."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

import torch

from perbench import plugins
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.models import load_causal_lm
from perbench.protocols.lm_eval import documents
from perbench.specs.load import load_task
from tests.lm_eval.plain import numbers, ours, plain_model, plain_results
from tests.lm_eval.table import write_table

SERVED = ("base", "lora", "full")


@pytest.fixture(scope="module")
def served(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that ends its turns, an adapter of it, and another model of its shape."""
    import shutil

    from peft import LoraConfig, get_peft_model

    places = {name: tmp_path_factory.mktemp("models") / name for name in SERVED}
    for name in ("base", "full"):
        shutil.copytree(tiny_model_dir, places[name])
        model = load_causal_lm(tiny_model_dir, "float32")
        with torch.no_grad():
            if name == "full":
                model.model.layers[0].mlp.down_proj.weight.mul_(-1)
            model.get_input_embeddings().weight[model.generation_config.eos_token_id].mul_(3)
        model.generation_config.repetition_penalty = 1.1
        model.save_pretrained(places[name])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        get_peft_model(load_causal_lm(places["base"], "float32"), config).save_pretrained(places["lora"])
    return places


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = tmp_path_factory.mktemp("table") / "root"
    write_table(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERBENCH_INCLUDE", str(made))
        yield made
    plugins.discover()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, served: dict[str, Path]) -> tuple[TransformersEngine, Any]:
    """The engine that serves a model, and plain lm-eval's model of it."""
    engine = TransformersEngine(served["base"], dtype="float32")
    if request.param != "base":
        engine.load_adapter(served[request.param])
    if request.param == "lora":
        return engine, plain_model(served["base"], served["lora"], batch=3)
    return engine, plain_model(served[request.param], batch=3)


NAMES = [
    "gen",
    "gen_first_n",
    "gen_drawn",
    "gen_drawn_from_test",
    "gen_described",
    "gen_zero",
    "gen_prefixed",
    "gen_repeated",
    "gen_corpus",
    "gen_processed",
    "choice",
    "choice_shuffled",
    "choice_random_text",
    "choice_binary",
    "likelihood",
    "likelihood_processed",
    "rolling",
    "grouped",
]


def check(results: dict[str, Any], scored: Any, samples: list[dict[str, Any]], task: str) -> None:
    wanted = numbers(results, task)
    assert wanted
    assert {name: scored.metrics[name].value for name in wanted} == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert scored.notes == []
    by_id = {sample["id"]: sample for sample in samples}
    theirs = {}
    for leaf, rows in results["samples"].items():
        for row in rows:
            theirs.setdefault(f"{leaf}/{row['doc_id']}", row)
    assert by_id.keys() == theirs.keys()
    for name, row in theirs.items():
        mine, answers = by_id[name], row["filtered_resps"]
        assert mine["question"] == row["arguments"][0][0], name
        assert mine["reference"] == str(row["target"]), name
        if isinstance(answers[0], str):
            assert mine["response"] == answers[0], name
        else:
            found = literal_eval(mine["response"])
            assert [greedy for _, greedy in _results(found)] == [greedy for _, greedy in _results(answers)]
            assert [logp for logp, _ in _results(found)] == pytest.approx(
                [logp for logp, _ in _results(answers)], rel=0, abs=1e-4
            )


def _results(answers: list[Any]) -> list[tuple[float, bool | None]]:
    return [one if isinstance(one, tuple) else (one, None) for one in answers]


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize("pair", SERVED[:2], indirect=True)
def test_numbers_log_probs_and_texts_are_plain_lm_evals(
    root: Path, pair: tuple[TransformersEngine, Any], task: str, chat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over chunks: few-shot examples are drawn once for a task."""
    engine, plain = pair
    monkeypatch.setattr(documents, "CHUNK", 4)
    results = plain_results(root, plain, task, chat=chat)
    scored, samples = ours(engine, task, **{"lm_eval.chat_template": chat})
    check(results, scored, samples, task)


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("pair", SERVED, indirect=True)
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_answers_end_with_the_turn_in_every_batch(
    root: Path,
    pair: tuple[TransformersEngine, Any],
    batch: int,
    chat: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, plain = pair
    monkeypatch.setattr(documents, "BATCH", batch)
    results = plain_results(root, plain, "gen", chat=chat)
    scored, samples = ours(engine, "gen", **{"lm_eval.chat_template": chat})
    check(results, scored, samples, "gen")
    lengths = {len(engine.tokenizer(sample["response"])["input_ids"]) for sample in samples}
    assert len(lengths) > 1, "all answers are equally long: none ends before max_gen_toks"


@pytest.mark.parametrize("task", ["gen_zero", "gen_drawn"])
@pytest.mark.parametrize("pair", SERVED[:1], indirect=True)
def test_a_number_of_examples_does_not_override_a_task_that_says_0(
    root: Path, pair: tuple[TransformersEngine, Any], task: str
) -> None:
    engine, plain = pair
    results = plain_results(root, plain, task, num_fewshot=3)
    scored, samples = ours(engine, task, **{"lm_eval.num_fewshot": 3})
    check(results, scored, samples, task)
    assert {sample["question"].count("Question:") for sample in samples} == {1 if task == "gen_zero" else 4}


def test_the_headline_of_a_group_is_its_own_metric(root: Path) -> None:
    """Its first task's is exact_match."""
    assert load_task("lm_eval:grouped").spec.headline == "acc"
