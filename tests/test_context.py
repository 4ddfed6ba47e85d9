"""Sequences beyond the model's context are refused before anything is read; long requests may be skipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example
from perbench.conformance.protocol import MemoryStore
from perbench.contracts.data import Dataset
from perbench.contracts.engine import LEFT_OUT
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong, check_context, context_in
from perbench.lm.contrast import response_logp
from perbench.lm.models import ResolvedModel
from perbench.matrix.identity import target_inputs
from perbench.plugins import load_identifier, load_trainer
from perbench.prompts.pair import PromptPair, build_pair, build_pairs
from perbench.protocols.generation.swap import swap_logp
from perbench.specs.matrix import LoraSpec, TrainingSpec
from perbench.training import fit
from tests.owners import run, run_identifier, score
from tests.protocols.test_generation import TASK, One, example, quiet

ROOM = 2048
"""Of the tiny model."""


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


def spec(**changes: Any) -> Any:
    return TASK.spec.model_copy(update=changes)


def test_the_bound_itself_fits(tiny_model_dir: Path) -> None:
    assert context_in(tiny_model_dir) == ROOM
    check_context(ROOM, ROOM - 1, 1, what="x")
    check_context(None, 10**9, 1, what="x")
    with pytest.raises(
        PerbenchError, match=r"example a: .* 2048 tokens and its response of 1 .* max_length to 2048"
    ):
        check_context(ROOM, ROOM, 1, what="example a")


@pytest.mark.parametrize(
    ("trainer", "long", "refused"),
    [
        ("ce", "factual", True),
        ("ce", "counterfactual", False),  # which it never reads
        ("sft", "factual", False),
        ("sft", "counterfactual", True),
        ("perce", "counterfactual", True),
    ],
)
def test_training_is_refused_before_the_first_update(
    tiny_model_dir: Path, tmp_path: Path, trainer: str, long: str, refused: bool
) -> None:
    prompts = {"factual": (5, 6), "counterfactual": (5,), long: (5,) * (ROOM - 1)}
    pairs = [
        PromptPair((5, 6), (5,), (7, 8), 1, 0),
        PromptPair(**prompts, response=(7, 8), kept=1, trimmed=0),
    ]
    settings = TrainingSpec(lora=LoraSpec(rank=2), batch_size=1, epochs=1, precision="fp32")
    model = ResolvedModel("tiny", tiny_model_dir, "0" * 64)
    ticks: list[int] = []

    def run() -> None:
        fit(
            model, load_trainer(trainer, {}), pairs, ["a", "b"], settings, seed=0, folder=tmp_path / "out",
            tick=lambda done, *_: ticks.append(done),
        )  # fmt: skip

    if refused:
        with pytest.raises(PerbenchError, match=r"example b: a prompt of 2047 tokens .* context of 2048"):
            run()
        assert ticks == []
    else:
        run()
        assert ticks[-1] == 2


def test_scoring_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(PerbenchError, match=r"sequence 1: .* 2040 tokens and its response of 9 .* 2048"):
        response_logp(engine.model, [(5, 6), (5,) * 2040], [(7,), (7,) * 9])
    with pytest.raises(PerbenchError, match="2048"):
        engine.score([(5,) * ROOM], [(7,)])


def test_persona_swap_is_refused(engine: TransformersEngine) -> None:
    from tests.protocols.test_swap import example as person
    from tests.protocols.test_swap import swapped

    people = [person("a", 0), person("b", 0, "I hunt deer in the woods. " * 400)]
    with pytest.raises(PerbenchError, match="context of 2048"):
        swap_logp(swapped(max_length=100_000).spec, 2, [(people[0], "so")], people, engine)


def whale(number: int) -> Example:
    return replace(example(number), id=f"whale{number}", question="deer " * 300)


def test_over_long_requests_are_named_or_left_out(engine: TransformersEngine) -> None:
    rows = [example(0), whale(1)]
    with pytest.raises(TooLong, match=r"whale1: .*max_length 90; raise max_length, or set on_too_long: skip"):
        build_pairs(spec(), rows, engine.tokenizer, with_response=True, context=None)
    skips = spec(on_too_long="skip")
    pair, gone = build_pairs(skips, rows, engine.tokenizer, with_response=True, context=None)
    assert gone is None
    assert pair == build_pair(spec(), rows[0], engine.tokenizer, with_response=True)
    roomy = spec(max_length=5000)
    with pytest.raises(TooLong, match=r"whale1: .*the model's context of 200; set on_too_long"):
        build_pairs(roomy, rows, engine.tokenizer, with_response=False, context=200)
    assert target_inputs("t", skips, {}) != target_inputs("t", spec(), {})
    assert "on_too_long" not in target_inputs("t", spec(), {})


def test_a_generation_skips_counts_and_scores_the_others(engine: TransformersEngine) -> None:
    task = replace(TASK, spec=spec(on_too_long="skip"))
    rows = [whale(0), *(example(number) for number in range(1, 4))]
    store, plain = MemoryStore(), MemoryStore()
    run(task, Dataset(rows, "d"), One(engine), store, seed=1, tick=quiet)
    run(TASK, Dataset(rows[1:], "d"), One(engine), plain, seed=1, tick=quiet)
    left_out = {sample["id"]: sample.get("missing") for sample in store.samples()}
    assert left_out == {"whale0": "too_long", "e01": None, "e02": None, "e03": None}
    assert [sample for sample in store.samples() if "missing" not in sample] == plain.samples()
    found = score(task, store.samples())
    assert found.counts["missing_too_long"] == 1
    metric = found.metrics["rouge1"]
    assert (metric.n, metric.missing, metric.why) == (3, 1, {"too_long": 1})
    assert metric.value == score(TASK, plain.samples()).metrics["rouge1"].value


def test_a_conversation_beyond_the_context_is_left_out_or_an_error(engine: TransformersEngine) -> None:
    talks = [[{"role": "user", "content": text}] for text in ("deer " * 3000, "What now?")]
    with pytest.raises(TooLong, match="context of 2048"):
        engine.chat(talks, TASK.spec.sampling, seed=1)
    found = engine.chat(talks, TASK.spec.sampling, seed=1, skip=True)
    assert found == [LEFT_OUT, *engine.chat(talks[1:], TASK.spec.sampling, seed=1)]
    assert engine.chat(talks[:1], TASK.spec.sampling, seed=1, skip=True) == [LEFT_OUT]


def test_an_identification_checks_first_and_skips(engine: TransformersEngine) -> None:
    def row(number: int, persona: str, question: str = "What now?") -> Example:
        gold = {"gold": ["deer"]}
        return Example(f"i{number}", f"u{number}", question, "I hunt deer.", ({"text": persona},), gold)

    update = {"protocol": "identification", "max_length": 100_000, "on_too_long": "skip"}
    task = replace(TASK, spec=TASK.spec.model_copy(update=update))
    percontrast = load_identifier("percontrast", {})

    def run(rows: list[Example], store: MemoryStore) -> None:
        run_identifier(task, Dataset(rows, "d"), percontrast, engine, store, tick=quiet)

    store = MemoryStore()
    with pytest.raises(PerbenchError, match=r"example i1: a prompt of .* context of 2048; lower"):
        run([row(0, "I hunt."), row(1, "I hunt deer in the woods. " * 400)], store)
    assert store.rows == []  # not even the first was scored
    rows = [row(0, "I hunt."), row(1, "I hunt.", "deer " * 3000), row(2, "I bake.")]
    run(rows, store)
    run(rows, store)
    assert {sample["id"]: sample.get("missing") for sample in store.rows} == {
        "i0": None,
        "i1": "too_long",
        "i2": None,
    }
    assert len(store.rows) == 3
    found = score(task, store.samples())
    assert (found.counts["samples"], found.counts["missing_too_long"]) == (3, 1)
    assert sorted(found.scores.ids) == ["i0", "i2"]
    assert all(metric.why.get("too_long") == 1 for metric in found.metrics.values() if metric.ci)


def test_padding_may_be_any_token(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [[5, 6, 7, 8, 9], [5]]
    plain = engine.generate(prompts, TASK.spec.sampling, seed=1)
    size = engine.model.get_input_embeddings().num_embeddings
    engine.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert engine.tokenizer.pad_token_id >= size  # the embedding was not resized
    assert engine.generate(prompts, TASK.spec.sampling, seed=1) == plain


def test_an_encoder_needs_no_pad_token(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from transformers import AutoTokenizer

    from perbench.persona.dense import Encoder

    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    texts = ["I hunt deer", "", "She paints small red houses and plays"]
    expected = Encoder(lambda: tiny_model_dir, "plain")(texts)
    for name, pad in (("none", None), ("outside", "[PAD]")):
        folder = shutil.copytree(tiny_model_dir, tmp_path / name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.pad_token = pad
        tokenizer.save_pretrained(folder)
        assert (Encoder(lambda folder=folder: folder, name)(texts) == expected).all()  # type: ignore[misc]
