"""Tests an identifier's contract on a few answers, with a deterministic engine instead of a model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from perbench.api import Identifier, PersonaText, TokenScores
from perbench.conformance.report import Fault, Report, settings
from perbench.contracts.engine import Conversation, Generation, TokenIds
from perbench.contracts.identifier import checked
from perbench.errors import CellError, PerbenchError
from perbench.progress import counted
from perbench.shapes.sampling import SamplingSpec

VOCABULARY = 97
PEOPLE = (
    ("I have a dog called Pip.", "I live by the river."),
    ("I paint old doors.", "Red is my colour."),
    ("I read novels only.",),
    ("I cook soup on Mondays.", "Beans are cheap.", "I never eat meat."),
    ("My sister plays the cello.",),
    (),
)
ROWS = (
    (0, "What did you do today?", "I walked my dog Pip along the river, then slept."),
    (0, "And then?", "Slept."),
    (1, "Any plans?", "  I'll paint the  red door \u2014 na\u00efve, isn't it? \U0001f600"),
    (3, "What is for dinner?", "Soup with beans\nand no meat."),
    (5, "Who are you?", "Nobody that I know of."),
)
"""Person, question, answer: several lengths, white space, non-ASCII text, a person without a persona."""
WHO = ("the whole persona", "a word", "odd characters", "two lines", "no persona")


def _tokens(text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Ids of words and signs, and their characters."""
    found = list(re.finditer(r"\w+|[^\w\s]", text))
    ids = tuple(5 + sum(map(ord, match[0])) % (VOCABULARY - 5) for match in found)
    return ids, tuple(match.span() for match in found)


def _prompt(question: str, sentences: Sequence[str] | None) -> tuple[int, ...]:
    history = () if sentences is None else (2, *_tokens("\n".join(sentences))[0], 3)
    return (1, *history, *_tokens(question)[0], 4)


def examples(*, tokens: bool) -> list[PersonaText]:
    """Examples to score, with token ids if the identifier reads them."""
    found = []
    for place, (person, question, answer) in enumerate(ROWS):
        persona = PEOPLE[person]
        text = PersonaText(f"{place} ({WHO[place]})", persona, question, answer, background=PEOPLE)
        if tokens:
            ids, spans = _tokens(answer)
            free = _prompt(question, None)
            text = PersonaText(
                text.id,
                persona,
                question,
                answer,
                _prompt(question, persona) if persona else free,
                free,
                ids,
                spans,
                partial(_prompt, question),
                PEOPLE,
            )
        found.append(text)
    return found


class BuiltIn:
    """Replaces an engine: its answers depend only on the request."""

    name = "built-in"

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[Any]:
        import numpy as np

        return [
            np.array(
                [
                    -0.1 - (7 * token + 3 * sum(prompt) + place) % 31 / 10
                    for place, token in enumerate(response)
                ],
                dtype=np.float32,
            )
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        words = [re.findall(r"\w+", conversation[-1]["content"])[-3:] for conversation in conversations]
        return [Generation(", ".join(found), "stop", 10, len(found)) for found in words]

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        return [Generation("dog, river", "stop", len(prompt), 3) for prompt in prompts]

    @cached_property
    def model(self) -> Any:
        """Random weights of the usual shape, for identifiers that inspect the model."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        sizes = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return LlamaForCausalLM(sizes).train(False)

    @property
    def tokenizer(self) -> Any:
        raise Fault(
            "reads engine.tokenizer, which `perbench check` lacks; use the ids in PersonaText, or try "
            "`perbench identify --limit 4`"
        )


class IdentifierTry:
    """An identifier's scores of some of the examples."""

    def __init__(self, identifier: Identifier, engine: BuiltIn) -> None:
        reads = identifier.needs_model and identifier.needs_tokens
        self.identifier, self._engine = identifier, engine if identifier.needs_model else None
        self.texts = examples(tokens=reads)

    def __call__(self, chosen: Sequence[int] = range(len(ROWS))) -> list[TokenScores]:
        texts = [self.texts[i] for i in chosen]
        engine: Any = self._engine
        return checked(self.identifier, texts, self.identifier.score(texts, engine))


def check(cls: type[Identifier], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: `given` are not hyperparameters of the identifier.
    """
    identifier, engine = cls(**given), BuiltIn()
    run = IdentifierTry(identifier, engine)
    return Report(identifier, "score").run(
        {
            "scores": partial(_scores, run),
            "answers": partial(_answers, run),
            "no persona": partial(_no_persona, run),
            "each token": partial(_each, run),
            "alone": partial(_alone, run),
            "same again": partial(_again, run),
            "settings": partial(_settings, cls, given, engine),
        }
    )


def _scores(run: IdentifierTry) -> str:
    (found,) = run([0])
    return f"{counted(len(found.scores), 'score')}, finite, each with its place in the answer"


def _answers(run: IdentifierTry) -> str:
    for place, text in enumerate(run.texts[:-1]):
        try:
            run([place])
        except Exception as error:
            error.add_note(f"the answer was {text.response!r}")
            raise
    return "one word, white space, several lines and signs beyond ASCII"


def _no_persona(run: IdentifierTry) -> str:
    run([len(ROWS) - 1])
    return "scores the answer of a person without one"


def _each(run: IdentifierTry) -> str:
    """Every letter and digit has a score, with tokens in order."""
    for text, one in zip(run.texts, run(), strict=True):
        if text.tokens and len(one.scores) == len(text.tokens) and one.spans != text.spans:
            wrong = next(i for i, (a, b) in enumerate(zip(one.spans, text.spans, strict=True)) if a != b)
            raise Fault(
                f"example {text.id}: the span of token {wrong} is {list(one.spans[wrong])}, but the token "
                f"has {list(text.spans[wrong])}; return example.spans"
            )
        covered = {place for start, end in one.spans for place in range(start, end)}
        bare = [i for i, char in enumerate(text.response) if char.isalnum() and i not in covered]
        if bare:
            word = text.response[bare[0] : bare[0] + 12].split()[0]
            raise Fault(
                f"example {text.id}: no score covers {word!r} at character {bare[0]}, so it can never be "
                "predicted; give every word or token a score"
            )
    return "every word of an answer has a score"


def _alone(run: IdentifierTry) -> str:
    together = run()
    for place, whole in enumerate(together):
        (one,) = run([place])
        if one.spans != whole.spans or not all(
            math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5)
            for a, b in zip(one.scores, whole.scores, strict=True)
        ):
            raise Fault(
                f"example {run.texts[place].id} has other scores alone than in a batch, so the result would "
                "depend on how examples are grouped; use example.background for what all share"
            )
    return "the same scores alone and among others"


def _again(run: IdentifierTry) -> str:
    if run() != run():
        raise Fault("the same examples have other scores the second time; draw from a seed, keep no state")
    return "the same examples, the same scores"


def _settings(cls: type[Identifier], given: Mapping[str, Any], engine: BuiltIn) -> str:
    tried, absent = [], []
    for name, params in settings(cls, given).items():
        try:
            IdentifierTry(cls(**params), engine)()
        except Exception as error:
            if isinstance(error, PerbenchError) and not isinstance(error, CellError):
                absent.append(f"; not {name}: {error}")  # a problem of this machine, not of the method
                continue
            error.add_note(f"with {name}")
            raise
        tried.append(name)
    return f"{counted(len(tried), 'setting')} tried: {', '.join(tried)}{''.join(absent)}"
