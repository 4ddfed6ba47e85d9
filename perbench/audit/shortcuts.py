"""Answers that need no model, and neither the persona nor the question to be understood.

Among offered answers, a rule picks one; where it cannot decide among k, each counts 1/k. Where an answer is
written, a text is copied instead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perbench.api import Example
from perbench.contracts.data import Offered
from perbench.contracts.metric import UNIT, Scale, Texts, mean_metric
from perbench.data.overlap import same_text, texts_in
from perbench.metrics import score_texts
from perbench.prompts.persona import rendered
from perbench.store.record import Metric

LONG_WORD = 4
"""Letters of the words compared: most function words have fewer."""
ROUGE = ("rouge1", "rougeL")


@dataclass(frozen=True)
class Shortcut:
    """A rule and how well it answers: by `metrics`, with intervals over users."""

    name: str
    what: str
    metrics: Mapping[str, Metric]


def long_words(text: str) -> set[str]:
    """The distinct words of at least LONG_WORD letters or digits, without case."""
    return {word for word in re.findall(r"\w+", same_text(text)) if len(word) >= LONG_WORD}


def persona_words(examples: Iterable[Example]) -> dict[str, set[str]]:
    """The long words of each example's persona, by its id. A text that several personas hold is read once."""
    known: dict[str, set[str]] = {}
    found = {}
    for example in examples:
        texts = set(texts_in(example.persona))
        known |= {text: long_words(text) for text in texts - known.keys()}
        found[example.id] = set().union(*(known[text] for text in texts))
    return found


def share_held(text: str, by: set[str]) -> float | None:
    """The share of a text's long words that are among others; None without any."""
    own = long_words(text)
    return len(own & by) / len(own) if own else None


# ---------------------------------------------------------------- offered answers


def chance(offers: Sequence[Offered]) -> float:
    """The accuracy of a pick at random."""
    return sum(1 / len(one.options) for one in offers) / len(offers)


def credits(
    offers: Sequence[Offered], examples: Sequence[Example], held: Mapping[str, set[str]]
) -> dict[str, list[float]]:
    """By rule, the credit for each example: 1 for the right pick, 1/k if it ties with k - 1 others. The usual
    place is that of the other users' examples: of all examples, it would be right too often by chance."""
    places = Counter(one.gold for one in offers)
    own: dict[str, Counter[int]] = {}
    for offer, example in zip(offers, examples, strict=True):
        own.setdefault(example.user, Counter())[offer.gold] += 1
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for offer, example in zip(offers, examples, strict=True):
        persona = held[example.id]
        question = long_words(example.question)
        lengths = list(map(len, offer.options))
        elsewhere = places - own[example.user]
        most = max(elsewhere.values(), default=0)
        ratings: dict[str, Sequence[float]] = {
            "longest": lengths,
            "shortest": [-length for length in lengths],
            "first": [float(place == 0) for place in range(len(lengths))],
            "usual_place": [float(elsewhere[place] == most) for place in range(len(lengths))],
            "persona_words": [share_held(text, persona) or 0.0 for text in offer.options],
            "question_words": [share_held(text, question) or 0.0 for text in offer.options],
        }
        for name, rated in ratings.items():
            best = [place for place, value in enumerate(rated) if value == max(rated)]
            found[name].append(1 / len(best) if offer.gold in best else 0.0)
    return found


RULES = {
    "longest": "the longest option (in characters)",
    "shortest": "the shortest option (in characters)",
    "first": "the first option of the row",
    "usual_place": "the option at the place that is most often right for other users",
    "persona_words": "the option with most of its words in the persona",
    "question_words": "the option with most of its words in the question",
}


def of_options(
    offers: Sequence[Offered], examples: Sequence[Example], held: Mapping[str, set[str]]
) -> list[Shortcut]:
    """`held` are the `persona_words`."""
    users = [example.user for example in examples]
    return [
        Shortcut(name, RULES[name], {"accuracy": mean_metric(values, users, f"shortcut:{name}", scale=UNIT)})
        for name, values in credits(offers, examples, held).items()
    ]


# ---------------------------------------------------------------- written answers


def of_texts(
    examples: Sequence[Example], train: Sequence[Example], item_answer: str | None = None
) -> list[Shortcut]:
    """Copied texts as answers, each cut to as many words as the median answer has, by ROUGE and by how many
    are right to the letter (without case and white space). `item_answer` is the template of the answer that a
    persona's item holds (`fields.item_example.reference`), None if there is none: then items are copied
    whole."""
    lengths = sorted(len(example.reference.split()) for example in train or examples)
    most = max(lengths[len(lengths) // 2], 1)
    copied = {
        "persona_item": (
            "the persona's item that is most like the question",
            [_likest_item(example, item_answer) for example in examples],
        ),
        "question": ("the question", [example.question for example in examples]),
    }
    if item_answer is not None:
        own = [_usual(rendered(item_answer, example)) for example in examples]
        copied["persona_answer"] = ("the most frequent answer in the persona", own)
    taught = [example.reference for example in train or examples]
    usual, times = _usual(taught), Counter(map(same_text, taught))
    if train:
        copied["training_answer"] = ("the most frequent training answer", [usual] * len(examples))
    elif times[same_text(usual)] > 1:
        copied["split_answer"] = ("the most frequent answer of this split", [usual] * len(examples))
    return [
        Shortcut(name, what, _scored(examples, [" ".join(text.split()[:most]) for text in texts]))
        for name, (what, texts) in copied.items()
    ]


def _likest_item(example: Example, item_answer: str | None) -> str:
    """Of the item that shares most long words with the question, the first of several; "" without any."""
    asked = long_words(example.question)
    texts = [" ".join(texts_in(item)) for item in example.persona]
    answers = texts if item_answer is None else rendered(item_answer, example)
    best = max(range(len(texts)), key=lambda place: len(long_words(texts[place]) & asked), default=None)
    return "" if best is None else answers[best]


def _usual(answers: Sequence[str]) -> str:
    """The most frequent answer, in its first form; the first of several, in the task's order; "" of none."""
    forms: dict[str, str] = {}
    for answer in answers:
        forms.setdefault(same_text(answer), answer)
    counts = Counter(map(same_text, answers))
    return forms[counts.most_common(1)[0][0]] if forms else ""


def _scored(examples: Sequence[Example], answers: Sequence[str]) -> dict[str, Metric]:
    users = [example.user for example in examples]
    references = [example.reference for example in examples]
    scores = score_texts(ROUGE, Texts(answers, references, users, [False] * len(answers)))
    right = [
        float(same_text(answer) == same_text(reference))
        for answer, reference in zip(answers, references, strict=True)
    ]
    return {**scores.metrics, "exact": mean_metric(right, users, "exact", scale=UNIT)}


def held_words(
    examples: Sequence[Example],
    answers: Sequence[str],
    others: Sequence[Example | None],
    held: Mapping[str, set[str]],
) -> list[Shortcut]:
    """How much of the answers' long words the question, the own persona and another user's hold, and the
    difference of the two personas. `others` are examples of other users, None if there is none; `held` are
    the `persona_words`."""
    users = [example.user for example in examples]
    pairs = list(zip(examples, answers, strict=True))
    own = [share_held(answer, held[example.id]) for example, answer in pairs]
    question = [share_held(answer, long_words(example.question)) for example, answer in pairs]
    found = {
        "persona": ("in the user's own persona", own, UNIT),
        "question": ("in the question", question, UNIT),
    }
    if any(other is not None for other in others):
        swapped = [
            None if other is None else share_held(answer, held[other.id])
            for answer, other in zip(answers, others, strict=True)
        ]
        more = [None if a is None or b is None else a - b for a, b in zip(own, swapped, strict=True)]
        found["other_persona"] = ("in another user's persona", swapped, UNIT)
        found["own_over_other"] = ("own persona less another user's", more, Scale(bounds=(-1.0, 1.0)))
    return [
        Shortcut(name, what, {"share": mean_metric(values, users, f"long words:{name}", scale=scale)})
        for name, (what, values, scale) in found.items()
    ]
