"""Families of choice tasks: made-up rows in the published schemas, what is joined, split and refused."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from perbench.data import load_examples
from perbench.errors import PerbenchError
from perbench.prepare.prepare import Request, prepare
from perbench.specs.load import load_task
from tasks.families.personalllm import ANSWERS, REWARDS, dirichlet, ratings
from tasks.families.prefeval import TOPICS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


# ---------------------------------------------------------------- PrefEval


def prefeval(folder: Path) -> Path:
    """Two questions per topic; the implicit files hold them in another order."""
    for topic in TOPICS:
        asked = [{"preference": f"{topic} p{i}", "question": f"q{i}?"} for i in range(2)]
        options = [{**one, "classification_task_options": ["good", "bad", "worse", "worst"]} for one in asked]
        chosen = [
            {
                **one,
                "options": ["x", "y"],
                "conversation": {
                    "query": f"c{one['question']}",
                    "assistant_options": "1. x 2. y",
                    "user_selection": "x",
                    "assistant_acknowledgment": "ok",
                },
            }
            for one in reversed(asked)
        ]
        talked = [
            {
                **one,
                "persona": "a cook",
                "conversation": {
                    str(turn): {"user": f"u{turn} {one['question']}", "assistant": f"a{turn}"}
                    for turn in (10, 9, 0)
                },
            }
            for one in asked
        ]
        talked[1]["preference"] = "another one"
        write(folder / f"mcq_options/{topic}.json", options)
        write(folder / f"implicit_preference/choice-based/{topic}.json", chosen)
        write(folder / f"implicit_preference/persona-driven/{topic}.json", talked)
    write(folder / "mcq_options/travel_hotel copy.json", [{"preference": "stray", "question": "?"}])
    return folder


def test_prefevals_forms_are_joined_by_content(tmp_path: Path) -> None:
    out, manifest = prepare(Request("prefeval", prefeval(tmp_path / "raw")))
    tables = {name: table["rows"] for name, table in manifest["tables"].items()}
    assert tables == {
        "exchanges/test": 1,
        "choice/test": 40,
        "implicit_choice/test": 40,
        "implicit_persona/test": 20,
    }
    skipped = manifest["tables"]["implicit_persona/test"]["skipped"]
    assert skipped == {"no conversation of this preference and question": 20}
    assert list(manifest["absent"]) == ["explicit/test"]
    stated = rows(out / "choice/test.jsonl")
    assert [said["role"] for said in stated[0]["persona"]] == ["user", "assistant"]
    assert stated[0]["persona"][0]["text"] == stated[0]["preference"]
    assert {row["gold"] for row in stated} == {0, 1, 2, 3}
    assert all(row["options"][row["gold"]] == row["reference"] == "good" for row in stated)
    for row in rows(out / "implicit_choice/test.jsonl"):
        assert row["persona"][0]["text"] == f"c{row['question']}"
        assert [said["role"] for said in row["persona"]] == ["user", "assistant"] * 2
    said = rows(out / "implicit_persona/test.jsonl")[0]["persona"]
    assert [one["text"] for one in said] == ["u0 q0?", "a0", "u9 q0?", "a9", "u10 q0?", "a10"]
    assert len(load_examples(load_task("prefeval/implicit_choice"), "test").examples) == 40


def test_a_family_that_was_fetched_half_is_told(tmp_path: Path) -> None:
    folder = prefeval(tmp_path / "raw")
    (folder / f"implicit_preference/choice-based/{TOPICS[7]}.json").unlink()
    _, manifest = prepare(Request("prefeval", folder))
    assert TOPICS[7] in manifest["absent"]["implicit_choice/test"]
    with pytest.raises(PerbenchError, match="no implicit_choice/test"):
        load_examples(load_task("prefeval/implicit_choice"), "test")


# ---------------------------------------------------------------- PersonaMem

QUESTION = {
    "persona_id": "7",
    "question_id": "q1",
    "question_type": "recall",
    "topic": "books",
    "user_question_or_message": "Which?",
    "correct_answer": "(b)",
    "all_options": "['(a) one', \"(b) it's two\", '(c) three', '(d) four']",
    "shared_context_id": "c1",
    "end_index_in_shared_context": "3",
}
SAID = [{"role": "system", "content": "Current user persona: a cook."}] + [
    {"role": role, "content": f"{role} {turn}"} for turn in range(2) for role in ("user", "assistant")
]


def table(path: Path, *given: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, given[0].keys())
        writer.writeheader()
        writer.writerows(given)


def personamem(folder: Path, **changes: Any) -> Path:
    table(folder / "questions_32k.csv", {**QUESTION, **changes})
    write(folder / "shared_contexts_32k.jsonl", json.dumps({"c1": SAID}) + "\n" + json.dumps({"c2": SAID}))
    return folder


def test_personamem(tmp_path: Path) -> None:
    out, manifest = prepare(Request("personamem", personamem(tmp_path / "raw")))
    assert list(manifest["absent"]) == ["128k/test"]
    (row,) = rows(out / "32k/test.jsonl")
    assert row["options"] == ["one", "it's two", "three", "four"]
    assert (row["gold"], row["reference"], row["user"]) == (1, "it's two", "7")
    assert row["persona"] == [{"role": one["role"], "text": one["content"]} for one in SAID[:3]]
    (example,) = load_examples(load_task("personamem/v1"), "test").examples
    assert example.reference == "it's two"


def test_personamems_older_columns(tmp_path: Path) -> None:
    older = {name: value for name, value in QUESTION.items() if name != "persona_id"}
    older["question"] = older.pop("user_question_or_message")
    personamem(tmp_path / "raw")
    table(tmp_path / "raw/questions_32k.csv", older)
    out, _ = prepare(Request("personamem", tmp_path / "raw"))
    (row,) = rows(out / "32k/test.jsonl")
    assert (row["user"], row["question"]) == ("context-c1", "Which?")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shared_context_id": "c9"}, "context c9"),
        ({"correct_answer": "(e)"}, r"'\(e\)'"),
        ({"correct_answer": ""}, "correct_answer"),
        ({"all_options": "one, two"}, "all_options"),
        ({"end_index_in_shared_context": "x"}, "end_index_in_shared_context is 'x'"),
    ],
)
def test_a_faulty_question_of_personamem_is_named(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=what):
        prepare(Request("personamem", personamem(tmp_path / "raw", **changes)))


def personamem_v2(folder: Path, link: str = "data/chat_history_32k/h1.json") -> Path:
    row = {
        "persona_id": "3",
        "user_query": "{'role': 'user', 'content': \"What's for lunch?\"}",
        "correct_answer": "Soup",
        "incorrect_answers": "['Cake', 'Bread', 'Rice', 'Fish']",
        "preference": "likes soup",
        "pref_type": "food",
        "who": "self",
        "updated": "False",
        "chat_history_32k_link": link,
    }
    others = [{**row, "persona_id": str(i)} for i in range(8)]
    for name in ("train", "benchmark"):
        table(folder / f"benchmark/text/{name}.csv", *others)
    write(folder / "data/chat_history_32k/h1.json", {"chat_history": SAID})
    return folder


def test_personamem_v2(tmp_path: Path) -> None:
    out, manifest = prepare(Request("personamem_v2", personamem_v2(tmp_path / "raw")))
    assert list(manifest["absent"]) == ["32k/val"]
    found = rows(out / "32k/test.jsonl")
    assert {tuple(sorted(row["options"])) for row in found} == {("Bread", "Cake", "Rice", "Soup")}
    assert len({row["gold"] for row in found}) > 1
    assert all(row["reference"] == row["options"][row["gold"]] == "Soup" for row in found)
    assert found[0]["question"] == "What's for lunch?"
    assert [one["text"] for one in found[0]["persona"]] == [one["content"] for one in SAID[1:]]
    assert len(load_examples(load_task("personamem/v2"), "train").examples) == 8
    half = personamem_v2(tmp_path / "half", "data/chat_history_32k/h2.json")
    with pytest.raises(PerbenchError, match="train, row 1: its chat history data/chat_history_32k/h2"):
        prepare(Request("personamem_v2", half, tmp_path / "out"))


# ---------------------------------------------------------------- PRISM


def prism(folder: Path) -> Path:
    """20 users with 4 conversations of two turns each; the score falls with the answer's number."""
    users = [f"user{i}" for i in range(20)]
    survey = [{"user_id": user, "self_description": f"I am {user}.", "system_string": None} for user in users]
    said = [
        {
            "conversation_id": f"{user}-c{talk}",
            "user_id": user,
            "turn": turn,
            "user_prompt": f"prompt {talk}.{turn}",
            "model_response": f"answer {talk}.{turn}.{place}",
            "model_name": f"m{place}",
            "score": 90 - 10 * place,
            "if_chosen": place == 0,
        }
        for user in users
        for talk in range(4)
        for turn in range(2)
        for place in range(4 if turn == 0 else 2)
    ]
    for name, given in (("survey", survey), ("utterances", said)):
        write(folder / f"{name}.jsonl", "\n".join(json.dumps(row) for row in given))
    return folder


def test_prism(tmp_path: Path) -> None:
    out, manifest = prepare(Request("prism", prism(tmp_path / "raw")))
    assert manifest["tables"]["time/test"]["rows"] == manifest["tables"]["time/train"]["rows"] == 40
    train, test = (rows(out / f"user/{split}.jsonl") for split in ("train", "test"))
    trained, tested = ({row["user"] for row in part} for part in (train, test))
    assert not trained & tested
    assert len(trained | tested) == 20
    assert (len(train), len(test)) == (4 * len(trained), 2 * len(tested))
    row = next(row for row in test if row["conversation"].endswith("c2"))
    assert row["options"] == [f"answer 2.0.{place}" for place in range(4)]
    assert (row["ratings"], row["models"]) == ([90, 80, 70, 60], ["m0", "m1", "m2", "m3"])
    assert (row["reference"], row["rejected"]) == ("answer 2.0.0", "answer 2.0.3")
    about, latest, first = (item["text"] for item in row["persona"])
    assert about == f"I am {row['user']}."
    assert latest.splitlines() == [
        "User: prompt 1.0",
        "Preferred answer: answer 1.0.0",
        "User: prompt 1.1",
        "Preferred answer: answer 1.1.0",
    ]
    assert first.startswith("User: prompt 0.0")
    times = {
        part: {row["conversation"][-2:] for row in rows(out / f"time/{part}.jsonl")}
        for part in ("train", "test")
    }
    assert times == {"train": {"c0", "c1"}, "test": {"c2", "c3"}}
    for name in ("prism/user", "prism/time"):
        assert load_examples(load_task(name), "train").examples


# ---------------------------------------------------------------- PersonalLLM


def personalllm(folder: Path, prompts: int = 60) -> Path:
    draw = random.Random(0)
    for split in ("train", "test"):
        lines = []
        for number in range(prompts):
            row: dict[str, Any] = {"prompt": f"{split} {number}"}
            for i in ANSWERS:
                row |= {f"response_{i}": f"{split} {number} {i}", f"response_{i}_model": f"m{i}"}
                row |= {f"response_{i}_{reward}": draw.gauss(3, 2) for reward in REWARDS}
            lines.append(json.dumps(row))
        write(folder / f"{split}.jsonl", "\n".join(lines))
    return folder


def test_personalllm(tmp_path: Path) -> None:
    out, _ = prepare(Request("personalllm", personalllm(tmp_path / "raw")))
    by_prompt = {
        row["prompt"]: row for split in ("train", "test") for row in rows(tmp_path / f"raw/{split}.jsonl")
    }
    for split, most in (("train", 5), ("test", 10)):
        found = rows(out / f"alpha_0.1/{split}.jsonl")
        users = {row["user"] for row in found}
        assert len(found) == most * len(users)
        for row in found[:20]:
            weights = list(row["weights"].values())
            assert sum(weights) == pytest.approx(1)
            assert row["ratings"] == pytest.approx(ratings(by_prompt[row["question"]], weights))
            assert row["reference"] == row["options"][row["ratings"].index(max(row["ratings"]))]
            assert row["rejected"] == row["options"][row["ratings"].index(min(row["ratings"]))]
            assert 25 <= len(row["persona"]) <= 50
            for item in row["persona"]:
                assert item["prompt"].startswith("train ")
                assert item["prompt"] != row["question"]
                given = ratings(by_prompt[item["prompt"]], weights)
                places = [int(item[name].rsplit(" ", 1)[1]) - 1 for name in ("preferred", "other")]
                assert given[places[0]] >= given[places[1]]
    assert load_examples(load_task("personalllm/choice"), "test", 3).examples


def test_a_rating_by_hand() -> None:
    row = {f"response_{i}_{reward}": mean for i in ANSWERS for reward, (mean, _) in REWARDS.items()}
    first, (mean, sd) = next(iter(REWARDS.items()))
    row[f"response_3_{first}"] = mean + 2 * sd
    found = ratings(row, [0.25, 0.75, *[0.0] * 8])
    assert found == pytest.approx([0, 0, 0.5, 0, 0, 0, 0, 0])


def test_smaller_alphas_set_users_further_apart() -> None:
    """E[max weight] rises towards 1; moments of the distribution at alpha 1: mean .1, variance .09/11."""
    draw = random.Random(3)
    largest = []
    for alpha in (0.001, 0.01, 0.1, 1.0):
        found = [dirichlet(alpha, 10, draw) for _ in range(400)]
        assert all(sum(one) == pytest.approx(1) for one in found)
        largest.append(sum(map(max, found)) / len(found))
    assert largest == sorted(largest, reverse=True)
    assert largest[0] > 0.98
    first = [one[0] for one in (dirichlet(1.0, 10, draw) for _ in range(4000))]
    mean = sum(first) / len(first)
    assert mean == pytest.approx(0.1, abs=0.006)
    assert sum((one - mean) ** 2 for one in first) / len(first) == pytest.approx(0.09 / 11, rel=0.15)
