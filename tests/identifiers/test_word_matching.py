"""Word matching: content words shared by persona and answer, by part-of-speech tags."""

from __future__ import annotations

import io
import pickle
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perbench.text.tags as nltk_data
from perbench.api import PersonaText
from perbench.errors import PerbenchError
from perbench.plugins import load_identifier
from perbench.text.tags import tagged_words


def personal(persona: list[str], response: str, **params: bool) -> list[str]:
    text = PersonaText("e", tuple(persona), "q", response)
    (found,) = load_identifier("word_matching", params).score([text], None)
    assert set(found.scores) <= {0.0, 1.0}
    return [response[s:e] for (s, e), score in zip(found.spans, found.scores, strict=True) if score]


@pytest.mark.parametrize(
    ("persona", "response", "expected"),
    [
        (["I like to hunt."], "We hunt a deer in the woods.", ["hunt"]),
        (["I like to hunt."], "Our hunting season begins.", []),  # equal words only: nothing is stemmed
        (["My favorite color is red."], "Red flowers of a bright color, red!", ["Red", "color", "red"]),
        (["I live with my parents."], "I go out with my friends.", []),  # shared function words do not count
        (["She sings beautifully."], "He paints beautifully.", ["beautifully"]),
        (["I am not tall.", "I have a dog."], "I am not sure that I have met your dog.", ["dog"]),
        ([], "Nobody knows me.", []),
        (["I have an iphone."], "", []),
    ],
)
def test_shared_content_words(persona: list[str], response: str, expected: list[str]) -> None:
    assert personal(persona, response) == expected


@pytest.fixture
def wordnet(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """WordNet with three lemmas, and what was asked of it."""
    lemmas = {("hunting", "v"): "hunt", ("hunting", "n"): "hunting", ("geese", "n"): "goose"}
    asked: list[tuple[str, str]] = []

    def morphy(word: str, pos: str) -> str | None:
        asked.append((word, pos))
        return lemmas.get((word, pos))

    reader = SimpleNamespace(morphy=morphy)
    monkeypatch.setattr("perbench.text.wordnet.load", lambda: SimpleNamespace(reader=reader))
    return asked


@pytest.mark.parametrize(
    ("persona", "response", "expected"),
    [
        (["I like to hunt."], "Our hunting season begins.", ["hunting"]),
        (["I love hunting."], "We hunt a deer in the woods.", ["hunt"]),
        (["I keep a goose."], "The Geese are loud.", ["Geese"]),
        (["I keep a goose."], "The gander is loud.", []),
        (["I keep a zyx."], "A zyx is loud.", ["zyx"]),  # not in WordNet
    ],
)
def test_lemmas(
    wordnet: list[tuple[str, str]], persona: list[str], response: str, expected: list[str]
) -> None:
    assert personal(persona, response, lemma=True) == expected
    assert {pos for _, pos in wordnet} == {"n", "v", "a", "r"}


def test_lemmas_need_wordnet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("perbench.text.wordnet.cache_dir", lambda: tmp_path)
    with pytest.raises(PerbenchError, match="perbench data prepare wordnet"):
        personal(["I hunt."], "Hunt!", lemma=True)
    assert personal(["I hunt."], "Hunt!") == ["Hunt"]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("The quick brown fox jumps over the lazy dog.", ["quick", "brown", "fox", "jumps", "lazy", "dog"]),
        ("I slowly bake bread. You and they read novels!", ["slowly", "bake", "bread", "read", "novels"]),
    ],
)
def test_content_words_by_hand(text: str, content: list[str]) -> None:
    assert [text[s:e] for (s, e), is_content in tagged_words(text) if is_content] == content


def test_words_are_every_word_once() -> None:
    text = "Got a deer.  Last season (autumn) -- really."
    words = ["Got", "a", "deer", "Last", "season", "autumn", "really"]
    assert [text[s:e] for (s, e), _ in tagged_words(text)] == words


@settings(max_examples=200)
@given(st.text())
def test_spans_of_any_text_are_ordered_and_hold_every_letter(text: str) -> None:
    spans = [span for span, _ in tagged_words(text)]
    assert all(0 <= s < e <= len(text) for s, e in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    held = {i for s, e in spans for i in range(s, e)}
    assert {i for i, char in enumerate(text) if char.isalnum()} <= held


@pytest.fixture
def fresh_tagger() -> object:
    nltk_data.tagger.cache_clear()
    yield
    nltk_data.tagger.cache_clear()


@pytest.mark.usefixtures("fresh_tagger")
def test_without_the_weights_the_message_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PerbenchError, match=r"pip install --no-deps textblob-aptagger==0\.2\.0"):
        personal(["I hunt."], "Hunt!")


@pytest.mark.usefixtures("fresh_tagger")
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / nltk_data.FILE).write_bytes(b"not the weights")
    spec = ModuleSpec("textblob_aptagger", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(PerbenchError, match="is not the file of textblob-aptagger"):
        tagged_words("Hunt!")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_the_unpickler_runs_no_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        nltk_data._PlainUnpickler(io.BytesIO(pickle.dumps(Harmful()))).load()
    assert capsys.readouterr().out == ""
