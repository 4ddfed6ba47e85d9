"""Written token by token, in one batch, answers are those of transformers' `generate`, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.engines.transformers.forced import generated
from perbench.lm import decode as decoding
from perbench.lm.decode import can_decode, decode
from perbench.lm.draws import Draws, packs
from perbench.shapes.sampling import SamplingSpec
from tests.test_prefix import architecture, personas_and_answers

Ids = tuple[int, ...]
NEW = 12
GREEDY = SamplingSpec(max_new_tokens=NEW, temperature=0)
WARM = SamplingSpec(max_new_tokens=NEW, temperature=0.9, top_p=0.95)
STOP = frozenset(range(0, 80, 7))
"""So many that answers end all the time."""
HUGE = 10**6


def reference(
    model: Any, prompts: Sequence[Ids], seed: int, sampling: SamplingSpec, stop: frozenset[int] = STOP
) -> list[list[int]]:
    """The answers of one batch: left padding, transformers' own sampling and torch's own generator."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
    width = max(map(len, prompts))
    warm = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    options: dict[str, Any] = warm if sampling.temperature else {"do_sample": False}
    config = GenerationConfig(max_new_tokens=NEW, eos_token_id=sorted(stop), pad_token_id=0, **options)
    torch.manual_seed(seed)
    # Longest first, as perbench has always drawn.
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    output = model.generate(
        input_ids=torch.tensor([[0] * (width - len(prompts[i])) + list(prompts[i]) for i in order]),
        attention_mask=torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in order]),
        generation_config=config,
    )[:, width:].tolist()
    rows = dict(zip(order, output, strict=True))
    return [cut(rows[i], stop) for i in range(len(prompts))]


def cut(row: Sequence[int], stop: frozenset[int]) -> list[int]:
    end = next((place + 1 for place, token in enumerate(row) if token in stop), len(row))
    return list(row[:end])


def written(
    write: Any,
    model: Any,
    prompts: Sequence[Ids],
    seeds: Sequence[int],
    sampling: SamplingSpec,
    *,
    budget: int = HUGE,
    stop: frozenset[int] = STOP,
) -> list[list[int]]:
    """As the engine has it written."""
    generators: dict[int, torch.Generator] = {}
    found: dict[int, list[int]] = {}
    lengths = [len(prompt) + NEW for prompt in prompts]
    for pack in packs(lengths, seeds if sampling.temperature else None, budget):
        members = [i for _, group in pack for i in group]
        draws = Draws(sampling, pack, [prompts[i] for i in members], model.device, generators)
        with torch.inference_mode():
            rows = write(
                model,
                [[prompts[i]] for i in members],
                NEW,
                stop,
                lambda logits, rows, draws=draws: draws(logits[:, 0], rows),
            )
        found.update(zip(members, rows, strict=True))
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize("name", ["Gemma2", "Mistral", "Qwen3", "GPT2"])
def test_batches_in_one_are_the_batches_alone(name: str, sampling: SamplingSpec) -> None:
    model = architecture(name)
    assert can_decode(model)
    prompts = [*personas_and_answers(80)[0], (5,), (9,), *personas_and_answers(80, seed=1)[0][:4]]
    batches = [prompts[:6], prompts[6:7], prompts[7:]]
    seeds = [seed for seed, batch in enumerate(batches) for _ in batch]
    expected = [row for seed, batch in enumerate(batches) for row in reference(model, batch, seed, sampling)]
    assert written(decode, model, prompts, seeds, sampling) == expected
    assert len({len(row) for row in expected}) > (3 if sampling is WARM else 1)
    assert written(generated, model, prompts, seeds, sampling) == expected


@pytest.mark.parametrize("name", ["Bloom", "Mamba"])
def test_other_states_go_through_generate(name: str) -> None:
    model = architecture(name)
    assert not can_decode(model)
    prompts = personas_and_answers(80)[0][:5]
    expected = [*reference(model, prompts[:3], 4, WARM), *reference(model, prompts[3:], 5, WARM)]
    # Mamba's state does not bear padding: batches of unlike lengths differ, alone or not.
    if name == "Bloom":
        assert written(generated, model, prompts, [4, 4, 4, 5, 5], WARM) == expected
    assert written(generated, model, prompts[:3], [4, 4, 4], WARM) == expected[:3]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_prompts_in_any_batches(data: st.DataObject) -> None:
    model = architecture("Qwen3")
    shared = data.draw(st.lists(st.integers(0, 79), min_size=0, max_size=20))
    tails = data.draw(st.lists(st.lists(st.integers(0, 79), min_size=1, max_size=9), min_size=1, max_size=9))
    prompts = [(*shared, *tail) if data.draw(st.booleans()) else tuple(tail) for tail in tails]
    seeds = sorted(data.draw(st.integers(0, 2)) for _ in prompts)
    stop = frozenset(data.draw(st.sets(st.integers(0, 79), max_size=40)))
    expected: list[list[int]] = []
    for seed in sorted(set(seeds)):
        batch = [prompt for prompt, own in zip(prompts, seeds, strict=True) if own == seed]
        expected += reference(model, batch, seed, WARM, stop)
    assert written(decode, model, prompts, seeds, WARM, stop=stop) == expected


def test_a_batch_beyond_the_budget_goes_on_drawing_in_its_next_part() -> None:
    """As before batches were put together: a part, drawn to its end, then the next."""
    model = architecture("Qwen3")
    prompts = personas_and_answers(80)[0][:6]
    lengths = [len(prompt) + NEW for prompt in prompts]
    budget = 3 * max(lengths)
    assert [len(pack) for pack in packs(lengths, [7] * 6, budget)] == [1, 1]
    rows: dict[int, list[int]] = {}
    generators: dict[int, torch.Generator] = {}
    for ((_, members),) in packs(lengths, [7] * 6, budget):
        draws = Draws(WARM, [(7, members)], [prompts[i] for i in members], "cpu", generators)
        part = [[prompts[i]] for i in members]
        found = decode(model, part, NEW, STOP, lambda logits, of, draws=draws: draws(logits[:, 0], of))
        rows.update(zip(members, found, strict=True))
    mixed = written(decode, model, [*prompts, *prompts], [7] * 6 + [8] * 6, WARM, budget=budget)
    assert mixed[:6] == [rows[i] for i in range(6)]
    assert mixed[6:] != mixed[:6]


def test_packs_keep_to_the_budget_and_part_no_seed_twice() -> None:
    assert packs([10, 30, 20, 5], None, 60) == [[(0, [1, 2])], [(0, [0, 3])]]
    assert packs([10, 30, 20, 5], [1, 1, 2, 2], 120) == [[(1, [1, 0]), (2, [2, 3])]]
    assert packs([10, 30, 20, 5], [1, 1, 2, 2], 119) == [[(1, [1, 0])], [(2, [2, 3])]]
    assert packs([50, 40, 5], [1, 1, 2], 90) == [[(1, [0])], [(1, [1]), (2, [2])]]
    assert packs([100, 100], [1, 2], 10) == [[(1, [0])], [(2, [1])]]


def test_ended_answers_leave_the_batch_and_prefixes_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = architecture("Qwen3")
    prompts = [prompt for seed in range(3) for prompt in personas_and_answers(80, seed=seed)[0]]
    rows: list[int] = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda **options: rows.append(len(options["input_ids"])) or forward(**options)
    )
    found = written(decode, model, prompts, [0] * len(prompts), WARM)
    needed = sum(map(len, found))
    assert rows[0] == len(prompts)
    assert needed <= sum(rows) < 1.4 * needed
    read: list[int] = []
    for one in decoding._read(model, range(len(prompts)), prompts):
        read.append(one.hidden.shape[0] * one.hidden.shape[1])
    assert sum(read) < 0.5 * sum(map(len, prompts))
