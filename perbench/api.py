"""All that a plugin file imports. Importing this module imports neither torch nor transformers.

Shape notation, here and everywhere: `N` response tokens of a micro-batch (all its examples concatenated,
in order), `D` hidden size, `V` vocabulary, `E` examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from perbench.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from torch import Tensor

    from perbench.contracts.engine import Engine

__all__ = [
    "Example",
    "Family",
    "Identifier",
    "PersonaText",
    "RawData",
    "ReferenceLogp",
    "Remote",
    "Skip",
    "TokenBatch",
    "TokenScores",
    "Trainer",
    "View",
]


@dataclass(frozen=True)
class Example:
    """One row of a task: a user's request with the user's history.

    `persona` holds the history's items in the task's order, each a mapping of its fields; `reference` is the
    text the user really wrote (or the gold answer); `extra` keeps what only one protocol reads (gold spans).
    """

    id: str
    user: str
    question: str
    reference: str
    persona: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- trainers


@dataclass(frozen=True)
class View:
    """The N response tokens under one context. `logp` [N], natural log, float32; `hidden` [N, D], the states
    the language-model head reads at the positions that predict the tokens."""

    logp: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class ReferenceLogp:
    """Log-probs [N] of the same tokens under a frozen reference model, float32, no gradient."""

    factual: Tensor
    counterfactual: Tensor


class TokenBatch(Protocol):
    """What a loss sees: the same N response tokens with the persona (factual) and without (counterfactual).

    `counterfactual` and `reference` are present exactly when the trainer asks for them
    (`Trainer.counterfactual`, `Trainer.reference`), `factual` unless it says not to; reading an absent one
    raises an error that says so.
    """

    @property
    def targets(self) -> Tensor:
        """Token ids [N]."""

    @property
    def example(self) -> Tensor:
        """Index [N] of the example each token belongs to, 0..E-1, non-decreasing."""

    @property
    def progress(self) -> float:
        """How far the training is: 0 at its first update, 1 at its last."""

    @property
    def factual(self) -> View: ...

    @property
    def counterfactual(self) -> View: ...

    @property
    def reference(self) -> ReferenceLogp: ...

    @property
    def entropy(self) -> Tensor:
        """Entropy [N] in nats of the factual predictions, float32, without gradient. Computed when read, by
        one more product with the head."""

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        """Put `values` [N], such as the tokens' weights, on the training's record: mean, range and histogram
        over every token of the update, and with `bounds` the share of tokens at either. Changes no result."""

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        """log softmax(z_h - z_0)[target], [N]: z_h and z_0 are the factual and counterfactual logits.

        A linear head gives z_h - z_0 = (h_h - h_0) W^T, so no logits are kept (a head bias cancels);
        a head with logit soft-capping is computed chunk by chunk instead.
        """


class Trainer(Hyperparameters, ABC):
    """A loss plugin: one file in `trainers/`, named as the method, holding exactly one subclass.

    Hyperparameters are annotated class fields with defaults. They are validated, shown by
    `perbench show trainer NAME`, and part of a cell's identity.
    """

    factual: ClassVar[bool] = True
    """Whether the pass with the persona is needed; always with gradient."""

    counterfactual: ClassVar[Literal["none", "no_grad", "grad"]] = "none"
    """Whether the pass without the persona is needed, and whether gradients flow through it."""

    def reference(self) -> str | None:
        """Frozen model whose log-probs the loss reads: None, "initial" (the model before training),
        or a model's name or path. Computed once, before the first update."""
        return None

    @abstractmethod
    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Return (numerator [N], denominator [N]). The step's loss is sum(numerator) / sum(denominator) over
        every token of the update: all micro-batches and all devices. The denominator carries no gradient."""


# ---------------------------------------------------------------- identifiers


@dataclass(frozen=True)
class PersonaText:
    """What an identifier scores: one response, the persona as rendered sentences, the question.

    An identifier that needs a model also gets token ids in the model's chat template: the prompt with the
    persona (`factual`), without it (`counterfactual`), and the response's `tokens`, the same under both,
    without the end of turn. `spans` are the [start, end) characters of `response` that each token shows;
    start == end where it shows none (white space). `prompt_with(sentences)` gives the prompt with other
    rendered sentences in the persona's place; without any, the place stands empty.

    `background` holds the rendered persona of every user of the data set, this one's too, each once.
    """

    id: str
    persona: tuple[str, ...]
    question: str
    response: str
    factual: tuple[int, ...] = ()
    counterfactual: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    prompt_with: Callable[[Sequence[str]], tuple[int, ...]] | None = field(
        default=None, compare=False, repr=False
    )
    background: tuple[tuple[str, ...], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class TokenScores:
    """One score per token of a response; `spans` are [start, end) character offsets into it (start == end:
    the token shows nothing and is never predicted)."""

    spans: tuple[tuple[int, int], ...]
    scores: tuple[float, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """What went wrong or was left out, to be summed into the record ({"unparsable": 1})."""
    sources: tuple[int | None, ...] = ()
    """Index of the persona sentence that each token comes from, None where none does; empty when the method
    does not say."""
    missing: str | None = None
    """Why there are no spans and no scores, `Generation.missing` of a model that gave no answer: the example
    is counted and left out of every metric."""


class Identifier(Hyperparameters, ABC):
    """Scores how personal each token of a response is: one file in `identifiers/`, named as the method.

    A token is predicted personal when its score exceeds `threshold`.
    """

    needs_model: ClassVar[bool] = True
    """Whether `score` uses the engine; False for lexical methods, which then get None."""

    needs_tokens: ClassVar[bool] = True
    """Whether, with a model, `score` reads token ids; a method that only chats runs on endpoints too, which
    show none."""

    threshold: float

    @abstractmethod
    def score(self, examples: Sequence[PersonaText], engine: Engine | None) -> list[TokenScores]:
        """One TokenScores per example, in order."""


# ---------------------------------------------------------------- families of data


@dataclass(frozen=True)
class Remote:
    """Files of a public repository.

    `files` maps a path there to its checksum, "sha256:..." or "git:..." (git's blob id), None where none is
    recorded; on Hugging Face a path may be a glob, and the hub tells the checksums. `revision` is a
    commit; None pins the newest commit at the first fetch.
    """

    host: Literal["github", "huggingface"]
    repository: str
    files: Mapping[str, str | None]
    revision: str | None = None


@dataclass(frozen=True)
class Skip:
    """A row that is left out, and why."""

    reason: str


class RawData(Protocol):
    """The files of a family as they were fetched, or as a local folder holds them. A record at fault is left
    out, and told when the table is done, with those of the table's other files.

    A file is named by its path without the suffix ("Books/train"); of several names the first that is there
    is read, as .jsonl, .json, .csv or .parquet, or as the parts NAME-*.parquet.
    """

    def records(self, *names: str, shape: Any) -> Iterator[dict[str, Any]]:
        """The file's records. One that is not of the `shape` is a fault with its file and line: a shape is a
        type, a tuple of shapes (any of them), a list of one shape, or a mapping of needed keys to shapes."""

    def texts(self, *names: str) -> Iterator[str]:
        """The strings of a file that holds JSON strings, one or several a line."""

    def source(self, name: str) -> str | None:
        """The text of the file of exactly this name; None where there is none, and where it is not UTF-8,
        which is told as a fault of the file."""

    def note(self, what: str) -> None:
        """Count something that the report and the manifest shall tell."""


class Family(Hyperparameters, ABC):
    """Data that a family of tasks reads: one file in `tasks/families/`, named as the family, holding exactly
    one subclass. `perbench data prepare NAME` fetches `remotes`, or takes a folder of the same files, and
    writes every table of `tables`, "CONFIG/SPLIT", as CONFIG/SPLIT.jsonl."""

    remotes: ClassVar[tuple[Remote, ...]]
    tables: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        """The rows of a table, in order, and what is left out of it."""

    def specs(self, raw: RawData) -> Mapping[str, str]:
        """Task files to write beside the tables, by name, where the raw data bring any."""
        return {}
