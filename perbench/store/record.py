"""The record of one cell, `cell.json`: what the site reads, besides samples and scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict

SCHEMA: Literal[2] = 2
"""1 held no digests: changes of such a record, or of its samples, cannot be detected."""


Better = Literal["higher", "lower"]
"""Which values of a metric are better; None in its place: neither."""


class TurnValue(Strict):
    """A metric at one dialogue turn (1-based)."""

    turn: int
    value: float | None
    ci: tuple[float, float] | None = None
    n: int


class Metric(Strict):
    """`value` is None when nothing could be scored; `ci` is the 95% interval over users (docs/statistics.md);
    `n` counts scored samples, `missing` those without a score (never invented)."""

    value: float | None
    ci: tuple[float, float] | None = None
    ci_method: Literal["jackknife-t", "wilson-t"] | None = None
    """How `ci` was computed; None where there is none, and in records of an older perbench, whose intervals
    are percentiles of a bootstrap."""
    users: int | None = None
    """Over how many users; None in records of an older perbench."""
    bounds: tuple[float | None, float | None] | None = Field(
        default=None, exclude_if=lambda found: found is None
    )
    """The range that values lie in, None for an open end; None where nothing is known of it."""
    n: int
    missing: int = 0
    why: dict[str, int] = {}
    """Why those are missing: {"refused": 1, "no words to compare": 3}; empty where nothing says."""
    signature: str
    """What makes the number reproducible: library, version, options ("rougeL|stem:no|rouge-score:0.1.2")."""
    by_turn: list[TurnValue] = []

    def clipped(self, ci: tuple[float, float] | None) -> tuple[float, float] | None:
        """An interval without what lies beyond the range."""
        low, high = self.bounds or (None, None)
        if ci is None:
            return None
        return ci[0] if low is None else max(ci[0], low), ci[1] if high is None else min(ci[1], high)


class Labels(Strict):
    """What a cell is, for people: row and column of the table."""

    model: str
    model_label: str | None = None
    trainer: str | None = None
    trainer_params: dict[str, Any] = {}
    training: dict[str, Any] = {}
    """Only the training keys that the matrix varies, so that grid rows can be told apart."""
    source: str | None = None
    target: str | None = None
    identifier: str | None = None
    identifier_params: dict[str, Any] = {}
    seed: int

    @property
    def names(self) -> list[str]:
        """What takes part: ["model tiny", "trainer ce", "source fam/read", "target fam/write"]."""
        parts = ("model", "trainer", "source", "target", "identifier")
        return [f"{part} {name}" for part in parts if (name := getattr(self, part)) is not None]


class Failure(Strict):
    type: str
    message: str
    traceback: str


class EndpointUse(Strict):
    """What an endpoint was asked and what it charged. `requests` left this machine, `answers` of them came
    back usable and were paid; `reused` replies came from the cache and cost nothing. Tokens are those of the
    answers, as the server counts them; `unmetered` answers came without a count."""

    requests: int = 0
    answers: int = 0
    reused: int = 0
    unmetered: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Of `input_tokens`: those that the server had cached."""
    output_tokens: int = 0
    thoughts: int = 0
    """Answers, reused ones too, that began with a thought between tags, which is left out."""
    replaced: int = 0
    """Answers, reused ones too, that hold U+FFFD, where half a character was sent."""
    served: list[str] = []
    """What answers called their model where it is not the name asked for, sorted: "gpt-4o-2024-08-06"."""
    unsent: list[str] = []
    """Parameters of the sampling that the answers were asked for without, sorted."""
    cost: float | None = None
    """None without a price table, and where an answer was not metered."""
    currency: str | None = None


class CellRecord(Strict):
    """kind train: a trained model; eval: a model on a generation or dialogue task; identify: an identifier on
    an identification task. `inputs` are the identity's resolved inputs, `identity` their sha256."""

    schema_version: Literal[1, 2] = SCHEMA
    kind: Literal["train", "eval", "identify"]
    identity: str
    inputs: dict[str, Any]
    status: Literal["done", "failed"]
    labels: Labels
    headline: str | None = None
    metrics: dict[str, Metric] = {}
    better: dict[str, Better | None] = Field({}, exclude_if=lambda found: not found)
    """Of metrics whose higher values are not the better ones: "lower", or None where neither are."""
    notes: list[str] = []
    """Caveats shown wherever the numbers are ("judge uncalibrated", "metric meteor absent: ...")."""
    run_notes: list[str] = []
    """Those of `notes` that only the run could tell, so that `perbench rescore` keeps them."""
    counts: dict[str, int] = {}
    """samples, truncated, failed, persona_items_kept, persona_items_trimmed, missing_scores, skipped..."""
    tokens: dict[str, int] = {}
    """prompt, generated (eval); response, total, counterfactual (train)."""
    endpoints: dict[str, EndpointUse] = {}
    """By model name, over all starts of the cell."""
    seconds: float
    """Time spent on the cell, over all starts."""
    peak_memory_mb: int | None = None
    """Most megabytes held during the last start: allocated on the GPU if one was used, else the process's."""
    started: str
    finished: str
    environment: dict[str, Any]
    command: str
    trained_by: str | None = None
    """Identity of the train cell an eval cell evaluates."""
    weights: dict[str, str] = {}
    """Seals of a train cell's folders of trained weights, by name: "final", "users"."""
    training_log: list[dict[str, float]] = []
    """Thinned {step, loss, lr, grad_norm, tokens_per_second} of a train cell."""
    error: Failure | None = None
    files: dict[str, str] = {}
    """sha256 of the finished cell's other files, by name."""
    sha256: str | None = None
    """Seal of all the above (`perbench.disk.sealed`)."""

    def better_of(self, metric: str) -> Better | None:
        return self.better.get(metric, "higher")

    @property
    def verifiable(self) -> bool:
        """Whether the record holds digests; those that an older perbench wrote do not."""
        return self.schema_version > 1


class Scores(Strict):
    """Per-sample scores of an eval or identify cell (`scores.json`), for paired comparisons between cells.

    All lists have one entry per sample, in sample order; `clusters` is the user (or persona) of each; a
    missing score is None. Corpus-level metrics (BLEU, chrF) have `sums` instead: numbers that add up over
    samples to what they are computed from, None for a sample that they leave out.
    """

    ids: list[str]
    clusters: list[str]
    scores: dict[str, list[float | None]]
    sums: dict[str, list[list[float] | None]] = {}

    @model_validator(mode="after")
    def _one_each(self) -> Scores:
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("a sample has scores twice")
        columns = [*map(len, self.scores.values()), *map(len, self.sums.values())]
        if {len(self.clusters), *columns} != {len(self.ids)}:
            raise ValueError("not one entry per sample")
        return self
