"""Selections and profiles on page and terminal, in exports and published files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench import cli
from perbench.console.printing import console
from perbench.contracts.section import Table, Value
from perbench.disk.sealed import write_sealed
from perbench.site.load import load
from perbench.site.matrix import matrix_of
from perbench.site.terminal import print_view
from perbench.site.view import SiteView, build_view
from tests.site.browsing import NARROW, opened
from tests.site.chosen import BEST, LEVEL, RATES, SOURCES, choose
from tests.site.conftest import Bench, build_all
from tests.site.test_accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RED = "\x1b[1;31m"


def shown(bench: Bench, **options: Any) -> str:
    text = io.StringIO()
    print_view(build_view(load([bench.path])), console(text, width=160, **options))
    return text.getvalue()


def section(view: SiteView, name: str = "selection") -> list[Table]:
    return next((one.tables for one in view.sections if one.name == name), [])


def values(table: Table) -> dict[str, list[str]]:
    """By the row's name, variant and what it compares, each value as text."""
    found = {}
    for head, row in table.rows:
        name = " ".join(filter(None, (head.name, head.detail)))
        found[name] = [one if isinstance(one, str) else one.text or f"{one.value:.4f}" for one in row]
    return found


def test_only_chosen_models_are_results_and_are_compared_whatever_was_chosen(bench: Bench) -> None:
    choose(bench)
    loaded = load([bench.path])
    matrix = matrix_of(loaded)
    assert [(row.trainer, row.source) for row, _ in matrix.rows] == [
        (trainer, source) for source in SOURCES for trainer in LEVEL
    ]
    assert {column.target for column in matrix.columns} == {*SOURCES, "fam/talk"}
    gains = [one.gain.value for _, outcomes in matrix.rows for one in outcomes if one.gain is not None]
    assert gains == pytest.approx([0.1] * 4)  # on its own task and on fam/talk, for each source
    assert len(loaded.entries) > len(loaded.results)


def test_results_averages_and_relative_gains_have_four_decimals(bench: Bench) -> None:
    choose(bench)
    results, candidates = section(build_view(load([bench.path])))
    assert [column.name for column in results.columns] == ["fam/read", "fam/write", "average"]
    assert values(results) == {
        "ce": ["0.2500", "0.2600", "0.2550"],
        "perce": ["0.3500", "0.3600", "0.3550"],
        "perce relative gain over ce": ["+40.00%", "+38.46%", "+39.22%"],
    }
    assert [column.name for column in candidates.columns] == [
        f"learning_rate {rate}" for rate in ("1e−5", "2e−5", "5e−5")
    ]
    for head, row in candidates.rows:
        best = list(candidates.columns)[RATES.index(BEST[head.name, head.trained_on or ""])]
        marked = [
            column
            for column, one in zip(candidates.columns, row, strict=True)
            if isinstance(one, Value) and any(flag.short == "chosen" for flag in one.flags)
        ]
        assert marked == [best]


def test_gains_and_averages_are_those_of_perces_table_1(bench: Bench) -> None:
    """Qwen3-4B; the gain of the averages, +15.08%, is that of the unrounded ones."""
    printed = {"ce": (0.3727, 0.1898, 0.1665), "perce": (0.3619, 0.2668, 0.2102)}
    for trainer, row in printed.items():
        for task, score in zip(("pag", "prw", "ptw"), row, strict=True):
            bench.evaluate([score] * 3, trainer=trainer, source=f"longlamp/{task}", target=f"longlamp/{task}")
    bench.describe(targets=["own"], baseline="ce", tasks={})
    (results,) = section(build_view(load([bench.path])))
    assert values(results) == {
        "ce": ["0.3727", "0.1898", "0.1665", "0.2430"],
        "perce": ["0.3619", "0.2668", "0.2102", "0.2796"],
        "perce relative gain over ce": ["−2.90%", "+40.57%", "+26.25%", "+15.08%"],
    }


def test_what_was_unusual_is_said(bench: Bench) -> None:
    choose(bench, failed={("ce", "fam/read", 2e-05): (0, 1), ("perce", "fam/write", 1e-05): (1,)})
    *_, candidates = section(build_view(load([bench.path])))
    assert any("ce on fam/read" in one and "left out" in one for one in candidates.remarks)
    assert any("perce on fam/write" in one and "1 seed of 2" in one for one in candidates.remarks)
    assert [one.text for one in candidates.rows[0][1] if isinstance(one, Value)] == ["", "failed", ""]


def test_before_the_choice_there_are_only_candidates(bench: Bench) -> None:
    choose(bench, finished=False)
    view = build_view(load([bench.path]))
    assert not view.matrix.rows
    (candidates,) = section(view)
    assert len(candidates.rows) == len(SOURCES) * len(LEVEL)
    assert any("4 of 4 selections not made" in alert.text for alert in view.alerts)


def test_chosen_on_test_is_red_on_every_page(bench: Bench, tmp_path: Path) -> None:
    choose(bench, "test")
    site = build_all([bench.path], tmp_path / "site").parent
    for page in ("index.html", "selection.html"):
        text = (site / page).read_text()
        assert "chosen on TEST" in text
        assert '<span class="chip grave">biased upward' in text
    assert '<li class="flag bad">4 models were chosen by test scores' in (site / "index.html").read_text()
    assert ".chip.grave{color:var(--bad)" in (site / "site.css").read_text()
    choose(other := Bench(tmp_path / "val"))
    site = build_all([other.path], tmp_path / "val site").parent
    for page in site.rglob("*.html"):
        assert "grave" not in page.read_text()
        assert "TEST" not in page.read_text()


@pytest.mark.parametrize("page", ["index.html", "selection.html"])
def test_axe_finds_nothing_and_scores_are_in_reach_on_a_phone(
    page: str, bench: Bench, browser: Browser, tmp_path: Path
) -> None:
    choose(bench, "test", failed={("ce", "fam/read", 2e-05): (0, 1)})
    site = build_all([bench.path], tmp_path / "site").parent
    with opened(browser, site, page) as shown:
        assert violations(shown) == {}
        shown.set_viewport_size(NARROW)
        assert shown.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        for head in shown.locator(".matrix tbody tr[data-row=cell] th").all():
            box = head.bounding_box()
            assert box is not None
            assert box["width"] < NARROW["width"] * 0.6


def test_chosen_on_test_is_red_in_a_terminal(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(bench, "test")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert f"{RED}chosen on TEST" in shown(bench, force_terminal=True, color_system="standard")
    from perbench.site.finished import print_screen

    text = io.StringIO()
    view = build_view(load([bench.path]))
    print_screen(view, console(text, width=160, force_terminal=True, color_system="standard"), bench.path)
    assert f"{RED}4 models were chosen by test scores" in text.getvalue()
    assert f"{RED}chosen on TEST" in text.getvalue()
    assert "chosen on TEST" in shown(bench)  # and without colours


@pytest.mark.parametrize("kind", ["csv", "latex", "eee"])
def test_chosen_on_test_is_said_in_exports(kind: str, bench: Bench, tmp_path: Path) -> None:
    choose(bench, "test")
    out = tmp_path / "out"
    assert cli.main(["leaderboard", "export", str(bench.path), "--format", kind, "--out", str(out)]) == 0
    texts = [file.read_text() for file in out.rglob("*") if file.is_file()]
    assert texts
    assert all("chosen on TEST" in text for text in texts if "perce" in text)
    if kind == "csv":
        rows = list(csv.DictReader((out / "transfer.csv").open()))
        assert rows
        assert all("biased upward" in row["caveats"] for row in rows)


@pytest.mark.parametrize("baseline", [{"x": 1}, {"trainer": "ce"}, {"target": ["a"]}])
def test_baselines_of_strangers_do_no_harm(baseline: Any, bench: Bench) -> None:
    choose(bench)
    described = bench.run.description()
    described["matrices"]["m"]["baseline"] = baseline
    write_sealed(bench.path / "run.json", described, "run.json")
    assert build_view(load([bench.path])).matrix.rows


@pytest.mark.parametrize(
    "change",
    [{"chosen": 9}, {"candidates": []}, {"on": "<b>"}, {"candidates": [{"values": {}, "trainings": []}]}],
)
def test_choices_of_strangers_that_no_run_could_have_made_are_damage(change: Any, bench: Bench) -> None:
    choose(bench)
    described = bench.run.description()
    described["choices"]["m"][0] |= change
    write_sealed(bench.path / "run.json", described, "run.json")
    loaded = load([bench.path])
    assert not loaded.choices
    assert any("choices" in damage.what for damage in loaded.damaged)


def test_what_strangers_name_their_settings_is_only_text(bench: Bench, tmp_path: Path) -> None:
    choose(bench)
    described = bench.run.description()
    for choice in described["choices"]["m"]:
        choice["notes"] = ["<script>alert(1)</script>"]
        for one in choice["candidates"]:
            one["values"] = {"<img src=x>\x1b[31m": "<b>"}
    write_sealed(bench.path / "run.json", described, "run.json")
    site = build_all([bench.path], tmp_path / "site").parent
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not [part for part in ("<script>alert", "<img src=x>", "\x1b") if part in text]
    assert "\x1b" not in shown(bench)


def test_what_lost_in_one_run_may_be_the_result_of_another(new_bench: Callable[[str], Bench]) -> None:
    """Test scores prefer one rate, validation scores another, whose test score is a candidate, too."""
    on_test, on_val = new_bench("on test"), new_bench("on validation")
    choose(on_test, "test")
    choose(on_val, "val", failed=dict.fromkeys(((*pair, rate) for pair, rate in BEST.items()), (0, 1)))
    alone, both = (
        [row for row, _ in matrix_of(load(paths)).rows]
        for paths in ([on_val.path], [on_val.path, on_test.path])
    )
    assert len(alone) == 4
    assert {row for row in both if row.chosen_on == "val"} == set(alone)
    assert len([row for row in both if row.chosen_on == "test"]) == 4
    outcomes = [
        one for _, found in matrix_of(load([on_val.path, on_test.path])).rows for one in found if one.own
    ]
    assert sum(one.status == "done" for one in outcomes) == 8


def test_another_matrix_that_compares_the_rates_shows_them_all(bench: Bench) -> None:
    choose(bench, "test")
    plans = bench.run.description()["plans"]["m"]
    records = {record.identity: record.labels for record, _ in _records(bench)}
    bench.run.describe(
        matrix="rates",
        spec={"summary": "", "models": ["tiny"], "targets": [*SOURCES], "tasks": {}, "baseline": "ce"},
        command="c",
        started="2",
        cells={name: records[name] for name in plans if records[name].target in (None, *SOURCES)},
    )
    rows = [row for row, _ in matrix_of(load([bench.path])).rows]
    assert len(rows) == len(SOURCES) * len(LEVEL) * 3
    rates = {f'{{"learning_rate": {rate}}}' for rate in RATES}
    assert {row.training for row in rows} == rates


def _records(bench: Bench) -> list[Any]:
    from perbench.store import read_records

    return read_records(bench.path)


def test_a_value_for_each_source_does_not_make_two_methods(bench: Bench) -> None:
    """As of Table 4 of PerCE, whose models have the rate that is best on their source."""
    from perbench.site.means import kinds_of, standings
    from perbench.store.selection import Candidate, Choice
    from tests.site.chosen import evaluated, trained

    made, cells = [], {}
    for (trainer, source), rate in BEST.items():
        training = trained(bench, trainer, source, rate, 0)
        given = Candidate(values={"learning_rate": rate}, trainings=[training.identity])
        named = {"model": "tiny", "trainer": trainer, "source": source, "on": "source"}
        made.append(Choice.model_validate({**named, "candidates": [given], "chosen": 0}))
        for record in (training, *(evaluated(bench, training, target, LEVEL[trainer]) for target in SOURCES)):
            cells[record.identity] = record.labels
    spec = {"summary": "", "models": ["tiny"], "targets": [*SOURCES], "tasks": {}, "baseline": "ce"}
    bench.run.describe(matrix="m", spec=spec, command="c", started="1", cells=cells, choices=made)
    matrix = matrix_of(load([bench.path]))
    assert [one.row.trainer for one in standings(matrix, kinds_of(matrix))] == ["perce", "ce"]
    assert all(one.gain is not None for row, found in matrix.rows for one in found if row.trainer == "perce")
    assert [row.variation for row, _ in matrix.rows] == [
        f"learning_rate={rate:g}".replace("e-05", "e-05") for rate in BEST.values()
    ]


def test_a_baseline_on_another_variant_of_the_task(bench: Bench) -> None:
    """RI of NextQuill's Table 2: over the base model, which is evaluated without history."""
    without = "fam/read (without history)"
    for trainer, target, level in (("sft", without, 0.1), ("nextquill", "fam/read", 0.3)):
        bench.evaluate(
            [level + 0.01 * place for place in range(6)],
            trainer=trainer,
            source="fam/read",
            target=target,
            inputs={"data": "d", "target": {"name": "fam/read", "with": target, "protocol": "generation"}},
        )
    rows = [{"name": "sft", "targets": [{"task": "own", "as": "without history"}]}, "nextquill"]
    baseline = {"trainer": "sft", "target": "without history"}
    bench.describe(trainers=rows, targets=["own"], baseline=baseline, tasks={})
    view = build_view(load([bench.path]))
    gains = [one.gain for _, outcomes in view.matrix.rows for one in outcomes if one.gain is not None]
    assert [gain.value for gain in gains] == pytest.approx([0.2])
    assert gains[0].users == 6
    (results,) = section(view)
    assert values(results) == {
        "sft without history": ["0.1250"],
        "nextquill": ["0.3250"],
        "nextquill relative gain over sft, without history": ["+160.00%"],
    }


def test_each_variant_of_a_source_has_its_own_row(bench: Bench) -> None:
    """Of one method that was trained on a task as it is and on a change of it."""
    plain = "fam/read (prompt=plain)"
    for source, target, level in (
        ("fam/read", "fam/read", 0.1),
        (plain, plain, 0.3),
        (plain, "fam/read", 0.5),
    ):
        bench.evaluate(
            [level + 0.01 * place for place in range(6)],
            trainer="ce",
            source=source,
            target=target,
            inputs={"data": "d", "target": {"name": "fam/read", "with": target, "protocol": "generation"}},
        )
    sources = ["fam/read", {"task": "fam/read", "prompt": "plain"}]
    bench.describe(trainers=["ce"], sources=sources, targets=["own", "fam/read"], tasks={})
    (results,) = section(build_view(load([bench.path])))
    assert values(results) == {
        "ce trained on the task as it is": ["0.1250"],
        "ce trained on prompt=plain": ["0.3250"],
        "ce trained on prompt=plain, evaluated on the task as it is": ["0.5250"],
    }


def test_profiles_are_told_apart(new_bench: Callable[[str], Bench]) -> None:
    benches = []
    for profile, level, decoded in (("as_paper", 0.3, "sampled"), ("as_code", 0.2, "greedy")):
        bench = new_bench(profile)
        cells = {}
        for trainer in ("ce", "perce"):
            record = bench.evaluate(
                [level + 0.01 * place for place in range(6)],
                trainer=trainer,
                source="fam/read",
                target="fam/read",
                inputs={
                    "data": "d",
                    "target": {"name": "fam/read", "protocol": "generation", "decoding": decoded},
                    "model": {"weights_sha256": "w"},
                },
            )
            cells[record.identity] = record.labels
        spec = {"summary": "", "models": ["tiny"], "targets": ["fam/read"], "tasks": {}, "profile": profile}
        bench.run.describe(matrix=f"m-{profile}", spec=spec, command="c", started="1", cells=cells)
        benches.append(bench)
    view = build_view(load([bench.path for bench in benches]))
    # The models are the same, and were evaluated under both.
    assert {row.variation for row, _ in view.matrix.rows} == {"profile as_code and as_paper"}
    assert {column.profile for column in view.matrix.columns} == {"as_paper", "as_code"}
    assert len({column.kind for column in view.matrix.columns}) == 2  # so no mean is over both
    assert any("as_code, as_paper" in alert.text and alert.grave for alert in view.alerts)
    alone = build_view(load([benches[0].path]))
    assert all("profile as_paper" in row.variation for row, _ in alone.matrix.rows)
    assert not any(alert.grave for alert in alone.alerts)
