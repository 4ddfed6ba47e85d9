"""lm-eval's aggregations over documents, as statistics of sums of the documents' numbers.

Sums let an interval leave out one document at a time, and let two models be compared by document. A row [K]
of a document ends with its weight of 1, so that sums hold the number of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.stats.spread import Floats

MEAN = "mean"
SACREBLEU = {"bleu": "BLEU", "chrf": "CHRF", "chrf++": "CHRF", "ter": "TER"}
LOWER = frozenset({"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter"})
"""Metrics of lm-eval of which lower values are better, by its registry."""


@dataclass(frozen=True)
class Aggregation:
    """`rows`: the numbers [N, K] of documents' stored values; `of`: values [B] of sums [B, K], nan if
    undefined."""

    rows: Callable[[Sequence[Any]], list[list[float]]]
    of: Callable[[Floats], Floats]


def aggregation(name: str) -> Aggregation | None:
    """One of lm-eval's aggregations by its name there; None if it is not computed from sums."""
    if name in SACREBLEU:
        return Aggregation(lambda values: _corpus_rows(name, values), lambda sums: _corpus(name, sums))
    return _SUMS.get(name)


def computes(name: str) -> bool:
    """Whether values of lm-eval's aggregation `name` can be computed from stored ones."""
    return name in (MEAN, "nanmean", "brier_score", "median") or aggregation(name) is not None


def grouped(one: Aggregation, tasks: int, by_size: bool) -> Callable[[Floats], Floats]:
    """The mean of tasks' values, weighted by their documents or not, from sums [B, tasks * K] of blocks of
    each task's rows."""
    import numpy as np

    def of(sums: Floats) -> Floats:
        blocks = sums.reshape(len(sums), tasks, -1)
        values = one.of(blocks.reshape(len(sums) * tasks, -1)).reshape(len(sums), tasks)
        weights = blocks[..., -1] if by_size else np.ones_like(values)
        found: Floats = (values * weights).sum(axis=1) / weights.sum(axis=1)
        return found

    return of


def median(values: Sequence[float]) -> float:
    """As lm-eval: the upper one of two middle values."""
    return sorted(values)[len(values) // 2]


# ---------------------------------------------------------------- the aggregations


def _mean(sums: Floats) -> Floats:
    from perbench.stats.spread import ratio

    return ratio(sums)


def _pairs(values: Sequence[Any]) -> list[list[float]]:
    return [[float(value), float(weight), 1.0] for value, weight in values]


def _singles(values: Sequence[Any]) -> list[list[float]]:
    return [[float(value), 1.0] for value in values]


def _perplexity(sums: Floats) -> Floats:
    import numpy as np

    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-_mean(sums)))


def _bits(sums: Floats) -> Floats:
    import numpy as np

    return np.asarray(-_mean(sums) / np.log(2))


def _binary_rows(values: Sequence[Any]) -> list[list[float]]:
    """True positives, false positives, false negatives of (gold, predicted) in {0, 1}, as scikit-learn's F1
    demands."""
    if {label for pair in values for label in pair} - {0, 1}:
        raise ValueError("labels other than 0 and 1, of which lm-eval's F1 is undefined")
    return [
        [float(gold and predicted), float(predicted and not gold), float(gold and not predicted), 1.0]
        for gold, predicted in values
    ]


def _f1(sums: Floats) -> Floats:
    import numpy as np

    right, false, missed = sums[:, :3].T
    whole = 2 * right + false + missed
    found = np.zeros(len(sums))  # as scikit-learn: 0 where nothing is positive
    np.divide(2 * right, whole, out=found, where=whole > 0)
    return found


def _confusion_rows(values: Sequence[Any]) -> list[list[float]]:
    """The cell of the confusion matrix of each (gold, predicted), flattened."""
    labels = sorted({label for pair in values for label in pair}, key=str)
    place = {label: i for i, label in enumerate(labels)}
    size = len(labels)
    rows = []
    for gold, predicted in values:
        row = [0.0] * (size * size + 1)
        row[place[gold] * size + place[predicted]] = row[-1] = 1.0
        rows.append(row)
    return rows


def _matthews(sums: Floats) -> Floats:
    """Gorodkin's R_K, as scikit-learn's: 0 where one side holds a single label."""
    import numpy as np

    size = int((sums.shape[1] - 1) ** 0.5)
    table = sums[:, :-1].reshape(-1, size, size)
    gold, predicted, whole = table.sum(2), table.sum(1), table.sum((1, 2))
    over = np.trace(table, axis1=1, axis2=2) * whole - (gold * predicted).sum(1)
    under = np.sqrt((whole**2 - (predicted**2).sum(1)) * (whole**2 - (gold**2).sum(1)))
    found = np.zeros(len(sums))
    np.divide(over, under, out=found, where=under > 0)
    return found


def _corpus_rows(name: str, values: Sequence[Any]) -> list[list[float]]:
    """sacrebleu's statistics of each (reference or references, answer)."""
    references = [[one] if isinstance(one, str) else list(one) for one, _ in values]
    answers = [one if isinstance(one, str) else one[0] for _, one in values]
    streams = [list(stream) for stream in zip(*references, strict=True)]
    found = _scorer(name)._extract_corpus_statistics(answers, streams)
    return [[*map(float, row), 1.0] for row in found]


def _corpus(name: str, sums: Floats) -> Floats:
    import numpy as np

    scorer = _scorer(name)
    rows = sums[:, :-1].tolist() if name == "ter" else sums[:, :-1].astype(np.int64).tolist()
    return np.array([scorer._compute_score_from_stats(row).score for row in rows])


def _scorer(name: str) -> Any:
    import sacrebleu.metrics as metrics

    made: Any = getattr(metrics, SACREBLEU[name])
    scorer = made(word_order=2) if name == "chrf++" else made()
    scorer.num_refs = 1
    return scorer


_SUMS = {
    MEAN: Aggregation(_singles, _mean),
    "perplexity": Aggregation(_singles, _perplexity),
    "weighted_perplexity": Aggregation(_pairs, _perplexity),
    "bits_per_byte": Aggregation(_pairs, _bits),
    "f1": Aggregation(_binary_rows, _f1),
    "matthews_corrcoef": Aggregation(_confusion_rows, _matthews),
}
