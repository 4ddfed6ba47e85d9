"""A row of a matrix runs a task under another protocol: which of the task's own keys stay, and faults."""

from __future__ import annotations

from typing import Any

import pytest

from perbench.errors import SpecError
from perbench.specs.load import load_task
from perbench.specs.matrices import load_matrix
from perbench.specs.rows import TaskRow, task_variants
from tests.specs.diary import IN_FILE, MATRIX, TARGETS, TASK, faults

ROW = "{task: diary/notes, protocol: likelihood}"
LIKELY: dict[str, Any] = {"protocol": "likelihood"}


def matrix(root, targets, more=""):
    file = root / "leaderboard/matrices/small.yaml"
    file.write_text(MATRIX.replace(TARGETS, f"targets: [{targets}]") + more)
    return load_matrix("small")


def test_keys_that_only_the_former_protocol_reads_are_dropped(root):
    (root / "tasks/diary/notes.yaml").write_text(
        TASK
        + "sampling: {max_new_tokens: 9, temperature: 0.5, end: eos}\n"
        + "decoding: {method: context_steering}\npersona_swap: {others: 1}\n"
        + "persona: {k: 3}\nmax_length: 700\n"
    )
    own, spec = load_task("diary/notes").spec, load_task("diary/notes", overrides=LIKELY).spec
    assert (spec.protocol, spec.headline, spec.metrics) == ("likelihood", "nll", [])
    assert spec.sampling.end == "eos"  # ends the texts of trainings, too
    assert spec.sampling.temperature == type(spec.sampling)().temperature != own.sampling.temperature
    assert (spec.decoding.method, spec.persona_swap) == ("ordinary", None)
    kept = ("fields", "prompts", "prompt", "data", "persona", "max_length", "summary", "license")
    assert {key: getattr(spec, key) for key in kept} == {key: getattr(own, key) for key in kept}
    other = load_task(
        "diary/notes", overrides={**LIKELY, "headline": "win_over_none", "likelihood.others": 0}
    )
    assert (other.spec.headline, other.spec.likelihood.others) == ("win_over_none", 0)


def test_what_a_matrix_says_of_all_rows_is_dropped_alike(root):
    given = {"sampling.max_new_tokens": 4, "metrics": ["rouge1"], "headline": "rouge1", "persona.k": 2}
    own = load_task("diary/notes", shared=given).spec
    assert (own.headline, own.sampling.max_new_tokens) == ("rouge1", 4)
    spec = load_task("diary/notes", shared=given, overrides=LIKELY).spec
    assert (spec.headline, spec.metrics, spec.persona.k) == ("nll", [], 2)
    both = "tasks: {diary/notes: {sampling.max_new_tokens: 4, persona.k: 2}}\n"
    assert matrix(root, f"diary/notes, {ROW}", both).spec.tasks == {
        "diary/notes": {"sampling.max_new_tokens": 4, "persona.k": 2}
    }


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ("sampling.temperature: 0.1", "sampling.temperature"),
        ("sampling: {temperature: 0.1}", "sampling.temperature"),
        ("metrics: [rouge1]", "metrics"),
        ("decoding.method: context_steering", "decoding"),
        ("persona_swap: {others: 2}", "persona_swap"),
        ("headline: rougeL", "headline 'rougeL'"),
        ("likelihood.other: 2", "'other' under likelihood"),
        ("likelihood.others: -1", "likelihood.others"),
        ("likelihood.others: two", "likelihood.others"),
    ],
)
def test_keys_of_the_row_itself_must_be_used(root, row, key):
    (told, *more) = faults(matrix, root, f"{ROW[:-1]}, {row}}}")
    assert more == []
    assert told.startswith(str(root / "leaderboard/matrices/small.yaml:5"))
    assert key in told


def test_a_task_that_lacks_what_the_protocol_reads_is_told(root):
    text = TASK.replace("r: r, persona: p", "").replace("reference: r, persona: p", "reference: r")
    (root / "tasks/diary/notes.yaml").write_text(text)
    told = faults(load_task, "diary/notes", overrides=LIKELY)
    assert any("fields.persona is required by protocol likelihood" in one for one in told)
    told = faults(matrix, root, "{task: embedded/dialogue, protocol: likelihood}")
    assert any("fields.question" in one and "small.yaml:5" in one for one in told)
    assert any(
        "likelyhood" in one and "'likelihood'?" in one
        for one in faults(matrix, root, "{task: diary/notes, protocol: likelyhood}")
    )


def test_a_set_that_no_row_uses_is_told(root):
    matrix(root, f"diary/notes, {ROW}")
    load_matrix("small", ["tasks.diary/notes.sampling.temperature=0.1"])
    (told,) = faults(load_matrix, "small", ["tasks.diary/notes.likelihood.others=1"])
    assert told.startswith("--set tasks.diary/notes.likelihood.others=1")
    assert "generation" in told
    sets = [f"targets=[{ROW}]", "sources=[]", "trainers=[]", "tasks.diary/notes.sampling.temperature=0.1"]
    (told,) = faults(load_matrix, "small", sets)
    assert told.startswith("--set tasks.diary/notes.sampling.temperature=0.1")
    assert "likelihood" in told


def test_models_are_chosen_by_a_likelihood(root):
    def chosen(by):
        text = MATRIX.replace("sources: [diary/notes]", f"sources: [{ROW}]")
        text = text.replace("learning_rate: 1e-4", "learning_rate: [1e-4, 2e-4]")
        more = f"select: {{axis: learning_rate, on: test, by: {by}}}\n"
        (root / "leaderboard/matrices/small.yaml").write_text(text + more)
        return load_matrix("small")

    assert chosen("headline").spec.select.by == "headline"
    assert chosen("gain_over_none").spec.select.by == "gain_over_none"
    (told,) = faults(chosen, "rougeL")
    assert "select.by: 'rougeL'" in told


def test_a_row_goes_by_the_protocols_name():
    rows = [
        TaskRow(task=IN_FILE, protocol="likelihood"),
        TaskRow.model_validate({"task": IN_FILE, "as": "loss", "protocol": "likelihood"}),
        TaskRow.model_validate(
            {"task": IN_FILE, "protocol": ["likelihood", "generation"], "persona.k": [1, 2]}
        ),
    ]
    labels = [variant.label() for variant in task_variants(rows)]
    assert labels[:2] == [f"{IN_FILE} (likelihood)", f"{IN_FILE} (loss)"]
    assert labels[2:] == [
        f"{IN_FILE} ({protocol}, persona.k={k})" for protocol in ("likelihood", "generation") for k in (1, 2)
    ]


def test_the_whole_matrix_may_say_so_of_a_task(root):
    """Then it is the task's protocol: what it does not read is a fault, not dropped."""
    spec = load_task("diary/notes", shared=LIKELY).spec
    assert (spec.protocol, spec.headline) == ("likelihood", "nll")
    with pytest.raises(SpecError, match="metrics"):
        load_task("diary/notes", shared={**LIKELY, "metrics": ["rouge1"]})
