"""Rows of sources and targets: what differs, in words; lists as axes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.specs.rows import TaskRow, TaskVariant, plain_name, task_of, task_variants


def row(**keys):
    return TaskRow.model_validate({"task": "fam/task", **keys})


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("fam/task", "fam/task"),
        (row(), "fam/task"),
        (row(prompt="official"), "fam/task (prompt=official)"),
        (row(persona={"k": 1, "max_tokens": None}), "fam/task (persona.k=1, persona.max_tokens=null)"),
        (row(**{"persona.k": 1, "sampling": {"top_p": 0.5}}), "fam/task (persona.k=1, sampling.top_p=0.5)"),
        (row(metrics=["bleu"]), 'fam/task (metrics=["bleu"])'),
        (row(**{"as": "short", "prompt": "official", "persona": {"k": [2]}}), "fam/task (short)"),
        (row(**{"data.files": "/home/me/rows.jsonl"}), "fam/task (data.files=rows.jsonl)"),
    ],
)  # fmt: skip
def test_a_label_says_what_differs(given, label):
    (variant,) = task_variants([given])
    assert variant.label() == label
    assert task_of(variant.label()) == "fam/task"


def test_lists_are_multiplied_but_where_the_key_takes_one():
    rows = [
        "a/b",
        row(**{"as": "grid", "metrics": ["bleu", "meteor"], "persona": {"k": [1, 2]}, "prompt": ["x", "y"]}),
    ]
    assert task_variants(rows) == [
        TaskVariant("a/b"),
        *(
            TaskVariant(
                "fam/task",
                {"metrics": ["bleu", "meteor"], "persona.k": k, "prompt": prompt},
                f"grid, persona.k={k}, prompt={prompt}",
            )
            for k in (1, 2)
            for prompt in ("x", "y")
        ),
    ]  # fmt: skip


def test_a_task_given_by_its_file_goes_by_its_name():
    (variant,) = task_variants([TaskRow(task="/x/mine.yaml", prompt="p")])
    assert variant.label("mine") == "mine (prompt=p)"
    assert plain_name("/x/mine.yaml") == "mine"


@given(
    st.lists(st.integers(), min_size=1, max_size=3, unique=True),
    st.lists(st.booleans(), max_size=2, unique=True),
)
def test_as_many_variants_with_labels_of_their_own_as_combinations(ks, flags):
    found = task_variants([row(persona={"k": ks}, x=flags)])
    assert len({variant.label() for variant in found}) == len(found) == len(ks) * len(flags)
