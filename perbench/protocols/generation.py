"""Generation: one answer per example, scored against what the user really wrote (LongLaMP, NextQuill)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.engines.base import LEFT_OUT, Generation
from perbench.metrics import Texts, persona_swap, score_texts
from perbench.prompts.messages import Request, build_request
from perbench.prompts.pair import PromptPair, build_pairs
from perbench.protocols import missing
from perbench.protocols.base import BATCH, ENDPOINT_BATCH, Engines, SampleStore, Scored, ask, chunks
from perbench.protocols.swap import swap_logp
from perbench.seeds import derive_seed
from perbench.store.record import Scores

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.data import Dataset
    from perbench.engines.base import Engine, Tick
    from perbench.specs.load import Named
    from perbench.specs.task import TaskSpec


def sample_ids(task: Named[TaskSpec], dataset: Dataset, dev: Dataset | None = None) -> list[str]:
    """The ids of a finished cell's samples, once each."""
    return [example.id for example in dataset.examples]


def run(
    task: Named[TaskSpec], dataset: Dataset, engines: Engines, store: SampleStore, *, seed: int, tick: Tick
) -> dict[str, int]:
    """Generate what is not stored yet: {"id", "user", "question", "reference", "response", "finish_reason",
    "prompt_tokens", "new_tokens", "persona_kept", "persona_trimmed"} per example, with "missing" where there
    is no answer (see `perbench.protocols.missing`), with "persona_swap" (see
    `perbench.protocols.swap`) where the task asks for it, and "own_adapter" where users may have adapters of
    their own: whether this one has.

    Returns: tokens of all stored samples, {"prompt", "generated"}, and "scored" for the persona swap.

    Raises:
        PerbenchError: an example whose request alone exceeds max_length.
        CellError: more answers are missing than the task allows.
    """
    asker = _Endpoint if engines.subject.chat_only else _Local
    asked = asker(task.spec, dataset, engines.subject, seed)
    # Neighbours of similar length waste little padding; longest first: memory runs out at once or never.
    order = sorted(range(len(asked.lengths)), key=lambda i: (-asked.lengths[i], dataset.examples[i].id))
    finished = store.samples()
    stored = {sample["id"] for sample in finished}
    missing.check(finished, len(order), task.spec.max_missing)
    tick(len(stored), len(order), {})
    for user, number, batch in _batches(dataset.examples, order, asked.batch, engines.users):
        due = [i for i in batch if dataset.examples[i].id not in stored]
        if not due:
            continue
        begun = time.perf_counter()
        own = () if user is None else (user,)  # a user's samples depend on no other user
        with engines.subject_of(user):
            answers = asked.answers(batch, *own, number)
        speed = sum(answer.new_tokens for answer in answers) / (time.perf_counter() - begun)
        samples = {
            i: _sample(dataset.examples[i], asked.prompts[i], answer)
            for i, answer in zip(batch, answers, strict=True)
        }
        if engines.users is not None:
            for sample in samples.values():
                sample["own_adapter"] = user is not None
        if task.spec.persona_swap is not None:
            there = [i for i in batch if missing.reason(samples[i]) is None]
            swaps = swap_logp(
                task.spec,
                [(dataset.examples[i], samples[i]["response"]) for i in there],
                dataset.examples,
                engines.scorer(task.spec.persona_swap.scorer),
            )
            for i, swap in zip(there, swaps, strict=True):
                samples[i]["persona_swap"] = swap
        finished += (new := [samples[i] for i in due])
        store.append(new)
        stored.update(sample["id"] for sample in new)
        missing.check(finished, len(order), task.spec.max_missing)
        tick(len(stored), len(order), {"tok/s": speed})
    finished = store.samples()
    tokens = {
        "prompt": sum(sample["prompt_tokens"] for sample in finished),
        "generated": sum(sample["new_tokens"] for sample in finished),
    }
    if task.spec.persona_swap is not None:
        tokens["scored"] = sum(sample["persona_swap"]["tokens"] for sample in missing.answered(finished))
    return tokens


def _batches(
    examples: Sequence[Example], order: Sequence[int], size: int, users: Mapping[str, Path] | None
) -> list[tuple[str | None, int, Sequence[int]]]:
    """(user whose adapter serves, number among that user's, indices): first those of no user's adapter."""
    groups: dict[str | None, list[int]] = {}
    for index in order:
        user = examples[index].user
        groups.setdefault(user if user in (users or {}) else None, []).append(index)
    return [
        (user, number, batch)
        for user in sorted(groups, key=lambda user: (user is not None, user or ""))
        for number, batch in enumerate(chunks(groups[user], size))
    ]


class _Local:
    """Prompts as token ids, answered by a model on this machine."""

    batch = BATCH

    def __init__(self, task: TaskSpec, dataset: Dataset, engine: Engine, seed: int) -> None:
        pairs = build_pairs(
            task, dataset.examples, engine.tokenizer, with_response=False, context=engine.context
        )
        self._skipped = {i for i, pair in enumerate(pairs) if pair is None}
        self.prompts = [PromptPair((), (), (), 0, 0) if pair is None else pair for pair in pairs]
        self.lengths = [len(prompt.factual) for prompt in self.prompts]
        self._task, self._engine, self._seed = task, engine, seed

    def answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        asked = [i for i in batch if i not in self._skipped]
        found = dict(zip(asked, self._answers(asked, *place), strict=True)) if asked else {}
        return [found.get(i, LEFT_OUT) for i in batch]

    def _answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        prompts = [self.prompts[i].factual for i in batch]
        seed = derive_seed("generation", self._seed, *place)
        decoding, sampling = self._task.decoding, self._task.sampling
        if decoding.method == "ordinary":
            return self._engine.generate(prompts, sampling, seed=seed)
        without = [self.prompts[i].counterfactual for i in batch]
        return self._engine.steer(prompts, without, sampling, lam=decoding.lam, seed=seed)


class _Endpoint:
    """Prompts as messages, answered by an endpoint. Requests stand alone: whatever batch they are in, the
    cache of replies shall know them again."""

    batch = ENDPOINT_BATCH

    def __init__(self, task: TaskSpec, dataset: Dataset, engine: Engine, seed: int) -> None:
        self.prompts = [build_request(task, example) for example in dataset.examples]
        self.lengths = [prompt.tokens for prompt in self.prompts]
        self._task, self._engine, self._seed = task, engine, seed

    def answers(self, batch: Sequence[int], *place: str | int) -> list[Generation]:
        messages = [self.prompts[i].messages for i in batch]
        seed = derive_seed("generation", self._seed)
        return ask(self._task, self._engine, messages, self._task.sampling, seed=seed)


def _sample(example: Example, pair: PromptPair | Request, answer: Generation) -> dict[str, Any]:
    return {
        "id": example.id,
        "user": example.user,
        "question": example.question,
        "reference": example.reference,
        "response": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "new_tokens": answer.new_tokens,
        "persona_kept": pair.kept,
        "persona_trimmed": pair.trimmed,
        **({missing.MISSING: answer.missing} if answer.missing is not None else {}),
    }


def score(task: Named[TaskSpec], samples: Sequence[dict[str, Any]]) -> Scored:
    """The task's metrics over stored samples."""
    there = missing.answered(samples)
    texts = Texts(
        predictions=[sample.get("response", "") for sample in samples],
        references=[sample["reference"] for sample in samples],
        clusters=[sample["user"] for sample in samples],
        truncated=[sample.get("finish_reason") == "length" for sample in samples],
        missing=missing.reasons(samples),
    )
    found = score_texts(task.spec.metrics, texts)
    swap = task.spec.persona_swap
    if swap is not None:
        for name, measured in persona_swap.measure(swap, samples, task.spec.sampling.max_new_tokens).items():
            found.metrics[name] = measured.metric
            found.per_sample[name] = measured.per_sample or []
        found.notes.extend(persona_swap.notes(swap, there))
    swapped = {"persona_swap_left_out": persona_swap.left_out(there)} if swap is not None else {}
    own = [sample["own_adapter"] for sample in samples if "own_adapter" in sample]
    adapters = {"own_adapter": sum(own), "task_adapter": len(own) - sum(own)} if own else {}
    if own and not all(own):
        found.notes.append(f"{len(own) - sum(own)} of {len(own)} answers by no adapter of the user's own")
    return Scored(
        scores=Scores(
            ids=[sample["id"] for sample in samples],
            clusters=list(texts.clusters),
            scores=found.per_sample,
        ),
        metrics=found.metrics,
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "persona_items_kept": sum(sample["persona_kept"] for sample in there),
            "persona_items_trimmed": sum(sample["persona_trimmed"] for sample in there),
            **missing.counts(samples),
            **swapped,
            **adapters,
        },
        notes=found.notes,
    )
