"""Statistics of annotated identification data, and the agreement of their annotators.

Agreement is over words (white-space separated, without punctuation at their edges); a word is personal for an
annotator if one of their spans touches it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perbench.contracts.source import Row
from perbench.data.gold import checked
from perbench.data.spans import Names
from perbench.errors import PerbenchError
from perbench.stats.kappa import cohen_kappa
from perbench.text.marks import KINDS
from perbench.text.words import Span, touch, whole_words

Statistics = dict[str, float | int | None]

MEAN_WORDS = "answer words, mean"
KAPPA = "Cohen's kappa of the words"
WORD_F1 = "F1 of the words"
DECIMALS = {MEAN_WORDS: 1, KAPPA: 3, WORD_F1: 3}
"""Decimals of numbers that are not shares."""


def describe(rows: Sequence[Mapping[str, Any]], names: Names) -> Statistics:
    """Counts and shares of rows that passed `spans.check`; shares are of all spans or all examples. Agreement
    is included only if every row has both annotators' spans (`first`, `second`).

    Raises:
        PerbenchError: a gold span has no kind.
    """
    spans = [span for row in rows for span in row["gold"]]
    if not all(isinstance(span, Mapping) and "kind" in span for span in spans):
        raise PerbenchError(
            f"only annotated data can be described: every gold span is {{start, end, text, kind, sentence}}, "
            f"kind one of {', '.join(KINDS)}"
        )
    kinds = Counter(span.get("kind") for span in spans)
    answers = [len(row[names.answer].split()) for row in rows]
    personal = sum(len(_marked(row[names.answer], row["gold"])) for row in rows)
    words = sum(len(whole_words(row[names.answer])) for row in rows)
    found: Statistics = {
        "examples": len(rows),
        "personas": len({str(row[names.user] if names.user else row[names.persona]) for row in rows}),
        MEAN_WORDS: _share(sum(answers), len(answers)),
        "spans": len(spans),
        **{f"spans, {kind}": _share(kinds[kind], len(spans)) for kind in KINDS},
        "spans checked by a person": sum(len(row["gold"]) for row in rows if checked(row)),
        "words that are personal": _share(personal, words),
        "examples with no span": _share(sum(not row["gold"] for row in rows), len(rows)),
        "examples with a distractor": _share(
            sum(row.get("distractor") is not None for row in rows), len(rows)
        ),
    }
    if all("first" in row and "second" in row for row in rows):
        found |= agreement(rows, names)
    return found


def agreement(rows: Sequence[Mapping[str, Any]], names: Names) -> Statistics:
    """Cohen's kappa of `first` and `second` (personal or not) over all words; F1 of one's words against the
    other's (symmetric); the share of words personal for both that have one kind; examples whose spans differ
    in extent, kind or sentence, and whose version the adjudicated `gold` follows."""
    words = first = second = both = same_kind = 0
    followed: Counter[str] = Counter()
    for row in rows:
        answer = row[names.answer]
        one, two = _marked(answer, row["first"]), _marked(answer, row["second"])
        words += len(whole_words(answer))
        first, second = first + len(one), second + len(two)
        both += len(one.keys() & two.keys())
        same_kind += sum(one[word] == two[word] for word in one.keys() & two.keys())
        layers = [_comparable(row[name]) for name in ("first", "second", "gold")]
        if layers[0] != layers[1]:
            followed[
                "first" if layers[2] == layers[0] else "second" if layers[2] == layers[1] else "other"
            ] += 1
    differing = followed.total()
    return {
        "words": words,
        KAPPA: _kappa(words, first, second, both),
        WORD_F1: _share(2 * both, first + second),
        "same kind where both mark": _share(same_kind, both),
        "examples adjudicated": differing,
        **{f"adjudicated as {who}": _share(followed[who], differing) for who in ("first", "second", "other")},
    }


def _marked(answer: str, spans: Sequence[Mapping[str, Any]]) -> dict[Span, set[str]]:
    """The words that the spans touch, with the kinds of those spans."""
    marked: dict[Span, set[str]] = {}
    for word in whole_words(answer):
        for span in spans:
            if touch(word, (span["start"], span["end"])):
                marked.setdefault(word, set()).add(span["kind"])
    return marked


def _comparable(spans: Sequence[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    return {(span["start"], span["end"], span["kind"], span["sentence"]) for span in spans}


def _kappa(words: int, first: int, second: int, both: int) -> float | None:
    """Kappa from the number of words: all, personal for the first, for the second, and for both."""
    if not words:
        return None
    table = [[both, first - both], [second - both, words - first - second + both]]
    value = float(cohen_kappa(np.array(table)))
    return None if np.isnan(value) else value


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def describe_splits(splits: Mapping[str, Sequence[Row]], names: Names) -> dict[str, Statistics]:
    """`describe` of each split, and of all together if there are several."""
    rows = {split: [row.fields for row in found] for split, found in splits.items()}
    if len(rows) > 1:
        rows["all"] = [row for found in list(rows.values()) for row in found]
    return {name: describe(found, names) for name, found in rows.items()}


def table(columns: Mapping[str, Statistics]) -> str:
    """A Markdown table with a column per split."""

    def shown(name: str, value: float | int | None) -> str:
        if value is None or isinstance(value, int):
            return "" if value is None else str(value)
        return f"{value:.{DECIMALS[name]}f}" if name in DECIMALS else f"{value:.1%}"

    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [["", *columns], ["---", *("---:" for _ in columns)]]
    lines += [[name, *(shown(name, column.get(name)) for column in columns.values())] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
