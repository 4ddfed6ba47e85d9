"""Personal tokens of samples: PIR under the untrained model, computed once, by the rows' own prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.contracts.shown import Shown, StoredCell
from perbench.matrix import shade
from perbench.matrix.reading import SampleReader, stored
from perbench.matrix.shade import Shader, cut
from perbench.prompts.chat import chat_text, encode
from perbench.prompts.spans import encode_with_spans
from perbench.store import read_records
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs


@pytest.fixture
def cell(root: Root, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredCell:
    """A base model's answers, as stored."""
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    root.matrix(trainers=[], sources=[], targets=["tiny/writing"], identifiers=[], baseline=None)
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(tmp_path / "out"))
    assert code == 0, errors
    ((record, folder),) = read_records(tmp_path / "out")
    return stored(record, folder)


def shaded(cell: StoredCell, said: list[str]) -> list[Shown]:
    reads = SampleReader({})
    return Shader(reads, said.append)(cell, reads.read(cell))


def marks(text: str, pieces: Any) -> list[tuple[str, float]]:
    assert "".join(piece.text for piece in pieces) == text
    return [(piece.text, piece.value) for piece in pieces if piece.value is not None]


def test_values_are_log_probs_with_the_persona_less_those_without(cell: StoredCell) -> None:
    import torch

    said: list[str] = []
    one, *others = shaded(cell, said)
    assert said == []
    assert one.reference is not None
    assert one.persona is not None
    engine = shade.open_model(shade.load_model("tiny"))
    model, tokenizer = engine.model, engine.tokenizer  # type: ignore[attr-defined]
    system = dict(one.prompt)["system"].replace("⟨persona⟩", "\n\n".join(one.persona))
    question = dict(one.prompt)["user"]
    ids, spans = encode_with_spans(tokenizer, one.reference)
    sums = []
    for context in (chat_text(tokenizer, system, [question]), chat_text(tokenizer, None, [question])):
        prompt = encode(tokenizer, context)
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *ids]])).logits[0].double()
        logp = logits.log_softmax(-1)
        sums.append([float(logp[len(prompt) + place - 1, token]) for place, token in enumerate(ids)])
    expected = [
        (one.reference[start:end], pytest.approx(high - low, abs=0.05))
        for (start, end), high, low in zip(spans, *sums, strict=True)
        if start < end
    ]
    assert marks(one.reference, one.reference_pieces) == expected
    assert any(abs(value) > 0.5 for _, value in marks(one.reference, one.reference_pieces))
    assert all(marks(other.answer, other.pieces) for other in others if other.answer.strip())


def test_a_second_build_needs_no_model(cell: StoredCell, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = shaded(cell, said)
    monkeypatch.setattr(shade, "open_model", None)
    assert shaded(cell, said) == first
    assert said == []


@pytest.mark.parametrize("what", ["gone", "changed", "an endpoint", "a stranger's"])
def test_a_model_that_cannot_be_asked_is_named_once_and_texts_stay(
    cell: StoredCell, root: Root, tiny_model_dir: Path, what: str
) -> None:
    file = root.path / "leaderboard" / "models" / "tiny.yaml"
    if what == "gone":
        file.unlink()
    elif what == "a stranger's":
        labels = cell.record.labels.model_copy(update={"model": str(tiny_model_dir)})
        cell = replace(cell, record=cell.record.model_copy(update={"labels": labels}))
    elif what == "changed":
        file.write_text(file.read_text("utf-8") + "dtype: bfloat16\n", encoding="utf-8")
    else:
        root.write(
            "leaderboard/models/tiny", {"summary": "far", "endpoint": {"model": "m", "base_url": "http://x"}}
        )
    said: list[str] = []
    reads = SampleReader({})
    shader, shown = Shader(reads, said.append), reads.read(cell)
    assert shader(cell, shown) == shown
    assert shader(cell, shown) == shown
    assert len(said) == 1
    assert "model " in said[0]
    assert "tiny" in said[0]


tokens = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.floats(-3, 3)), max_size=12)


@given(st.text(min_size=1, max_size=30), tokens)
def test_pieces_are_the_text_whatever_the_tokens(text: str, moves: list[tuple[int, int, float]]) -> None:
    values, at = [], 0
    for gap, length, value in moves:  # tokens may overlap, as parts of one character's bytes do
        start = min(len(text), max(0, at + gap - 1))
        end = min(len(text), start + length)
        values.append((start, end, value))
        at = end
    pieces = cut(text, values)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)
