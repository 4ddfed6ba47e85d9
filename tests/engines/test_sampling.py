"""Repetition penalty and the end of answers: transformers' own processor is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from transformers import GenerationConfig, RepetitionPenaltyLogitsProcessor

from perbench.cli import main
from perbench.contracts.engine import Generation
from perbench.engines.openai.section import Endpoint
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.matrix.identity import source_inputs, target_inputs
from perbench.prompts.chat import (
    chat_text,
    decode_response,
    encode,
    encode_answer,
    encode_response,
    end_of_turn,
)
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import decoding_of, decoding_spec, engines
from perbench.specs.load import load_task
from tests.engines.endpoint import ENDPOINT, user
from tests.engines.endpoint import engine as asker
from tests.engines.far import write_root
from tests.engines.standin import Reply, Server, completion

QUESTIONS = ["Hi", "What do you usually do on a free afternoon?", "Deer? Deer! Deer.", "I like to hunt."]
PENALISED = SamplingSpec(max_new_tokens=14, temperature=0.0, repetition_penalty=1.6)
PLAIN = SamplingSpec(max_new_tokens=14, temperature=0.0)


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


@pytest.fixture(scope="module")
def prompts(engine: TransformersEngine) -> list[list[int]]:
    return [encode(engine.tokenizer, chat_text(engine.tokenizer, None, [text])) for text in QUESTIONS]


def reference(engine: TransformersEngine, prompt: list[int], penalty: float, without: Any = None) -> str:
    """Greedy, alone, without a cache; with the logits of two contexts, they are combined first (lam 1)."""
    processor: Any = RepetitionPenaltyLogitsProcessor(penalty)
    answer: list[int] = []
    while len(answer) < PENALISED.max_new_tokens:
        ids = torch.tensor([[*prompt, *answer]])
        with torch.no_grad():
            logits = engine.model(ids).logits[:, -1].float()
            if without is not None:
                other = engine.model(torch.tensor([[*without, *answer]])).logits[:, -1].float()
                logits = logits + (logits - other)
        token = int(processor(ids, logits).argmax())
        if token in engine.stop_tokens:
            break
        answer.append(token)
    return decode_response(engine.tokenizer, answer)


def texts(answers: list[Generation]) -> list[str]:
    return [answer.text for answer in answers]


def test_a_ragged_batch_is_penalised_as_each_prompt_alone(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    found = texts(engine.generate(prompts, PENALISED, seed=0))
    assert found == [reference(engine, prompt, 1.6) for prompt in prompts]
    assert found != texts(engine.generate(prompts, PLAIN, seed=0))


def test_transformers_generate_gives_the_same_answers(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    for prompt, answer in zip(prompts, engine.generate(prompts, PENALISED, seed=0), strict=True):
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=14, repetition_penalty=1.6, eos_token_id=sorted(engine.stop_tokens), pad_token_id=0
        )
        ids = torch.tensor([prompt])
        (row,) = engine.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        new = [token for token in row[len(prompt) :].tolist() if token not in engine.stop_tokens]
        assert answer.text == decode_response(engine.tokenizer, new)


def test_penalised_draws_repeat_less(engine: TransformersEngine, prompts: list[list[int]]) -> None:
    def distinct(penalty: float) -> int:
        warm = SamplingSpec(max_new_tokens=14, temperature=1.0, repetition_penalty=penalty)
        answers = engine.generate(prompts * 4, warm, seed=5)
        return sum(len(set(encode_response(engine.tokenizer, answer.text))) for answer in answers)

    assert distinct(5.0) > distinct(1.0)


def test_steered_answers_are_penalised_after_their_contexts_are_combined(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    without = [encode(engine.tokenizer, chat_text(engine.tokenizer, None, ["So?"]))] * len(prompts)
    decoding: Any = decoding_of(decoding_spec()(method="context_steering", lam=1.0))
    found = engine.steer(prompts, without, PENALISED, combine=decoding.combine, seed=0)
    pairs = zip(prompts, without, strict=True)
    assert texts(found) == [reference(engine, prompt, 1.6, other) for prompt, other in pairs]


# ---------------------------------------------------------------- the end of an answer


def test_answers_end_at_the_tokenizers_eos_alone(
    engine: TransformersEngine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = engine.generate(prompts, PLAIN, seed=0)
    first = {encode_response(engine.tokenizer, answer.text)[0] for answer in plain if answer.text}
    monkeypatch.setattr(engine, "stop_tokens", frozenset(first))
    to_eos = PLAIN.model_copy(update={"end": "eos"})
    assert any(answer.text == "" for answer in engine.generate(prompts, PLAIN, seed=0))
    found = engine.generate(prompts, to_eos, seed=0)
    eos = engine.tokenizer.eos_token_id
    for prompt, answer in zip(prompts, found, strict=True):
        assert answer.new_tokens == 14 or answer.finish_reason == "stop"
        assert answer.text != "" or eos in first, prompt


def test_responses_end_as_answers_do(engine: TransformersEngine) -> None:
    tokenizer, text = engine.tokenizer, "I hunt."
    body = encode_response(tokenizer, text)
    assert encode_answer(tokenizer, text) == [*body, *end_of_turn(tokenizer)]
    assert encode_answer(tokenizer, text, end="eos") == [*body, tokenizer.eos_token_id]
    tokenizer = type(tokenizer).from_pretrained(tokenizer.name_or_path)
    tokenizer.eos_token = None
    with pytest.raises(PerbenchError, match=r"no end-of-sequence token; set sampling\.end: turn"):
        encode_answer(tokenizer, text, end="eos")


def test_identities_hold_both_where_they_differ_from_the_default() -> None:
    task = load_task("embedded/sotu_writing")
    other = load_task("embedded/sotu_writing", overrides={"sampling.end": "eos"})
    penalised = load_task("embedded/sotu_writing", overrides={"sampling.repetition_penalty": 1.2})

    def source(spec: Any) -> dict[str, Any]:
        return source_inputs("s", spec, {})

    keys = {"max_new_tokens", "temperature", "top_p"}
    assert target_inputs("t", task.spec, {})["sampling"].keys() == keys
    assert target_inputs("t", other.spec, {})["sampling"]["end"] == "eos"
    assert target_inputs("t", penalised.spec, {})["sampling"]["repetition_penalty"] == 1.2
    assert source(task.spec) == source(penalised.spec)
    assert source(other.spec) == {**source(task.spec), "end": "eos"}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": -1.2}, "repetition_penalty"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty"),
        ({"repetition_penalty": "1.2"}, "repetition_penalty"),
        ({"end": "im_end"}, "end"),
    ],
)
def test_values_out_of_range_are_named(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as error:
        SamplingSpec(**values)
    assert {fault["loc"][0] for fault in error.value.errors()} == {key}


# ---------------------------------------------------------------- endpoints


def test_an_endpoint_gets_a_penalty_under_the_name_its_server_knows(server: Server) -> None:
    server.answer = lambda body: Reply(200, completion("yes"))
    named = ENDPOINT.model_copy(update={"send_as": {"repetition_penalty": "repeat_penalty"}})
    asked = asker(endpoint=named)
    asked.chat([user("hi")], PENALISED, seed=0)
    asked.chat([user("hi")], PLAIN, seed=0)
    (_, _, sent), (_, _, plain) = server.requests
    assert sent["repeat_penalty"] == 1.6
    assert not {"repeat_penalty", "repetition_penalty"} & plain.keys()


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        (PENALISED, r"endpoint\.send_as\.repetition_penalty"),
        (PLAIN.model_copy(update={"end": "eos"}), "end: eos"),
    ],
    ids=["repetition_penalty", "end"],
)
def test_an_endpoint_refuses_what_it_is_not_known_to_do(
    server: Server, sampling: SamplingSpec, named: str
) -> None:
    with pytest.raises(PerbenchError, match=named):
        asker().chat([user("hi")], sampling, seed=0)
    assert server.requests == []


def test_a_name_for_the_penalty_is_of_an_endpoints_identity_only_if_it_is_another() -> None:
    assert Endpoint(model="m", send_as={"repetition_penalty": "repetition_penalty"}).identity == {
        "endpoint": "m"
    }
    assert Endpoint(model="m").names.keys() == {"max_tokens", "temperature", "top_p", "seed"}
    assert Endpoint(model="m", send_as={"repetition_penalty": None}).names == Endpoint(model="m").names


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"repetition_penalty": 1.2}, "sampling.repetition_penalty 1.2: far is an endpoint"),
        ({"end": "eos"}, "sampling.end eos: far is an endpoint"),
    ],
    ids=["repetition_penalty", "end"],
)
def test_what_an_endpoint_cannot_do_is_told_before_anything_runs(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    words = write_root(tmp_path / "root", server.address, ["Hungry?"])
    file = tmp_path / "root" / "task.yaml"
    task = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**task, "sampling": {**task["sampling"], **change}}))
    out = ["--out", str(tmp_path / "out")]
    assert main([*words, *out, "--dry-run"]) == 2
    assert told in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_engines_of_weights_declare_both(name: str) -> None:
    assert {"penalty", "eos"} <= engines()[name].offers
    assert not {"penalty", "eos"} & engines()["openai"].offers
