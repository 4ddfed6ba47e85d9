"""LaMP: files and their faults; prompts, queries and ranked texts against LaMP's rules, written out here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rank_bm25 import BM25Okapi

from perbench import plugins
from perbench.api import Family
from perbench.cli import main
from perbench.data import load_examples
from perbench.errors import PerbenchError, SpecError
from perbench.lm.models import load_tokenizer
from perbench.persona.build import build_personas
from perbench.prepare.prepare import Request
from perbench.prepare.prepare import prepare as prepare_family
from perbench.prompts.pair import build_pair
from perbench.published.follows import contradictions, protocol_of, recomputed
from perbench.specs.load import load_task
from perbench.specs.matrices import load_matrix
from perbench.store.record import CellRecord, Scores
from tests.tasks.lamp_rows import INPUTS, NAMES, OUTPUTS, TAGS, golds, questions, write, write_raw

TASKS = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "raw")


def prepare(raw: Path, family: str = "lamp") -> dict[str, Any]:
    """The manifest."""
    return prepare_family(Request(family, raw))[1]


def prepared(tmp_path: Path, name: str, split: str = "dev", family: str = "lamp") -> list[dict[str, Any]]:
    return rows_of(tmp_path / "cache" / "data" / family, name, split)


def rows_of(folder: Path, name: str, split: str) -> list[dict[str, Any]]:
    text = (folder / name / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# ---------------------------------------------------------------- files


def test_questions_are_joined_with_outputs_by_id(raw: Path, tmp_path: Path) -> None:
    shuffled = golds("LaMP_3", 6)
    shuffled["golds"].reverse()
    write(raw / "LaMP_3" / "dev_outputs.json", shuffled)
    prepare(raw)
    for name in NAMES:
        found = prepared(tmp_path, name)
        assert [row["output"] for row in found] == [OUTPUTS[name](n) for n in range(6)]
        assert [row["user"] for row in found] == [f"other {n // 2}" for n in range(6)]
        assert {*found[0]} == {"id", "user", "input", "output", "profile"}


@pytest.mark.parametrize(("family", "where"), [("lamp", "LaMP"), ("lamp_time", "LaMP/time")])
def test_what_is_published_is_where_it_is_looked_for(family: str, where: str, tmp_path: Path) -> None:
    """Movie tags are below `new`; the plain folder of LaMP_2 has news categories."""
    cls = plugins.get("family", family).load_class()
    assert issubclass(cls, Family)
    (remote,) = cls.remotes
    assert (remote.host, remote.repository) == ("web", f"ciir.cs.umass.edu/downloads/{where}")
    assert "LaMP_1/dev/dev_questions.json" in remote.files
    assert "LaMP_2/new/train/train_outputs.json" in remote.files
    assert not [path for path in remote.files if "LaMP_6" in path or "test" in path]
    for path in remote.files:
        name, kind = path.partition("/")[0], path.rpartition("_")[2]
        write(tmp_path / "raw" / path, questions(name, 3) if kind == "questions.json" else golds(name, 3))
    prepare(tmp_path / "raw", family)
    assert all(
        len(prepared(tmp_path, name, split, family)) == 3 for name in NAMES for split in ("train", "dev")
    )


def test_users_without_an_id_are_told_apart_by_profile(raw: Path, tmp_path: Path) -> None:
    rows = questions("LaMP_7", 4)
    for row in rows:
        del row["user_id"]
    rows[2]["profile"] = [{**item, "id": "another"} for item in rows[0]["profile"]]
    rows[3]["profile"] = []
    write(raw / "LaMP_7" / "dev_questions.json", rows)
    write(raw / "LaMP_7" / "dev_outputs.json", golds("LaMP_7", 4))
    table = prepare(raw)["tables"]["LaMP_7/dev"]
    one, other, same = (row["user"] for row in prepared(tmp_path, "LaMP_7"))
    assert one == same != other
    assert table["skipped"] == {"empty profile": 1}
    assert [count for note, count in table["notes"].items() if "user_id" in note] == [3]


def test_a_malformed_input_is_left_out_and_named(raw: Path, tmp_path: Path) -> None:
    rows = questions("LaMP_2", 6)
    rows[3] |= {"id": "110", "input": rows[3]["input"].partition("description")[0]}
    outputs = golds("LaMP_2", 6)
    outputs["golds"][3]["id"] = "110"
    write(raw / "LaMP_2" / "dev_questions.json", rows)
    write(raw / "LaMP_2" / "dev_outputs.json", outputs)
    table = prepare(raw)["tables"]["LaMP_2/dev"]
    assert [row["id"] for row in prepared(tmp_path, "LaMP_2")] == ["0", "1", "2", "4", "5"]
    assert table["skipped"] == {"malformed input": 1}
    assert any("110" in note and "description:" in note for note in table["notes"])


def told(raw: Path, *words: str) -> None:
    with pytest.raises(PerbenchError) as error:
        prepare(raw)
    for word in words:
        assert word in str(error.value)


def test_news_categories_are_not_movie_tags(raw: Path) -> None:
    rows = [
        {**row, "input": f"Which category does this article {row['id']}"} for row in questions("LaMP_2", 6)
    ]
    write(raw / "LaMP_2" / "train_questions.json", rows)
    told(raw, "LaMP_2/train_questions", "LaMP_2/new")


@pytest.mark.parametrize("kind", ["questions", "outputs"])
def test_half_a_table_is_refused(kind: str, raw: Path) -> None:
    (raw / "LaMP_3" / f"dev_{kind}.json").unlink()
    told(raw, "LaMP_3", f"dev_{kind} is not", "fetch it")


def test_tables_without_files_are_named(raw: Path) -> None:
    for kind in ("questions", "outputs"):
        (raw / "LaMP_3" / f"train_{kind}.json").unlink()
    assert list(prepare(raw)["absent"]) == ["LaMP_3/train"]


def test_both_files_hold_the_same_ids(raw: Path) -> None:
    outputs = golds("LaMP_1", 6)
    outputs["golds"][2]["id"] = "x2"
    write(raw / "LaMP_1" / "dev_outputs.json", outputs)
    told(raw, "LaMP_1/dev_questions", "no output for 2", "no question for x2")


@pytest.mark.parametrize("kind", ["questions", "outputs"])
def test_an_id_is_there_once(kind: str, raw: Path) -> None:
    value: Any = questions("LaMP_1", 6) if kind == "questions" else golds("LaMP_1", 6)
    rows = value if kind == "questions" else value["golds"]
    rows.append(rows[4])
    write(raw / "LaMP_1" / f"dev_{kind}.json", value)
    told(raw, f"LaMP_1/dev_{kind}", "'4' twice")


def test_outputs_of_another_task_are_refused(raw: Path) -> None:
    write(raw / "LaMP_1" / "dev_outputs.json", {**golds("LaMP_1", 6), "task": "LaMP_2"})
    told(raw, "LaMP_1/dev_outputs", "'LaMP_2'")


def test_a_faulty_question_has_a_line(raw: Path) -> None:
    rows = questions("LaMP_4", 6)
    del rows[1]["profile"][0]["title"]
    write(raw / "LaMP_4" / "dev_questions.json", rows, indent=1)
    lines = (raw / "LaMP_4" / "dev_questions.json").read_text().splitlines()
    line = [number for number, text in enumerate(lines, start=1) if text == " {"][1]
    told(raw, f"dev_questions.json:{line}: record 2: profile[0] has no key 'title'")


# ---------------------------------------------------------------- answers that cannot be


@pytest.mark.parametrize(
    ("name", "output", "words"),
    [
        ("LaMP_2", "Comedy", ["'Comedy'", "labels", "'comedy'"]),
        ("LaMP_1", "[3]", ["'[3]'", "labels"]),
        ("LaMP_3", "6", ["'6'", "1 to 5"]),
        ("LaMP_3", "five", ["'five'", "1 to 5"]),
        ("LaMP_3", "nan", ["'nan'", "1 to 5"]),
    ],
)
def test_a_reference_that_no_answer_can_be(
    name: str, output: str, words: list[str], raw: Path, tmp_path: Path
) -> None:
    outputs = golds(name, 6)
    outputs["golds"][2]["output"] = output
    write(raw / name / "dev_outputs.json", outputs)
    prepare(raw)
    with pytest.raises(SpecError) as error:
        load_examples(load_task(f"lamp/{NAMES[name]}"), "test")
    (problem,) = error.value.problems
    assert problem.line == 3
    for word in ["'output'", f"{name}/dev.jsonl", *words]:
        assert word in str(problem)


def test_a_citation_needs_a_place_for_the_profile(raw: Path) -> None:
    prepare(raw)
    task = load_task("lamp/1_citation", overrides={"prompts.official.split_after": "TITLE"})
    with pytest.raises(SpecError, match="'input' does not contain 'TITLE'"):
        load_examples(task, "test")


def test_labels_are_lamps() -> None:
    assert load_task("lamp/2_movie_tag").spec.labels == TAGS.split(", ")  # type: ignore[attr-defined]


# ---------------------------------------------------------------- prompts

ITEM = {
    "LaMP_1": '"{title}"',
    "LaMP_2": 'the tag for the movie: "{description}" is "{tag}" ',
    "LaMP_3": '{score} is the score for "{text}" ',
    "LaMP_4": '"{title}" is the title for "{text}" ',
    "LaMP_5": '"{title}" is a title for "{abstract}" ',
    "LaMP_7": '"{text}" ',
}


def whole(name: str, profile: list[dict[str, Any]], asked: str) -> str:
    """The prompt of LaMP's prompts.py with these items, none of them cut."""
    shown = ", and ".join(ITEM[name].format(**item) for item in profile)
    if not profile:
        return asked
    if name == "LaMP_1":
        place = asked.index("title") + len("title")
        return f"{asked[:place]}, and {shown}{asked[place:]}"
    if name == "LaMP_5":
        return f"{shown}. Following the given patterns {asked}"
    if name == "LaMP_7":
        return f"{shown} are written by a person. Following the given patterns {asked}"
    return f"{shown}. {asked}"


def query(name: str, asked: str) -> str:
    if name == "LaMP_1":
        return " ".join(re.findall('"([^"]*)"', asked)[1:3])
    marker = {"LaMP_2": "description:", "LaMP_3": "review:", "LaMP_4": "article:", "LaMP_5": "paper:"}
    return asked.partition(marker.get(name, ":"))[2]


CORPUS = {
    "LaMP_1": "{title} {abstract}",
    "LaMP_2": "{description}",
    "LaMP_3": "{text}",
    "LaMP_4": "{title} {text}",
    "LaMP_5": "{title} {abstract}",
    "LaMP_7": "{text}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared rows."""
    base = tmp_path_factory.mktemp("lamp")
    prepare_family(Request("lamp", write_raw(base / "raw"), base / "rows"))
    return base / "rows"


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(tiny_model_dir)


TURN = r"<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n"


def user_turns(name: str, folder: Path, tokenizer: Any, **persona: Any) -> list[tuple[str, str]]:
    """Of each test example: the user turn with and without profile, as a model reads them."""
    changes = {f"persona.{key}": value for key, value in persona.items()}
    named = load_task(f"lamp/{NAMES[name]}", data={"lamp": folder}, overrides=changes)
    task, examples = named.spec, load_examples(named, "test").examples
    no_models: Any = None
    found = []
    for example in build_personas(task, examples, no_models).examples:
        pair = build_pair(task, example, tokenizer, with_response=False)
        turns = [tokenizer.decode(ids) for ids in (pair.factual, pair.counterfactual)]
        shown = [re.fullmatch(TURN, text, re.DOTALL) for text in turns]
        assert all(shown), turns
        found.append((shown[0][1], shown[1][1]))  # type: ignore[index]
    return found


@TASKS
@pytest.mark.parametrize("k", [1, 2, 5])
def test_prompts_are_lamps_word_for_word(name: str, k: int, folder: Path, tokenizer: Any) -> None:
    """Its items are those of rank_bm25's get_top_n over LaMP's query and texts."""
    rows = {row["input"]: row for row in rows_of(folder, name, "dev")}
    turns = user_turns(name, folder, tokenizer, k=k)
    assert len(turns) == len(rows) == 6
    for with_profile, without in turns:
        profile = rows[without]["profile"]
        words = [CORPUS[name].format(**item).split() for item in profile]
        best = BM25Okapi(words).get_scores(query(name, without).split())
        assert len(set(best)) == len(best)  # equal ones are ordered otherwise
        top = BM25Okapi(words).get_top_n(query(name, without).split(), profile, n=k)
        assert with_profile == whole(name, top, without)


@TASKS
def test_the_latest_are_by_date(name: str, folder: Path, tokenizer: Any) -> None:
    rows = {row["input"]: row for row in rows_of(folder, name, "dev")}
    for with_profile, without in user_turns(name, folder, tokenizer, retrieve="latest", k=2):
        by_date = sorted(rows[without]["profile"], key=lambda item: tuple(map(int, item["date"].split("-"))))
        assert with_profile == whole(name, by_date[-2:][::-1], without)


@TASKS
def test_without_room_for_an_item_the_input_stands_alone(name: str, folder: Path, tokenizer: Any) -> None:
    assert all(one == other for one, other in user_turns(name, folder, tokenizer, max_tokens=1))


def test_profiles_become_training_examples_of_their_users() -> None:
    """As in LaMP's per-user training: the input that an item would have had, and its answer."""
    for name, task in NAMES.items():
        form = load_task(f"lamp/{task}").spec.fields.item_example
        assert form is not None
        if name not in ("LaMP_1", "LaMP_7"):
            field = {"LaMP_2": "description", "LaMP_5": "abstract"}.get(name, "text")
            prefix = INPUTS[name](0)[: -len(query(name, INPUTS[name](0)))].rstrip()
            assert form.question == f"{prefix} {{{field}}}"


# ---------------------------------------------------------------- runs

MATRIX = """
summary: LaMP in small
models: [TINY]
trainers: [ce]
sources: [lamp/2_movie_tag]
targets: [lamp/1_citation, lamp/2_movie_tag, lamp/3_product_rating, lamp/4_news_headline,
  {task: lamp/3_product_rating, as: time, data.prepared: lamp_time}]
training: {epochs: 1, lora: {rank: 4}}
"""


def test_it_is_trained_on_and_scored(raw: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    prepare(raw)
    prepare(write_raw(tmp_path / "time", count=5), "lamp_time")
    matrix = tmp_path / "m.yaml"
    matrix.write_text(MATRIX.replace("TINY", str(tiny_model_dir)), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["run", "--matrix", str(matrix), "--out", str(out), "--limit", "3"]) == 0
    records = [json.loads(file.read_text()) for file in out.glob("cells/*/cell.json")]
    assert {record["status"] for record in records} == {"done"}
    evaluated = {(r["labels"]["target"], r["labels"]["trainer"]): r for r in records if r["kind"] == "eval"}
    assert len(evaluated) == 10
    for (target, _), record in evaluated.items():
        if "rating" in target:
            assert record["better"] == {"mae": "lower", "rmse": "lower"}
            assert record["counts"]["unparsed"] == 3
        elif "tag" in target:
            assert record["metrics"].keys() == {"accuracy", "macro_f1"}
            assert any("labels" in note for note in record["notes"])
    for file in out.glob("cells/*/scores.json"):  # what checks of published results compute anew
        record = CellRecord.model_validate_json((file.parent / "cell.json").read_text())
        found = recomputed(protocol_of(record), record.metrics, Scores.model_validate_json(file.read_text()))
        assert found.keys() == record.metrics.keys()
        assert not list(contradictions(record.metrics, found))
    assert main(["verify", str(out)]) == 0
    before = [record["metrics"] for record in evaluated.values()]
    assert main(["rescore", str(out)]) == 0
    again = {file: json.loads(file.read_text()) for file in out.glob("cells/*/cell.json")}
    assert [r["metrics"] for r in again.values() if r["kind"] == "eval"] == before


def test_a_row_may_not_set_what_its_metrics_do_not_read(
    raw: Path, tmp_path: Path, tiny_model_dir: Path
) -> None:
    prepare(raw)
    matrix = tmp_path / "m.yaml"
    row = "{task: lamp/4_news_headline, labels: [[a, b]]}"
    text = re.sub(r"targets: \[.*?\]\n", f"targets: [{row}]\n", MATRIX, flags=re.S)
    matrix.write_text(text.replace("TINY", str(tiny_model_dir)), encoding="utf-8")
    with pytest.raises(PerbenchError, match=r"m\.yaml:\d+: .*labels: is not used under metrics rouge1"):
        load_matrix(matrix)
