"""Plans of many cells: what cells share is found once, and printed is a summary."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from perbench import plugins
from perbench.cli import main
from perbench.console.printing import console
from perbench.disk.digests import canonical_digest
from perbench.matrix import estimate
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.dry_run import MANY, show_plan
from perbench.matrix.estimate import CellEstimate, Estimator
from perbench.matrix.identity import Shared, identity_of
from perbench.matrix.memory import memory_lines, parameters
from perbench.matrix.plan import Plan, Step
from perbench.matrix.plan_summary import SHOWN, Breakable, short, summary_table, sums
from perbench.specs.matrices import load_matrix
from perbench.store import DamagedRecord, RunDir
from tests.matrix.conftest import Root, write_rows, writing_rows
from tests.matrix.test_plan import cells_of, finish

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)
SEEDS = {"seeds": list(range(20))}


@given(INPUTS, st.sets(st.integers(0, 4)))
def test_shared_parts_give_the_identity_of_plain_ones(inputs: dict[str, Any], which: set[int]) -> None:
    shared = {
        key: Shared(value) if place in which and isinstance(value, dict) else value
        for place, (key, value) in enumerate(inputs.items())
    }
    assert identity_of(shared) == identity_of(shared) == canonical_digest(inputs)


def test_plugin_folders_are_read_as_often_for_many_cells_as_for_few(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Counter[str]()
    for name in ("discover", "load_trainer", "load_identifier"):
        found = getattr(plugins, name)
        monkeypatch.setattr(
            plugins, name, lambda *a, name=name, found=found: looks.update([name]) or found(*a)
        )

    def counted(**changes: Any) -> tuple[int, Counter[str]]:
        spec = load_matrix(root.matrix(**changes)).spec
        catalogue = Catalogue(spec, {}, None)
        looks.clear()
        return len(expand(spec, catalogue)), Counter(looks)

    (few, once), (many, again) = counted(seeds=[0]), counted(**SEEDS)
    assert many > 15 * few
    assert once == again


def test_an_edited_trainer_is_noticed_by_the_next_plan(root: Root, tmp_path: Path) -> None:
    own = tmp_path / "own" / "trainers" / "mine.py"
    own.parent.mkdir(parents=True)
    own.write_text((plugins.builtin_root() / "trainers" / "ce.py").read_text())
    plugins.include(own.parents[1])
    before = cells_of(root, trainers=["mine"], baseline=None)
    own.write_text(own.read_text() + "\n# edited\n")
    after = cells_of(root, trainers=["mine"], baseline=None)
    changed = {old.kind for old, new in zip(before, after, strict=True) if old.identity != new.identity}
    assert changed == {"train", "eval"}
    same = {old.identity for old in before} & {new.identity for new in after}
    assert len(same) == sum(cell.needs is None and cell.kind != "train" for cell in before)


def test_no_two_trainings_share_a_trainer(root: Root) -> None:
    trainers = [cell.trainer for cell in cells_of(root, **SEEDS) if cell.trainer is not None]
    assert len(set(map(id, trainers))) == len(trainers) > len(SEEDS["seeds"])


# ------------------------------------------------------------ tokens


def test_tokens_of_many_rows_are_those_of_a_sample_scaled_up(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        write_rows(root.path / f"data/writing/{split}.jsonl", writing_rows(len(split), 90))
    spec = load_matrix(root.matrix(trainers=["ce"], identifiers=[], targets=["tiny/writing"])).spec

    def estimates() -> list[CellEstimate]:
        catalogue = Catalogue(spec, {}, None)
        estimator = Estimator(catalogue, root.path / "none", ())
        return [estimator(cell) for cell in expand(spec, catalogue)]

    whole = estimates()
    monkeypatch.setattr(estimate, "COUNTED", 45)
    halved = estimates()
    assert all(one.exact for one in whole)
    assert not any(one.exact for one in halved)
    for one, other in zip(whole, halved, strict=True):
        assert one.tokens is not None
        assert other.tokens == pytest.approx(one.tokens, rel=0.1)
        assert other.tokens % 2 == 0  # every other row, twice


def test_a_dry_run_counts_tokens_without_torch(root: Root) -> None:
    words = ["run", "--matrix", str(root.matrix()), "--out", str(root.path / "none"), "--dry-run"]
    code = (
        "import sys; from perbench.cli import main;"
        f"assert main({words!r}) == 0;"
        "assert 'transformers' in sys.modules, 'tokens were not counted';"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# ------------------------------------------------------------ what is printed


def made_plan(root: Root, folder: Path) -> tuple[Plan, list[CellEstimate | None]]:
    """Of ce's evaluations the first is reused, one is begun and one damaged; all others run."""
    run = RunDir(folder)
    rows = ["tiny/writing", "tiny/talk", {"task": "tiny/writing", "as": "short", "max_length": 300}]
    cells = cells_of(root, identifiers=[], targets=rows)
    evals = [cell for cell in cells if cell.kind == "eval" and cell.labels.trainer == "ce"]
    damage = DamagedRecord(folder / "cell.json", "torn", line=3)

    def step(cell: Cell) -> Step:
        if cell is evals[0]:
            finish(run, cell)
            return Step(cell, "reuse", "finished 2026-01-01T00:00:10Z")
        if cell is evals[1]:
            return Step(cell, "resume", "4 samples stored")
        if cell is evals[2]:
            return Step(cell, "run", f"damaged: {damage.what}", damage)
        return Step(cell, "run", "no record")

    steps = tuple(map(step, cells))
    timed = CellEstimate(1000, True, 30.0)
    return Plan(steps), [None if one.action == "reuse" else timed for one in steps]


def test_a_summary_counts_cells_by_what_a_matrix_names(root: Root, tmp_path: Path) -> None:
    plan, estimates = made_plan(root, tmp_path / "run")
    found = sums(plan, estimates)
    assert list(found) == ["kind", "model", "method", "source", "target", "why"]
    for group in ("kind", "model", "method", "target"):
        left_out = sum(step.cell.kind == "train" for step in plan.steps) if group == "target" else 0
        assert sum(one.actions.total() for one in found[group].values()) == len(plan.steps) - left_out
    ce = found["method"]["ce"]
    assert ce.actions["reuse"] == ce.actions["resume"] == 1
    assert (ce.tokens, ce.seconds) == (1000 * (ce.actions.total() - 1), 30.0 * (ce.actions.total() - 1))
    assert {why: one.actions.total() for why, one in found["why"].items()} == {
        "no record": len(plan.steps) - 3,
        "begun": 1,
        "damaged": 1,
    }
    assert next(iter(found["why"])) == "no record"


def test_a_sum_holds_what_is_known_and_counts_what_is_not(root: Root, tmp_path: Path) -> None:
    plan, estimates = made_plan(root, tmp_path / "run")
    trained, evaluated = (
        [place for place, step in enumerate(plan.steps) if step.cell.kind == kind and estimates[place]]
        for kind in ("train", "eval")
    )
    estimates[evaluated[0]] = CellEstimate(None, False, None)
    for place in trained:
        estimates[place] = CellEstimate(None, False, None)
    kinds = sums(plan, estimates)["kind"]
    known = len(evaluated) - 1
    assert (kinds["train"].uncounted, kinds["train"].untimed) == (len(trained), len(trained))
    one = kinds["eval"]
    assert (one.uncounted, one.untimed, one.exact) == (1, 1, True)
    assert (one.tokens, one.seconds) == (1000 * known, 30.0 * known)
    columns = [list(column.cells) for column in summary_table(plan, estimates).columns]
    tokens = dict(zip(columns[1], columns[-2], strict=True))
    assert (tokens["train"], tokens["eval"]) == ("unknown", f"≥ {short(1000 * known)}")


TOTALS = {
    "known": ([CellEstimate(10, True, 2.0), CellEstimate(20, True, 3.0)], "30 tokens; time: about 5.0 s"),
    "one unknown": (
        [CellEstimate(10, True, 2.0), CellEstimate(20, False, None), CellEstimate(None, False, None)],
        "at least about 30 tokens (1 cell unknown); time: at least about 2.0 s (2 cells unknown)",
    ),
    "no time": ([CellEstimate(10, True, None)], "10 tokens; time: unknown, no similar past record"),
    "nothing": ([CellEstimate(None, False, None, unavailable=True)] * 2, "tokens: unknown; time: unknown"),
}


@pytest.mark.parametrize("case", TOTALS)
def test_the_total_of_a_dry_run(
    root: Root, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    estimates, expected = TOTALS[case]
    cells = [cell for cell in cells_of(root) if cell.kind == "eval"][: len(estimates)]
    plan, left = Plan(tuple(Step(cell, "run", "no record") for cell in cells)), iter(estimates)
    given = cast(Estimator, lambda cell: next(left))
    show_plan(plan, given, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert f"{len(cells)} to evaluate; {expected}" in lines
    assert not any("endpoint" in line for line in lines)
    unknown = sum(one.tokens is None for one in estimates)
    assert sum(line.startswith("not in these sums: ") for line in lines) == bool(unknown)
    left = iter(estimates)
    show_plan(plan, given, as_json=True)
    total = json.loads(capsys.readouterr().out)["total"]
    assert total["uncounted"] == unknown
    assert total["untimed"] == sum(one.seconds is None for one in estimates)
    known = [one.seconds for one in estimates if one.seconds is not None]
    assert total["seconds"] == (sum(known) if known else None)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_large_plan_is_summed_up_and_verbose_prints_each_cell(
    root: Root,
    tmp_path: Path,
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    matrix, out = str(root.matrix(**SEEDS)), str(tmp_path / "none")
    number = len(cells_of(root, **SEEDS))
    assert number > MANY

    def printed(*more: str) -> list[str]:
        assert main(["run", "--matrix", matrix, "--out", out, "--dry-run", *more]) == 0
        return capsys.readouterr().out.splitlines()

    summary, whole = printed(), printed("--verbose")
    table = summary[next(place for place, line in enumerate(summary) if line.startswith("by ")) :]
    assert len(table) < 6 * SHOWN
    assert max(map(len, table[:-3])) <= width
    assert not any(" seed 19" in line for line in summary)
    assert any(f"{number:,}" in line and "--verbose" in line for line in summary)
    assert summary[-1] == whole[-1]
    shown = "".join(whole).replace(" ", "")
    assert shown.count("norecord") == number if width == 200 else len(whole) > number


def test_a_small_plan_is_printed_whole(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["run", "--matrix", str(root.matrix()), "--out", str(tmp_path / "none"), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("no record") == len(cells_of(root)) <= MANY


def test_a_plan_is_summed_up_by_the_lines_that_it_would_take(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = root.matrix(seeds=[0, 1, 2])
    number = len(cells_of(root, seeds=[0, 1, 2]))
    assert MANY / 3 < number < MANY - 10
    shown = {}
    for width in ("60", "200"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["run", "--matrix", str(matrix), "--out", str(tmp_path / "none"), "--dry-run"]) == 0
        shown[width] = capsys.readouterr().out
    assert f"{number} cells; --verbose" in shown["60"]
    assert "--verbose" not in shown["200"]
    assert shown["200"].count("no record") == number


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_reason_is_broken_between_words_and_after_dots_only(width: int) -> None:
    key = "target.dialogue.judge.model.engine"
    table = Table()
    for head in ("cell", "why", "time"):
        table.add_column(head, overflow="fold")
    table.add_row("eval smollm2-135m " * 5, Breakable(f"stale: {key}, train changed since"), "unknown " * 2)
    stream = io.StringIO()
    console(stream, width=width).print(table)
    rows = [line.split("│")[2].strip() for line in stream.getvalue().splitlines() if line.count("│") == 4]
    assert " ".join(rows).replace(". ", ".").split() == f"stale: {key}, train changed since".split()
    words = {word for row in rows for word in row.replace(".", ". ").split()}
    assert words <= {
        "stale:",
        *(f"{word}." for word in key.split(".")),
        "engine,",
        "train",
        "changed",
        "since",
    }


def test_verbose_without_a_dry_run_is_refused(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--matrix", str(root.matrix()), "--out", str(tmp_path / "none"), "--verbose"]
    assert main(words) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_of_many_names_the_last_share_a_line(root: Root, tmp_path: Path) -> None:
    rows = [{"task": "tiny/writing", "as": f"m{length}", "max_length": length} for length in range(300, 330)]
    cells = cells_of(root, identifiers=[], trainers=[], sources=[], baseline=None, targets=rows)
    plan = Plan(tuple(Step(cell, "run", "no record") for cell in cells))
    table = summary_table(plan, [CellEstimate(10, True, 1.0)] * len(cells))
    names, tokens = (list(table.columns[place].cells) for place in (1, 3))
    assert names[-1].startswith(f"… {30 - SHOWN + 1} ")
    assert tokens[-1] == str(10 * (30 - SHOWN + 1))


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0"), (999, "999"), (1000, "1.00k"), (12_345, "12.3k"), (999_499, "999k"), (999_500, "1.00M")],
)
def test_counts_have_three_digits(count: int, told: str) -> None:
    assert short(count) == told


@pytest.mark.parametrize(
    ("count", "said"),
    [(999, "999"), (134_515_008, "135 M"), (999_900_000, "1.00 B"), (4_022_468_096, "4.02 B")],
)
def test_numbers_of_parameters_have_their_usual_unit(count: int, said: str) -> None:
    assert parameters(count) == said


def test_memory_is_told_once_for_settings_that_need_the_same(root: Root) -> None:
    changes = {"training.learning_rate": [1e-3, 1e-4], "training.method": ["lora", "full"]}
    sets = tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    lines = [*memory_lines(load_matrix(root.matrix(), sets).spec, 1, None)]
    heads = [line for line in lines if line.startswith("memory of")]
    assert len(heads) == 2
    assert [head.count("learning_rate=") for head in heads] == [2, 2]
    assert [head.count("method=full") for head in heads] == [0, 2]
