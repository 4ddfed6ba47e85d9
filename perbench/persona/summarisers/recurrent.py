"""Recurrent summarisation (LLM-TRSR, Zheng et al. 2024): a summary, updated with each block of items.

Each request holds the summary so far and the next items. The wording is our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field

from perbench.api import Example
from perbench.contracts.base import Asked, Role
from perbench.contracts.engine import Seeds
from perbench.contracts.persona import Models, Rewritten, Summariser
from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.seeds import derive_seed
from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, ModelName
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.templates import Count

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine


class SummarySpec(Strict):
    """`model` summarises the first `block` items, then updates its summary with each further block."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: ModelName
    block: Count = 5
    max_new_tokens: Count = 256
    item_words: Count = 400
    """Words of an item that the summariser reads; truncated items are counted."""
    temperature: Annotated[float, Field(ge=0), LATER] = 0.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1), LATER] = 1.0
    seed: Annotated[int, Field(ge=0), LATER] = 0
    """Of sampled summaries; each request has a seed of its own, derived from it."""

    @property
    def sampling(self) -> SamplingSpec:
        return SamplingSpec(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p
        )


class Keys(Strict):
    summary: SummarySpec


class Recurrent(Summariser[Keys]):
    Keys = Keys
    version = 1

    def roles(self) -> Sequence[Role]:
        spec = self.keys.summary
        return [Role("summariser", spec.model, sampling=spec.sampling, sampling_key="persona.summary")]

    def idle(self) -> dict[str, str]:
        if self.keys.summary.temperature > 0:
            return {}
        keys = (f"persona.summary.{key}" for key in ("top_p", "seed"))
        return dict.fromkeys(keys, "under persona.summary.temperature 0")

    def inputs(self, helpers: Mapping[str, Any]) -> dict[str, Any]:
        found = super().inputs(helpers)
        return {"summary": {**found["summary"], "method": "recurrent", "wording": WORDING}}

    def longest(self) -> int:
        return self.keys.summary.max_new_tokens

    def asks(self, examples: Sequence[Example]) -> dict[str, Asked]:
        from perbench.prompts.messages import estimated

        spec, asked = self.keys.summary, Asked()
        for example in examples:
            items = example.persona[: self.spec.k]
            times = -(-len(items) // spec.block)
            texts = sum(estimated(str(value)) for item in items for value in item.values())
            prompts = times * (estimated(NEXT) + spec.max_new_tokens)
            asked += Asked(times, texts + prompts, times * spec.max_new_tokens)
        return {"summariser": asked}

    def rewrite(self, histories: Sequence[Sequence[str]], models: Models) -> Rewritten:
        digest, engine = models.summariser(self.keys.summary.model)
        found = summarise(histories, self.keys.summary, digest, engine)
        lost = sum(bool(one.missing) for one in found)
        return Rewritten(
            [one.text for one in found],
            {
                "summaries": sum(bool(one.text) for one in found),
                "summaries_truncated": sum(one.truncated for one in found),
                "persona_items_cut": sum(one.cut for one in found),
                **({"summaries_missing": lost} if lost else {}),
            },
        )


# ---------------------------------------------------------------- block by block

FIRST = (
    "Here are texts that one person wrote:\n\n{items}\n\n"
    "Describe this person in one paragraph, for somebody who will write in their name: what they know and "
    "care about, what they like and dislike, how they write. Answer with the paragraph only."
)
NEXT = (
    "This describes a person:\n\n{summary}\n\nHere are more texts that this person wrote:\n\n{items}\n\n"
    "Renew the description so that it holds for these texts too: what the person knows and cares about, "
    "likes and dislikes, how they write. Keep what still holds. Answer with the new paragraph only."
)
VERSION = 2
"""Raised by hand when the prompt of a request changes, which invalidates cached answers."""
WORDING = canonical_digest([VERSION, FIRST, NEXT])[:12]
AT_ONCE = 32
"""Requests between two writes: the most that a killed run repeats."""


@dataclass(frozen=True)
class Summary:
    """`text` is empty if there was nothing to summarise. `cut`: items that were truncated; `truncated`:
    requests whose answer was truncated at max_new_tokens; `missing`: requests without an answer (refused,
    filtered...), whose block is left out of the summary."""

    text: str
    cut: int
    truncated: int
    missing: int = 0


def summarise(
    histories: Sequence[Sequence[str]], spec: SummarySpec, digest: str, engine: Callable[[], Engine]
) -> list[Summary]:
    """A summary of each history, its items in order. Answers are cached on disk by (model, request); sampled
    ones also by sampling and seed, which with the request fixes the draw.

    Args:
        digest: identifies the model.
        engine: loads it; called for the first answer that is not cached.

    Raises:
        PerbenchError: the model is unavailable, or refuses a request.
    """
    ask = _Asker(spec, digest, engine)
    blocks = [_blocks(history, spec) for history in histories]
    texts = [""] * len(histories)
    truncated, missing = [0] * len(histories), [0] * len(histories)
    for turn in range(max(map(len, blocks), default=0)):
        due = [i for i, own in enumerate(blocks) if turn < len(own)]
        requests = [_request(texts[i], blocks[i][turn]) for i in due]
        for i, answer in zip(due, ask(requests), strict=True):
            if answer["missing"] is not None:
                missing[i] += 1
                continue
            texts[i] = answer["text"].strip()
            truncated[i] += answer["finish_reason"] == "length"
    return [
        Summary(text, sum(len(item.split()) > spec.item_words for item in history), *counts)
        for history, text, *counts in zip(histories, texts, truncated, missing, strict=True)
    ]


def _blocks(history: Sequence[str], spec: SummarySpec) -> list[list[str]]:
    items = [_cut(item, spec.item_words) for item in history]
    return [items[start : start + spec.block] for start in range(0, len(items), spec.block)]


def _cut(item: str, words: int) -> str:
    found = item.split()
    return item if len(found) <= words else " ".join(found[:words])


def _request(summary: str, items: Sequence[str]) -> str:
    values = {"summary": summary, "items": "\n\n".join(items)}
    return (NEXT if summary else FIRST).format_map(values)


class _Asker:
    """Answers to requests, from the cache or the model."""

    def __init__(self, spec: SummarySpec, digest: str, engine: Callable[[], Engine]) -> None:
        self._spec = spec
        self._digest = digest
        self._engine = engine
        self._cache = DiskCache("summaries")

    def __call__(self, requests: Sequence[str]) -> list[Mapping[str, Any]]:
        """{"text", "finish_reason", "missing"} of each, as in `perbench.contracts.engine.Generation`."""
        spec = self._spec
        drawn = [spec.temperature, spec.top_p, spec.seed] if spec.temperature else []
        asked = [self._digest, VERSION, spec.max_new_tokens, *drawn]
        keys = [canonical_digest([*asked, request]) for request in requests]
        text_of = dict(zip(keys, requests, strict=True))
        known = {key: json.loads(value) for key, value in self._cache.get(list(text_of)).items()}
        # Old entries do not record whether an answer is missing: an empty one may be.
        found: dict[str, Mapping[str, Any]] = {
            key: {"missing": None, **value}
            for key, value in known.items()
            if "missing" in value or value["text"].strip()
        }
        # By length, to reduce padding.
        missing = sorted(set(text_of) - set(found), key=lambda key: (-len(text_of[key]), key))
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            made = dict(zip(part, self._generate([text_of[key] for key in part]), strict=True))
            self._cache.put({key: json.dumps(value).encode() for key, value in made.items()})
            found.update(made)
        return [found[key] for key in keys]

    def _generate(self, requests: Sequence[str]) -> list[Mapping[str, Any]]:
        conversations = [[{"role": "user", "content": request}] for request in requests]
        seed: Seeds = 0
        if self._spec.temperature:
            seed = [derive_seed("summary", self._spec.seed, request) for request in requests]
        try:
            answers = self._engine().chat(conversations, self._spec.sampling, seed=seed)
        except PerbenchError as error:
            raise PerbenchError(
                f"persona.summary, model {self._spec.model}: {error}; if a request is too long for it, "
                "lower persona.summary.block or item_words"
            ) from error
        return [
            {"text": answer.text, "finish_reason": answer.finish_reason, "missing": answer.missing}
            for answer in answers
        ]
