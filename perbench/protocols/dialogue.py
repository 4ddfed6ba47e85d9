"""Dialogue (ALOE, arXiv 2410.03642): a simulated user with a profile and a personality talks to the model,
which has no system prompt and must find out whom it talks to. Every reply is rated by a judge.

AL(k), ALOE's alignment level at turn k, is the mean rating of turn k; PerCE reports the mean over turns 6-10
(`report_turns`), ALOE also how AL(k) rises with k. Beside the rating stands a score that needs no judgement:
PMI, how much more likely the reply is under the judge's model once it is told who the user is, per token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perbench.digests import canonical_digest
from perbench.judges.agreement import judge_agreement
from perbench.metrics import mean_metric
from perbench.metrics.scripts import UNSPACED_ANSWER, word_count
from perbench.protocols import missing
from perbench.protocols.base import Engines, SampleStore, Scored, chunks
from perbench.protocols.improvement import improvement
from perbench.protocols.turns import PMI_SYSTEM, Dialogue, Talk
from perbench.store.record import Metric, Scores, TurnValue

if TYPE_CHECKING:
    from perbench.data import Dataset
    from perbench.engines.base import Tick
    from perbench.specs.dialogue import DialogueSpec, JudgeSpec
    from perbench.specs.load import Named
    from perbench.specs.task import TaskSpec


def _spec(task: Named[TaskSpec]) -> DialogueSpec:
    assert task.spec.dialogue is not None, "the spec's validator saw to it"
    return task.spec.dialogue


def sample_ids(task: Named[TaskSpec], dataset: Dataset, dev: Dataset | None = None) -> list[str]:
    """The ids of a finished cell's samples, once each."""
    turns = range(1, _spec(task).turns + 1)
    return [f"{example.id}#{turn}" for turn in turns for example in dataset.examples]


def run(
    task: Named[TaskSpec], dataset: Dataset, engines: Engines, store: SampleStore, *, seed: int, tick: Tick
) -> dict[str, int]:
    """Hold what is missing of the dialogues, turn by turn, all of them side by side in fixed batches.

    One sample per persona and turn: {"id": "<example>#<turn>", "user", "turn", "message", "response",
    "finish_reason", "prompt_tokens", "new_tokens", "turns_dropped", "rating": 1..5 or None, "rating_raw":
    every reply of the judge, "pmi": nats per token or None, "overhead": tokens of simulator and judges}; with
    a second judge also "rating_second" and "rating_second_raw"; "rating_missing" says why a rating is None.
    With "missing" where the simulator's message or the reply is, or where the task skips what is too long for
    the model or the simulator: the dialogue ends there, and its later turns are missing, too.

    Returns: tokens of all stored samples: {"prompt", "generated"} of the model under evaluation,
    {"simulator_prompt", ...} and {"judge_prompt", ...} of the others.

    Raises:
        PerbenchError: a persona without profile and personality, or a message so long that it exceeds
            max_length alone.
        CellError: more replies are missing than the task allows.
    """
    spec = _spec(task)
    stored = {sample["id"]: sample for sample in store.samples()}
    dialogues = [Dialogue(example, stored) for example in sorted(dataset.examples, key=lambda e: e.id)]
    talk = Talk(task.spec, spec, engines, seed)
    total = len(dialogues) * spec.turns
    missing.check(list(stored.values()), total, task.spec.max_missing)
    tick(len(stored), total, {})
    for turn in range(1, spec.turns + 1):
        for number, batch in enumerate(chunks(dialogues, talk.batch)):
            if all(dialogue.sample_id(turn) in stored for dialogue in batch):
                continue
            begun = time.perf_counter()
            samples = talk.turn(turn, number, batch)
            new = [sample for sample in samples if sample["id"] not in stored]
            store.append(new)
            stored.update((sample["id"], sample) for sample in new)
            missing.check(list(stored.values()), total, task.spec.max_missing)
            speed = sum(sample["new_tokens"] for sample in samples) / (time.perf_counter() - begun)
            tick(len(stored), total, {"tok/s": speed})
    return _tokens(list(stored.values()))


def _tokens(samples: Sequence[dict[str, Any]]) -> dict[str, int]:
    totals = {
        "prompt": sum(sample["prompt_tokens"] for sample in samples),
        "generated": sum(sample["new_tokens"] for sample in samples),
    }
    for sample in samples:
        for name, count in sample["overhead"].items():
            totals[name] = totals.get(name, 0) + count
    return totals


def score(task: Named[TaskSpec], samples: Sequence[dict[str, Any]]) -> Scored:
    """Ratings and PMI, by turn and over the reported turns. `scores` holds the reported turns only, so that
    a comparison between cells is one of headlines."""
    spec = _spec(task)
    reported = set(spec.report_turns or range(1, spec.turns + 1))
    chosen = [sample for sample in samples if sample["turn"] in reported]
    judge = spec.judge
    turns = ",".join(map(str, sorted(reported)))
    signatures = {"rating": f"rating|1-5|{_signature(judge)}|turns:{turns}"}
    if judge.pmi:
        wording = canonical_digest(PMI_SYSTEM)[:12]
        signatures["pmi"] = f"pmi|nats/token|model:{judge.model}|system:{wording}|turns:{turns}"
    metrics = {name: _metric(name, samples, chosen, signature) for name, signature in signatures.items()}
    clusters = [sample["user"] for sample in chosen]
    words = [word_count(one["response"]) if missing.reason(one) is None else None for one in chosen]
    why = [missing.reason(sample) or UNSPACED_ANSWER for sample in chosen]
    metrics["length"] = mean_metric(words, clusters, f"length|words:whitespace|turns:{turns}", why)
    there = missing.answered(samples)
    notes = []
    rated, people = ([sample[name] for sample in samples] for name in ("rating", "user"))
    if spec.turns > 1:
        at = [sample["turn"] for sample in samples]
        metrics |= improvement(rated, at, people, f"rating|1-5|{_signature(judge)}")
    if spec.second_judge is not None:
        second = [sample["rating_second"] for sample in samples]
        agreed = judge_agreement(rated, second, people, f"rating|{'|'.join(map(_signature, spec.judges()))}")
        metrics |= agreed
        if agreed["judge_kappa"].value is None and agreed["judge_kappa"].n:
            notes.append(
                "judge_kappa has no value: both judges gave one rating throughout, so that chance alone "
                "would agree in full"
            )
    if not judge.calibrated:
        notes.append(
            f"rating: the judge {judge.model} is uncalibrated; its ratings are no measure of quality"
        )
    return Scored(
        scores=Scores(
            ids=[sample["id"] for sample in chosen],
            clusters=clusters,
            scores={**{name: [sample[name] for sample in chosen] for name in signatures}, "length": words},
        ),
        metrics=metrics,
        counts={
            "samples": len(samples),
            "truncated": sum(sample["finish_reason"] == "length" for sample in there),
            "empty": sum(not sample["response"].strip() for sample in there),
            "empty_messages": sum(not sample["message"] for sample in there),
            "turns_dropped": sum(sample["turns_dropped"] for sample in there),
            "missing_scores": sum(sample["rating"] is None for sample in there),
            "judge_retries": sum(len(sample["rating_raw"]) - 1 for sample in there),
            **(
                {"missing_second_scores": sum(sample["rating_second"] is None for sample in there)}
                if spec.second_judge is not None
                else {}
            ),
            **missing.counts(samples),
        },
        notes=notes,
    )


def _signature(judge: JudgeSpec) -> str:
    wording = canonical_digest(judge.instruction)[:12]
    return f"judge:{judge.model}|method:{judge.method}|instruction:{wording}"


def _unscored(name: str, sample: dict[str, Any]) -> str | None:
    """Why a sample without a score has none."""
    unrated = sample.get("rating_missing") if name == "rating" else "reply without tokens"
    return missing.reason(sample) or unrated


def _metric(
    name: str, samples: Sequence[dict[str, Any]], chosen: Sequence[dict[str, Any]], signature: str
) -> Metric:
    def mean(part: Sequence[dict[str, Any]]) -> Metric:
        values, people = [sample[name] for sample in part], [sample["user"] for sample in part]
        return mean_metric(values, people, signature, [_unscored(name, sample) for sample in part])

    by_turn = []
    for turn in sorted({sample["turn"] for sample in samples}):
        found = mean([sample for sample in samples if sample["turn"] == turn])
        by_turn.append(TurnValue(turn=turn, value=found.value, ci=found.ci, n=found.n))
    return mean(chosen).model_copy(update={"by_turn": by_turn})
