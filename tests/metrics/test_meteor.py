"""METEOR against NLTK's documented example and numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.contracts.metric import Texts
from perbench.metrics import score_texts
from perbench.metrics.meteor import tokenize
from perbench.text import wordnet

MILITARY = (
    "It is a guide to action which ensures that the military always obeys the commands of the party",
    "It is a guide to action that ensures that the military will forever heed Party commands",
)
GOLD = [
    (*MILITARY, 0.6944),  # NLTK's documentation
    ("the dog barked", "the dog barked", 1 - 0.5 / 3**3),  # 3 matches, 1 chunk
    ("the hound barked", "the dog barked", 1 - 0.5 / 3**3),  # a synonym matches
    # 2 of 3 words match, in 2 chunks: F = 2/3, penalty 0.5 * (2/2)^3
    ("the cat barked", "the dog barked", 2 / 3 * 0.5),
    # P = 1/2, R = 1: F = P R / (0.9 P + 0.1 R) = 0.5 / 0.55; 1 match, 1 chunk
    ("barked loudly", "barked", 0.5 / 0.55 * 0.5),
    ("a cat", "the dog", 0.0),
    ("", "the dog", 0.0),
]


def texts(prediction: str, reference: str) -> Texts:
    return Texts([prediction], [reference], ["u"], [False])


@pytest.mark.parametrize(("prediction", "reference", "gold"), GOLD)
def test_gold(tiny_wordnet: Path, prediction: str, reference: str, gold: float) -> None:
    wordnet.prepare(tiny_wordnet)
    found = score_texts(["meteor"], texts(prediction, reference))
    assert found.per_sample["meteor"] == [pytest.approx(gold, abs=5e-5)]


def test_the_signature_names_wordnet_and_its_digest(tiny_wordnet: Path) -> None:
    wordnet.prepare(tiny_wordnet)
    signature = score_texts(["meteor"], texts("a", "a")).metrics["meteor"].signature
    assert f"wordnet:3.0-{wordnet.load().digest[:12]}" in signature
    assert "tok:word_tokenize" in signature


def test_absent_without_wordnet_and_never_another_meteor() -> None:
    found = score_texts(["meteor", "length"], texts(*MILITARY))
    assert list(found.metrics) == ["length"]
    assert "meteor" not in found.per_sample
    assert found.notes == [
        "metric meteor absent: WordNet is not prepared; run `perbench data prepare wordnet`"
    ]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I met Dr. Smith. He left.", ["I", "met", "Dr.", "Smith", ".", "He", "left", "."]),
        ("Don't go; stay!", ["Do", "n't", "go", ";", "stay", "!"]),
        ("", []),
    ],
)
def test_tokens_are_those_of_word_tokenize(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens
