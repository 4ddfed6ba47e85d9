"""A run whose records and samples hold given texts in every place that takes a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perbench.contracts.metric import mean_metric
from perbench.disk.digests import canonical_digest
from perbench.store import Labels, Metric, RunDir, Scores
from tests.site.made import marked, not_durable, write_cell


def write_run(path: Path, texts: Sequence[str]) -> Path:
    """For each text a cell with it as trainer, source and target, every second one failed, the others beside
    one of the baseline; one cell of each protocol has them all in its samples."""
    with not_durable():
        return _write_run(path, texts)


def _write_run(path: Path, texts: Sequence[str]) -> Path:
    run = RunDir(path)
    plan: dict[str, Labels] = {}
    for place, text in enumerate(texts):
        following = [texts[(place + step) % len(texts)] for step in range(1, 6)]
        failed = place % 2 == 0
        for trainer in (text,) if failed else (text, "ce"):
            labels = Labels(
                model="m",
                model_label=text if trainer == text else None,
                trainer=trainer,
                trainer_params={text: [text]} if trainer == text else {},
                source=text,
                target=text,
                seed=0,
            )
            _evaluate(run, labels, texts if place == 1 else texts[:6], following, plan, failed)
    _train(run, texts, plan)
    _talk(run, texts, plan)
    for text in texts[::4]:
        _identify(run, text, texts, plan)
    spec = {
        "summary": " ".join(texts),
        "models": ["m"],
        "targets": list(texts),
        "baseline": "ce",
        "tasks": {},
    }
    command = f"perbench run --matrix {texts[0]}"
    started = "2026-11-20T08:00:00Z"
    run.describe(matrix=texts[1], spec=spec, command=command, started=started, cells=plan)
    return path


def _everywhere(texts: Sequence[str]) -> dict[str, Any]:
    """Fields of a record that hold many texts."""
    each = dict.fromkeys(texts, 1)
    use = {"requests": 5, "answers": 3, "cost": 0.25, "currency": texts[0], "served": list(texts)}
    return {
        "notes": list(texts),
        "counts": {"samples": 6, **each},
        "tokens": each,
        "environment": {text: text for text in texts},
        "endpoints": dict.fromkeys(texts[:3], use),
    }


def _evaluate(
    run: RunDir,
    labels: Labels,
    texts: Sequence[str],
    following: Sequence[str],
    plan: dict[str, Labels],
    failed: bool,
) -> None:
    text = str(labels.target)
    inputs = {
        "version": 3,
        "model": {"name": "m"},
        "train": None,
        "target": {"name": text, "protocol": "generation", "prompt": {"system": text, text: text}},
        "data": text,
        "seed": 0,
        "trainer": labels.trainer,
    }
    fields = {"command": following[0], **_everywhere(texts)}
    if failed:
        error = {"type": following[1], "message": following[2], "traceback": following[3]}
        record = write_cell(run, "eval", labels, inputs, status="failed", error=error, **fields)
    else:
        samples = [
            {
                "id": f"{number}{one}",
                "user": one,
                "question": one,
                "reference": f"{one} reference",
                "response": f"{one} response",
                "finish_reason": one,
                "prompt_tokens": 9,
                "new_tokens": 9,
            }
            for number, one in enumerate(texts)
        ]
        values = np.random.default_rng(len(labels.trainer or "")).random(len(texts)).tolist()
        signature = f"rougeL|{text}"
        metrics = {"rougeL": mean_metric(values, list(texts), signature)}
        metrics |= {one: Metric(value=0.5, n=3, why={one: 1}, missing=1, signature=one) for one in texts[:6]}
        scores = Scores(
            ids=[str(one["id"]) for one in samples], clusters=list(texts), scores={"rougeL": values}
        )
        fields |= {"headline": "rougeL", "metrics": metrics}
        record = write_cell(run, "eval", labels, inputs, samples=samples, scores=scores, **fields)
    plan[record.identity] = labels


def _train(run: RunDir, texts: Sequence[str], plan: dict[str, Labels]) -> None:
    labels = Labels(model="m", trainer="ce", source=texts[0], seed=0, training={texts[0]: texts[1]})
    inputs = {"version": 2, "model": {"name": "m"}, "trainer": {"name": "ce", "params": {}}, "seed": 0}
    log = [{"step": 1.0, **dict.fromkeys(texts[:9], 1.0)}]
    record = write_cell(run, "train", labels, inputs, training_log=log, **_everywhere(texts))
    plan[record.identity] = labels


def _talk(run: RunDir, texts: Sequence[str], plan: dict[str, Labels]) -> None:
    """A dialogue with a turn for each text."""
    labels = Labels(model="m", trainer="ce", source=texts[0], target="talk", seed=0)
    inputs = {"version": 3, "target": {"name": "talk", "protocol": "dialogue"}, "seed": 0}
    samples = [
        {
            "id": f"{one}#{number}",
            "user": one,
            "turn": 1,
            "message": one,
            "response": one,
            "finish_reason": "stop",
            "prompt_tokens": 9,
            "new_tokens": 9,
            "turns_dropped": 0,
            "rating": 3,
            "rating_raw": [one],
            "pmi": 0.5,
            "overhead": dict.fromkeys(
                ("simulator_prompt", "simulator_generated", "judge_prompt", "judge_generated"), 1
            ),
        }
        for number, one in enumerate(texts)
    ]
    values = [3.0 + number % 3 for number in range(len(texts))]
    metric = mean_metric(values, list(texts), "rating")
    turn = {"turn": 1, "value": metric.value, "ci": metric.ci, "n": metric.n}
    metric = Metric.model_validate({**metric.model_dump(), "by_turn": [turn]})
    scores = Scores(ids=[str(one["id"]) for one in samples], clusters=list(texts), scores={"rating": values})
    fields = {"headline": "rating", "metrics": {"rating": metric}, **_everywhere(texts)}
    record = write_cell(run, "eval", labels, inputs, samples=samples, scores=scores, **fields)
    plan[record.identity] = labels


def _identify(run: RunDir, text: str, texts: Sequence[str], plan: dict[str, Labels]) -> None:
    labels = Labels(model="m", identifier=text, target="marks", seed=0, identifier_params={text: text})
    inputs = {"version": 3, "identifier": text, "target": {"name": "marks", "protocol": "identification"}}
    rng = np.random.default_rng(len(text))
    held = texts if text == texts[0] else texts[:4]
    samples = [
        {
            **marked(one, rng),
            "id": f"{number}{one}",
            "persona": [one, one],
            "question": one,
            "response": f"Got a deer last season. {one}",
        }
        for number, one in enumerate(held)
    ]
    metric = Metric(value=0.5, ci=(0.4, 0.6), users=9, n=9, signature=f"f1|{text}")
    fields = {"metrics": {"f1": metric}, "headline": "f1", **_everywhere(held)}
    record = write_cell(run, "identify", labels, inputs, samples=samples, **fields)
    plan[record.identity] = labels
    assert record.identity == canonical_digest(inputs)
