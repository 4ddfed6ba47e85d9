"""The families that come with perbench: made-up rows in the published schemas, and the real files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.annotate.personas import read_personas
from perbench.api import Family
from perbench.data import load_examples
from perbench.errors import PerbenchError, SpecError
from perbench.prepare.prepare import Request, prepare
from perbench.specs.load import load_task

FAMILIES = [
    "aloe",
    "lamp",
    "lamp_time",
    "longlamp",
    "longlamp_temporal",
    "personalllm",
    "personamem",
    "personamem_v2",
    "prefeval",
    "prism",
    "reviews",
    "synthetic_persona_chat",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_fetched_is_pinned_or_says_that_it_is_not(name: str) -> None:
    cls = plugins.get("family", name).load_class()
    assert issubclass(cls, Family)
    for remote in cls.remotes:
        if remote.host == "github":
            assert re.fullmatch("[0-9a-f]{40}", remote.revision or "")
            assert all(re.fullmatch("git:[0-9a-f]{40}", value or "") for value in remote.files.values())
        elif remote.host == "web":
            assert remote.revision is None
            assert "No checksum of the files" in " ".join((cls.__doc__ or "").split())
        else:
            assert remote.revision is None
            assert "No commit of the dataset" in " ".join((cls.__doc__ or "").split())


# ---------------------------------------------------------------- LongLaMP


def longlamp(folder: Path, config: str, users: list[dict[str, Any]]) -> Path:
    for split in ("train", "val", "test"):
        write(folder / config / f"{split}.jsonl", users)
    return folder


def test_longlamp(tmp_path: Path) -> None:
    item = {"abstract": "A", "title": "T", "id": "1", "year": 2000}
    good = {"name": "n", "input": "i", "output": "o", "profile": [item]}
    folder = longlamp(tmp_path / "raw", "abstract_generation_user", [good, {**good, "output": " "}, good])
    posts = [
        {"author": "a", "content": "C", "summary": "S", "id": "1"},
        {"output": "C2", "input": "S2", "id": "2"},
    ]
    write(
        folder / "topic_writing_user" / "test.jsonl",
        [{"author": "a", "input": "i", "output": "o", "profile": posts}],
    )
    out, manifest = prepare(Request("longlamp", folder))
    assert rows(out / "abstract_generation_user" / "train.jsonl") == [good]
    table = manifest["tables"]["abstract_generation_user/train"]
    assert table["skipped"] == {"empty output": 1, "duplicate": 1}
    (row,) = rows(out / "topic_writing_user" / "test.jsonl")
    assert row["profile"][1] == {"content": "C2", "summary": "S2", "id": "2"}
    assert sorted(manifest["absent"])[0] == "product_review_user/test"
    assert len(load_examples(load_task("longlamp/pag"), "train").examples) == 1


def test_each_setting_of_longlamp_is_fetched_without_the_other() -> None:
    for family, setting in (("longlamp", "user"), ("longlamp_temporal", "temporal")):
        cls = plugins.get("family", family).load_class()
        assert issubclass(cls, Family)
        names = ("abstract_generation", "product_review", "topic_writing")
        configs = [f"{name}_{setting}" for name in names]
        assert [list(remote.files) for remote in cls.remotes] == [[f"{one}/*.parquet" for one in configs]]
        assert cls.tables == tuple(f"{one}/{split}" for one in configs for split in ("train", "val", "test"))


def test_longlamps_temporal_setting(tmp_path: Path) -> None:
    item = {"abstract": "A", "title": "T", "id": "1", "year": 2000}
    row = {"name": "n", "input": "i", "output": "o", "profile": [item]}
    raw = longlamp(tmp_path / "raw", "abstract_generation_temporal", [row, {**row, "profile": []}])
    post = {"author": "a", "input": "i", "output": "o", "profile": [{"output": "C", "input": "S"}]}
    write(raw / "topic_writing_temporal" / "test.jsonl", [post])
    out, manifest = prepare(Request("longlamp-temporal", raw, tmp_path / "out"))
    assert manifest["family"] == "longlamp_temporal"
    assert manifest["tables"]["abstract_generation_temporal/test"]["skipped"] == {"empty profile": 1}
    (found,) = rows(out / "topic_writing_temporal" / "test.jsonl")
    assert found["profile"] == [{"content": "C", "summary": "S"}]
    temporal = {"data.prepared": "longlamp_temporal", "data.config": "abstract_generation_temporal"}
    task = load_task("longlamp/pag", data={"longlamp_temporal": out}, overrides=temporal)
    (example,) = load_examples(task, "test").examples
    assert (example.user, example.reference, example.persona) == ("n", "o", (item,))
    with pytest.raises(
        PerbenchError, match=r"perbench data prepare longlamp_temporal.*longlamp_temporal=DIR"
    ):
        load_examples(load_task("longlamp/pag", data={"longlamp": out}, overrides=temporal), "test")
    prepare(Request("longlamp_temporal", raw))
    assert load_examples(load_task("longlamp/pag", overrides=temporal), "test").examples == [example]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"profile": [{"title": "T"}]}, r"train\.jsonl:1: profile\[0\] has no key 'abstract'"),
        ({"profile": "A"}, r"train\.jsonl:1: profile is 'A', not a list"),
        ({"output": None}, r"train\.jsonl:1: output is None, not a text"),
        ({"name": ["n"]}, r"train\.jsonl:1: name is \['n'\], not a text"),
    ],
)
def test_longlamp_of_another_schema(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    item = {"abstract": "A", "title": "T"}
    row = {"name": "n", "input": "i", "output": "o", "profile": [item], **change}
    with pytest.raises(SpecError, match=said):
        prepare(Request("longlamp", longlamp(tmp_path / "raw", "abstract_generation_user", [row])))


# ---------------------------------------------------------------- reviews


def review(number: int, **keys: Any) -> dict[str, Any]:
    return {
        "rating": 4.0,
        "title": f"title {number}",
        "text": f"text {number}",
        "asin": f"A{number}",
        "timestamp": 1000 + number,
        **keys,
    }


def reviews(folder: Path, found: list[dict[str, Any]]) -> Path:
    for split in ("train", "val", "test"):
        write(folder / "Books" / f"{split}.jsonl", found)
    items = [{"asin": f"A{number}", "title": f"item {number}", "description": ""} for number in range(9)]
    write(folder / "Books" / "meta.jsonl", items)
    return folder


def test_reviews_are_joined_with_their_items_newest_first(tmp_path: Path) -> None:
    history = [review(1), review(3, rating=5), review(2), review(7), review(4, text="text 5")]
    found = [
        {"user_id": "u", "profile": history, "data": review(5)},
        {"user_id": "v", "profile": [review(1)], "data": review(6, text=" ")},
        {"user_id": "w", "profile": [review(1, asin="B")], "data": review(5, asin="B", title=None)},
    ]
    out, manifest = prepare(Request("reviews", reviews(tmp_path / "raw", found)))
    first, second = rows(out / "books" / "test.jsonl")
    assert [item["text"] for item in first["profile"]] == ["text 3", "text 2", "text 1"]
    assert first["profile"][0]["item_title"] == "item 3"
    assert first["profile"][0]["rating"] == 5.0
    assert first["input"] == (
        "[Item Title]: item 5\n[Item Description]: \n"
        "[Output Review Rating]: 4.0\n[Output Review Title]: title 5"
    )
    assert (second["item_title"], second["title"], second["profile"][0]["item_title"]) == ("", "", "")
    table = manifest["tables"]["books/test"]
    assert table["skipped"] == {"empty review": 1}
    assert sorted(table["notes"].values()) == [1, 1, 1]
    assert "cds/test" in manifest["absent"]
    (example, _) = sorted(load_examples(load_task("reviews/books"), "test").examples, key=lambda e: e.user)
    assert example.reference == "text 5"
    assert example.extra["rating"] == 4.0


def test_reviews_of_another_schema(tmp_path: Path) -> None:
    found = [{"user_id": "u", "profile": [review(1, timestamp="1")], "data": review(5)}]
    with pytest.raises(
        SpecError, match=r"train\.jsonl:1: profile\[0\]\.timestamp is '1', not a whole number"
    ):
        prepare(Request("reviews", reviews(tmp_path / "raw", found)))


# ---------------------------------------------------------------- ALOE

SCRIPT = """
import somewhere_else
raise SystemExit("this script is read, never run")
evaluate_prompt = '''
Judge. Profile: {} Personality: {} Message: {} Response: {}
Only the score.
'''
for i in range(10):
    role_play_prompt = '''Play a person.
                          Profile: {}
                          Personalities: {}
                          Now, begin.'''.format(profile, personality)
"""


def aloe(folder: Path) -> Path:
    for name, texts in (
        ("profile_eval", [f"profile {number}" for number in range(20)]),
        ("personality_eval", [f"personality {number}" for number in range(7)]),
        ("personality", ["one"]),
    ):
        write(folder / f"{name}.jsonl", texts)
    (folder / "profile.jsonl").write_text('"a"\n"b""c \\u00fc"\n\n"d" "e"')
    return folder


def test_aloe(tmp_path: Path) -> None:
    out, manifest = prepare(Request("aloe", aloe(tmp_path / "raw")))
    personas = rows(out / "personas" / "test.jsonl")
    assert len(personas) == 100
    assert {row["personality"] for row in personas} == {f"personality {number}" for number in range(5)}
    assert len({row["user"] for row in personas}) == 100
    assert [row["text"] for row in rows(out / "profiles" / "train.jsonl")] == ["a", "b", "c ü", "d", "e"]
    assert manifest["specs"] == {}
    assert manifest["official"] is False
    task = load_task("aloe/dialogue")
    assert len(load_examples(task, "test").examples) == 100
    assert task.spec.dialogue is not None
    assert (task.spec.dialogue.turns, task.spec.dialogue.report_turns) == (10, [6, 7, 8, 9, 10])


def test_aloe_with_the_official_wording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = aloe(tmp_path / "raw")
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "eval_own.py").write_text(SCRIPT)
    out, manifest = prepare(Request("aloe", folder, tmp_path / "out"))
    assert list(manifest["specs"]) == ["tasks/aloe/dialogue_official.yaml"]
    monkeypatch.setenv("PERBENCH_INCLUDE", str(out))
    task = load_task("aloe/dialogue_official")
    dialogue = task.spec.dialogue
    assert dialogue is not None
    assert (
        dialogue.simulator.instruction == "Play a person.\nProfile: {profile}\nPersonalities: {personality}"
    )
    assert dialogue.simulator.opening == "Now, begin."
    assert dialogue.judge.instruction == (
        "Judge. Profile: {profile} Personality: {personality} Message: {message} Response: {response}\n"
        "Only the score."
    )
    assert len(load_examples(task, "test").examples) == 100
    own = load_task("aloe/dialogue").spec.dialogue
    assert own is not None
    assert own.model_copy(update={"simulator": dialogue.simulator, "judge": dialogue.judge}) == dialogue


@pytest.mark.parametrize(("text", "said"), [('"cut', "not JSON"), ("[1]", r"holds \[1\], not a text")])
def test_aloe_damaged(tmp_path: Path, text: str, said: str) -> None:
    folder = aloe(tmp_path / "raw")
    (folder / "profile_eval.jsonl").write_text(f'"good"\n{text}\n')
    with pytest.raises(SpecError, match=rf"profile_eval\.jsonl:2: {said}"):
        prepare(Request("aloe", folder))


# ---------------------------------------------------------------- PrefEval, Synthetic-Persona-Chat


def prefeval(folder: Path) -> Path:
    topics = [
        path.rpartition("/")[2] for path in plugins.get("family", "prefeval").load_class().remotes[0].files
    ]  # type: ignore[union-attr]
    for topic in topics:
        if topic != "filtered_inter_turns.json":
            row = {"preference": f"I like {topic}.", "question": "What now?", "explanation": "e"}
            folder.mkdir(exist_ok=True)
            (folder / topic).write_text(
                json.dumps([row, {"preference": "p", "question": "q"}, {**row, "question": ""}])
            )
    return folder


def test_prefeval(tmp_path: Path) -> None:
    out, manifest = prepare(Request("prefeval", prefeval(tmp_path / "raw")))
    found = rows(out / "explicit" / "test.jsonl")
    assert len(found) == 40
    assert found[0]["persona"] == ["I like education_learning_styles.json."]
    assert found[1]["explanation"] is None
    assert len({row["user"] for row in found}) == 40
    assert manifest["tables"]["explicit/test"]["skipped"] == {"empty question": 20}
    (shared,) = rows(out / "exchanges" / "test.jsonl")
    assert (len(shared["turns"]), shared["turns_from"]) == (10, "perbench")
    note = "exchanges are perbench's own, not PrefEval's: filtered_inter_turns.json is not there"
    assert manifest["tables"]["exchanges/test"]["notes"] == {note: 10}
    assert all(len(turn) == 2 and all(turn) for turn in shared["turns"])
    assert load_examples(load_task("prefeval/explicit"), "test").examples[0].extra["turns"] == shared["turns"]


def test_prefeval_with_its_own_conversations(tmp_path: Path) -> None:
    folder = prefeval(tmp_path / "raw")
    turns = [{"role": role, "content": f"{role} {n}"} for n in range(8) for role in ("user", "assistant")]
    path = folder / "filtered_inter_turns.json"
    path.write_text(json.dumps([{"conversation": turns}, {"conversation": turns}]))
    out, _ = prepare(Request("prefeval", folder, sample=4))
    (shared,) = rows(out / "exchanges" / "test.jsonl")
    assert shared["turns_from"] == "official"
    assert shared["turns"] == [[f"user {n % 8}", f"assistant {n % 8}"] for n in range(16)]
    examples = load_examples(load_task("prefeval/explicit"), "test").examples
    assert "turns" not in rows(out / "explicit" / "test.jsonl")[0]  # they stand once, not once a row
    assert [example.extra["turns"] for example in examples] == [shared["turns"]]


def test_personas_to_write_questions_about(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    four = "I am thin.\nI hunt.\nI sew.\nI live in Rome."
    (folder / "Synthetic-Persona-Chat_test.csv").write_text(
        f'user 1 personas,user 2 personas,Best Generated Conversation\n"{four}","I bake.",x\n"{four}","",y\n'
    )
    out, manifest = prepare(Request("synthetic-persona-chat", folder))
    file = out / "personas" / "test.jsonl"
    assert rows(file) == [
        {"user": "test-1", "persona": four.splitlines()},
        {"user": "test-2", "persona": ["I bake."]},
    ]
    skipped = manifest["tables"]["personas/test"]["skipped"]
    assert skipped == {"persona of an earlier conversation": 1, "empty persona": 1}
    assert [persona.sentences for persona in read_personas(file).usable] == [tuple(four.splitlines())]


# ---------------------------------------------------------------- the real files


@pytest.mark.parametrize(
    ("family", "folder", "official", "counts"),
    [
        ("aloe", "aloe", True, {"personas/test": 100, "profiles/train": 331, "personalities/train": 71}),
        ("longlamp", "longlamp", None, {"abstract_generation_user/test": 42, "topic_writing_user/train": 80}),
        ("prefeval", "prefeval_explicit", True, {"explicit/test": 1000}),
        ("reviews", "amazon_reviews", None, {"books/train": 21, "cds/test": 6, "all/val": 9}),
        ("synthetic_persona_chat", "synthetic_persona_chat", True, {"personas/test": 1868}),
    ],
)
def test_the_real_files(
    real_data: Path, family: str, folder: str, official: bool | None, counts: dict[str, int]
) -> None:
    _, manifest = prepare(Request(family, real_data / folder))
    assert manifest["official"] is official
    assert {name: manifest["tables"][name]["rows"] for name in counts} == counts
