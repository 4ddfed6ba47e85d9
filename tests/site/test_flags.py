"""What page and terminal say right at a number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench.site import build
from perbench.site.flags import flags
from perbench.site.terminal import print_results
from perbench.store import Metric
from tests.site.pages import Site, cards_of, cells_of, site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def metric(n: int, why: dict[str, int], missing: int | None = None) -> Metric:
    absent = sum(why.values()) if missing is None else missing
    return Metric(value=0.5 if n else None, n=n, missing=absent, why=why, signature="rougeL|x")


@pytest.mark.parametrize(
    ("why", "counts", "said"),
    [
        ({}, {"samples": 20, "truncated": 2}, ()),
        ({}, {"samples": 20, "truncated": 3}, ("15% of answers cut at the limit",)),
        # Of 20 samples 10 have an answer; 2 of those were cut.
        (
            {"filtered": 7, "refused": 3},
            {"samples": 20, "truncated": 2, "missing_filtered": 7, "missing_refused": 3, "missing_scores": 4},
            ("10 of 20 without a score: 7 filtered, 3 refused", "20% of answers cut at the limit"),
        ),
        ({}, {"samples": 20, "summaries_missing": 2}, ("2 personas without their whole summary",)),
        ({}, {}, ()),
    ],
)
def test_what_is_said_at_a_number(
    bench: Bench, why: dict[str, int], counts: dict[str, int], said: tuple[str, ...]
) -> None:
    record = bench.evaluate([0.5], metrics={"rougeL": metric(20 - sum(why.values()), why)}, counts=counts)
    assert tuple(flag.text for flag in flags([record], "rougeL")) == said


def test_seeds_are_added_up_and_a_share_of_cut_answers_is_no_flag_at_itself(bench: Bench) -> None:
    counts = {"samples": 10, "truncated": 9}
    records = [
        bench.evaluate(
            [0.5], seed=seed, counts=counts, metrics={"truncated": metric(9, {}), "x": metric(9, {}, 1)}
        )
        for seed in (0, 1)
    ]
    assert flags(records, "truncated") == ()
    assert [flag.text for flag in flags(records, "x")] == [
        "2 of 20 without a score",
        "90% of answers cut at the limit",
    ]


def test_page_and_terminal_say_it_at_the_number(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    why = {"reference in letters beyond a-z": 3}
    shared: dict[str, Any] = {"counts": {"samples": 3, "truncated": 3}}
    bench.evaluate([None] * 3, metrics={"rougeL": metric(0, why)}, **shared)
    absent = {"samples": 50, "missing_refused": 4}
    found = {"f1": Metric(value=0.5, n=46, missing=4, why={"refused": 4}, signature="f1|x")}
    bench.identify("llm_judge", 0.5, metrics=found, counts=absent)
    site = site_of(bench, out=tmp_path / "site")
    matrix = site.by_id("transfer-1")
    assert cells_of(matrix)[0][1] == "no score"
    (card,) = cards_of(matrix)[0]
    assert "3 of 3 without a score: 3 reference in letters beyond a-z" in card
    assert "100% of answers cut at the limit" in card
    assert "4 of 50 without a score: 4 refused" in cells_of(site.by_id("identification-1"))[0][0]
    print_results(bench.path)
    out = " ".join(capsys.readouterr().out.split())
    for part in (
        "base model no score tiny 3 of 3 missing 100% cut",
        "base model tiny, fam/write: 3 of 3 without a score: 3 reference in letters beyond a-z",
        "cut: share of answers cut at the limit",
        "tiny 4 of 50 missing",
        "llm_judge, fam/spans: 4 of 50 without a score: 4 refused",
    ):
        assert part in out


def test_a_caveat_of_few_cells_is_at_each_of_them(bench: Bench, tmp_path: Path) -> None:
    for target in ("fam/write", "fam/read", "fam/talk"):
        counts = {"samples": 3, "truncated": 3 if target == "fam/write" else 0}
        bench.evaluate([0.1, 0.2, 0.3], target=target, counts=counts)
        for trainer in ("ce", "perce"):
            bench.evaluate([0.1, 0.2, 0.4], trainer=trainer, source="s", target=target, counts=counts)
    build([bench.path], tmp_path / "site")
    table = Site(tmp_path / "site").pages["index"].by_id("transfer-1")
    chips = [[one.text for one in row.all("span", "chip")] for row in table.all("tr") if row.all("td")[1:]]
    assert chips == [["100% cut"]] * 3
