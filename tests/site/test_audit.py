"""The section on what scores owe to the persona: numbers by hand, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from perbench.contracts.metric import mean_metric
from perbench.contracts.section import Table, Value
from perbench.site import build
from perbench.site.load import load
from perbench.site.view import ShownSection, build_view
from perbench.store import CellRecord, Labels, Scores
from tests.site.browsing import NARROW, opened
from tests.site.conftest import Bench
from tests.site.test_accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

USERS = 8
OWN = [0.9, 0.8, 0.7, 0.9, 0.6, 0.8, 0.9, 0.7]
NONE = [0.5, 0.4, 0.5, 0.4, 0.4, 0.5, 0.5, 0.4]
OTHER = [0.6, 0.4, 0.5, 0.5, 0.4, 0.6, 0.4, 0.4]


def evaluate(bench: Bench, values: Sequence[float | None], whose: str = "own", **fields: Any) -> CellRecord:
    persona = {"retrieve": "all", **({"whose": whose} if whose != "own" else {})}
    target = f"fam/write (persona.whose={whose})"
    inputs = {"data": "d" * 64, "target": {"name": "fam/write", "persona": persona}}
    return bench.evaluate(values, target=target, inputs=inputs, headline="rouge1", **fields)


def section(bench: Bench) -> ShownSection | None:
    view = build_view(load([bench.path]))
    assert not view.broken
    return next((one for one in view.sections if one.name == "audit"), None)


def cells(table: Table, row: int = 0) -> dict[str, Value]:
    _, values = table.rows[row]
    named = zip(table.columns, values, strict=True)
    return {column.name: value for column, value in named if isinstance(value, Value)}


def test_differences_are_paired_by_user(bench: Bench) -> None:
    for values, whose in ((OWN, "own"), (NONE, "none"), (OTHER, "other")):
        evaluate(bench, values, whose)
    found = section(bench)
    assert found is not None
    (table,) = found.tables
    assert [column.name for column in table.columns] == [
        *("Own", "None", "Another's", "Own − none", "Own − another's", "Needs the persona"),
    ]
    assert [head.name for head, _ in table.rows] == ["fam/write"]
    row = cells(table)
    assert row["Own"].value == pytest.approx(np.mean(OWN))
    for name, other in (("Own − none", NONE), ("Own − another's", OTHER)):
        gain = row[name].gain
        assert gain is not None
        by_hand = stats.ttest_rel(OWN, other)
        assert gain.value == pytest.approx(np.mean(OWN) - np.mean(other))
        assert gain.p == pytest.approx(by_hand.pvalue)
        assert gain.ci == pytest.approx(tuple(by_hand.confidence_interval()))
    gains = [row[name].gain for name in ("Own − none", "Own − another's")]
    small, large = sorted(gain.p for gain in gains if gain is not None and gain.p is not None)
    adjusted = sorted(gain.adjusted for gain in gains if gain is not None and gain.adjusted is not None)
    assert adjusted == pytest.approx([2 * small, max(2 * small, large)])  # both tests are one family
    whole = 1 - np.sum(NONE) / np.sum(OWN)
    part = row["Needs the persona"]
    assert part.value == pytest.approx(100 * whole)
    assert part.ci is not None
    assert part.ci[0] < 100 * whole < part.ci[1]
    for end in part.ci:  # Fieller: a test does not quite tell own - none from this share of own
        scaled = [a - b - end / 100 * a for a, b in zip(OWN, NONE, strict=True)]
        assert stats.ttest_1samp(scaled, 0).pvalue == pytest.approx(0.05)
    (line,) = found.verdict
    for words in ("With tiny, fam/write needs the persona", f"{100 * whole:.0f}%", "does not replace it"):
        assert words in line


def test_what_cannot_be_told_apart_is_not_shown_to_need_the_persona(bench: Bench) -> None:
    evaluate(bench, OWN)
    evaluate(bench, [*OWN[1:], OWN[0]], "none")
    found = section(bench)
    assert found is not None
    (line,) = found.verdict
    assert "not shown to need the persona" in line
    assert "Another's" not in [column.name for column in found.tables[0].columns]


def test_a_persona_that_harms_is_told(bench: Bench) -> None:
    evaluate(bench, NONE)
    evaluate(bench, OWN, "none")
    found = section(bench)
    assert found is not None
    assert "worse with the persona" in found.verdict[0]


def test_two_users_have_no_test(bench: Bench) -> None:
    evaluate(bench, OWN[:2])
    evaluate(bench, NONE[:2], "none")
    found = section(bench)
    assert found is not None
    row = cells(found.tables[0])
    assert row["Needs the persona"].text == "–"
    assert "cannot be tested" in found.verdict[0]


@pytest.mark.parametrize("whose", ["own", "none", "stranger's"])
def test_nothing_to_compare_is_not_shown(bench: Bench, whose: str) -> None:
    evaluate(bench, OWN, whose)
    assert section(bench) is None


def test_other_data_or_another_prompt_are_not_compared(bench: Bench) -> None:
    evaluate(bench, OWN)
    inputs = {
        "data": "e" * 64,
        "target": {"name": "fam/write", "persona": {"retrieve": "all", "whose": "none"}},
    }
    bench.evaluate(NONE, target="fam/write (persona.whose=none)", inputs=inputs, headline="rouge1")
    assert section(bench) is None


def test_trained_models_have_rows_of_their_own(bench: Bench) -> None:
    for trainer in (None, "ce"):
        more: Mapping[str, Any] = {"trainer": trainer, "source": "fam/read" if trainer else None}
        evaluate(bench, OWN, **more)
        evaluate(bench, NONE, "none", **more)
    found = section(bench)
    assert found is not None
    assert [(head.variation, head.trained_on) for head, _ in found.tables[0].rows] == [
        *(("", None), ("ce", "fam/read")),
    ]


def test_of_very_many_rows_the_untrained_models_are_shown(bench: Bench) -> None:
    for number in range(61):
        more: Mapping[str, Any] = {"trainer": f"t{number}", "source": "fam/read"} if number else {}
        evaluate(bench, OWN, **more)
        evaluate(bench, NONE, "none", **more)
    found = section(bench)
    assert found is not None
    assert [head.detail for head, _ in found.tables[0].rows] == ["base model"]


def choose(bench: Bench, by: str, whose: str = "own") -> None:
    users = [f"u{number}" for number in range(20)]
    columns: dict[str, list[float | None]] = {
        "accuracy": [float(number % 4 != 0) for number in range(20)],  # .75
        "no_persona": [float(number % 2) for number in range(20)],  # .5
        "chance": [0.25] * 20,
        "longest": [float(number % 5 != 0) for number in range(20)],  # .8
        "shortest": [float(number % 5 == 0) for number in range(20)],
        "first": [float(number % 4 == 0) for number in range(20)],
    }
    bench.cell(
        "eval",
        Labels(model="tiny", target=f"fam/pick (persona.whose={whose})", seed=0),
        Scores(ids=users, clusters=users, scores=columns),
        inputs={
            "data": "d" * 64,
            "target": {"name": "fam/pick", "protocol": "choice", "persona": {"whose": whose}},
        },
        headline="accuracy",
        metrics={
            name: mean_metric(values, users, f"{name}|choice|by:{by}") for name, values in columns.items()
        },
    )


def test_pmi_is_not_compared_with_no_persona(bench: Bench, tmp_path: Path) -> None:
    for whose in ("own", "none", "other"):  # "none" from before it was refused
        choose(bench, "pmi", whose)
    found = section(bench)
    assert found is not None
    scores, rules = found.tables
    assert [column.name for column in scores.columns] == [
        *("Own", "Another's", "Own − another's", "Needs the persona")
    ]
    row = cells(scores)
    assert row["Own"].value == row["Another's"].value == 0.75
    assert row["Needs the persona"].value is None
    assert "PMI" in row["Needs the persona"].aside
    assert "fam/pick" in scores.explanation.rpartition("PMI")[2]
    assert any("fam/pick" in line and "PMI" in line for line in found.verdict)
    assert cells(rules)["chance"].value == 0.25
    build([bench.path], tmp_path / "site")
    assert "PMI is 0 without a persona: fam/pick." in (tmp_path / "site/audit.html").read_text("utf-8")


def test_pmi_alone_has_its_rules(bench: Bench) -> None:
    choose(bench, "pmi")
    found = section(bench)
    assert found is not None
    assert [one.caption for one in found.tables][1] == "Answers that need no model"


def test_a_choice_stands_beside_chance_and_the_rules_above_it(bench: Bench) -> None:
    choose(bench, "sum")
    found = section(bench)
    assert found is not None
    scores, rules = found.tables
    row = cells(scores)
    assert row["None"].value == 0.5
    gain = row["Own − none"].gain
    assert gain is not None
    assert gain.value == pytest.approx(0.25)
    assert row["Needs the persona"].value == pytest.approx(100 * 0.25 / (0.75 - 0.25))
    assert {name: one.value for name, one in cells(rules).items()} == pytest.approx(
        {"chance": 0.25, "longest option": 0.8, "shortest option": 0.2, "first option": 0.25}
    )
    (said,) = [line for line in found.verdict if line.startswith("On fam/pick")]
    for words in ("longest option", "0.800", "0.250"):
        assert words in said


def test_a_sample_under_two_users_is_not_compared(bench: Bench) -> None:
    evaluate(bench, OWN)
    evaluate(bench, NONE, "none", users=[f"other {number}" for number in range(USERS)])
    assert section(bench) is None


def test_names_of_methods_are_not_broken_on_a_phone(bench: Bench, browser: Browser, tmp_path: Path) -> None:
    for trainer in ("ce", "nextquill"):
        for values, whose in ((OWN, "own"), (NONE, "none"), (OTHER, "other")):
            evaluate(bench, values, whose, trainer=trainer, source="family/a_task_of_a_long_name")
    build([bench.path], tmp_path / "site")
    with opened(browser, tmp_path / "site", "audit.html", viewport=NARROW) as page:
        lines = "all => all.map(one => [one.textContent, one.getClientRects().length])"
        shown = page.locator("#audit-1 tbody .variation").evaluate_all(lines)
        assert shown == [["ce", 1], ["nextquill", 1]]
        heights = "all => all.map(one => one.getBoundingClientRect().height)"
        assert max(page.locator("#audit-1 tbody .variation").evaluate_all(heights)) < 30


def test_axe_finds_no_violation(bench: Bench, browser: Browser, tmp_path: Path) -> None:
    for values, whose in ((OWN, "own"), (NONE, "none"), (OTHER, "other")):
        evaluate(bench, values, whose)
    build([bench.path], tmp_path / "site")
    with opened(browser, tmp_path / "site", "audit.html") as page:
        assert page.locator("h1").inner_text().startswith("With tiny, fam/write needs the persona")
        assert violations(page) == {}
