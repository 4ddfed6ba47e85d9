"""LLM judge: the model names the keywords of the answer that reflect the persona (PerCE, App. D.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from perbench.api import Identifier, PersonaText, TokenScores

PROMPT = """This is the persona of user 1:

{persona}

This is the conversation between two users:

User 2: {question}

User 1: {response}

Identify the keywords in user 1's speech in the conversation that reflect his/her persona (but not words in the description of his/her persona).

Keywords:"""  # noqa: E501


class LlmJudge(Identifier):
    """Score 1 for the words of every listed keyword that stands in the answer, else 0; greedy decoding.

    A reply in which no list is found names nothing and counts as `unparsable`; listed keywords that do not
    stand in the answer count as `absent_keywords`; replies cut at max_new_tokens count as `truncated`. Where
    there is no reply (refused, filtered, null) the example has no scores: it is missing.
    """

    needs_tokens = False
    threshold: float = 0.5
    max_new_tokens: Annotated[int, Field(gt=0)] = 64

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        from perbench.judges.keywords import parse_keywords
        from perbench.specs.sampling import SamplingSpec
        from perbench.words import occurrences, word_spans

        asked = [
            PROMPT.format(persona="\n".join(e.persona), question=e.question, response=e.response)
            for e in examples
        ]
        conversations = [[{"role": "user", "content": text}] for text in asked]
        sampling = SamplingSpec(max_new_tokens=self.max_new_tokens, temperature=0.0)
        replies = engine.chat(conversations, sampling, seed=0)
        found = []
        for example, reply in zip(examples, replies, strict=True):
            if reply.missing is not None:
                found.append(TokenScores((), (), missing=reply.missing))
                continue
            keywords = parse_keywords(reply.text)
            places = [occurrences(example.response, word) for word in keywords or []]
            named = [span for spans in places for span in spans]
            words = word_spans(example.response)
            scores = [float(any(s <= start and end <= e for s, e in named)) for start, end in words]
            counts = {
                "unparsable": int(keywords is None),
                "absent_keywords": places.count([]),
                "truncated": int(reply.finish_reason == "length"),
            }
            found.append(TokenScores(tuple(words), tuple(scores), counts))
        return found
