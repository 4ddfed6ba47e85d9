"""Samples without an answer: no score under any metric, counted by reason, and too many fail the cell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.contracts import missing
from perbench.contracts.metric import Texts, mean_metric
from perbench.errors import CellError
from perbench.metrics import score_texts

PERHAPS = st.none() | st.sampled_from(["refused", "filtered", "too_long"])
NAMES = ["rouge1", "rougeL", "bleu", "chrf", "length", "truncated"]


def test_counts_and_words_by_reason() -> None:
    samples = [{"id": "a"}, {"id": "b", "missing": "filtered"}, {"id": "c", "missing": "filtered"}]
    samples.append({"id": "d", "missing": "tool_call"})
    assert missing.counts(samples) == {"missing_filtered": 2, "missing_tool_call": 1}
    assert missing.in_words({"tool_call": 1, "filtered": 2}) == "2 filtered, 1 tool call"
    assert missing.answered(samples) == [{"id": "a"}]
    assert missing.counts(samples[:1]) == {}


@pytest.mark.parametrize(
    ("why", "planned", "most", "fails"),
    [
        (["refused"], 10, 0.1, False),
        (["refused", "filtered"], 10, 0.1, True),
        (["refused", None, None], 3, 0.0, True),
        (["refused"] * 3, 3, 1.0, False),
        (["too_long"] * 3, 3, 0.0, False),  # the task itself leaves them out
        ([None] * 3, 3, 0.0, False),
        ([], 0, 0.0, False),
    ],
)
def test_a_cell_fails_where_more_than_its_share_is_missing(
    why: list[str | None], planned: int, most: float, fails: bool
) -> None:
    samples = [{"missing": one} if one else {} for one in why]
    if not fails:
        missing.check(samples, planned, most)
        return
    with pytest.raises(CellError, match=r"max_missing.*--no-cache") as caught:
        missing.check(samples, planned, most)
    assert f"{len(why) - why.count(None)} of {planned}" in str(caught.value)


@settings(deadline=None, max_examples=20)  # two corpus scores of a thousand draws each
@given(st.lists(st.tuples(st.sampled_from(["a bean stew", "a", ""]), PERHAPS), max_size=4))
def test_a_missing_answer_counts_for_no_metric(rows: list[tuple[str, str | None]]) -> None:
    def texts(chosen: list[tuple[str, str | None]]) -> Texts:
        users = [f"u{i}" for i, row in enumerate(rows) if row in chosen]
        words, why = [text for text, _ in chosen], [reason for _, reason in chosen]
        return Texts(
            words, ["a very good bean soup"] * len(chosen), users[: len(chosen)], [False] * len(chosen), why
        )

    there = [row for row in rows if row[1] is None]
    whole, part = score_texts(NAMES, texts(rows)), score_texts(NAMES, texts(there))
    for name in NAMES:
        metric, other = whole.metrics[name], part.metrics[name]
        assert (metric.value, metric.n) == (other.value, other.n)
        assert metric.missing == len(rows) - len(there) == sum(metric.why.values())
    for name, scores in whole.per_sample.items():
        assert [score for score in scores if score is not None] == part.per_sample[name]
        assert [score is None for score in scores] == [reason is not None for _, reason in rows]


def test_a_mean_says_why_its_missing_have_no_score() -> None:
    found = mean_metric([1.0, None, None, 0.0], ["a", "b", "c", "d"], "x", ["said", "refused", None, None])
    assert (found.value, found.n, found.missing, found.why) == (0.5, 2, 2, {"refused": 1})
