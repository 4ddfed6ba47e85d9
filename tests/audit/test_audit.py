"""The audit of a made-up task with known leaks, by the command too."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from perbench import cli
from perbench.audit.report import Audit, audit, audit_of
from perbench.audit.shortcuts import Shortcut
from perbench.data import load_examples
from perbench.specs.load import load_task
from perbench.store.record import Metric

from .conftest import Make, row

FERRY = "At dawn the ferry leaves for the island with bread, letters and one shy goat aboard."
FIGS = "Behind the chapel grow figs, two walnut trees and a hedge of wild purple roses."
KETTLES = "Seven copper kettles hang above the stove and none of them was ever polished."
TEST = [
    row("ann", "Where does it go?", FERRY, "I feed goats.", f"Today: {FERRY.upper()}"),
    row("bob", "What grows here?", FIGS, "I like figs."),
    row("bob", f"Say again: {KETTLES}", KETTLES, "Copper is my trade."),
    row("ann", "Ready?", "Yes."),
    row("cyd", "What is there?", KETTLES, f"They told me: {FERRY}"),
]
TRAIN = [
    row("ann", "ready? ", "yes."),
    row("dan", "What else?", "No.", " ".join(FIGS.split()[:12])),
    row("dan", "Anything?", KETTLES, "Nothing."),
]


def test_every_leak_is_counted_with_an_example(task_of: Make) -> None:
    found = audit(load_task(task_of(TEST, TRAIN)))
    assert (found.examples, found.users, found.train, found.without_persona) == (5, 3, 3, 1)
    assert found.answers == "written"
    assert {one.name: (one.count, one.of, one.example, one.within) for one in found.leaks} == {
        "own_persona": (1, 4, "test/ann/0", "test/ann/0"),
        "other_persona": (1, 4, "test/ann/0", "test/cyd/4"),
        "question": (1, 4, "test/bob/2", "test/bob/2"),
        "test_answers": (2, 4, "test/bob/2", "test/cyd/4"),
        "train_answers": (2, 4, "test/bob/2", "train/dan/2"),
        "train_personas": (1, 4, "test/bob/1", "train/dan/1"),
        "train_rows": (1, 5, "test/ann/3", ""),
    }
    assert found.shared_users == ("ann",)
    assert found.places["test/bob/1"].endswith("test.jsonl:2")
    # Training answers have 1, 1 and 14 words; "yes." is the first of three.
    (usual,) = [one for one in found.shortcuts if one.name == "training_answer"]
    assert usual.metrics["exact"].value == pytest.approx(1 / 5)
    assert found.lengths is not None
    assert (found.lengths.mean, found.lengths.median) == (pytest.approx((16 + 15 + 14 + 1 + 14) / 5), 14)
    said = " ".join(found.findings)
    for part in ("20.0%", "1 of 4 answers", "test/bob/2, in test/cyd/4", "1 of 5 examples", "1 of 3 users"):
        assert part in said


def test_without_leaks_there_is_nothing_to_find(task_of: Make) -> None:
    test = [
        row("ann", "Where?", FERRY, "The ferry brings bread and letters to an island."),
        row("bob", "What?", FIGS, "Our figs and roses, beside walnut trees."),
        row("cyd", "Why?", KETTLES, "Copper kettles above a stove, seven, polished."),
    ]
    found = audit(load_task(task_of(test)))
    assert (found.findings, found.train) == ([], 0)
    assert {one.count for one in found.leaks} == {0}
    assert not {one.name for one in found.leaks} & {"train_answers", "train_personas", "train_rows"}


def test_the_order_of_rows_does_not_matter(task_of: Make) -> None:
    task = load_task(task_of(TEST, TRAIN))
    test, train = (load_examples(task, split) for split in ("test", "train"))
    first = audit_of(task, test, train.examples)
    for seed in range(5):
        shuffled = [random.Random(seed).sample(one.examples, len(one.examples)) for one in (test, train)]
        assert audit_of(task, replace(test, examples=shuffled[0]), shuffled[1]) == first


def test_rows_without_answers_are_told(task_of: Make) -> None:
    fields = {"user": "user", "question": "question", "persona": "persona"}
    judge = {"model": "smollm2-135m", "rubric": "prefeval", "method": "reply"}
    rows = [{**one, "preference": "tea"} for one in TEST]
    path = task_of(
        rows,
        protocol="preference",
        fields={**fields, "extra": ["preference"]},
        preference={"turns": 0, "judge": judge},
        headline="accurate",
        **dict.fromkeys(("prompt", "prompts", "metrics")),
    )
    text = "\n".join(line for line in path.read_text().splitlines() if not line.endswith(": null"))
    path.write_text(text)
    found = audit(load_task(path))
    assert (found.answers, found.leaks, found.shortcuts) == ("", (), ())
    assert "no right answers" in found.findings[0]


@pytest.mark.parametrize("width", [80, 100])
def test_the_command_prints_tables_that_fit(
    task_of: Make, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.main(["audit", str(task_of(TEST, TRAIN))]) == 0
    out = capsys.readouterr().out
    assert "5 examples of 3 users, 3 training examples" in out
    tables = out.partition("\n- ")[0].splitlines()
    assert max(map(len, tables)) <= width
    assert ["a", "near", "copy", "in", "the", "question", "1", "4"] in [line.split() for line in tables]


def test_json_holds_every_number(task_of: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", str(task_of(TEST, TRAIN)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["count"] for one in found["leaks"]] == [1, 1, 1, 2, 2, 1, 1]
    assert found["shortcuts"][0]["metrics"]["rouge1"]["n"] == 5
    assert len(found["findings"]) > 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["embedded/sotu_writting"], ["embedded/sotu_writing"]),
        (["embedded/dialogue"], ["embedded/dialogue", "no persona", "fields.persona"]),
        (["embedded/sotu_writing", "--data", "embeded=."], ["embeded", "embedded"]),
    ],
)
def test_bad_input(words: Sequence[str], said: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", *words]) == 2
    err = capsys.readouterr().err
    for part in said:
        assert part in err


def test_one_user_has_no_other_to_compare_with(task_of: Make) -> None:
    found = audit(load_task(task_of([one for one in TEST if one["user"] == "bob"])))
    assert "own_over_other" not in {one.name for one in found.held}
    assert any("one user" in line for line in found.findings)


@pytest.mark.parametrize(("low", "said"), [(-0.1, ["not shown"]), (0.1, [])])
def test_a_difference_that_may_be_none_is_not_called_none(low: float, said: list[str]) -> None:
    more = Metric(value=0.2, n=9, ci=(low, 0.5), signature="words")
    held = (Shortcut("own_over_other", "", {"share": more}),)
    found = Audit("t", "test", 9, 9, 0, 0, "written", held=held)
    assert [" ".join(line.split()[5:7]) for line in found.findings] == said
