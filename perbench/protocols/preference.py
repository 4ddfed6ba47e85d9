"""Preference following (PrefEval, arXiv 2502.09597, explicit form, zero-shot).

The user states a preference, the model replies, exchanges about other things follow, and the user asks a
question that a generic answer would get wrong. A judge checks the answer four times, yes or no.

accurate = helpful and not violating, as PrefEval's own accuracy comes out; hallucinates counts only where the
answer acknowledges a preference, as there. PrefEval hands its hallucination check the sentence that its
acknowledgement check quoted; ours reads the whole answer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perbench.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.judges.checks import Check, check, check_likeliest
from perbench.metrics import mean_metric
from perbench.protocols import missing
from perbench.protocols.base import BATCH, ENDPOINT_BATCH, Engines, SampleStore, Scored, ask, chunks
from perbench.seeds import derive_seed
from perbench.specs.preference import CHECKS
from perbench.store.record import Scores

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.data import Dataset
    from perbench.engines.base import Engine, Generation, Tick
    from perbench.specs.load import Named
    from perbench.specs.preference import PreferenceSpec
    from perbench.specs.task import TaskSpec

Message = dict[str, str]
OFFICIAL = "official"
"""A row's `turns_from` where its exchanges are the benchmark's own."""


def _spec(task: Named[TaskSpec]) -> PreferenceSpec:
    assert task.spec.preference is not None, "the spec's validator saw to it"
    return task.spec.preference


def sample_ids(task: Named[TaskSpec], dataset: Dataset, dev: Dataset | None = None) -> list[str]:
    """The ids of a finished cell's samples, once each."""
    return [example.id for example in dataset.examples]


def run(
    task: Named[TaskSpec], dataset: Dataset, engines: Engines, store: SampleStore, *, seed: int, tick: Tick
) -> dict[str, int]:
    """Ask what is not stored yet: {"id", "user", "preference", "question", "turns_from": who wrote the
    exchanges, where the row says so, "first_reply": to the preference,
    "response", "finish_reason", "prompt_tokens", "new_tokens", "checks": {name: true, false or null},
    "checks_raw": {name: the judge's reply}, "checks_missing": {name: why it is null}, "overhead": tokens of
    the judge} per example, with "missing" where there is no answer, or none to the preference; it is not
    judged.

    Returns: tokens of all stored samples: {"prompt", "generated"} of the model under evaluation,
    {"judge_prompt", "judge_generated"}.

    Raises:
        PerbenchError: a row without preference, or with too few exchanges.
        CellError: more answers are missing than the task allows.
    """
    spec = _spec(task)
    examples = sorted(dataset.examples, key=lambda example: example.id)
    openings = {example.id: _opening(spec, example) for example in examples}
    finished = store.samples()
    stored = {sample["id"] for sample in finished}
    missing.check(finished, len(examples), task.spec.max_missing)
    judge = engines.named(spec.judge.model)
    tick(len(stored), len(examples), {})
    paid = engines.subject.chat_only or judge.chat_only
    for number, batch in enumerate(chunks(examples, ENDPOINT_BATCH if paid else BATCH)):
        if all(example.id in stored for example in batch):
            continue
        begun = time.perf_counter()
        # Requests to an endpoint stand alone: whatever batch they are in, the cache shall know them again.
        place = 0 if engines.subject.chat_only else number
        seeds = {role: derive_seed("preference", role, seed, place) for role in ("first", "answer")}
        told = [openings[example.id] for example in batch]
        subject, sampling = engines.subject, task.spec.sampling
        first = ask(task.spec, subject, told, sampling, seed=seeds["first"])
        went_on = [i for i, reply in enumerate(first) if reply.missing is None]
        asked = [_conversation(spec, batch[i], told[i], first[i].text) for i in went_on]
        found = ask(task.spec, subject, asked, sampling, seed=seeds["answer"])
        answers = dict(zip(went_on, found, strict=True))
        there = [i for i in went_on if answers[i].missing is None]
        judged = _judge(spec, judge, [batch[i] for i in there], [answers[i].text for i in there])
        checks = dict(zip(there, judged, strict=True))
        samples = [
            _sample(example, first[i], answers.get(i), checks.get(i, {})) for i, example in enumerate(batch)
        ]
        new = [sample for sample in samples if sample["id"] not in stored]
        store.append(new)
        finished += new
        stored.update(sample["id"] for sample in new)
        missing.check(finished, len(examples), task.spec.max_missing)
        speed = sum(sample["new_tokens"] for sample in samples) / (time.perf_counter() - begun)
        tick(len(stored), len(examples), {"tok/s": speed})
    finished = store.samples()
    return {
        "prompt": sum(sample["prompt_tokens"] for sample in finished),
        "generated": sum(sample["new_tokens"] for sample in finished),
        "judge_prompt": sum(sample["overhead"]["judge_prompt"] for sample in finished),
        "judge_generated": sum(sample["overhead"]["judge_generated"] for sample in finished),
    }


def _opening(spec: PreferenceSpec, example: Example) -> list[Message]:
    preference, turns = example.extra.get("preference"), example.extra.get("turns")
    if not isinstance(preference, str) or not preference.strip():
        raise PerbenchError(f"example {example.id}: no text `preference`; list it in the task's fields.extra")
    fits = isinstance(turns, Sequence) and all(
        isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in turns
    )
    if spec.turns and (not fits or len(turns or ()) < spec.turns):
        raise PerbenchError(
            f"example {example.id}: preference.turns asks for {spec.turns} exchanges; its `turns` must be "
            f"so many [user, assistant] pairs (found {len(turns) if fits and turns else 'none'}); lower it"
        )
    system = [{"role": "system", "content": spec.system}] if spec.system is not None else []
    return [*system, {"role": "user", "content": preference}]


def _conversation(
    spec: PreferenceSpec, example: Example, opening: list[Message], reply: str
) -> list[Message]:
    between = [
        {"role": role, "content": text}
        for pair in (example.extra["turns"][: spec.turns] if spec.turns else [])
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    question = spec.question.format_map({"question": example.question})
    answered = {"role": "assistant", "content": reply}
    return [*opening, answered, *between, {"role": "user", "content": question}]


def _judge(
    spec: PreferenceSpec, engine: Engine, batch: Sequence[Example], responses: Sequence[str]
) -> list[dict[str, Check]]:
    judge = spec.judge
    found: list[dict[str, Check]] = [{} for _ in batch]
    for name in CHECKS:
        texts = [
            getattr(judge, name).format_map(
                {
                    "preference": example.extra["preference"],
                    "question": example.question,
                    "response": response,
                }
            )
            for example, response in zip(batch, responses, strict=True)
        ]
        likeliest = judge.method == "likeliest"
        answers = check_likeliest(engine, texts) if likeliest else check(engine, texts, judge.max_new_tokens)
        for kept, answer in zip(found, answers, strict=True):
            kept[name] = answer
    return found


def _sample(
    example: Example, first: Generation, answer: Generation | None, checks: Mapping[str, Check]
) -> dict[str, Any]:
    """`answer` is None where the reply to the preference is missing, so that nothing more was asked."""
    last = first if answer is None else answer
    return {
        "id": example.id,
        "user": example.user,
        "preference": example.extra["preference"],
        "question": example.question,
        "turns_from": example.extra.get("turns_from"),
        "first_reply": first.text,
        "response": "" if answer is None else answer.text,
        "finish_reason": last.finish_reason,
        "prompt_tokens": first.prompt_tokens + (0 if answer is None else answer.prompt_tokens),
        "new_tokens": first.new_tokens + (0 if answer is None else answer.new_tokens),
        "checks": {name: checks[name].value if name in checks else None for name in CHECKS},
        "checks_raw": {name: checks[name].raw if name in checks else "" for name in CHECKS},
        "checks_missing": {name: found.why for name, found in checks.items() if found.why is not None},
        "overhead": {
            "judge_prompt": sum(found.prompt_tokens for found in checks.values()),
            "judge_generated": sum(found.new_tokens for found in checks.values()),
        },
        **({missing.MISSING: last.missing} if last.missing is not None else {}),
    }


def outcome(checks: Mapping[str, bool | None]) -> dict[str, float | None]:
    """The metrics of one answer, 0 or 1; None where a check that decides is missing."""
    violates, acknowledges = checks["violates"], checks["acknowledges"]
    hallucinates, helpful = checks["hallucinates"], checks["helpful"]
    made_up = False if acknowledges is False else None if acknowledges is None else hallucinates
    accurate = None if violates is None or helpful is None else helpful and not violates
    if violates is True or helpful is False:
        accurate = False  # whatever the other check would have said
    values = {
        "accurate": accurate,
        "violates": violates,
        "acknowledges": acknowledges,
        "hallucinates": made_up,
        "helpful": helpful,
    }
    return {name: None if value is None else float(value) for name, value in values.items()}


def _unjudged(sample: Mapping[str, Any]) -> str | None:
    """The first of the reasons why checks of an answer are missing."""
    reasons: Mapping[str, str] = sample.get("checks_missing", {})
    return next(iter(reasons.values()), None)


def score(task: Named[TaskSpec], samples: Sequence[dict[str, Any]]) -> Scored:
    """Shares of answers, with intervals over users."""
    spec = _spec(task)
    judge = spec.judge
    clusters = [sample["user"] for sample in samples]
    rows = [outcome(sample["checks"]) for sample in samples]
    wording = canonical_digest([getattr(judge, name) for name in CHECKS])[:12]
    tail = f"judge:{judge.model}|method:{judge.method}|instructions:{wording}|turns:{spec.turns}"
    values = {name: [row[name] for row in rows] for name in ("accurate", *CHECKS)}
    there = missing.answered(samples)
    why = [missing.reason(sample) or _unjudged(sample) for sample in samples]
    notes = []
    open_ = Counter(reason for sample in there for reason in sample.get("checks_missing", {}).values())
    if open_:
        asked = len(CHECKS) * len(there)
        notes.append(
            f"the judge {judge.model} said neither yes nor no in {open_.total()} of {asked} "
            f"checks ({missing.told(open_)}); preference.judge.max_new_tokens is {judge.max_new_tokens}"
        )
    writers = sorted({str(sample["turns_from"]) for sample in samples if sample.get("turns_from")})
    if spec.turns and writers:
        tail += f"|turns_from:{','.join(writers)}"
    if spec.turns and set(writers) - {OFFICIAL}:
        told = ", ".join(writers)
        notes.append(f"the exchanges between preference and question are not the benchmark's own: {told}")
    if not judge.calibrated:
        notes.append(f"the judge {judge.model} is uncalibrated; its checks are no measure of quality")
    return Scored(
        scores=Scores(ids=[sample["id"] for sample in samples], clusters=clusters, scores=dict(values)),
        metrics={name: mean_metric(found, clusters, f"{name}|{tail}", why) for name, found in values.items()},
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "missing_scores": sum(value is None for s in there for value in s["checks"].values()),
            **missing.counts(samples),
        },
        notes=notes,
    )
