"""PerContrast by words: two log-probs per word of an answer, with the persona and without.

A harness gives the log-prob of a text, not of its tokens. The difference for a word is the sum of its tokens'
scores: identifier percontrast with `words: sum`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from perbench.api import Example, TokenScores
from perbench.contracts import missing
from perbench.contracts.independent import Asking, Independent, IndependentRequest, Reply
from perbench.contracts.run import Scored
from perbench.prompts.chat import encode_answer, encode_with_spans
from perbench.prompts.messages import build_request
from perbench.prompts.pair import turns, turns_without
from perbench.text.words import Span, visible

from .gold import gold_spans
from .names import metric_name
from .samples import Marked, Skipped
from .scores import score_samples
from .scoring import marked, persona_text

THRESHOLD = 1.0
"""PerContrast's."""


class WordRequests(Independent):
    output = "loglikelihood"
    says = MappingProxyType({"identifier": f"percontrast(words=sum, threshold={THRESHOLD:g})"})

    @property
    def metrics(self) -> Sequence[str]:
        return [
            metric_name(name, level)
            for level in ("token", "word")
            for name in ("f1", "precision", "recall", "average_precision")
        ]

    def ask(self, example: Example, tokenizer: Any, context: int | None) -> Asking:
        answer = example.reference
        words = _words(answer, _tokens(answer, tokenizer))
        return Asking(
            [
                IndependentRequest(system, user, answer[start:end], answer[:start])
                for system, user in self._prompts(example, tokenizer, context)
                for start, end in words.values()
            ]
        )

    def _prompts(self, example: Example, tokenizer: Any, context: int | None) -> list[tuple[str | None, str]]:
        """System and user text with the persona and without."""
        if tokenizer is None:
            assert self.spec.prompt is not None, "the spec of an identification task names its prompt"
            *system, user = (message["content"] for message in build_request(self.spec, example).messages)
            without = turns_without(self.spec.prompts[self.spec.prompt], example)
            return [(system[0] if system else None, user), without]
        response = encode_answer(tokenizer, example.reference)
        pair = turns(self.spec, example, tokenizer, response, context=context)
        return [(prompt.system, prompt.user) for prompt in (pair.factual, pair.counterfactual)]

    def sample(self, example: Example, asking: Asking, replies: Sequence[Reply], tokenizer: Any) -> Marked:
        answer, logp = example.reference, [float(reply) for reply in replies]
        tokens = _tokens(answer, tokenizer)
        words = _words(answer, tokens)
        pairs = zip(logp[: len(words)], logp[len(words) :], strict=True)
        scores = dict(zip(words, (a - b for a, b in pairs), strict=True))
        spans = [visible(answer, *token) for token in tokens]
        by_token = (scores[_word(answer, start)] if start < end else 0.0 for start, end in spans)
        found = TokenScores(tuple(spans), tuple(by_token))
        text = persona_text(self.spec, example, None)
        return marked("test", example, text, gold_spans(example), found, THRESHOLD)

    def left_out(self, example: Example) -> Skipped:
        return Skipped(id=example.id, split="test", user=example.user, missing=missing.TOO_LONG)

    def score(self, samples: Sequence[Any]) -> Scored:
        return score_samples(samples)


def _tokens(answer: str, tokenizer: Any) -> list[Span]:
    """The characters of each token, white space included; without a tokenizer, of each word."""
    if tokenizer is not None:
        return encode_with_spans(tokenizer, answer)[1]
    return [match.span() for match in re.finditer(r"\s*\S+", answer)]


def _words(answer: str, tokens: Sequence[Span]) -> dict[int, Span]:
    """The characters of the tokens that begin in each word, by the word's place. Tokens of white space alone
    are in no word, as in `perbench.text.words.by_word`."""
    found: dict[int, Span] = {}
    for token in tokens:
        start, end = visible(answer, *token)
        if start < end:
            begin, _ = found.setdefault(_word(answer, start), token)
            found[_word(answer, start)] = begin, token[1]
    return found


def _word(answer: str, place: int) -> int:
    """How many words end before a place in the text."""
    return sum(match.end() <= place for match in re.finditer(r"\S+", answer))
