"""The record of a cell, `cell.json`: what the site reads, besides samples and scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict

SCHEMA: Literal[2] = 2
"""Version 1 held no digests, so changes of such a record or its samples cannot be detected."""


Better = Literal["higher", "lower"]
"""Which values of a metric are better; None instead: neither."""


class TurnValue(Strict):
    """A metric at one dialogue turn (1-based)."""

    turn: int
    value: float | None
    ci: tuple[float, float] | None = None
    n: int


class Metric(Strict):
    """`value` is None if nothing could be scored; `ci` is the 95% interval over users (docs/statistics.md);
    `n` counts scored samples, `missing` those without a score."""

    value: float | None
    ci: tuple[float, float] | None = None
    ci_method: Literal["jackknife-t", "wilson-t"] | None = None
    """How `ci` was computed; None without one, and in records of an older perbench, whose intervals are
    bootstrap percentiles."""
    users: int | None = None
    """Number of users; None in records of an older perbench."""
    bounds: tuple[float | None, float | None] | None = Field(
        default=None, exclude_if=lambda found: found is None
    )
    """The range of values, None for an open end; None if unknown."""
    n: int
    missing: int = 0
    why: dict[str, int] = {}
    """Why scores are missing: {"refused": 1, "no words to compare": 3}; empty if unknown."""
    signature: str
    """Library, version and options, to reproduce the number ("rougeL|stem:no|rouge-score:0.1.2")."""
    by_turn: list[TurnValue] = []

    def clipped(self, ci: tuple[float, float] | None) -> tuple[float, float] | None:
        """An interval restricted to the range."""
        low, high = self.bounds or (None, None)
        if ci is None:
            return None
        return ci[0] if low is None else max(ci[0], low), ci[1] if high is None else min(ci[1], high)


class Labels(Strict):
    """Readable names of a cell: row and column of the table."""

    model: str
    model_label: str | None = None
    trainer: str | None = None
    trainer_params: dict[str, Any] = {}
    training: dict[str, Any] = {}
    """The training keys varied by the matrix, to distinguish grid rows."""
    source: str | None = None
    target: str | None = None
    identifier: str | None = None
    identifier_params: dict[str, Any] = {}
    seed: int

    @property
    def names(self) -> list[str]:
        """All participants: ["model tiny", "trainer ce", "source fam/read", "target fam/write"]."""
        parts = ("model", "trainer", "source", "target", "identifier")
        return [f"{part} {name}" for part in parts if (name := getattr(self, part)) is not None]


class Failure(Strict):
    type: str
    message: str
    traceback: str


class EndpointUse(Strict):
    """Requests to an endpoint and their cost. `requests` were sent, `answers` came back usable and were paid
    for; `reused` replies came from the cache for free. Tokens are those of the answers, as reported by the
    server; `unmetered` answers came without a count."""

    requests: int = 0
    answers: int = 0
    reused: int = 0
    unmetered: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of `input_tokens` cached by the server."""
    output_tokens: int = 0
    thoughts: int = 0
    """Answers, reused ones included, that began with a tagged thought, which was removed."""
    replaced: int = 0
    """Answers, reused ones included, in which U+FFFD replaces a lone surrogate."""
    served: list[str] = []
    """Model names in answers that differ from the requested name, sorted: "gpt-4o-2024-08-06"."""
    unsent: list[str] = []
    """Sampling parameters that were not sent, sorted."""
    cost: float | None = None
    """None without prices, or if an answer was not metered."""
    currency: str | None = None


class CellRecord(Strict):
    """kind train: a trained model; eval: a model on a generation or dialogue task; identify: an identifier on
    an identification task. `inputs` are the identity's resolved inputs, `identity` is their sha256."""

    schema_version: Literal[1, 2] = SCHEMA
    kind: Literal["train", "eval", "identify"]
    identity: str
    inputs: dict[str, Any]
    status: Literal["done", "failed"]
    labels: Labels
    headline: str | None = None
    metrics: dict[str, Metric] = {}
    better: dict[str, Better | None] = Field({}, exclude_if=lambda found: not found)
    """Metrics whose higher values are not better: "lower", or None if neither is."""
    notes: list[str] = []
    """Caveats shown with the numbers ("judge uncalibrated", "metric meteor absent: ...")."""
    run_notes: list[str] = []
    """Those of `notes` that only a run can determine; `perbench rescore` keeps them."""
    counts: dict[str, int] = {}
    """samples, truncated, failed, persona_items_kept, persona_items_trimmed, missing_scores, skipped..."""
    tokens: dict[str, int] = {}
    """prompt, generated (eval); response, total, counterfactual (train)."""
    endpoints: dict[str, EndpointUse] = {}
    """By model name, over all starts of the cell."""
    seconds: float
    """Time spent on the cell, over all starts."""
    peak_memory_mb: int | None = None
    """Peak megabytes of the last start: allocated on the GPU if used, else the process's."""
    started: str
    finished: str
    environment: dict[str, Any]
    command: str
    trained_by: str | None = None
    """Identity of the train cell whose model an eval cell evaluates."""
    weights: dict[str, str] = {}
    """Seals of a train cell's folders of trained weights, by name: "final", "users"."""
    training_log: list[dict[str, float]] = []
    """Thinned {step, loss, lr, grad_norm, tokens_per_second} of a train cell."""
    error: Failure | None = None
    files: dict[str, str] = {}
    """sha256 of the finished cell's other files, by name."""
    sha256: str | None = None
    """Seal of all of the above (`perbench.disk.sealed`)."""

    def better_of(self, metric: str) -> Better | None:
        return self.better.get(metric, "higher")

    @property
    def verifiable(self) -> bool:
        """Whether the record holds digests, unlike those of an older perbench."""
        return self.schema_version > 1


class Scores(Strict):
    """Per-sample scores of an eval or identify cell (`scores.json`), for paired comparisons of cells.

    All lists have one entry per sample, in sample order; `clusters` is the user (or persona) of each; a
    missing score is None. Corpus-level metrics (BLEU, chrF) have `sums`: sufficient statistics that add up
    over samples, None for a sample that is left out. Their `scores`, if any, are for reading only.
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
