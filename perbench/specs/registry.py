"""What a task may name: protocols, text metrics, data sources, rankings, decodings; where the code of each
is, and which keys of a task it reads. Specs are checked against these tables and modules are found by them,
so a new one is registered here and nowhere else. What a table names is imported on first use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import AfterValidator

from perbench.errors import suggest

METRICS = {
    "rouge1": "perbench.metrics.rouge",
    "rouge2": "perbench.metrics.rouge",
    "rougeL": "perbench.metrics.rouge",
    "meteor": "perbench.metrics.meteor",
    "bleu": "perbench.metrics.corpus",
    "chrf": "perbench.metrics.corpus",
    "length": "perbench.metrics.shape",
    "truncated": "perbench.metrics.shape",
}
"""Metric name -> module whose `measure(name, texts)` computes it."""

SOURCES = {
    "python": ("requires", "train_split", "test_split", "overlap"),
    "hub": ("config", "shared", "revision", "data_dir", "train_split", "test_split", "overlap"),
    "files": ("train_split", "test_split", "split", "overlap"),
    "prepared": ("config", "shared", "data_dir", "train_split", "test_split", "overlap"),
    "lm_eval": (),
}
"""Key of `data` that names where rows come from -> the other keys of `data` that are read with it."""

DECODINGS = {"ordinary": (), "context_steering": ("decoding.lam",)}
"""Method -> the keys that it alone reads."""


@dataclass(frozen=True)
class Ranking:
    """`rank` is "module:function", see `perbench.prompts.rank`; `reads`: keys that only rankings read.
    `needs`: a module that perbench itself does not require, and the extra that installs it."""

    rank: str
    reads: tuple[str, ...]
    needs: tuple[str, str] | None = None

    @property
    def compares(self) -> bool:
        """Whether the items' texts are compared with the request."""
        return "fields.item_text" in self.reads


_COMPARED = ("persona.order", "persona.query_after", "fields.item_text")
RANKINGS = {
    "all": Ranking("perbench.prompts.rank:standing_order", ("persona.priority",)),
    "latest": Ranking("perbench.prompts.rank:by_time", ("persona.order", "persona.time")),
    "random": Ranking("perbench.prompts.rank:at_random", ("persona.order", "persona.seed")),
    "bm25": Ranking("perbench.prompts.rank:by_words", _COMPARED, ("rank_bm25", "bm25")),
    "dense": Ranking(
        "perbench.prompts.rank:by_vectors", (*_COMPARED, "persona.encoder", "persona.similarity")
    ),
}
"""`persona.retrieve` -> how it ranks the items of a history."""


@dataclass(frozen=True)
class Protocol:
    """`module` as `perbench.protocols.get` says; `reads` are the keys of a task that its tasks may set."""

    module: str
    reads: frozenset[str]


_ALL = ("summary", "protocol", "license", "notes", "headline", "data")
_ROWS = ("user", "question", "reference", "persona", "item_aliases", "extra")
_EXAMPLES = (*_ALL, "examples", *(f"fields.{key}" for key in _ROWS))
_PROMPTS = (
    "prompt",
    "prompts",
    "persona.k",
    "persona.priority",
    "persona.max_tokens",
    "max_length",
    "on_too_long",
)
_ANSWERS = ("persona", "fields", "sampling", "max_missing", "decoding", "metrics", "persona_swap")
PROTOCOLS = {
    "generation": Protocol("perbench.protocols.generation", frozenset((*_EXAMPLES, *_PROMPTS, *_ANSWERS))),
    "dialogue": Protocol(
        "perbench.protocols.dialogue",
        frozenset((*_EXAMPLES, "max_length", "on_too_long", "sampling", "max_missing", "dialogue")),
    ),
    "identification": Protocol(
        "perbench.protocols.identification", frozenset((*_EXAMPLES, *_PROMPTS, "max_missing"))
    ),
    "preference": Protocol(
        "perbench.protocols.preference",
        frozenset((*_EXAMPLES, "on_too_long", "sampling", "max_missing", "preference")),
    ),
    "lm_eval": Protocol("perbench.lm_eval.protocol", frozenset((*_ALL, "examples.test", "lm_eval"))),
}


def one_of(names: Iterable[str]) -> AfterValidator:
    """Of a text: that it is one of `names`."""
    known = list(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"got {value!r} (a string).{suggest(value, known)}")
        return value

    return AfterValidator(check)
