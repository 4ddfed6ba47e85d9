"""The overview: mean gains, ranks, costs and counts of records written by hand, and the page around them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import t as student

from perbench.contracts.section import Table, Value
from perbench.site.comparisons import WinLoss
from perbench.site.draw import NARROWEST, STRIP, strip
from perbench.site.finished import print_screen
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.store import Labels
from tests.site.pages import site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench

USERS = ["u", "v", "w"]


def view_of(bench: Bench) -> SiteView:
    return build_view(load([bench.path]))


def table_of(bench: Bench) -> Table:
    (section,) = [one for one in view_of(bench).sections if one.name == "overview"]
    (table,) = section.tables
    return table


def cell(table: Table, name: str, column: str, model: str = "tiny") -> Value:
    place = [head.name for head in table.columns].index(column)
    (found,) = [values[place] for head, values in table.rows if (head.name, head.model) == (name, model)]
    assert isinstance(found, Value)
    return found


def evaluate(
    bench: Bench,
    trainer: str,
    values: Sequence[float] | None,
    *,
    target: str = "fam/write",
    protocol: str = "generation",
    users: Sequence[str] = USERS,
    source: str = "s",
    **more: Any,
) -> None:
    """Of users that are `users` of that target alone."""
    inputs = {"data": "d" * 64, "target": {"name": target, "protocol": protocol}}
    names = [f"{target}/{user}" for user in users]
    bench.evaluate(values, trainer=trainer, source=source, target=target, users=names, inputs=inputs, **more)


def pair(bench: Bench, gains: Sequence[float], **where: Any) -> None:
    """ce with scores of 0.1, and perce with these gains over it."""
    evaluate(bench, "ce", [0.1] * len(gains), **where)
    evaluate(bench, "perce", [0.1 + gain for gain in gains], **where)


def test_a_mean_over_sources_counts_each_user_once(bench: Bench) -> None:
    """Gains .1 .2 .6 from one source and .1 .4 .4 from the other: by user .1 .3 .5, so 0.3 with variance
    .04 / 3 at 2 degrees of freedom."""
    pair(bench, [0.1, 0.2, 0.6], source="s")
    pair(bench, [0.1, 0.4, 0.4], source="r")
    found = cell(table_of(bench), "perce", "Writing")
    half = student.ppf(0.975, 2) * sqrt(0.04 / 3)
    assert found.value == pytest.approx(0.3)
    assert found.ci == pytest.approx((0.3 - half, 0.3 + half))
    assert found.gain is not None
    assert found.gain.p == pytest.approx(2 * student.sf(0.3 / sqrt(0.04 / 3), 2))
    assert (found.gain.users, found.n, found.aside) == (3, 6, "2 of 2 gains in ROUGE-L")


def test_targets_have_the_same_weight_and_users_of_their_own(bench: Bench) -> None:
    """Means .3 and .1 over 3 and 6 users: 0.2, with a quarter of the sum of their variances of the mean,
    .07 / 3 and .02 / 6."""
    pair(bench, [0.1, 0.2, 0.6], target="fam/write")
    pair(bench, [0.0, 0.0, 0.1, 0.1, 0.0, 0.4], target="fam/draft", users=list("abcdef"))
    found = cell(table_of(bench), "perce", "Writing")
    assert found.value == pytest.approx(0.2)
    assert found.gain is not None
    assert found.gain.spread is not None
    one, other = 0.07 / 3 / 4, 0.024 / 6 / 4
    assert found.gain.spread.variance == pytest.approx(one + other)
    assert found.gain.spread.df == pytest.approx((one + other) ** 2 / (one**2 / 2 + other**2 / 5))


def test_gains_of_different_metrics_are_never_averaged(bench: Bench) -> None:
    pair(bench, [0.1, 0.2, 0.6])
    pair(bench, [0.1, 0.1, 0.4], target="fam/talk", protocol="dialogue", headline="pmi")
    pair(bench, [1.0, 2.0, 3.0], target="fam/size", headline="length", better={"length": None})
    table = table_of(bench)
    assert [(head.name, head.metric) for head in table.columns[:3]] == [
        ("Rank", "in dialogue"),
        ("Dialogue", "mean gain, PMI ↑"),
        ("Writing", "mean gain, ROUGE-L ↑"),
    ]
    assert len(table.columns) == 7
    assert cell(table, "perce", "Dialogue").value == pytest.approx(0.2)
    # Holm's correction over both means.
    writing, dialogue = (cell(table, "perce", name).gain for name in ("Writing", "Dialogue"))
    assert writing is not None
    assert dialogue is not None
    assert writing.p is not None
    assert dialogue.p is not None
    low, high = sorted((writing.p, dialogue.p))
    assert sorted((writing.adjusted, dialogue.adjusted)) == pytest.approx([2 * low, max(2 * low, high)])


def test_kinds_of_one_protocol_are_told_apart_by_their_metric(bench: Bench) -> None:
    pair(bench, [0.1, 0.2, 0.6])
    pair(bench, [0.1, 0.1, 0.4], target="fam/other", headline="meteor")
    names = [head.name for head in table_of(bench).columns]
    assert names[1:3] == ["Writing, METEOR", "Writing, ROUGE-L"]


def test_a_metric_of_an_unknown_protocol_goes_by_its_name(bench: Bench) -> None:
    pair(bench, [0.1, 0.2, 0.6], protocol="", headline="tact")
    assert table_of(bench).columns[1].name == "Tact"


def test_ranks_come_from_tests_of_all_pairs(bench: Bench) -> None:
    """perce is better than both others for each of 8 users by about 1; nextquill differs from ce by noise."""
    users, noise = list("abcdefgh"), [0.01, -0.02, 0.03, 0.0, 0.02, -0.01, -0.03, 0.01]
    evaluate(bench, "ce", [0.1] * 8, users=users)
    evaluate(bench, "perce", [1.1 + off for off in noise], users=users)
    evaluate(bench, "nextquill", [0.1 - off for off in noise], users=users)
    table = table_of(bench)
    assert [head.name for head, _ in table.rows] == ["perce", "ce", "nextquill"]
    ranks = {head.name: cell(table, head.name, "Rank") for head, _ in table.rows}
    assert {name: (one.text, one.rank) for name, one in ranks.items()} == {
        "perce": ("1", (1, 1)),
        "ce": ("2–3", (2, 3)),
        "nextquill": ("2–3", (2, 3)),
    }
    assert cell(table, "ce", "Writing").text == "baseline"
    assert "for these trained models" in table.explanation


def test_lower_is_better(bench: Bench) -> None:
    users = list("abcdefgh")
    for name, scores in (("ce", [0.5] * 8), ("perce", [0.1, 0.12, 0.11, 0.1, 0.13, 0.1, 0.12, 0.1])):
        evaluate(bench, name, scores, users=users, better={"rougeL": "lower"})
    table = table_of(bench)
    assert cell(table, "perce", "Rank").text == "1"
    assert cell(table, "perce", "Writing").verdict == "up"


def test_too_few_users_have_no_rank_and_no_interval(bench: Bench) -> None:
    pair(bench, [0.1, 0.5], users=["u", "v"])
    table = table_of(bench)
    rank, gain = cell(table, "perce", "Rank"), cell(table, "perce", "Writing")
    assert (rank.value, rank.text) == (None, "–")
    assert "too few users" in rank.aside
    assert rank.aside in table.explanation
    assert (gain.value, gain.ci, gain.ci_aside) == (pytest.approx(0.3), None, "2 users: no interval")


def test_models_are_ranked_on_their_own(bench: Bench) -> None:
    for model in ("tiny", "large"):
        pair(bench, [0.1, 0.2, 0.6], model=model)
    table = table_of(bench)
    assert [(head.name, head.model) for head, _ in table.rows] == [
        ("perce", "large"),
        ("ce", "large"),
        ("perce", "tiny"),
        ("ce", "tiny"),
    ]
    assert cell(table, "perce", "Rank", "large").rank == (1, 2)


def test_what_is_missing_is_counted(bench: Bench) -> None:
    for source in ("s", "r"):
        pair(bench, [0.1, 0.2, 0.6], source=source)
    evaluate(bench, "ce", [0.1] * 3, target="fam/draft")
    evaluate(bench, "perce", None, target="fam/draft")
    table = table_of(bench)
    assert [cell(table, name, "Tasks").text for name in ("ce", "perce")] == ["3 of 4", "2 of 4"]
    assert cell(table, "perce", "Writing").aside == "2 of 4 gains in ROUGE-L"


def train(bench: Bench, trainer: str, seconds: float, seed: int = 0, **more: Any) -> None:
    """And evaluate it."""
    labels = Labels(model="tiny", trainer=trainer, source="s", seed=seed)
    inputs = {"trainer": {"name": trainer}}
    fields = {"environment": {"device": "H200", "cpus": 16}, "inputs": inputs, **more}
    record = bench.cell("train", labels, seconds=seconds, **fields)
    evaluate(bench, trainer, [0.1, 0.2, 0.3], seed=seed, trained_by=record.identity)


def costs(bench: Bench) -> tuple[Value, Value]:
    table = table_of(bench)
    return cell(table, "perce", "Time"), cell(table, "perce", "Tokens")


def test_costs_are_those_of_trainings_beside_the_baseline(bench: Bench) -> None:
    """(120 + 180) / (100 + 100) seconds over two seeds; a third seed has no counterpart."""
    for seed, (mine, theirs) in enumerate(((120, 100), (180, 100))):
        train(bench, "ce", theirs, seed, tokens={"total": 1000, "response": 100})
        train(bench, "perce", mine, seed, tokens={"total": 1000, "counterfactual": 600, "response": 100})
    train(bench, "perce", 9000, 2, tokens={"total": 5000})
    time, tokens = costs(bench)
    assert (time.value, time.text, time.n) == (1.5, "1.50×", 2)
    assert (tokens.value, tokens.text) == (1.6, "1.60×")
    assert not time.flags


def test_a_time_says_by_how_much_its_trainings_differ(bench: Bench) -> None:
    """30 / 100 and 420 / 100: their sums' ratio, 2.25, tells little."""
    for seed, mine in enumerate((30, 420)):
        train(bench, "ce", 100, seed)
        train(bench, "perce", mine, seed)
    time, _ = costs(bench)
    assert (time.text, [flag.short for flag in time.flags]) == ("2.25×", ["0.30× to 4.20×"])
    assert not cell(table_of(bench), "ce", "Time").flags


@pytest.mark.parametrize(
    "machine", [{"device": "A100", "cpus": 16}, {"device": "H200", "cpus": 16, "processes": 8}]
)
def test_times_of_other_machines_are_not_compared(bench: Bench, machine: dict[str, Any]) -> None:
    train(bench, "ce", 100, tokens={"total": 1000})
    train(bench, "perce", 120, tokens={"total": 1000}, environment=machine)
    time, tokens = costs(bench)
    assert (time.value, time.text, time.aside) == (None, "–", "other machines")
    assert tokens.text == "1.00×"


def test_without_trainings_there_is_no_cost(bench: Bench) -> None:
    pair(bench, [0.1, 0.2, 0.6])
    time, tokens = costs(bench)
    assert (time.text, tokens.text) == ("–", "–")
    assert "no training" in time.aside


@pytest.mark.parametrize("trainers", [["ce"], ["perce"], []])
def test_there_is_no_table_without_a_comparison(bench: Bench, trainers: list[str]) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    for name in trainers:
        evaluate(bench, name, [0.1] * 3)
    assert "overview" not in [section.name for section in view_of(bench).sections]


# ------------------------------------------------------------------------------------- around the verdict


def test_facts_and_alerts(bench: Bench) -> None:
    planned = Labels(model="tiny", trainer="ce", source="s", target="fam/write", seed=0)
    for seed in (0, 1):
        pair(bench, [0.1, 0.2, 0.6], seed=seed)
    evaluate(bench, "perce", None, source="r", finished="2026-02-03T00:00:00Z")
    bench.describe(planned, Labels(model="tiny", trainer="ce", source="r", target="fam/write", seed=0))
    view = view_of(bench)
    assert view.facts == "tiny · 2 trainers · 2 sources · 1 target · 2 seeds · newest 3 Feb 2026"
    assert [(one.text, one.level) for one in view.alerts] == [
        ("1 of 5 cells failed", "bad"),
        ("2 not run", ""),
    ]


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        ([5, 0, 0, 0], "1 with more than 10% of the answers cut off"),
        ([5, 4, 9, 1], "19 of 40 answers are cut off at max_new_tokens"),
        ([1, 0, 0, 1], ""),
    ],
)
def test_answers_cut_short_are_said_once_if_they_are_most(bench: Bench, cut: list[int], text: str) -> None:
    for seed, count in enumerate(cut):
        counts = {"samples": 12, "missing_refused": 2, "truncated": count}
        evaluate(bench, "ce", [0.1] * 3, seed=seed, counts=counts)
    assert [one.text for one in view_of(bench).alerts] == [text] * bool(text)


@given(st.tuples(*[st.integers(0, 500)] * 4))
def test_a_strip_is_whole_and_every_number_fits(counts: tuple[int, int, int, int]) -> None:
    parts = strip(WinLoss("a", "a", *counts))
    assert [part.count for part in parts] == [count for count in counts if count]
    assert all(part.width >= NARROWEST - 2 - 0.05 for part in parts)
    for before, after in pairwise(parts):
        assert after.at == pytest.approx(before.at + before.width + 2, abs=0.2)
    if parts:
        assert parts[-1].at + parts[-1].width + 2 == pytest.approx(STRIP, abs=0.2)
        assert all(part.at < part.label < part.at + part.width for part in parts)


def test_the_page_draws_what_the_table_holds(bench: Bench, tmp_path: Path) -> None:
    pair(bench, [0.11, 0.12, 0.13, 0.1, 0.12, 0.11, 0.12, 0.12], users=list("abcdefgh"))
    page = site_of(bench, out=tmp_path / "site").sources["index"]
    assert page.index("<h1>") < page.index('class="tstrip"') < page.index('id="overview-1"')
    assert 'aria-label="1 better, 0 not separable, 0 worse, 0 missing"' in page
    row = page[page.index('id="overview-1"') :].partition("<tbody>")[2].partition("</tr>")[0]
    assert '<td class="rank" data-v="1.0">1</td>' in row
    assert "<b>+0.116</b>" in row.replace("\n", "").replace("\u2007", "")
    assert '<g class="up">' in row


def test_a_finished_run_shows_both_tables_if_they_fit(bench: Bench, tmp_path: Path) -> None:
    pair(bench, [0.1, 0.2, 0.6])

    def screen() -> str:
        console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
        print_screen(view_of(bench), console, bench.path)
        return console.export_text()

    both = screen()
    assert both.index("Mean gain over ce") < both.index("Score, gain over ce")
    assert "+0.300" in both
    for number in range(12):
        pair(bench, [0.1, 0.2, 0.6], source=f"s{number}")
    long = screen()
    assert "Mean gain over ce" not in long
    assert "Score, gain over ce" in long
    assert len(long.splitlines()) <= 38
