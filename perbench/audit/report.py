"""The audit of a task's rows: statistics of its answers, shortcuts, leaks, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from perbench.audit.leaks import Leak, find_leaks, shared_users
from perbench.audit.shortcuts import Shortcut, chance, held_words, of_options, of_texts, persona_words
from perbench.data.examples import load_examples
from perbench.errors import PerbenchError
from perbench.persona.others import others
from perbench.progress import counted
from perbench.specs.compose import owner_of, source_of

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.data import Dataset
    from perbench.contracts.protocol import Protocol
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec


@dataclass(frozen=True)
class Lengths:
    """Of the right answers, in white-space separated words: the mean, and what 10, 50 and 90 of 100 have at
    most."""

    mean: float
    tenth: int
    median: int
    ninetieth: int


@dataclass(frozen=True)
class Audit:
    """`answers` tells whether they are offered or written; "" if the rows hold none. `chance` is the accuracy
    of a random pick, `held` are shares of the answers' words, `places` the rows of examples that leaks
    name."""

    task: str
    split: str
    examples: int
    users: int
    train: int
    """Examples of the training split; 0 without one."""
    without_persona: int
    """Examples with an empty history."""
    answers: str
    lengths: Lengths | None = None
    chance: float | None = None
    shortcuts: tuple[Shortcut, ...] = ()
    held: tuple[Shortcut, ...] = ()
    leaks: tuple[Leak, ...] = ()
    shared_users: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> list[str]:
        """What the numbers say, a sentence each."""
        return list(_findings(self))

    def as_json(self) -> dict[str, Any]:
        def plain(shortcut: Shortcut) -> dict[str, Any]:
            metrics = {name: one.model_dump(mode="json") for name, one in shortcut.metrics.items()}
            return {"name": shortcut.name, "what": shortcut.what, "metrics": metrics}

        lists = {"shortcuts": [*map(plain, self.shortcuts)], "held": [*map(plain, self.held)]}
        rest = replace(self, shortcuts=(), held=())
        return {**asdict(rest), **lists, "findings": self.findings}


def audit(task: Named[TaskSpec], limit: int | None = None) -> Audit:
    """The audit of a task's test split, against its training split if there is one.

    Raises:
        PerbenchError: the task's rows have no persona, its data is not here, or as `load_examples`.
    """
    owner, fields = owner_of(task.spec), task.spec.fields
    if fields.persona is None:
        raise PerbenchError(
            f"task {task.name}: its rows have no persona, so there is nothing to audit; if they do, name the "
            "field by fields.persona"
        )
    test = load_examples(task, "test", limit)
    train: list[Example] = []
    if (owner.trains or owner.tunes) and source_of(task.spec.data).has_train(task.folder):
        train = load_examples(task, "train", limit).examples
    return audit_of(task, test, train)


def audit_of(task: Named[TaskSpec], test: Dataset, train: Sequence[Example]) -> Audit:
    """As `audit`, of these examples. The order of rows matters only for which example is named."""
    owner = owner_of(task.spec)
    # In the order of ids, so that no number and no name depends on the order of rows.
    examples = sorted(test.examples, key=lambda example: example.id)
    learnt = sorted(train, key=lambda example: example.id)
    offered = [one for one in map(owner.offered, examples) if one is not None]
    answers, learnt_answers = ([*map(partial(_answer, owner), some)] for some in (examples, learnt))
    about: dict[str, Any] = {
        "task": task.name,
        "split": task.spec.data.test_split,
        "examples": len(examples),
        "users": len({example.user for example in examples}),
        "train": len(learnt),
        "without_persona": sum(not example.persona for example in examples),
        "shared_users": tuple(shared_users(examples, learnt)),
    }
    if not any(answers):
        return Audit(answers="", **about)
    form = task.spec.fields.item_example
    item_answer = None if form is None else form.reference
    drawn = [next(iter(others(example, examples, 1)), None) for example in examples]
    held = persona_words(examples)
    leaks = find_leaks(examples, answers, learnt, learnt_answers)
    named = {name for leak in leaks for name in (leak.example, leak.within) if name}
    return Audit(
        answers="offered" if offered else "written",
        lengths=_lengths(answers),
        chance=chance(offered) if offered else None,
        shortcuts=tuple(
            of_options(offered, examples, held) if offered else of_texts(examples, learnt, item_answer)
        ),
        held=tuple(held_words(examples, answers, drawn, held)),
        leaks=tuple(leaks),
        places={name: place for name, place in test.places.items() if name in named},
        **about,
    )


def _answer(owner: Protocol[Any], example: Example) -> str:
    offer = owner.offered(example)
    return example.reference if offer is None else offer.options[offer.gold]


def _lengths(answers: Sequence[str]) -> Lengths:
    found = sorted(len(answer.split()) for answer in answers)
    tenth, median, ninetieth = (found[-(-len(found) * share // 100) - 1] for share in (10, 50, 90))
    return Lengths(fmean(found), tenth, median, ninetieth)


def _told(leak: Leak) -> str:
    first = f"first: {leak.example}"
    if leak.within not in ("", leak.example):
        first += f", in {leak.within}"
    if leak.name == "train_rows":
        return f"{leak.count} of {counted(leak.of, 'example')} are rows of the training split, too ({first})."
    return f"Near copies of {leak.count} of {counted(leak.of, 'answer')} are {leak.what} ({first})."


def _findings(found: Audit) -> Iterator[str]:
    if not found.answers:
        yield "The rows hold no right answers: there are no shortcuts to them, and they cannot leak."
    for rule in found.shortcuts:
        if found.chance is None:
            exact = rule.metrics["exact"].value
            if exact:
                yield f"Copying {rule.what} gives the exact answer in {exact:.1%}."
            continue
        metric = rule.metrics["accuracy"]
        if metric.value is not None and metric.ci is not None and metric.ci[0] > found.chance:
            yield f"Picking {rule.what} is right in {metric.value:.1%}; chance is {found.chance:.1%}."
    by_name = {one.name: one.metrics["share"] for one in found.held}
    if (more := by_name.get("own_over_other")) is not None and more.ci is not None and more.ci[0] <= 0:
        yield "The user's own persona is not shown to hold more of the answers' words than another user's."
    if found.answers and "own_over_other" not in by_name:
        yield "No persona can be compared with another user's: the split has one user, or one persona."
    for leak in found.leaks:
        if leak.count:
            yield _told(leak)
    if found.shared_users:
        yield f"{len(found.shared_users)} of {counted(found.users, 'user')} are in the training split, too."
    if found.without_persona:
        yield f"{found.without_persona} of {counted(found.examples, 'example')} have an empty persona."
