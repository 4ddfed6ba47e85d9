"""How a target task turns a model into samples, and samples into scores: one file `protocols/NAME.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from perbench.contracts.base import Asked, K, Owner, known_names
from perbench.contracts.metric import Scale
from perbench.contracts.resume import Batch, Made, Sample, resume
from perbench.errors import CellError

__all__ = ["EXAMPLES", "PROMPTS", "Batch", "Protocol", "Sample"]

if TYPE_CHECKING:
    from perbench.contracts.data import Dataset, Example
    from perbench.contracts.engine import Engine
    from perbench.contracts.identifier import Identifier
    from perbench.contracts.run import Engines, SampleStore, Scored
    from perbench.contracts.source import Source
    from perbench.progress import Tick
    from perbench.shapes.task import TaskSpec
    from perbench.store.record import Better

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
    ("prompt", "prompts", "persona.k", "persona.priority", "persona.max_tokens", "max_length")
)
"""Keys of tasks whose prompts are a form of `prompts` with the persona."""
ANSWERS = ("sampling", "max_missing", "headline", "data.overlap")
"""Keys that say how answers are made and scored, which no source has a use for."""


class Protocol(Owner[K]):
    """`Keys` are keys of a task: by convention one, named as the protocol, whose value is a section."""

    spec: TaskSpec

    cells: ClassVar[Literal["eval", "identify"]] = "eval"
    """What its targets become: evaluations of every model, or of every identifier."""
    trains: ClassVar[bool] = False
    """Whether its tasks may be sources: prompts with a reference answer."""
    tunes: ClassVar[bool] = False
    """Whether the split named train is read in a target, too."""
    prompted: ClassVar[bool] = False
    """Whether prompts are built from a form of `prompts`, with the persona."""
    fields: ClassVar[tuple[str, ...]] = ("user",)
    """The `fields` that its tasks must name."""
    extra: ClassVar[tuple[str, ...]] = ()
    """The fields of a row that it reads by these names: tasks list them in `fields.extra`."""
    of_answers: ClassVar[tuple[str, ...]] = ANSWERS
    """Keys that only evaluation reads: a source must not set them."""
    late: ClassVar[bool] = False
    """Whether only a run knows its samples: `sample_ids` loads their data."""

    source: ClassVar[type[Source[Any]] | None] = None
    """What brings the key of `data` that names its own data, where it reads no rows (`dataset`)."""
    prefix: ClassVar[str | None] = None
    """Begins the names of targets that are no file: what follows goes to `values`."""

    def __init_subclass__(cls, **more: Any) -> None:
        from perbench.shapes.task import FieldSpec

        super().__init_subclass__(**more)
        known_names("fields", cls.fields, FieldSpec.model_fields)

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        """What a YAML file of the target "<prefix>NAME" would hold."""
        raise NotImplementedError

    def faults(self) -> Iterator[str]:
        """What is wrong with the task beyond types, each text starting with the key it is about."""
        return iter(())

    @abstractmethod
    def headlines(self) -> Sequence[str] | None:
        """The metrics that may be a headline; None leaves it open."""

    def scale(self, metric: str) -> Scale:
        """How to read one of its metrics."""
        return Scale()

    def better(self, metrics: Iterable[str]) -> dict[str, Better | None]:
        """Of these metrics, those whose higher values are not the better ones, for `CellRecord.better`."""
        found = {name: self.scale(name).better for name in metrics}
        return {name: better for name, better in found.items() if better != "higher"}

    def row_faults(self, row: Mapping[str, Any], reference: str, items: int) -> Iterator[str]:
        """What is wrong with a row of data, beyond its fields' names and types."""
        return iter(())

    def dataset(self, limit: int | None) -> Dataset | None:
        """Its own data where it reads no rows; None: rows are read as `data` says."""
        return None

    def asks(self, examples: Sequence[Example]) -> Mapping[str, Asked]:
        """What each role is asked by these examples, at most; `subject` is the model under evaluation."""
        return {}

    def work(self, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
        """Tokens read and at most written, and whether they were counted exactly; `tokenizer` is None where
        the model is not at hand."""
        return sum(asked.input + asked.output for asked in self.asks(examples).values()), False

    def unverified(self) -> Iterator[str]:
        """What of its numbers `perbench verify` cannot compute anew."""
        if any(role.name != "subject" for role in self.roles()):
            yield "the judges' verdicts are taken as they are stored"

    def example_of(self, sample: str) -> str:
        """The id of the example that the sample with this id was made of."""
        return sample

    def renders(self) -> bool:
        """Whether prompts go through the chat template of a model in this process."""
        return True

    def sample_ids(self, dataset: Dataset, dev: Dataset | None = None) -> Sequence[str]:
        """The ids of a finished cell's samples, once each: by default one sample per example."""
        return [example.id for example in dataset.examples]

    def batches(self, dataset: Dataset, engines: Engines, seed: int) -> Sequence[Batch]:
        """All samples of an evaluation, in a fixed order; every batch draws from a seed of its own."""
        raise NotImplementedError(f"{self.called} does not define batches()")

    def identified(
        self, dataset: Dataset, identifier: Identifier, engine: Engine | None, dev: Dataset | None
    ) -> Sequence[Batch]:
        """As `batches`, of a protocol whose `cells` are "identify". `dev` is the split that thresholds are
        chosen on, where there is one."""
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
        """Make what is not stored yet of `planned`, which is what `sample_ids` gave.

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
        """As `run`, by an identifier; with what this call made, for throughput."""
        batches = self.identified(dataset, identifier, engine, dev)
        made = self._resume(batches, store, tick, planned)
        return {**self.tokens(store.samples()), **self.timed(made)}

    def _resume(
        self, batches: Sequence[Batch], store: SampleStore, tick: Tick, planned: Sequence[str]
    ) -> Made:
        return resume(batches, store, tick, planned=planned, most_missing=self.spec.max_missing)

    def tokens(self, samples: Sequence[Sample]) -> dict[str, int]:
        """What the record counts of stored samples.

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
        """What the record counts of the samples that one call made."""
        return {}

    @abstractmethod
    def score(self, samples: Sequence[Sample]) -> Scored:
        """Scores of stored samples; pure."""

    def checked(self, samples: Sequence[Sample]) -> Scored:
        """What `score` gives.

        Raises:
            CellError: a value lies outside the bounds of its metric's `scale`.
        """
        found = self.score(samples)
        for name, metric in found.metrics.items():
            self.scale(name).check(name, (metric.value, *found.scores.scores.get(name, ())))
        return found
