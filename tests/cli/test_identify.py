"""`perbench identify` from the command line to the stored record, on a small random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.store import read_records

ROWS = [
    {
        "persona": ["I am thin.", "I like to hunt."],
        "question": "Ever catch anything on your hunts?",
        "answer": "I hunt deer, and got a deer last season.",
        "gold": ["deer", "hunt"],
    },
    {
        "persona": ["I am short.", "I like to sew."],
        "question": "What do you do on a free afternoon?",
        "answer": "I usually stitch clothes.",
        "gold": [{"start": 10, "end": 16, "text": "stitch"}],
    },
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def identify(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    code = main(["identify", *map(str, words), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


def test_a_bare_file_by_every_identifier(
    rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", rows, "--model", tiny_model_dir, "--out", tmp_path / "run")
    code, found, _ = identify(capsys, *words, "--param", "llm_judge.max_new_tokens=4")
    assert code == 0
    named = {row["identifier"]: row for row in found["identifiers"]}
    assert set(named) == set(plugins.names("identifier"))
    assert named["llm_judge"]["params"] == {"max_new_tokens": 4}
    # "hunt" is in persona and answer: of four gold tokens (hunt, deer, deer, stitch) one is found.
    values = {name: metric["value"] for name, metric in named["word_matching"]["metrics"].items()}
    found_values = {name: values[name] for name in ("precision", "recall", "f1", "word_recall")}
    assert found_values == pytest.approx({"precision": 1.0, "recall": 0.25, "f1": 0.4, "word_recall": 0.25})
    assert "f1_tuned" not in values, "a single file holds no split to tune on"
    assert named["percontrast"]["counts"]["samples"] == 2
    targets = {record.labels.target for record, _ in read_records(tmp_path / "run")}
    assert targets == {f"identification/persona_qa ({rows.name})"}, "not the built-in set's name alone"
    assert named["percontrast"]["tokens_per_second"] > named["percontrast"]["examples_per_second"] > 0

    code, again, said = identify(capsys, *words, "--param", "llm_judge.max_new_tokens=4")
    assert code == 0
    assert again == found
    assert f"{len(named)} cells reused" in said


def test_the_threshold_decides(
    rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--task",
        rows,
        "--model",
        tiny_model_dir,
        "--out",
        tmp_path / "run",
        "--identifier",
        "percontrast",
    )
    _, everything, _ = identify(capsys, *words, "--param", "threshold=-100.0")
    _, nothing, _ = identify(capsys, *words, "--param", "percontrast.threshold=100.0")
    assert everything["identifiers"][0]["metrics"]["recall"]["value"] == 1.0
    assert nothing["identifiers"][0]["metrics"]["recall"]["value"] == 0.0
    assert nothing["identifiers"][0]["metrics"]["precision"]["value"] is None


def test_the_table_without_json(
    rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", rows, "--model", tiny_model_dir, "--identifier", "word_matching", "--limit", "1"]
    assert main(["identify", *map(str, words), "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "word_matching" in out
    assert "Personal tokens against gold spans" in out


HUNT = {"start": 2, "end": 6}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold": ["stag"]}, "gold[0]: 'stag' does not occur in 'I hunt deer, and got a deer last season.'"),
        ({"gold": ["dee"]}, "as whole words"),
        ({"gold": ["  "]}, "as whole words"),
        ({"gold": None}, "gold must be a list, not None"),
        ({"gold": "deer"}, "gold must be a list, not 'deer'"),
        ({"gold": [7]}, "gold[0] must be {start, end, text, kind, sentence} or a text, not 7"),
        ({"gold": [["deer"]]}, "or a text, not ['deer']"),
        ({"gold": [{"start": 2}]}, "start 2 and end None are not a span of 40 characters"),
        ({"gold": [{"start": 2, "end": 99}]}, "end 99 are not a span"),
        ({"gold": [{"start": -2, "end": 2}]}, "start -2 and end 2 are not a span"),
        ({"gold": [{**HUNT, "text": "haunt"}]}, "text is 'haunt', but 2 to 6 is 'hunt'"),
        ({"gold": [HUNT, {"start": 5, "end": 9}]}, "gold[1] overlaps gold[0]"),
        ({"gold": [{**HUNT, "kind": "strict"}]}, "unknown kind 'strict'. There are: inference, lexical"),
        ({"gold": [{**HUNT, "kind": 5}]}, "unknown kind 5"),
        ({"gold": [{**HUNT, "kind": ["a"]}]}, "unknown kind ['a']"),
        ({"gold": [{**HUNT, "sentence": "x"}]}, "sentence 'x' is not one of the persona's 2"),
        ({"gold": [{**HUNT, "sentence": [1]}]}, "sentence [1] is not one of the persona's 2"),
        ({"gold": [{**HUNT, "sentence": 2}]}, "sentence 2 is not one of the persona's 2"),
    ],
)
def test_faults_of_gold_are_told_by_line_before_anything_runs(
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    tiny_model_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.jsonl"
    rows = [{**ROWS[0], "gold": ["elk"]}, ROWS[1], {**ROWS[0], **changes}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ("--task", path, "--model", tiny_model_dir, "--html", tmp_path / "page.html")
    code, found, said = identify(capsys, *words, "--out", tmp_path / "run")
    assert (code, found) == (2, {})
    assert f"{path}:1: gold[0]: 'elk' " in said, "all faults at once"
    assert f"{path}:3: " in said
    assert message in said
    assert not list(tmp_path.glob("run/cells/*"))


def test_a_row_that_is_no_text_is_refused_as_it_is_read(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    rows = [ROWS[0], {**ROWS[1], "persona": ["I am \ud83d."]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ("--task", path, "--model", tiny_model_dir, "--out", tmp_path / "run")
    code, found, said = identify(capsys, *words)
    assert (code, found) == (2, {})
    assert f"{path}:2: field 'persona' holds '\\ud83d', a lone surrogate" in said


def test_answers_left_out_are_counted(
    rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rows.rename(tmp_path / "ROWS.JSON")
    empty = json.dumps({**ROWS[0], "answer": "", "gold": []})
    path.write_text(f"{empty}\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    words = ("--task", path, "--model", tiny_model_dir, "--identifier", "random")
    code, found, said = identify(capsys, *words, "--out", tmp_path / "run")
    assert code == 0
    assert found["identifiers"][0]["counts"]["samples"] == 2
    assert "(ROWS.JSON): 1 answer left out, empty answer" in said


def test_thresholds_are_chosen_on_the_dev_split(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", "identification/persona_qa", "--model", tiny_model_dir, "--limit", "9")
    code, found, said = identify(capsys, *words, "--identifier", "word_matching", "--out", tmp_path / "run")
    assert code == 0
    assert "18/18" in said
    (row,) = found["identifiers"]
    assert (row["counts"]["samples"], row["counts"]["dev_samples"]) == (9, 9)
    assert row["metrics"]["threshold_tuned"]["n"] == 9
    assert {"f1_tuned", "recall_inference_tuned", "average_precision"} <= set(row["metrics"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--identifier", "percontrst"], "Did you mean 'percontrast'?"),
        (["--param", "threshold"], "expected NAME=VALUE or IDENTIFIER.NAME=VALUE"),
        (["--param", "percontrast.=1"], "expected NAME=VALUE or IDENTIFIER.NAME=VALUE"),
        (["--param", "percontrst.threshold=1"], "'percontrst' is not run. Did you mean 'percontrast'?"),
        (["--identifier", "percontrast", "--param", "treshold=1.0"], "Did you mean 'threshold'?"),
        (["--identifier", "percontrast", "--param", "threshold=high"], "threshold"),
        (["--identifier", "random", "--param", "threshold=.nan"], "threshold=nan: Input should be a finite"),
        (["--identifier", "random", "--param", "threshold=.inf"], "threshold=inf: Input should be a finite"),
        (["--task", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--task", __file__], "neither a task's YAML file nor rows, named FILE.jsonl"),
        (["--task", "identification/persona"], "Did you mean 'identification/persona_qa'?"),
        (["--task", "longlamp/pag"], "identification"),
    ],
)
def test_bad_input_exits_2(
    words: list[str], message: str, rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    given = ["--task", str(rows), "--model", str(tiny_model_dir), "--out", str(tmp_path / "run"), *words]
    assert main(["identify", *given]) == 2
    assert message in capsys.readouterr().err


def test_the_papers_worked_examples_share_no_content_word(
    real_data: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", real_data / "percontrast_appendix_e.jsonl", "--model", tiny_model_dir)
    code, found, _ = identify(capsys, *words, "--identifier", "word_matching", "--out", tmp_path / "run")
    assert code == 0
    assert found["identifiers"][0]["counts"]["samples"] == 3
    assert found["identifiers"][0]["metrics"]["recall"]["value"] == 0.0
    assert found["identifiers"][0]["metrics"]["precision"]["value"] is None


def test_a_page_and_the_worst_answers(
    rows: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = ["--task", str(rows), "--model", str(tiny_model_dir), "--out", str(tmp_path / "run")]
    words += ["--identifier", "word_matching"]
    assert main(["identify", *words, "--html", str(page), "--show", "1"]) == 0
    said = capsys.readouterr()
    assert "I [*hunt*] [deer], and got a [deer] last season." in said.out
    assert "stitch" not in said.out, "only the worst answer is asked for"
    assert str(page) in said.err
    assert "3 errors" not in page.read_text(encoding="utf-8")
    assert "2 errors" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--show", "1", "--json"], "--show prints text and --json prints JSON"),
        (["--html", "no/such/folder/page.html"], "name a file in a folder that exists"),
        (["--show", "0"], "expected a positive whole number"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_runs(
    words: list[str], message: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", "--task", str(rows), "--out", str(tmp_path / "run"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
