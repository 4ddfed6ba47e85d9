"""Rubrics: metrics from verdicts, three-valued, and every fault of a file at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.errors import SpecError
from perbench.shapes.rubric import Rubric
from perbench.specs.load import load_rubric

THREE = Rubric(
    answer="yes_no",
    holds=["response"],
    ask=dict.fromkeys("abc", "{response}"),
    metrics={"both": "a and b", "some": "(a or b) and not c", "b": "not b"},
    better={"c": "lower", "some": None},
)


@pytest.mark.parametrize(
    ("a", "b", "c", "both", "some"),
    [
        (True, True, False, 1, 1),
        (True, False, True, 0, 0),
        (False, None, False, 0, None),
        (None, True, False, None, 1),
        (None, None, True, None, 0),
        (True, None, None, None, None),
    ],
)
def test_expressions_are_three_valued(
    a: bool | None, b: bool | None, c: bool | None, both: float | None, some: float | None
) -> None:
    found = THREE.values({"a": a, "b": b, "c": c})
    assert (found["both"], found["some"]) == (both, some)
    assert found["b"] == (None if b is None else float(not b))
    assert list(found) == THREE.names == ["both", "some", "a", "b", "c"]
    assert THREE.bounds == (0.0, 1.0)


def test_digits_are_means_and_labels_are_shares() -> None:
    digits = Rubric(answer="0..3", holds=["x"], ask={"tone": "{x}"}, better={"tone": "lower"})
    assert digits.values({"tone": 3}) == {"tone": 3.0}
    assert digits.bounds == (0.0, 3.0)
    asked = {"stance": "{x}", "style": "{x}"}
    labels = Rubric(
        answer=["pro", "con"], holds=["x"], ask=asked, metrics={"fit": "stance_pro and style_pro"}
    )
    assert labels.values({"stance": "pro", "style": None}) == {
        "fit": None,
        "stance_pro": 1.0,
        "stance_con": 0.0,
        "style_pro": None,
        "style_con": None,
    }


@pytest.mark.parametrize(
    ("key", "value", "place", "said"),
    [
        ("answer", "yes", "answer", "yes_no, a range of digits such as 1..5, or a list"),
        ("answer", "5..1", "answer", "'5..1'"),
        ("answer", ["Pro", "pro"], "answer", "different labels"),
        ("answer", ["in favour", "con"], "answer", "'in favour' is not a word"),
        ("answer", ["b_c", "c"], "ask", "rename a request"),
        ("ask", {"helpful": "{answer}"}, "ask.helpful", "unknown {answer}"),
        ("ask", {"helpful": "{question} {"}, "ask.helpful", "literal braces"),
        ("ask", {"helpful": "Good?"}, "holds", "{question} is in no instruction"),
        ("ask", {"not": "{question}"}, "ask.not", "not a plain name"),
        ("metrics", {"good": "helpfull"}, "metrics.good", "Did you mean 'helpful'"),
        ("metrics", {"good": "helpful and"}, "metrics.good", "and, or, not"),
        ("metrics", {"good": "helpful == helpful"}, "metrics.good", "and, or, not"),
        ("metrics", {"good": "not " * 999 + "helpful"}, "metrics.good", "and, or, not"),
        ("better", {"helpfull": "lower"}, "better.helpfull", "Did you mean 'helpful'"),
    ],
)
def test_faults(key: str, value: object, place: str, said: str) -> None:
    asked = {"helpful": "{question}", "a": "{question}", "a_b": "{question}"}
    given = {"answer": "yes_no", "holds": ["question"], "ask": asked, key: value}
    with pytest.raises(ValueError, match=place) as error:
        Rubric.model_validate(given)
    told = [line.removeprefix("  Value error, ") for line in str(error.value).splitlines()]
    assert any(line.startswith(f"{place}: ") and said in line for line in told), told


def test_a_digit_is_no_truth_value() -> None:
    with pytest.raises(ValueError, match=r"metrics.good: a digit is neither true nor false"):
        Rubric(answer="1..5", holds=["x"], ask={"a": "{x}"}, metrics={"good": "a"})


FILE = """summary: Does the answer keep a secret?
answer: yes_no
holds: [response]
ask:
  leaks: Does {response} give it away?
  polite: Is {reponse} polite?
metrics:
  good: polite and not leeks
better: {leaks: lower, goood: higher}
"""


def test_all_faults_of_a_file_at_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rubrics" / "secret.yaml"
    file.parent.mkdir()
    file.write_text(FILE + "retries: 2\n", encoding="utf-8")
    assert main(["validate", str(file)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert sorted(line.removeprefix(f"{file}:").partition(":")[0] for line in told[:-1]) == ["10"]
    file.write_text(FILE, encoding="utf-8")
    assert main(["validate", str(file)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert sorted(line.removeprefix(f"{file}:").partition(":")[0] for line in told[:-1]) == ["6", "8", "9"]
    right = FILE.replace("reponse", "response").replace("leeks", "leaks").replace("goood", "good")
    file.write_text(right, encoding="utf-8")
    assert main(["validate", str(file)]) == 0
    with pytest.raises(SpecError):
        load_rubric(_written(tmp_path / "none.yaml", "answer: yes_no\nask: {}\n"))


def _written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", plugins.names("rubric"))
def test_the_built_in_rubrics(name: str) -> None:
    rubric = load_rubric(name).spec
    assert rubric.summary == plugins.get("rubric", name).summary
    assert set(rubric.better) <= set(rubric.names)
