"""How a target task turns a model into samples, and samples into scores: one file `protocols/NAME.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from perbench.contracts.base import Asked, K, Owner, known_names
from perbench.contracts.metric import Scale
from perbench.contracts.resume import Batch, Made, Sample, resume
from perbench.contracts.shown import Shown, exchanges, plain
from perbench.errors import CellError

__all__ = ["EXAMPLES", "PROMPTS", "Batch", "Beside", "Protocol", "Sample"]

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset, Example, Offered
    from perbench.contracts.engine import Engine
    from perbench.contracts.identifier import Identifier
    from perbench.contracts.independent import Independent
    from perbench.contracts.run import Engines, SampleStore, Scored
    from perbench.contracts.source import Source
    from perbench.progress import Tick
    from perbench.shapes.task import TaskSpec
    from perbench.stats.spread import Statistic
    from perbench.store.record import Better, Metric, Scores

EXAMPLES = frozenset(
    (
        "examples",
        "on_too_long",
        "max_missing",
        *(f"fields.{key}" for key in ("user", "question", "reference", "persona", "item_aliases", "extra")),
    )
)
"""Keys of tasks whose data are rows."""
PROMPTS = frozenset(
    ("prompt", "prompts", "persona.k", "persona.priority", "persona.max_tokens", "max_length", "max_prompt")
)
"""Keys of tasks whose prompts use a form of `prompts` with the persona."""
ANSWERS = ("sampling", "max_missing", "headline", "data.overlap", "persona.whose")
"""Keys of answers and their scores, which sources do not use."""


@dataclass(frozen=True)
class Beside:
    """The metrics beside another one that show what its values owe to the persona, for audits: the same
    without a persona and of answers at random (`floor`, or its value), the gain over no persona and over
    other users', and `shortcuts`, answers by rules that read no persona. "" for what there is not.
    `incomparable`: why there is no such score without a persona, nor from prompts of that kind."""

    none: str = ""
    floor: str | float = ""
    over_none: str = ""
    over_other: str = ""
    shortcuts: tuple[str, ...] = ()
    incomparable: str = ""


class Protocol(Owner[K]):
    """`Keys` are keys of a task: by convention one section, named as the protocol."""

    spec: TaskSpec

    cells: ClassVar[Literal["eval", "identify"]] = "eval"
    """The cells of its targets: one per model, or one per identifier."""
    trains: ClassVar[bool] = False
    """Whether its tasks may be sources: prompts with a reference answer."""
    tunes: ClassVar[bool] = False
    """Whether targets also read the train split."""
    prompted: ClassVar[bool] = False
    """Whether prompts use a form of `prompts`, with the persona."""
    fields: ClassVar[tuple[str, ...]] = ("user",)
    """The `fields` that its tasks must name."""
    extra: ClassVar[tuple[str, ...]] = ()
    """Fields of a row that it reads by these names; tasks list them in `fields.extra`."""
    of_answers: ClassVar[tuple[str, ...]] = ANSWERS
    """Keys that only evaluation reads, which a source must not set."""
    late: ClassVar[bool] = False
    """Whether samples are known only at run time: `sample_ids` loads their data."""

    source: ClassVar[type[Source[Any]] | None] = None
    """The source of its own data, if it reads no rows (`dataset`)."""
    beside: ClassVar[Mapping[str, Beside]] = {}
    """By metric. Those not named are compared only between targets of several `persona.whose`."""
    audited_as: ClassVar[str | None] = None
    """The protocol under which `perbench audit --model` runs its tasks; None: its own."""
    headline: ClassVar[str | None] = None
    """The headline of a task whose file names another protocol, and none of this one's metrics; None: the row
    that names this one must give a headline, too."""
    title: ClassVar[str] = ""
    """What its tasks are in a word, such as "writing"; default: its name."""
    titles: ClassVar[Mapping[str, str]] = {}
    """As of `TextMetric`, of metrics of its own."""
    prefix: ClassVar[str | None] = None
    """Prefix of target names without a file; the rest is passed to `values`."""

    def __init_subclass__(cls, **more: Any) -> None:
        from perbench.shapes.task import FieldSpec

        super().__init_subclass__(**more)
        known_names("fields", cls.fields, FieldSpec.model_fields)

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        """The equivalent YAML file of the target "<prefix>NAME"."""
        raise NotImplementedError

    @classmethod
    def beside_of(cls, metric: str, signature: str) -> Beside:
        """`beside` of a record's metric with this signature."""
        return cls.beside.get(metric, Beside())

    def faults(self) -> Iterator[str]:
        """Faults of the task beyond types, each starting with its key."""
        return iter(())

    @abstractmethod
    def headlines(self) -> Sequence[str] | None:
        """The metrics that may be the headline; None for any."""

    def scale(self, metric: str) -> Scale:
        """How to read one of its metrics."""
        return Scale()

    def better(self, metrics: Iterable[str]) -> dict[str, Better | None]:
        """Those of the metrics whose higher values are not better, for `CellRecord.better`."""
        found = {name: self.scale(name).better for name in metrics}
        return {name: better for name, better in found.items() if better != "higher"}

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        """Faults of a row of data beyond its fields' names and types."""
        return iter(())

    def offered(self, example: Example) -> Offered | None:
        """The answers that an example offers to choose from, for `perbench audit`; None: the answer is
        written."""
        return None

    def split_faults(self, examples: Sequence[Example]) -> Iterator[str]:
        """Faults of all examples of a split together, before any are drawn: of those that are evaluated."""
        return iter(())

    def row_counts(self, row: Mapping[str, Any], reference: str) -> Mapping[str, int]:
        """Counts of a row, which a record gives as sums over its examples. They do not affect identities: a
        finished cell's are renewed when it is reused."""
        return {}

    def signatures(self) -> Mapping[str, str]:
        """By metric, the signature under the present keys, or its beginning up to a "|", where it tells apart
        values of keys that only scores depend on: a stored number with another one was computed under
        others."""
        return {}

    def dataset(self, limit: int | None) -> Dataset | None:
        """Its own data if it reads no rows; None: rows are read as `data` specifies."""
        return None

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        """Requests to each role for these examples, at most; `subject` is the model under evaluation."""
        return {}

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        """Tokens read and at most written, and whether they are exact; `tokenizer` is None if the model is
        not available."""
        return sum(asked.input + asked.output for asked in self.asks(examples).values()), False

    def unverified(self) -> Iterator[str]:
        """What `perbench verify` cannot recompute."""
        if any(role.name != "subject" for role in self.roles()):
            yield "the judges' verdicts"

    def example_of(self, sample: str) -> str:
        """The id of the example of the sample with this id."""
        return sample

    def shown(self, samples: Sequence[Sample], example: Example | None) -> Shown:
        """The stored samples of one example of the test split, in order, for people to read; pure.

        By default, parts of a sample are read by their usual names (`plain`), and several samples are the
        turns of a dialogue. A persona of None is completed from the example, with the prompt under the task's
        form if there is one.

        Args:
            example: None if the task's data are not available here. If the task itself is not, `self.spec` is
                None, too.
        """
        name = self.example_of(samples[0]["id"])
        if len(samples) > 1:
            return exchanges(name, samples)
        return replace(plain(samples[0], example), id=name)

    def independent(self) -> Independent | None:
        """How its samples follow from requests known in advance; None if a request depends on replies to
        others, as in a dialogue."""
        return None

    def renders(self) -> bool:
        """Whether prompts use the chat template of a model in this process."""
        return True

    def sample_ids(self, dataset: Dataset, dev: Dataset | None = None) -> Sequence[str]:
        """The ids of a finished cell's samples: by default one sample per example."""
        return [example.id for example in dataset.examples]

    def late_ids(self, dataset: Dataset, folder: Callable[[], Path]) -> Sequence[str]:
        """`sample_ids` of a `late` protocol; `folder` is that of the weights and tokenizer of the model under
        evaluation, before training."""
        return self.sample_ids(dataset)

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """All samples of an evaluation, in a fixed order; every batch has its own seed."""
        raise NotImplementedError(f"{self.called} does not define batches()")

    def identified(
        self, dataset: Dataset, identifier: Identifier, engine: Engine | None, dev: Dataset | None
    ) -> Sequence[Batch]:
        """`batches` for a protocol whose `cells` are "identify". `dev` is the split on which thresholds are
        chosen, if any."""
        raise NotImplementedError(f"{self.called} does not define identified()")

    def run(
        self,
        dataset: Dataset,
        engines: Engines,
        store: SampleStore,
        *,
        planned: Sequence[str],
        seed: int,
        tick: Tick,
    ) -> dict[str, int]:
        """Make the samples of `planned` (from `sample_ids`) that are not stored yet.

        Returns: tokens of all stored samples.
        """
        self._resume(self.batches(dataset, engines, seed), store, tick, planned)
        return self.tokens(store.samples())

    def identify(
        self,
        dataset: Dataset,
        identifier: Identifier,
        engine: Engine | None,
        store: SampleStore,
        *,
        planned: Sequence[str],
        dev: Dataset | None = None,
        tick: Tick,
    ) -> dict[str, int]:
        """As `run`, by an identifier; also returns counts of what this call made, for throughput."""
        batches = self.identified(dataset, identifier, engine, dev)
        made = self._resume(batches, store, tick, planned)
        return {**self.tokens(store.samples()), **self.timed(made)}

    def _resume(
        self, batches: Sequence[Batch], store: SampleStore, tick: Tick, planned: Sequence[str]
    ) -> Made:
        return resume(batches, store, tick, planned=planned, most_missing=self.spec.max_missing)

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        """Token counts of stored samples for the record.

        Raises:
            CellError: a sample does not hold them.
        """
        for key in ("prompt_tokens", "new_tokens"):
            if bare := [sample["id"] for sample in samples if key not in sample]:
                raise CellError(f"sample {bare[0]} holds no {key}, which the record counts")
        return {
            "prompt": sum(sample["prompt_tokens"] for sample in samples),
            "generated": sum(sample["new_tokens"] for sample in samples),
        }

    def timed(self, made: Made) -> dict[str, int]:
        """Counts of the samples made by one call, for the record."""
        return {}

    @abstractmethod
    def score(self, samples: Sequence[Sample]) -> Scored:
        """Scores of stored samples; pure."""

    @classmethod
    def statistic(cls, metric: Metric) -> Statistic | None:
        """That of `Scores.sums` of a corpus-level metric of its own; None: the text metric of this name has
        it (`TextMetric.of_sums`)."""
        return None

    @classmethod
    def implied(cls, scores: Scores, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
        """For checks of published results without samples: those of a record's `metrics` that follow from
        its per-sample scores otherwise than as their means, or have values by turn. All others with scores
        of their name must be their means, those with sums what `statistic` makes of these.

        Raises:
            ValueError: ids or scores that `score` never gives.
        """
        return {}

    def checked(self, samples: Sequence[Sample]) -> Scored:
        """What `score` gives.

        Raises:
            CellError: a value lies outside the bounds of its metric's `scale`.
        """
        found = self.score(samples)
        for name, metric in found.metrics.items():
            self.scale(name).check(name, (metric.value, *found.scores.scores.get(name, ())))
        return found
