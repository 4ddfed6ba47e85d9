"""Keys that nothing reads: refused in rows and sets, allowed where a row may switch on what reads them."""

import pytest

from perbench.specs.load import load_task
from perbench.specs.matrices import load_matrix
from tests.specs.diary import IN_FILE, MATRIX, SPOT, TALK, TARGETS, TASK, faults


@pytest.mark.parametrize(
    ("task", "key", "value", "where"),
    [
        (IN_FILE, "decoding.lam", "2.0", "under decoding.method ordinary"),
        (IN_FILE, "persona.query_after", "':'", "under persona.retrieve all"),
        (IN_FILE, "persona.encoder", "org/other", "under persona.retrieve all"),
        (IN_FILE, "persona.similarity", "cosine", "under persona.retrieve all"),
        (IN_FILE, "persona.time", "t", "under persona.retrieve all"),
        (IN_FILE, "persona.seed", "3", "under persona.retrieve all"),
        (IN_FILE, "persona.order", "best_last", "under persona.retrieve all"),
        (IN_FILE, "fields.item_text", "'{text}'", "under persona.retrieve all"),
        (IN_FILE, "persona.summary.model", "toy", "under persona.summarise none"),
        (IN_FILE, "prompts.other", "{system: '{persona}', item: '{text}'}", "under prompt plain"),
        (IN_FILE, "data.requires", "numpy", "by data.hub"),
        (IN_FILE, "data.train_split", "dev", "in a target"),
        (IN_FILE, "examples.train", "3", "in a target"),
        (IN_FILE, "fields.item_example.reference", "'{text}'", "in a target"),
        (IN_FILE, "license", "other", "in a row of a matrix"),
        (TALK, "metrics", "[bleu]", "by protocol dialogue"),
        (TALK, "persona.k", "2", "by protocol dialogue"),
        (TALK, "prompt", "nonexistent", "by protocol dialogue"),
        (TALK, "decoding.lam", "2.0", "by protocol dialogue"),
        (TALK, "examples.train", "3", "in a target"),
        (TALK, "data.test_split", "x", "if data.files is a single file"),
        (TALK, "dialogue.judge.retries", "7", "under dialogue.judge.method likeliest"),
        (TALK, "dialogue.judge.rubric", "aloe", "together with dialogue.judge.instruction"),
        (SPOT, "metrics", "[bleu]", "by protocol identification"),
        (SPOT, "sampling.temperature", "0.0", "by protocol identification"),
        (SPOT, "persona.time", "t", "by protocol identification"),
        (SPOT, "data.revision", "v1", "by data.files"),
        ("embedded/sotu_writing", "data.config", "x", "by data.python"),
        ("prefeval/explicit", "max_length", "9", "by protocol preference"),
    ],
)
def test_a_row_may_not_set_what_nothing_reads(root, task, key, value, where):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    path.write_text(
        MATRIX.replace(TARGETS, f"targets:\n- {IN_FILE}\n- task: {task}\n  {key}: {value}"), "utf-8"
    )
    told = [fault for fault in faults(load_matrix, "small") if fault.startswith(f"{path}:8: ")]
    assert any(f"is not used {where}; remove it" in fault for fault in told), told


@pytest.mark.parametrize(
    "key",
    ["sampling.temperature", "decoding.method", "metrics", "headline", "examples.test", "persona.whose"],
)
def test_a_source_may_not_set_what_training_does_not_read(root, key):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    value = {"sampling.temperature": "0.0", "decoding.method": "context_steering", "headline": "rougeL"}
    value["persona.whose"] = "none"
    row = f"sources:\n- task: {IN_FILE}\n  {key}: {value.get(key, '[rougeL]' if key == 'metrics' else '3')}"
    path.write_text(MATRIX.replace(f"sources: [{IN_FILE}]", row), encoding="utf-8")
    assert faults(load_matrix, "small") == [f"{path}:6: {key}: is not used in a source; remove it"]
    if key == "examples.test":  # whose users get adapters of their own
        path.write_text(path.read_text() + "  per_user: true\n", encoding="utf-8")
        assert load_matrix("small").spec.sources[0].overrides == {key: 3}


def test_what_rows_may_switch_on_may_stand_in_tasks_and_their_overrides(root):
    task = root / "tasks" / "diary" / "notes.yaml"
    task.write_text(TASK + "persona: {time: t}\ndecoding: {lam: 0.5}\n", encoding="utf-8")
    path = root / "leaderboard" / "matrices" / "small.yaml"
    rows = "\n".join(
        [
            "targets:",
            "- {task: diary/notes, persona.retrieve: latest}",
            "- {task: diary/notes, persona: {retrieve: dense, order: best_last, encoder: toy}}",
            "- {task: diary/notes, decoding: {method: context_steering, lam: [0.5, 1.0]}}",
            "tasks:",
            "  diary/notes: {persona.summary.model: toy, persona.seed: 3}",
        ]
    )
    path.write_text(MATRIX.replace(TARGETS, rows), encoding="utf-8")
    assert len(load_matrix("small").spec.targets) == 3


def test_an_axis_may_not_vary_what_one_of_its_rows_does_not_read(root):
    path = root / "leaderboard" / "matrices" / "small.yaml"
    row = "targets:\n- {task: diary/notes, decoding: {method: [ordinary, context_steering], lam: 2.0}}"
    path.write_text(MATRIX.replace(TARGETS, row), encoding="utf-8")
    (told,) = faults(load_matrix, "small")
    way_out = "move the setting that uses it to a row of its own"
    assert told == f"{path}:6: decoding.lam: is not used under decoding.method ordinary; {way_out}"
    path.write_text(path.read_text("utf-8").replace("method: [ordinary", "method: [ordinary, ordinary"))
    path.write_text(path.read_text("utf-8").replace(", context_steering]", "]"))
    told = [fault for fault in faults(load_matrix, "small") if "is not used" in fault]
    assert told == [f"{path}:6: decoding.lam: is not used under decoding.method ordinary; remove it"]


def test_a_set_must_have_a_reader_in_one_row_of_its_task(root):
    lam = "tasks.diary/notes.decoding.lam=2.0"
    told = faults(load_matrix, "small", [lam])
    assert told == [f"--set {lam}: decoding.lam: is not used under decoding.method ordinary; remove it"]
    assert load_matrix("small", ["targets=[{task: diary/notes, decoding.method: context_steering}]", lam])
    assert load_matrix("small", ["tasks.diary/notes.sampling.temperature=0.0"])  # of the target
    assert load_matrix("small", ["tasks.diary/notes.examples.train=3"])  # of the source
    whole = "tasks.diary/notes.persona={k: 2, seed: 3}"
    (fault,) = faults(load_matrix, "small", [whole])
    assert fault == f"--set {whole}: persona.seed: is not used under persona.retrieve all; remove it"


def test_the_headline_of_identification_is_one_of_its_metrics():
    for name in ("word_f1_strict_tuned", "recall_style", "average_precision"):
        assert load_task(SPOT, overrides={"headline": name}).spec.headline == name
    (told,) = faults(load_task, SPOT, overrides={"headline": "f1_tunned"})
    assert "headline 'f1_tunned' is not a metric of protocol identification. Did you mean 'f1_tuned'" in told
