"""The transformers engine against plain forward passes of the same weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perbench.engines.transformers import engine as transformers
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.lm.decode import decode
from perbench.lm.models import load_causal_lm
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.shapes.sampling import SamplingSpec
from tests.prompts.shapes import shape

GREEDY = SamplingSpec(max_new_tokens=12, temperature=0)
WARM = SamplingSpec(max_new_tokens=12, temperature=1.0, top_p=0.9)
QUESTIONS = ["Hi", "What do you usually do on a free afternoon?", "Deer?", "I like to hunt in the woods."]


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


@pytest.fixture(scope="module")
def prompts(engine: TransformersEngine) -> list[list[int]]:
    return [encode(engine.tokenizer, chat_text(engine.tokenizer, None, [text])) for text in QUESTIONS]


def test_chat_is_generation_under_the_chat_template(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    conversations = [[{"role": "user", "content": text}] for text in QUESTIONS]
    assert engine.chat(conversations, WARM, seed=3) == engine.generate(prompts, WARM, seed=3)
    turns = ["Hi", "Hello.", "Deer?"]
    roles = ["user", "assistant", "user"]
    longer = [{"role": "system", "content": "Be brief."}]
    longer += [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
    prompt = encode(engine.tokenizer, chat_text(engine.tokenizer, "Be brief.", turns))
    assert engine.chat([longer], GREEDY, seed=0) == engine.generate([prompt], GREEDY, seed=0)


def greedy(model: Any, prompt: Sequence[int], new: int) -> list[int]:
    """The reference: no cache, no padding, one token at a time."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(new):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def variant(folder: Path, to: Path, **config: Any) -> Path:
    """A copy of a model folder with another generation_config.json."""
    shutil.copytree(folder, to)
    (to / "generation_config.json").write_text(json.dumps(config))
    return to


def logp(model: Any, prompt: Sequence[int], response: Sequence[int]) -> np.ndarray[Any, Any]:
    """The reference: full logits, float32."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0].float().log_softmax(-1)
    rows = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
    result: np.ndarray[Any, Any] = logits[rows, torch.tensor(response, dtype=torch.long)].numpy()
    return result


def test_log_probs_are_normalised_in_float32_whatever_the_weights(
    tiny_model_dir: Path, prompts: list[list[int]]
) -> None:
    """bfloat16 has 8 bits: near -8 its steps are 1/32, and close answers tie."""
    low = TransformersEngine(tiny_model_dir, dtype="bfloat16")
    responses = [[5, 9, 300], [7], [12, 4]]
    for prompt, response, found in zip(prompts, responses, low.score(prompts[:3], responses), strict=False):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, logp(low.model, prompt, response), atol=0.1)
        assert not np.array_equal(found, torch.from_numpy(found).bfloat16().float().numpy())


def test_a_ragged_batch_equals_greedy_decoding_alone(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    answers = engine.generate(prompts, GREEDY, seed=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = greedy(engine.model, prompt, 12)
        stop = engine.tokenizer.eos_token_id
        if stop in expected:
            expected = expected[: expected.index(stop)]
            assert (answer.finish_reason, answer.new_tokens) == ("stop", len(expected) + 1)
        else:
            assert (answer.finish_reason, answer.new_tokens) == ("length", 12)
        assert answer.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
        assert answer.prompt_tokens == len(prompt)


def test_splitting_by_budget_changes_no_greedy_answer(
    engine: TransformersEngine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.generate(prompts, GREEDY, seed=0)
    monkeypatch.setattr(transformers, "TOKEN_BUDGET", 1)
    assert engine.generate(prompts, GREEDY, seed=0) == whole


def test_answers_stop_at_every_stop_token_and_hold_none(
    tiny_model_dir: Path, engine: TransformersEngine, prompts: list[list[int]], tmp_path: Path
) -> None:
    answers = [greedy(engine.model, prompt, 12) for prompt in prompts]
    stop = answers[1][5]
    folder = variant(tiny_model_dir, tmp_path / "stops", eos_token_id=[stop, 399])
    found = TransformersEngine(folder, dtype="float32").generate(prompts, GREEDY, seed=0)
    ends = {stop, 399, engine.tokenizer.eos_token_id}
    for answer, expected in zip(found, answers, strict=True):
        end = next((i for i, token in enumerate(expected) if token in ends), None)
        assert answer.finish_reason == ("length" if end is None else "stop")
        assert answer.new_tokens == (12 if end is None else end + 1)
        assert answer.text == engine.tokenizer.decode(expected[:end], skip_special_tokens=True)
    assert found[1].finish_reason == "stop"


def test_a_checkpoints_generation_config_leaks_nothing_but_its_stop_tokens(
    tiny_model_dir: Path, engine: TransformersEngine, prompts: list[list[int]], tmp_path: Path
) -> None:
    folder = variant(
        tiny_model_dir,
        tmp_path / "loud",
        eos_token_id=engine.tokenizer.eos_token_id,
        do_sample=True,
        temperature=0.01,
        top_k=1,
        top_p=0.1,
        min_p=0.9,
        repetition_penalty=9.0,
        no_repeat_ngram_size=1,
        max_length=3,
        suppress_tokens=list(range(3, 200)),
        use_cache=False,
    )
    loud = TransformersEngine(folder, dtype="float32")
    assert loud.generate(prompts, GREEDY, seed=0) == engine.generate(prompts, GREEDY, seed=0)
    assert loud.generate(prompts, WARM, seed=5) == engine.generate(prompts, WARM, seed=5)


def test_a_seed_fixes_the_answers_and_nothing_else_draws(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    torch.manual_seed(1)
    first = engine.generate(prompts, WARM, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert engine.generate(prompts, WARM, seed=5) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert engine.generate(prompts, WARM, seed=6) != first


def test_sampling_follows_the_models_distribution(
    engine: TransformersEngine, prompts: list[list[int]]
) -> None:
    one = SamplingSpec(max_new_tokens=1, temperature=2.0)
    draws = 600
    answers = engine.generate([prompts[0]] * draws, one, seed=0)
    with torch.no_grad():
        chances = (engine.model(torch.tensor([prompts[0]])).logits[0, -1].float() / 2.0).softmax(-1)
    top = chances.topk(3)
    for token, chance in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        text = engine.tokenizer.decode([token], skip_special_tokens=True)
        share = sum(answer.text == text for answer in answers) / draws
        assert abs(share - chance) < 5 * (chance * (1 - chance) / draws) ** 0.5 + 1e-9


def test_no_prompts_give_no_answers(engine: TransformersEngine) -> None:
    assert engine.generate([], GREEDY, seed=0) == []


def test_a_prompt_beyond_the_context_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(PerbenchError, match=r"2040 tokens and max_new_tokens 12 exceed .* 2048; lower"):
        engine.generate([[5] * 2040], GREEDY, seed=0)


def test_scores_equal_full_logits(engine: TransformersEngine, prompts: list[list[int]]) -> None:
    responses = [[7, 8, 9], [10], [11, 12, 13, 14, 15], []]
    found = engine.score(prompts, responses)
    for prompt, response, values in zip(prompts, responses, found, strict=True):
        assert values.dtype == np.float32
        assert values == pytest.approx(logp(engine.model, prompt, response), abs=1e-4)


# ---------------------------------------------------------------- trained weights


@pytest.fixture(scope="module")
def adapter(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    model = get_peft_model(
        load_causal_lm(tiny_model_dir, "float32"),
        LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    )
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture
def own_engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


def test_an_adapter_is_served_and_the_base_restored_bit_for_bit(
    own_engine: TransformersEngine, adapter: Path, tiny_model_dir: Path, prompts: list[list[int]]
) -> None:
    from peft import PeftModel

    responses = [[7, 8, 9]] * len(prompts)
    before = {name: value.clone() for name, value in own_engine.model.state_dict().items()}
    base = own_engine.score(prompts, responses)
    answers = own_engine.generate(prompts, WARM, seed=1)

    own_engine.load_adapter(adapter)
    unmerged = PeftModel.from_pretrained(load_causal_lm(tiny_model_dir, "float32"), str(adapter)).eval()
    for prompt, values, plain in zip(prompts, own_engine.score(prompts, responses), base, strict=True):
        assert values == pytest.approx(logp(unmerged, prompt, [7, 8, 9]), abs=1e-4)
        assert np.abs(values - plain).max() > 1e-2
    assert own_engine.generate(prompts, WARM, seed=1) != answers

    own_engine.load_adapter(None)
    after = own_engine.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert own_engine.generate(prompts, WARM, seed=1) == answers


def test_a_full_checkpoint_is_served_and_the_base_restored(
    own_engine: TransformersEngine, tiny_model_dir: Path, prompts: list[list[int]], tmp_path: Path
) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    model.save_pretrained(tmp_path / "full")
    base = own_engine.score(prompts[:1], [[7, 8]])[0]
    own_engine.load_adapter(tmp_path / "full")
    assert own_engine.score(prompts[:1], [[7, 8]])[0] == pytest.approx(
        logp(model, prompts[0], [7, 8]), abs=1e-4
    )
    own_engine.load_adapter(None)
    assert (own_engine.score(prompts[:1], [[7, 8]])[0] == base).all()


def test_what_is_no_checkpoint_is_refused_and_the_base_still_serves(
    own_engine: TransformersEngine, adapter: Path, prompts: list[list[int]], tmp_path: Path
) -> None:
    base = own_engine.score(prompts[:1], [[7, 8]])[0]
    with pytest.raises(PerbenchError, match="holds neither a peft adapter"):
        own_engine.load_adapter(tmp_path)
    misfit = tmp_path / "misfit"
    shutil.copytree(adapter, misfit)
    config = json.loads((misfit / "adapter_config.json").read_text())
    (misfit / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["nowhere"]}))
    with pytest.raises(PerbenchError, match="does not fit"):
        own_engine.load_adapter(misfit)
    own_engine.load_adapter(None)
    assert (own_engine.score(prompts[:1], [[7, 8]])[0] == base).all()


def test_a_users_adapter_is_swapped_on_top_and_leaves_no_trace(
    own_engine: TransformersEngine,
    adapter: Path,
    tiny_model_dir: Path,
    prompts: list[list[int]],
    tmp_path: Path,
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    users = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        network = get_peft_model(load_causal_lm(tiny_model_dir, "float32"), config)
        users.append(tmp_path / f"user{seed}")
        network.save_pretrained(str(users[-1]))
    responses = [[7, 8, 9]] * len(prompts)
    own_engine.load_adapter(adapter)
    task = own_engine.score(prompts, responses)
    merged = PeftModel.from_pretrained(load_causal_lm(tiny_model_dir, "float32"), str(adapter))
    for user in (users[0], users[1], users[0]):
        own_engine.load_adapter(adapter, user)
        both = PeftModel.from_pretrained(merged.merge_and_unload(), str(user)).eval()
        for prompt, values in zip(prompts, own_engine.score(prompts, responses), strict=True):
            assert values == pytest.approx(logp(both, prompt, [7, 8, 9]), abs=1e-4)
        assert own_engine.generate(prompts, WARM, seed=1)
        merged = PeftModel.from_pretrained(load_causal_lm(tiny_model_dir, "float32"), str(adapter))
    own_engine.load_adapter(adapter)
    assert all((a == b).all() for a, b in zip(own_engine.score(prompts, responses), task, strict=True))
    with pytest.raises(PerbenchError, match="neither a peft adapter"):
        own_engine.load_adapter(tmp_path)
    own_engine.load_adapter(None, users[1])  # on the base model
    own_engine.load_adapter(adapter)
    assert all((a == b).all() for a, b in zip(own_engine.score(prompts, responses), task, strict=True))


@pytest.mark.parametrize(("name", "start"), [("zephyr_first", " "), ("llama2_first", "")])
def test_an_answer_is_stored_as_it_was_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: str
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = shape(name)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **sizes)
    )
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    engine = TransformersEngine(tmp_path / "model", dtype="float32")
    rows: list[list[int]] = []
    monkeypatch.setattr(
        "perbench.lm.decode.decode", lambda *given: rows.extend(made := decode(*given)) or made
    )
    talks = [[{"role": "user", "content": f"deer {i}"}] for i in range(60)]
    answers = engine.chat(talks, SamplingSpec(max_new_tokens=4, temperature=1.0), seed=0)
    begun = [one.text for one in answers if "\ufffd" not in one.text and one.text.startswith(start)]
    assert len(begun) > 9

    def shown(ids: Sequence[int]) -> str:
        text: str = tokenizer.decode([*encode(tokenizer, "deer"), *ids], skip_special_tokens=True)
        return text if start else text.removeprefix("deer").strip()  # what Llama 2's template trims

    generated = {shown(row) for row in rows}
    assert {shown(encode_response(engine.tokenizer, text)) for text in begun} <= generated
