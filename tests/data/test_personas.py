"""Personas from the files people have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perbench.annotate.personas import read_personas
from perbench.errors import PerbenchError

FOUR = ("I am thin.", "I hunt.", "I sew.", "I live in Rome.")


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", " ".join(FOUR) + "\n" + "I am alone.\n"),
        ("b.txt", "\n".join(FOUR) + "\n\nI am alone.\n"),
        ("d.jsonl", json.dumps({"persona": FOUR}) + '\n{"persona": ["I am alone."]}\n'),
        (
            "c.csv",
            'x,user 1 personas,user 2 personas\n1,"{}","{}"\n2,,"I am alone."\n'.format(
                *2 * ["\n".join(FOUR)]
            ),
        ),
    ],
)
def test_forms(name: str, text: str, tmp_path: Path) -> None:
    found = read_personas(write(tmp_path, name, text))
    assert [persona.sentences for persona in found.usable] == [FOUR]
    assert found.left_out == {1: 1}


def test_drawing_goes_on_where_a_smaller_one_ended(tmp_path: Path) -> None:
    lines = "".join(f"I am {n}. I hunt. I sew. I live in Rome.\n" for n in range(20))
    found = read_personas(write(tmp_path, "many.txt", lines))
    drawn = found.draw(12, seed=3)
    assert drawn[:5] == found.draw(5, seed=3)
    assert drawn != found.draw(12, seed=4)
    assert len({persona.id for persona in found.draw(50, seed=0)}) == 20


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "persona\nI am thin.\n", "no column 'user 1 personas'"),
        ("a.txt", "I am thin. I hunt.\n", "no persona of 4 to 6 sentences .*: 1 of 2"),
        ("a.txt", "", "number of sentences: none"),
        ("a.csv", 'user 1 personas\n"I am', "not a CSV file"),
        ("a.jsonl", '{"persona": "I am"}\n', r"a\.jsonl:1: persona is 'I am', not a list"),
    ],
)
def test_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=message):
        read_personas(write(tmp_path, name, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match="no such file"):
        read_personas(tmp_path / "none.csv")


def test_real_personas(real_data: Path) -> None:
    file = real_data / "synthetic_persona_chat" / "Synthetic-Persona-Chat_test.csv"
    found = read_personas(file)
    assert len(found.usable) > 500
    assert {len(persona.sentences) for persona in found.usable} <= {4, 5, 6}
