"""The matrix's values and gains, exactly; every cell has a status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench.contracts.metric import mean_metric
from perbench.errors import PerbenchError
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.store import Labels, Metric, TurnValue

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def view(*benches: Bench, baseline: str | None = None) -> SiteView:
    return build_view(load([bench.path for bench in benches], baseline))


def rows(shown: SiteView) -> list[tuple[str | None, str | None]]:
    return [(row.trainer, row.source) for row, _ in shown.matrix.rows]


CE = [0.1, 0.2, 0.3, 0.4]
PERCE = [0.3, 0.35, 0.5, 0.65]


def test_values_and_paired_gains(bench: Bench) -> None:
    bench.evaluate([0.0, 0.1, 0.2, 0.3])
    bench.evaluate(CE, trainer="ce", source="fam/write")
    bench.evaluate(PERCE, trainer="perce", source="fam/write")
    shown = view(bench)
    assert rows(shown) == [(None, None), ("ce", "fam/write"), ("perce", "fam/write")]
    base, ce, perce = (cells[0] for _, cells in shown.matrix.rows)
    users = ["u0", "u1", "u2", "u3"]
    assert base.mean is not None
    assert (base.mean.value, base.mean.ci) == (
        pytest.approx(0.15),
        mean_metric([0, 0.1, 0.2, 0.3], users, "s").ci,
    )
    assert (base.versus, ce.versus, perce.versus) == ("none", "baseline", "gain")
    assert perce.gain is not None
    assert perce.gain.value == pytest.approx(0.2)
    differences = [a - b for a, b in zip(PERCE, CE, strict=True)]
    assert perce.gain.ci == pytest.approx(mean_metric(differences, users, "s").ci)
    assert (perce.gain.excludes_zero, perce.gain.remains) == (True, True)
    assert (shown.matrix.excluding_zero, shown.matrix.remaining, len(shown.matrix.gains)) == (1, 1, 1)
    assert (shown.matrix.by_chance, shown.matrix.of_one_seed) == (0.05, 1)
    assert perce.own


def test_heads_count_the_users_behind_intervals(bench: Bench) -> None:
    """Those whose samples have a score, of all seeds together."""
    bench.evaluate([0.0, 0.1, None, 0.3], users=["a", "a", "b", "c"])
    bench.evaluate([0.2], target="fam/lone")
    bench.evaluate([0.0, None, 0.3], users=["a", "b", "c"], target="fam/seeds", seed=0)
    bench.evaluate([0.0, 0.5, 0.3], users=["a", "b", "c"], target="fam/seeds", seed=1)
    columns = view(bench).matrix.columns
    assert {c.target: c.users for c in columns} == {
        "fam/write": (2, 2),
        "fam/lone": (1, 1),
        "fam/seeds": (3, 3),
    }


def test_seeds_are_averaged_before_pairing(bench: Bench) -> None:
    for seed, ce, perce in ((0, [0.0, 1.0], [1.0, 1.0]), (1, [1.0, 0.0], [1.0, 2.0])):
        bench.evaluate(ce, trainer="ce", source="s", seed=seed)
        bench.evaluate(perce, trainer="perce", source="s", seed=seed)
    (_, (ce_cell,)), (_, (perce_cell,)) = view(bench).matrix.rows
    assert ce_cell.mean is not None
    assert (ce_cell.mean.value, ce_cell.mean.ci, len(ce_cell.records)) == (0.5, None, 2)
    assert perce_cell.gain is not None
    assert (perce_cell.gain.value, perce_cell.gain.n) == (0.75, 2)  # (1 - 0.5 + 1.5 - 0.5) / 2
    assert (perce_cell.gain.seeds, perce_cell.gain.users, perce_cell.gain.ci) == (2, 2, None)


def test_a_baseline_is_of_the_same_model_source_and_training(bench: Bench) -> None:
    for model, source, rate, value in (("m", "a", 1e-5, 0.1), ("m", "a", 1e-4, 0.2), ("n", "a", 1e-5, 0.3)):
        labels = {"training": {"learning_rate": rate}}
        bench.evaluate([value] * 3, trainer="ce", source=source, model=model, labels=labels)
        bench.evaluate([value + 0.5] * 3, trainer="perce", source=source, model=model, labels=labels)
    bench.evaluate([0.9] * 3, trainer="perce", source="b", model="m")
    gains = [cells[0].gain for row, cells in view(bench).matrix.rows if row.trainer == "perce"]
    assert [gain and round(gain.value or 0, 9) for gain in gains] == [0.5, 0.5, None, 0.5]


def test_a_grid_of_trainer_parameters_makes_rows_and_names_what_varies(bench: Bench) -> None:
    bench.evaluate(CE, trainer="ce", source="s")
    for upper in (3.0, 5.0):
        params = {"lower": 0.8, "upper": upper}
        bench.evaluate(PERCE, trainer="perce", source="s", labels={"trainer_params": params})
    found = [(row.variation, cells[0].versus) for row, cells in view(bench).matrix.rows]
    assert found == [("", "baseline"), ("upper=3.0", "gain"), ("upper=5.0", "gain")]


def test_rows_stand_in_the_order_of_their_numbers(bench: Bench) -> None:
    for rate in (1e-4, 2e-5, 5e-6):
        bench.evaluate(CE, trainer="ce", source="s", labels={"training": {"learning_rate": rate}})
    found = [row.variation for row, _ in view(bench).matrix.rows]
    assert found == ["learning_rate=5e-06", "learning_rate=2e-05", "learning_rate=0.0001"]


def test_a_trainers_own_settings_are_always_told_beside_its_gain(bench: Bench) -> None:
    bench.evaluate(CE, trainer="ce", source="s")
    bench.evaluate(PERCE, trainer="perce", source="s", labels={"trainer_params": {"training.epochs": 5}})
    found = [(row.variation, cells[0].versus) for row, cells in view(bench).matrix.rows]
    assert found == [("", "baseline"), ("training.epochs=5", "gain")]


def test_what_is_computed_from_a_metric_stands_beside_that_metric(bench: Bench) -> None:
    by_turn = [TurnValue(turn=turn, value=0.5, ci=None, n=2) for turn in (1, 2)]
    metrics = {
        "pmi": Metric(value=0.5, n=4, signature="pmi|nats|x", by_turn=by_turn),
        "rating": Metric(value=0.5, n=4, signature="rating|1-5|x", by_turn=by_turn),
        "ir": Metric(value=0.25, n=4, signature="ir|line|rating|1-5|x"),
        "length": Metric(value=9.0, n=4, signature="length|words"),
    }
    labels = Labels(model="tiny", target="fam/talk", seed=0)
    notes = ["rating: uncalibrated", "of both"]
    bench.cell("eval", labels, None, headline="pmi", metrics=metrics, notes=notes)
    _, dialogue = view(bench).sections
    found = [
        (table.caption, [column.name for column in table.columns[1:-2]], table.notes)
        for table in dialogue.tables
    ]
    assert found == [
        ("pmi per turn", [], ("of both",)),
        ("rating per turn", ["ir"], ("of both", "rating: uncalibrated")),
    ]


def test_models_stand_in_the_order_of_their_sizes(bench: Bench) -> None:
    names = ["m-0.5b", "m-1b", "m-1.5b", "m-3b", "m-10b", "m-010b"]
    for name in reversed(names):
        bench.evaluate(CE, model=name)
        bench.identify("rule", 0.5, model=name)
    ordered = [*names[:4], "m-010b", "m-10b"]  # of equal sizes, as text
    shown = view(bench)
    assert [row.model for row, _ in shown.matrix.rows] == ordered
    assert [name for name, _ in shown.models] == ordered
    for kind in ("eval", "identify"):
        assert [one.record.labels.model for one in shown.entries if one.record.kind == kind] == ordered
    (quality, *_) = next(one for one in shown.sections if one.name == "identification").tables
    assert [head.model for head, _ in quality.rows] == ordered


def test_columns_stand_in_the_order_of_their_numbers_also_negative(bench: Bench) -> None:
    for lam in ("2.0", "-1.0", "0.0", "1e-05"):
        bench.evaluate(CE, trainer="ce", source="s", target=f"fam/a (decoding.lam={lam})")
    found = [column.target.partition("=")[2] for column in view(bench).matrix.columns]
    assert found == ["-1.0)", "0.0)", "1e-05)", "2.0)"]


def test_the_same_questions_to_another_engine_are_no_other_settings(bench: Bench) -> None:
    bench.evaluate(CE, inputs={"data": "a", "engine": "transformers"})
    bench.evaluate(PERCE, model="openai/m", inputs={"data": "a", "engine": "openai"})
    (column,) = view(bench).matrix.columns
    assert column.apart == ""


def test_failed_not_run_and_unscored(bench: Bench) -> None:
    bench.evaluate(CE, trainer="ce", source="s", target="fam/a")
    bench.evaluate(None, trainer="perce", source="s", target="fam/a")
    bench.evaluate([None, None], trainer="ce", source="s", target="fam/b")
    found = [[cell.status for cell in cells] for _, cells in view(bench).matrix.rows]
    assert found == [["done", "done"], ["failed", "no record"]]
    (_, (_, unscored)), _ = view(bench).matrix.rows
    assert unscored.mean is not None
    assert (unscored.mean.value, unscored.mean.missing) == (None, 2)


def test_a_failed_seed_is_told_and_the_others_count(bench: Bench) -> None:
    bench.evaluate(CE, trainer="ce", source="s", seed=0)
    failed = bench.evaluate(None, trainer="ce", source="s", seed=1)
    ((_, (cell,)),) = view(bench).matrix.rows
    assert cell.status == "done"
    assert cell.mean is not None
    assert cell.mean.n == len(CE)
    assert [record.identity for record in cell.records if record.error] == [failed.identity]


def test_a_trained_model_that_was_never_evaluated_has_a_row(bench: Bench) -> None:
    bench.evaluate(CE)
    bench.cell("train", Labels(model="tiny", trainer="ce", source="s", seed=0))
    found = [(row.trainer, cells[0].status) for row, cells in view(bench).matrix.rows]
    assert found == [(None, "done"), ("ce", "no record")]


def test_missing_pairs_are_counted(bench: Bench) -> None:
    bench.evaluate([0.1, None, 0.3, 0.4], trainer="ce", source="s")
    bench.evaluate([0.2, 0.2, 0.4, None], trainer="perce", source="s")
    gain = view(bench).matrix.rows[1][1][0].gain
    assert gain is not None
    assert (gain.n, gain.missing) == (2, 2)
    assert gain.value == pytest.approx(0.1)


@pytest.mark.parametrize(("named", "expected"), [(None, "ce"), ("perce", "perce")])
def test_the_baseline_comes_from_the_matrix(bench: Bench, named: str | None, expected: str) -> None:
    bench.describe(baseline=named)
    bench.evaluate(CE, trainer="ce", source="s")
    bench.evaluate(PERCE, trainer="perce", source="s")
    shown = view(bench)
    assert shown.matrix.baseline == expected
    assert [r.trainer for r, cells in shown.matrix.rows if cells[0].versus == "baseline"] == [expected]


def test_baselines_that_disagree_need_a_choice(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    for bench, name in ((a, "ce"), (b, "perce")):
        bench.describe(baseline=name)
        bench.evaluate(CE, trainer=name, source="s")
    with pytest.raises(PerbenchError, match=r"different baselines: ce, perce; .*--baseline ce"):
        view(a, b)
    assert view(a, b, baseline="perce").matrix.baseline == "perce"
    with pytest.raises(PerbenchError, match=r"--baseline dpo: .*ce, perce"):
        view(a, b, baseline="dpo")


def test_no_baseline_no_gains(bench: Bench) -> None:
    bench.evaluate(PERCE, trainer="perce", source="s")
    assert view(bench).matrix.baseline is None


def test_the_same_identity_twice_counts_once(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    for bench in (a, b):
        bench.evaluate(CE, trainer="ce", source="s")
    shown = view(a, b)
    assert (len(shown.entries), shown.superseded) == (1, ())


def test_a_done_record_wins_over_a_failed_one_of_the_same_cell(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    a.evaluate(CE, trainer="ce", source="s")
    b.evaluate(None, trainer="ce", source="s", finished="2027-01-01T00:00:00+00:00")
    assert view(a, b).failed == 0
    assert view(b, a).failed == 0


def test_what_was_planned_and_never_recorded_is_named(bench: Bench, tmp_path: Path) -> None:
    planned = [
        Labels(model="tiny", trainer=trainer, source="fam/read", target=target, seed=0)
        for target in ("fam/write", "fam/read")
        for trainer in ("ce", "perce")
    ]
    bench.describe(*planned)
    bench.evaluate(CE, trainer="ce", source="fam/read")
    assert view(bench).matrix.unrecorded == ("trainer perce", "target fam/read")


def test_forms_of_one_task_are_columns_of_their_own(bench: Bench) -> None:
    row = {"task": "fam/write", "as": None, "prompt": ["a", "b"]}
    planned = Labels(model="tiny", target="fam/write (prompt=b)", seed=0)
    bench.describe(planned, baseline="ce", trainers=["ce", "perce"], targets=["fam/write", row])
    for target, shift in (("fam/write", 0.0), ("fam/write (prompt=a)", 0.1)):
        bench.evaluate([v + shift for v in CE], trainer="ce", source="fam/write", target=target)
        bench.evaluate([v + shift + 0.05 for v in CE], trainer="perce", source="fam/write", target=target)
    shown = view(bench).matrix
    assert [column.target for column in shown.columns] == ["fam/write", "fam/write (prompt=a)"]
    gains = [cell.gain for cell in shown.rows[1][1]]
    assert [gain and gain.value for gain in gains] == [pytest.approx(0.05)] * 2
    assert all(cell.own for _, cells in shown.rows for cell in cells)
    assert shown.unrecorded == ("target fam/write (prompt=b)",)


def test_columns_of_a_sweep_stand_by_value(bench: Bench) -> None:
    labels = [
        "fam/write",
        *(f"fam/write (cos, decoding.lam={lam})" for lam in (0.5, 2.0, 10.0)),
        "fam/write2",
    ]
    for label in reversed(labels):
        bench.evaluate(CE, target=label)
    assert [column.target for column in view(bench).matrix.columns] == labels


def test_runs_that_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=r"absent does not exist"):
        load([tmp_path / "absent"])
    (tmp_path / "empty" / "cells").mkdir(parents=True)
    with pytest.raises(PerbenchError, match="no finished cells yet"):
        load([tmp_path / "empty"])
    (tmp_path / "empty" / "files.json").write_text("{}")
    with pytest.raises(PerbenchError, match="empty holds pages"):
        load([tmp_path / "empty"])


def test_damaged_cells_are_left_out_and_named_all_at_once(bench: Bench) -> None:
    cells = [bench.evaluate(CE, seed=seed) for seed in range(3)]
    folders = [bench.run.cell("eval", cell.identity).path for cell in cells]
    (folders[0] / "scores.json").write_text('{"ids": 3}')
    (folders[1] / "cell.json").write_text("{")
    found = load([bench.path])
    assert [entry.record.identity for entry in found.entries] == [cells[2].identity]
    named = {damage.here.partition(": ")[0] for damage in found.damaged}
    assert named == {f"cells/{folders[0].name}/scores.json", f"cells/{folders[1].name}/cell.json"}
    (folders[2] / "cell.json").write_text("{")
    with pytest.raises(PerbenchError, match="(?s)" + ".*".join(sorted(folder.name for folder in folders))):
        load([bench.path])


def test_damaged_scores_of_an_older_perbench_name_the_way_out(bench: Bench) -> None:
    record = bench.evaluate(CE)
    bench.evaluate(PERCE, seed=1)
    folder = bench.run.cell("eval", record.identity).path
    older = record.model_copy(update={"schema_version": 1}).model_dump_json()
    (folder / "cell.json").write_text(older)
    assert load([bench.path]).unverifiable == 1
    (folder / "scores.json").write_text('{"ids": 3}')
    (damage,) = load([bench.path]).damaged
    assert "scores.json: damaged" in str(damage)
    assert "perbench rescore" in str(damage)
