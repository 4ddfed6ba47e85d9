"""Per sample, lm-eval's numbers for perbench's tasks are perbench's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from perbench import plugins
from perbench.engines.transformers.engine import TransformersEngine
from perbench.harness.folder import notes, task_folder
from tests.harness.conftest import LONGLAMP, logged, own
from tests.matrix.conftest import WRITING, Root, write_rows

Theirs = Callable[..., dict[str, Any]]
GREEDY = {"sampling.temperature": 0.0, "sampling.max_new_tokens": 12, "max_length": 900}
PRW = {"data": {"longlamp": LONGLAMP}}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {
            "prompt": "official",
            "persona.retrieve": "bm25",
            "persona.k": 2,
            "sampling.repetition_penalty": 1.2,
        },
    ],
    ids=["system", "retrieved"],
)
def test_longlamp_reviews(theirs: Theirs, engine: TransformersEngine, changed: dict[str, Any]) -> None:
    overrides = {**GREEDY, **changed}
    found = theirs("perbench_longlamp_prw", metadata={"set": overrides}, **PRW)
    samples, scored = own("longlamp/prw", engine, overrides=overrides, **PRW)
    rows = logged(found, "perbench_longlamp_prw")
    assert rows.keys() == samples.keys()
    for name, row in rows.items():
        assert row["filtered_resps"] == [samples[name]["response"]]
        assert row["samples"] == [samples[name]]
        place = scored.scores.ids.index(name)
        for metric, values in scored.scores.scores.items():
            assert row[metric] == pytest.approx(values[place], abs=1e-12, nan_ok=True)
    results = found["results"]["perbench_longlamp_prw"]
    assert {"rougeL", "bleu", "length"} <= scored.metrics.keys()
    for metric, value in scored.metrics.items():
        assert results[f"{metric},none"] == pytest.approx(value.value, abs=1e-12)
    assert any(sample["persona_kept"] for sample in samples.values())


def test_an_embedded_task(theirs: Theirs, engine: TransformersEngine) -> None:
    found = theirs("perbench_embedded_chitchat_reply", metadata={"set": GREEDY}, limit=4)
    samples, _ = own("embedded/chitchat_reply", engine, overrides=GREEDY, limit=4)
    rows = logged(found, "perbench_embedded_chitchat_reply")
    assert {name: row["samples"] for name, row in rows.items()} == {
        name: [sample] for name, sample in samples.items()
    }


def test_identification_is_percontrast_by_words(theirs: Theirs, engine: TransformersEngine) -> None:
    found = theirs("perbench_identification_persona_qa", limit=3)
    identifier = plugins.load_identifier("percontrast", {"words": "sum"})
    samples, scored = own("identification/persona_qa", engine, identifier=identifier, limit=3)
    rows = logged(found, "perbench_identification_persona_qa")
    assert rows.keys() == samples.keys()
    for name, row in rows.items():
        (sample,) = row["samples"]
        assert sample["spans"] == samples[name]["spans"]
        scored_tokens = zip(sample["scores"], samples[name]["scores"], sample["spans"], strict=True)
        for score, expected, (start, end) in scored_tokens:
            assert start == end or score == pytest.approx(expected, abs=1e-4)
    results = found["results"]["perbench_identification_persona_qa"]
    for metric in ("f1", "word_f1", "precision", "average_precision"):
        value = scored.metrics[metric].value
        assert results[f"{metric},none"] == pytest.approx(value, abs=1e-9, nan_ok=True)
    assert found["configs"]["perbench_identification_persona_qa"]["metadata"]["identifier"].startswith(
        "percontrast(words=sum"
    )


def test_a_dialogue_is_held(
    root: Root, tiny_model_dir: Path, theirs: Theirs, engine: TransformersEngine
) -> None:
    tiny = {"summary": "tiny", "path": str(tiny_model_dir), "dtype": "float32"}
    root.write("leaderboard/models/tiny", tiny)
    plain = {"sampling.temperature": 0.0, "dialogue.simulator.sampling.temperature": 0.0}
    found = theirs("perbench_tiny_talk", metadata={"set": plain})
    samples, scored = own("tiny/talk", engine, overrides=plain)
    rows = logged(found, "perbench_tiny_talk")
    turns = [sample for row in rows.values() for sample in row["samples"]]
    assert len(turns) == len(samples) == 4
    for turn in turns:
        expected = samples[turn["id"]]
        assert (turn["message"], turn["response"]) == (expected["message"], expected["response"])
        assert turn["rating"] == expected["rating"]
        assert turn["pmi"] == pytest.approx(expected["pmi"], abs=1e-4)
    results = found["results"]["perbench_tiny_talk"]
    assert results["pmi,none"] == pytest.approx(scored.metrics["pmi"].value, abs=1e-4)
    assert results["samples,none"] == 4


def test_a_choice_of_a_plugin_root(root: Root, theirs: Theirs, engine: TransformersEngine) -> None:
    folder = root.path / "protocols"
    folder.mkdir()
    (folder / "among.py").write_text((Path(__file__).parent / "among.py").read_text())
    kept: dict[str, Any] = {key: value for key, value in WRITING.items() if key != "metrics"}
    kept["fields"] = {key: value for key, value in kept["fields"].items() if key != "item_example"}
    among = ["I hunt deer.", "I paint houses, slowly.", "No."]
    given = {**kept, "protocol": "among", "headline": "accuracy", "among": {"among": among}}
    root.write("tasks/tiny/choice", {**given, "data": {"files": "../../data/writing"}})
    assert not [note for note in notes(task_folder({})) if note.startswith("tiny/")]
    found = theirs("perbench_tiny_choice")
    assert found["configs"]["perbench_tiny_choice"]["output_type"] == "multiple_choice"
    samples, scored = own("tiny/choice", engine)
    rows = logged(found, "perbench_tiny_choice")
    assert rows.keys() == samples.keys()
    for name, row in rows.items():
        (sample,) = row["samples"]
        assert sample["response"] == samples[name]["response"]
        assert sample["logp"] == pytest.approx(samples[name]["logp"], abs=1e-4)
        assert row["accuracy"] == samples[name]["right"]
    assert found["results"]["perbench_tiny_choice"]["accuracy,none"] == scored.metrics["accuracy"].value


def test_a_tag_and_a_group_per_folder(root: Root) -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(task_folder({})), include_defaults=False)
    assert {"perbench_embedded", "perbench_longlamp", "perbench_tiny"} <= set(manager.all_groups)
    assert manager.all_tags == ["perbench"]
    tagged = manager.task_index["perbench"].tags
    assert {"perbench_longlamp_prw", "perbench_aloe_dialogue", "perbench_tiny_qa"} <= tagged
    assert tagged == set(manager.all_subtasks)


def test_a_judged_conversation_is_held(
    root: Root, tiny_model_dir: Path, theirs: Theirs, engine: TransformersEngine
) -> None:
    tiny = {"summary": "tiny", "path": str(tiny_model_dir), "dtype": "float32"}
    root.write("leaderboard/models/tiny", tiny)
    people = [
        {"user": f"u{i}", "question": f"What about {i}?", "preference": f"I like {i}."} for i in range(3)
    ]
    write_rows(root.path / "data/pref/test.jsonl", people)
    given = {
        "summary": "Preferences.",
        "protocol": "preference",
        "license": "Apache-2.0",
        "data": {"files": "../../data/pref"},
        "fields": {"user": "user", "question": "question", "extra": ["preference"]},
        "sampling": {"max_new_tokens": 5, "temperature": 0.0},
        "headline": "accurate",
        "preference": {
            "turns": 0,
            "judge": {"model": "tiny", "rubric": "prefeval", "method": "likeliest"},
        },
    }
    root.write("tasks/tiny/pref", given)
    assert not [note for note in notes(task_folder({})) if note.startswith("tiny/")]
    found = theirs("perbench_tiny_pref")
    samples, scored = own("tiny/pref", engine)
    rows = logged(found, "perbench_tiny_pref")
    for name, row in rows.items():
        (sample,) = row["samples"]
        expected = samples[name]
        assert (sample["first_reply"], sample["response"]) == (expected["first_reply"], expected["response"])
        assert sample["checks"] == expected["checks"]
    results = found["results"]["perbench_tiny_pref"]
    for metric, value in scored.metrics.items():
        assert results[f"{metric},none"] == pytest.approx(value.value, nan_ok=True)
    assert found["higher_is_better"]["perbench_tiny_pref"]["hallucinates"] is False
