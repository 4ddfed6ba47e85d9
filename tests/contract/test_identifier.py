"""`perbench check identifier`: every built-in one keeps the contract, and every breach of it is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from perbench import plugins
from perbench.api import Identifier, PersonaText, TokenScores
from perbench.cli import main
from perbench.conformance.identifier import check

BUILT_IN = [name for name in plugins.names("identifier") if name != "content_words"]  # needs NLTK's tagger


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_identifiers_keep_the_contract(name: str) -> None:
    report = check(plugins.get("identifier", name).load_class(), {})  # type: ignore[arg-type]
    assert [finding for finding in report.findings if not finding.ok] == []


def scores(text: PersonaText, value: float = 0.0) -> TokenScores:
    return TokenScores(text.spans, (value,) * len(text.spans))


def each(function: Callable[[PersonaText], Any]) -> Callable[[Sequence[PersonaText]], Any]:
    return lambda texts: [function(text) for text in texts]


BREACHES: dict[str, tuple[str, str, Callable[[Sequence[PersonaText]], Any]]] = {
    "nothing": ("scores", "must return a list of 1", lambda texts: None),
    "bare numbers": ("scores", "must return TokenScores", each(lambda text: [0.0])),
    "a score too few": ("scores", "scores for", each(lambda text: TokenScores(text.spans, (0.0,)))),
    "outside the text": ("scores", "outside", each(lambda text: TokenScores(((0, 999),), (0.0,)))),
    "NaN": ("scores", "not finite", each(lambda text: scores(text, float("nan")))),
    "NaN as a threshold": ("scores", "threshold nan is not finite", each(
        lambda text: TokenScores(text.spans, (0.0,) * len(text.spans), threshold=float("nan"))
    )),
    "no such sentence": ("scores", "not one of the 2 sentences", each(
        lambda text: TokenScores(text.spans, (0.0,) * len(text.spans), {}, (7,) * len(text.spans))
    )),
    "one word": ("answers", "'Slept.'", each(lambda text: scores(text, 1 / (len(text.tokens) - 2)))),
    "no persona": ("no persona", "IndexError", each(lambda text: scores(text, len(text.persona[0])))),
    "shifted": ("each token", "return example.spans", each(
        lambda text: TokenScores(text.spans[1:] + text.spans[:1], (0.0,) * len(text.spans))
    )),
    "first word only": ("each token", "'walked'", each(lambda text: TokenScores(text.spans[:1], (0.0,)))),
    "by the others": ("alone", "alone", lambda texts: [scores(text, len(texts)) for text in texts]),
    "random": ("same again", "draw from a seed", each(lambda text: scores(text, random.random()))),
}  # fmt: skip


@pytest.mark.parametrize("what", BREACHES)
def test_every_breach_is_found_with_file_and_line(what: str) -> None:
    name, said, function = BREACHES[what]

    class Own(Identifier):
        threshold: float = 0.5

        def score(self, examples: Sequence[PersonaText], engine: Any) -> Any:
            return function(examples)

    report = check(Own, {})
    wrong = [finding for finding in report.findings if finding.ok is False]
    assert name in [finding.name for finding in wrong]
    (finding,) = [finding for finding in wrong if finding.name == name]
    assert said in finding.said
    assert "contract/test_identifier.py:" in finding.said


class Choosy(Identifier):
    threshold: float = 0.5
    how: Literal["well", "badly"] = "well"

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        if self.how == "badly":
            raise KeyError("how")
        return [scores(text) for text in examples]


def test_every_choice_is_tried() -> None:
    (wrong,) = [one for one in check(Choosy, {}).findings if not one.ok]
    assert (wrong.name, "how=badly" in wrong.said) == ("settings", True)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "identifier", "percontrast", "--param", "words=max"]) == 0
    assert "every word of an answer has a score" in capsys.readouterr().out
