"""Compares what an identifier marks in a response with its gold spans: tokens, words and spans.

Definitions, also in docs/identification.md. Positions are [start, end) characters.

token: a token of the identifier, by its characters; empty ones do not count.
word:  white-space separated, without punctuation at its edges; its score is the largest of the tokens that
       touch it; it is gold if a gold span touches it.
span:  a maximal run of consecutive predicted, or gold, words.

Two rules of correctness. contained (PerCE, App. B.2): a predicted token inside a gold span; a predicted word
that is gold; a predicted span inside a gold span. strict: as contained, but only for gold spans that are
predicted completely, with all of their tokens or words; a predicted span must equal the gold one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import inf
from typing import Any, NamedTuple

from perbench.text.words import Span, touch, visible, whole_words

LEVELS = ("token", "word", "span")
RULES = ("contained", "strict")
KINDS = ("lexical", "paraphrase", "inference", "style")
"""How a gold span relates to the persona; the data may hold no other kind."""


class Gold(NamedTuple):
    """A personal span: [start, end) characters of the response; its kind and the index of the persona
    sentence that supports it, if known."""

    start: int
    end: int
    kind: str | None = None
    sentence: int | None = None


class Tally(NamedTuple):
    """`correct` of the `predicted`; `found` of the `gold`. For tokens and words both count the same; for
    spans they differ: two predicted ones may lie in one gold span."""

    correct: int
    predicted: int
    found: int
    gold: int


class Share(NamedTuple):
    part: int
    whole: int


class Token(NamedTuple):
    span: Span
    score: float
    source: int | None
    inside: bool
    """Whether it lies in one gold span."""
    touched: tuple[int, ...]
    """The gold spans that it overlaps."""


@dataclass(frozen=True)
class Marks:
    """One stored sample, before any threshold."""

    tokens: tuple[Token, ...]
    words: tuple[Span, ...]
    gold: tuple[Gold, ...]
    distractors: tuple[Span, ...]

    @cached_property
    def word_scores(self) -> list[float]:
        """Minus infinity for a word without tokens: it is never predicted."""
        return [
            max((token.score for token in self.tokens if touch(token.span, word)), default=-inf)
            for word in self.words
        ]

    @cached_property
    def word_gold(self) -> list[tuple[int, ...]]:
        """The gold spans that touch each word."""
        return [
            tuple(i for i, gold in enumerate(self.gold) if touch(word, (gold.start, gold.end)))
            for word in self.words
        ]

    def tallies(self, threshold: float) -> dict[tuple[str, str], Tally]:
        """By level and rule, with scores above `threshold` predicted."""
        tokens = _units(
            [token.score > threshold for token in self.tokens],
            [token.touched for token in self.tokens],
            [token.inside for token in self.tokens],
        )
        chosen = [score > threshold for score in self.word_scores]
        gold = [bool(touched) for touched in self.word_gold]
        words = _units(chosen, self.word_gold, gold)
        spans = _spans(_runs(chosen), _runs(gold))
        levels = zip(LEVELS, (tokens, words, spans), strict=True)
        return {
            (level, rule): tally for level, found in levels for rule, tally in zip(RULES, found, strict=True)
        }

    def kind_recall(self, kind: str, threshold: float) -> Share:
        """Of the tokens that touch a gold span of `kind`: the correct ones (rule contained)."""
        of = [
            token for token in self.tokens if any(self.gold[number].kind == kind for number in token.touched)
        ]
        return Share(sum(token.inside and token.score > threshold for token in of), len(of))

    def false_distractors(self, threshold: float) -> Share:
        """Of the words that hold a distractor: the predicted ones."""
        of = [
            score
            for word, score in zip(self.words, self.word_scores, strict=True)
            if any(touch(word, place) for place in self.distractors)
        ]
        return Share(sum(score > threshold for score in of), len(of))

    def false_in_none(self, threshold: float) -> Share:
        """Of the words of a response without gold spans: the predicted ones."""
        of = [] if self.gold else self.word_scores
        return Share(sum(score > threshold for score in of), len(of))

    def right_sources(self) -> Share:
        """Of the tokens in a gold span whose supporting sentence is known: those with that `source`."""
        pairs = [
            (token.source, {self.gold[number].sentence for number in token.touched})
            for token in self.tokens
            if token.inside
        ]
        known = [(source, known_of) for source, known_of in pairs if known_of != {None}]
        return Share(sum(source is not None and source in known_of for source, known_of in known), len(known))


def read(sample: Mapping[str, Any]) -> Marks:
    """The marks of a stored sample of protocol identification."""
    response = sample["response"]
    gold = tuple(
        Gold(start, end, kind, sentence)
        for (start, end), kind, sentence in zip(
            sample["gold"], sample["kinds"], sample["sentences"], strict=True
        )
    )
    sources = sample.get("sources") or [None] * len(sample["spans"])
    tokens = []
    for place, score, source in zip(sample["spans"], sample["scores"], sources, strict=True):
        span = visible(response, *place)
        if span[0] < span[1]:
            touched = tuple(i for i, one in enumerate(gold) if touch(span, (one.start, one.end)))
            inside = any(gold[i].start <= span[0] and span[1] <= gold[i].end for i in touched)
            tokens.append(Token(span, score, source, inside, touched))
    distractors = tuple((start, end) for start, end in sample["distractors"])
    return Marks(tuple(tokens), tuple(whole_words(response)), gold, distractors)


def _units(
    chosen: Sequence[bool], touched: Sequence[Sequence[int]], right: Sequence[bool]
) -> tuple[Tally, Tally]:
    """Tallies of tokens or words under both rules; `right` marks those that are correct if chosen."""
    missed = {gold for flag, of in zip(chosen, touched, strict=True) if not flag for gold in of}
    contained = strict = 0
    for flag, of, good in zip(chosen, touched, right, strict=True):
        if flag and good:
            contained += 1
            strict += any(gold not in missed for gold in of)
    predicted, gold = sum(chosen), sum(map(bool, touched))
    return Tally(contained, predicted, contained, gold), Tally(strict, predicted, strict, gold)


def _spans(predicted: Sequence[Span], gold: Sequence[Span]) -> tuple[Tally, Tally]:
    inside = [[g for g in gold if g[0] <= p[0] and p[1] <= g[1]] for p in predicted]
    found = {g for holders in inside for g in holders}
    same = len(set(predicted) & set(gold))
    return (
        Tally(sum(map(bool, inside)), len(predicted), len(found), len(gold)),
        Tally(same, len(predicted), same, len(gold)),
    )


def _runs(flags: Sequence[bool]) -> list[Span]:
    """[first, last + 1) of every maximal run of true flags."""
    runs = []
    for flag, group in groupby(enumerate(flags), key=lambda pair: pair[1]):
        if flag:
            numbers = [number for number, _ in group]
            runs.append((numbers[0], numbers[-1] + 1))
    return runs
