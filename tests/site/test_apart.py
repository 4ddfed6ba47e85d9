"""What differs is named in words; nothing that differs is put together."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.site.apart import Namesake, tell_apart
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.store import Labels

if TYPE_CHECKING:
    from tests.site.conftest import Bench

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"data": A}, {"data": B}, ["8 examples", "30 examples"]),
        (
            {"target": {"max_length": 300}},
            {"target": {"max_length": 500}},
            ["max_length 300", "max_length 500"],
        ),
        (
            {"target": {"max_length": None}},
            {"target": {"max_length": 5}},
            ["max_length none", "max_length 5"],
        ),
        (
            {"target": {"persona": {"k": 1}, "sampling": {"k": 2}}},
            {"target": {"persona": {"k": 3}, "sampling": {"k": 4}}},
            ["persona k 1, sampling k 2", "persona k 3, sampling k 4"],
        ),
        (
            {"target": {"name": "t", "decoding": {"method": "cos", "lam": 0.5}}},
            {"target": {"name": "t"}},
            ["lam 0.5, method cos", "no decoding"],
        ),
        (
            {"target": {"prompt": {"user": "Write\n{question}"}}},
            {"target": {"prompt": {"user": "Answer\n{question}"}}},
            ["prompt as in run one", "prompt as in run two"],
        ),
        (
            {"target": {"dialogue": {"judge": {"model": {"weights_sha256": A}}}}},
            {"target": {"dialogue": {"judge": {"model": {"weights_sha256": B}}}}},
            ["judge as in run one", "judge as in run two"],
        ),
        (
            {"trainer": {"plugin": A}},
            {"trainer": {"plugin": B}},
            [
                "code of the trainer as in run one",
                "code of the trainer as in run two",
            ],
        ),
        (
            {"signature": "rougeL|stem:no|0.1.2"},
            {"signature": "rougeL|stem:yes|0.1.2"},
            ["stem:no", "stem:yes"],
        ),
        ({"version": 2}, {"version": 3}, ["results version 2", "results version 3"]),
        ({"data": A}, {"data": A}, ["", ""]),
    ],
)
def test_differences_in_words(one: dict[str, Any], other: dict[str, Any], expected: list[str]) -> None:
    assert tell_apart([Namesake(one, 8, ("one",)), Namesake(other, 30, ("two",))]) == expected


def test_data_of_one_size_are_told_by_their_run_or_a_short_digest() -> None:
    apart = [Namesake({"data": A}, 8, ("one",)), Namesake({"data": B}, 8, ("two",))]
    assert tell_apart(apart) == ["data as in run one", "data as in run two"]
    within = tell_apart([Namesake({"data": A}, 8, ("one",)), Namesake({"data": B}, 8, ("one",))])
    assert len(set(within)) == 2
    assert all(name.startswith("data ") and len(name) < 20 for name in within)


def test_what_the_labels_say_is_not_said_again() -> None:
    said = [("training", "learning_rate")]
    rates = [{"training": {"learning_rate": rate}} for rate in (1e-5, 1e-4, 2e-4)]
    assert tell_apart([*(Namesake(one, named=said) for one in rates[:2]), Namesake(rates[2])]) == [
        "",
        "",
        "learning_rate 0.0002",
    ]


LEAF = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from([A, B, "greedy", "x" * 50])
INPUTS = st.recursive(
    LEAF, lambda inner: st.dictionaries(st.sampled_from("pqrs"), inner, max_size=3), max_leaves=6
)


@settings(deadline=None, max_examples=60)  # a busy machine is no fault
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["data", "target", "version", "signature"]), INPUTS, max_size=4),
            st.none() | st.integers(1, 3),
            st.sets(st.sampled_from(["one", "two"]), min_size=1),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_other_inputs_never_share_a_name_and_equal_ones_do(found: list[Any]) -> None:
    variants = [Namesake(inputs, size, tuple(sorted(runs))) for inputs, size, runs in found]
    names = tell_apart(variants)
    for one, name in zip(variants, names, strict=True):
        for other, its in zip(variants, names, strict=True):
            assert one.key == other.key or name != its
        assert len(name) < 200
        assert set(name) <= set(string.printable)


# ---------------------------------------------------------------- on the page


def view(*benches: Bench) -> SiteView:
    return build_view(load([bench.path for bench in benches]))


def shown(found: SiteView) -> list[tuple[str, list[float | None]]]:
    """Each column's title with its values, row by row."""
    return [
        (column.title, [cells[i].mean and cells[i].mean.value for _, cells in found.matrix.rows])  # type: ignore[union-attr]
        for i, column in enumerate(found.matrix.columns)
    ]


def test_values_of_other_data_stand_in_columns_of_their_own(new_bench: Callable[[str], Bench]) -> None:
    few, many = new_bench("few"), new_bench("many")
    few.evaluate([0.9] * 3, inputs={"data": A})
    many.evaluate([0.1] * 4, inputs={"data": B}, finished="2026-02-01T00:00:00+00:00")
    for found in (view(few, many), view(many, few)):
        assert shown(found) == [
            ("fam/write · 3 examples", [pytest.approx(0.9)]),
            ("fam/write · 4 examples", [pytest.approx(0.1)]),
        ]
        assert len(found.entries) == 2
        assert found.superseded == ()


def test_settings_and_signatures_part_columns_and_their_gains(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    for bench, length, base in ((a, 300, 0.1), (b, 500, 0.4)):
        inputs = {"data": A, "target": {"name": "fam/write", "max_length": length}}
        bench.evaluate([base] * 3, trainer="ce", source="s", inputs=inputs)
        bench.evaluate([base + length / 1000] * 3, trainer="perce", source="s", inputs=inputs)
    found = view(a, b)
    assert shown(found) == [
        ("fam/write · max_length 300", [pytest.approx(0.1), pytest.approx(0.4)]),
        ("fam/write · max_length 500", [pytest.approx(0.4), pytest.approx(0.9)]),
    ]
    gains = [cell.gain and cell.gain.value for cell in found.matrix.rows[1][1]]
    assert gains == [pytest.approx(0.3), pytest.approx(0.5)]


def test_a_baseline_on_other_data_gives_no_gain(bench: Bench) -> None:
    bench.evaluate([0.1], trainer="ce", source="s", inputs={"data": A})
    bench.evaluate([0.3, 0.4], trainer="perce", source="s", inputs={"data": B})
    found = view(bench)
    assert [[cell.versus for cell in cells] for _, cells in found.matrix.rows] == [
        ["baseline", "none"],
        ["none", "none"],
    ]
    assert found.matrix.gains == []


def train(bench: Bench, trainer: str, data: str, examples: int, **training: Any) -> str:
    inputs = {"data": data, "training": {"epochs": 1, **training}, "trainer": {"name": trainer}, "seed": 0}
    labels = Labels(model="tiny", trainer=trainer, source="s", seed=0)
    return bench.cell("train", labels, inputs=inputs, counts={"examples": examples}).identity


def test_models_trained_on_other_data_are_rows_of_their_own(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    for bench, data, size, base in ((a, A, 8, 0.1), (b, B, 30, 0.5)):
        for trainer, value in (("ce", base), ("perce", base + 0.2)):
            trained = train(bench, trainer, data, size)
            inputs = {"data": A, "train": trained}
            bench.evaluate([value] * 3, trainer=trainer, source="s", trained_by=trained, inputs=inputs)
    found = view(a, b)
    told = [
        (row.trainer, row.variation, cells[0].versus, cells[0].gain and cells[0].gain.value)
        for row, cells in found.matrix.rows
    ]
    assert told == [
        ("ce", "8 examples", "baseline", None),
        ("perce", "8 examples", "gain", pytest.approx(0.2)),
        ("ce", "30 examples", "baseline", None),
        ("perce", "30 examples", "gain", pytest.approx(0.2)),
    ]


def test_a_setting_that_only_one_matrix_varies_is_named(new_bench: Callable[[str], Bench]) -> None:
    a, b = new_bench("a"), new_bench("b")
    for bench, rate in ((a, 1e-5), (b, 1e-4)):
        trained = train(bench, "ce", A, 8, learning_rate=rate)
        bench.evaluate(
            [0.1] * 3, trainer="ce", source="s", trained_by=trained, inputs={"data": A, "train": trained}
        )
    assert [row.variation for row, _ in view(a, b).matrix.rows] == [
        "learning_rate 1e-05",
        "learning_rate 0.0001",
    ]


def test_what_a_later_plan_of_the_run_replaced_is_named(new_bench: Callable[[str], Bench]) -> None:
    bench, other = new_bench("run"), new_bench("other")
    old = bench.evaluate([0.1] * 3, inputs={"data": A})
    new = bench.evaluate([0.9] * 4, inputs={"data": B})
    bench.run.describe(
        matrix="m", spec={}, command="perbench run", started="2026-01-01", cells={new.identity: new.labels}
    )
    found = view(bench)
    assert shown(found) == [("fam/write", [pytest.approx(0.9)])]
    (hidden,) = found.superseded
    assert "run run" in hidden
    assert "3 examples" in hidden
    assert old.identity not in {entry.record.identity for entry in found.entries}
    other.evaluate([0.1] * 3, inputs={"data": A})  # the same cell, of a run that has not replaced it
    assert [title for title, _ in shown(view(bench, other))] == [
        "fam/write · 3 examples",
        "fam/write · 4 examples",
    ]


def test_seeds_that_nothing_tells_apart_are_refused(bench: Bench) -> None:
    from perbench.errors import PerbenchError

    for train_ in (A, B):
        inputs = {"data": A, "train": train_}
        bench.evaluate([0.1] * 3, trainer="ce", source="s", trained_by=train_, inputs=inputs)
    with pytest.raises(PerbenchError, match="ce on fam/write, seed 0"):
        view(bench)
