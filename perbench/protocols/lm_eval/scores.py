"""Scores of stored documents: lm-eval's aggregations over the documents of a task or group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perbench.contracts.metric import mean_metric, rows_metric
from perbench.contracts.resume import Sample
from perbench.contracts.run import Scored
from perbench.store.record import Metric, Scores

from .aggregates import MEAN, aggregation, grouped, median
from .catalogue import GroupMetric
from .warned import warning_notes

if TYPE_CHECKING:
    from perbench.stats.spread import Floats

    from .section import LmEvalSpec

NAN = "not a finite number"
BY, TASKS = "by", "tasks"
"""Parts of a signature: the aggregation, and how a group weighs its tasks."""
Rows = list[list[float] | None]


def score(
    name: str, wanted: LmEvalSpec, samples: Sequence[Sample], rules: Sequence[GroupMetric] = ()
) -> Scored:
    """Every metric over the documents of a task; of a group's tasks together, or as its `rules` say."""
    found = _DocumentScores(name, wanted, samples)
    for metric in dict.fromkeys(one for sample in samples for one in sample["metrics"]):
        found.mean(metric)
    for metric in dict.fromkeys(one for sample in samples for one in sample["corpus"]):
        found.corpus(metric)
    for rule in rules:
        found.group(rule)
    return found.scored()


def statistic(signature: str) -> Callable[[Floats], Floats] | None:
    """That of the sums of a metric with this signature; None if it is not of sums."""
    parts = dict(part.split(":", 1) for part in signature.split("|") if ":" in part)
    one = aggregation(parts.get(BY, MEAN))
    if one is None or TASKS not in parts:
        return one.of if one is not None else None
    count, _, weight = parts[TASKS].partition(" ")
    return grouped(one, int(count), weight == "by size") if count.isdecimal() else None


class _DocumentScores:
    def __init__(self, name: str, wanted: LmEvalSpec, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._clusters = [sample["user"] for sample in samples]
        self._tasks = sorted({sample["task"] for sample in samples})
        shots = "task's" if wanted.num_fewshot is None else wanted.num_fewshot
        version = ",".join(sorted({sample["lm_eval"] for sample in samples}))
        self._tail = f"lm_eval:{version}|task:{name}|shots:{shots}|chat:{wanted.chat_template}"
        self._metrics: dict[str, Metric] = {}
        self._means: dict[str, list[float | None]] = {}
        self._sums: dict[str, Rows] = {}
        self._absent: dict[str, str] = {}
        for sample in samples:
            for metric, why in sample["unscored"].items():
                self._absent.setdefault(metric, why)

    def mean(self, metric: str) -> None:
        values = [sample["metrics"].get(metric) for sample in self._samples]
        why = [NAN if metric in sample["metrics"] else None for sample in self._samples]
        self._means[metric] = values
        self._metrics[metric] = mean_metric(values, self._clusters, f"{metric}|{self._tail}", why)

    def corpus(self, metric: str) -> None:
        held = [sample["corpus"].get(metric) for sample in self._samples]
        kinds = {one[0] for one in held if one is not None} | ({MEAN} if metric in self._means else set())
        if len(kinds) > 1:
            self._absent[metric] = f"its tasks aggregate it differently ({', '.join(sorted(kinds))})"
            self._means.pop(metric, None)
            self._metrics.pop(metric, None)
            return
        kind, values = kinds.pop(), [one[1] for one in held if one is not None]
        counted: dict[str, Any] = {"n": len(values), "missing": len(held) - len(values)}
        signature = f"{metric}|{self._tail}|{BY}:{kind}"
        one = aggregation(kind)
        if one is None:
            self._metrics[metric] = Metric(
                value=median(values), users=len(values), signature=signature, **counted
            )
            return
        try:
            rows = iter(one.rows(values))
        except (ValueError, TypeError) as error:
            self._absent[metric] = f"lm-eval's aggregation {kind} cannot read its values: {error}"
            return
        self._summed(metric, [None if one is None else next(rows) for one in held], signature, one.of)

    def group(self, rule: GroupMetric) -> None:
        """Replace the values over all documents by those of the group's own aggregation."""
        for metric in [*self._means, *self._sums]:
            plain, _, filtered = metric.partition(",")
            named = rule.filters is None or (filtered or "none") in rule.filters
            kind = MEAN if metric in self._means else self._metrics[metric].signature.rpartition(f"|{BY}:")[2]
            if plain == rule.metric and named and (kind != MEAN or not rule.by_size):
                self._by_task(metric, kind, rule.by_size)

    def _by_task(self, metric: str, kind: str, by_size: bool) -> None:
        one = aggregation(kind)
        assert one is not None, "it has sums"
        if metric in self._means:
            values = self._means.pop(metric)
            rows: Rows = [None if value is None else [value, 1.0] for value in values]
        else:
            rows = self._sums[metric]
        held = sorted({task for task, row in zip(self._of(), rows, strict=True) if row is not None})
        blocks: Rows = []
        for task, row in zip(self._of(), rows, strict=True):
            block = [0.0] * len(row) if row is not None else []
            blocks.append(row and [x for other in held for x in (row if other == task else block)])
        weight = "by size" if by_size else "equal"
        signature = f"{metric}|{self._tail}|{BY}:{kind}|{TASKS}:{len(held)} {weight}"
        self._summed(metric, blocks, signature, grouped(one, len(held), by_size))

    def _of(self) -> list[str]:
        return [sample["task"] for sample in self._samples]

    def _summed(self, metric: str, rows: Rows, signature: str, of: Callable[[Floats], Floats]) -> None:
        self._sums[metric] = rows
        self._metrics[metric] = rows_metric(of, rows, self._clusters, signature)

    def scored(self) -> Scored:
        left = {metric: why for metric, why in self._absent.items() if metric not in self._metrics}
        return Scored(
            scores=Scores(
                ids=[sample["id"] for sample in self._samples],
                clusters=self._clusters,
                scores=self._means,
                sums=self._sums,
            ),
            metrics=self._metrics,
            counts={"samples": len(self._samples), "tasks": len(self._tasks)},
            notes=[
                *(f"metric {metric} absent: {why}" for metric, why in sorted(left.items())),
                *warning_notes([sample.get("warnings", []) for sample in self._samples]),
            ],
        )
