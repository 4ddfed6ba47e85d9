"""The training data of users' own adapters: the user's history items and training examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from perbench.api import Example
from perbench.data.overlap import holds, same_text, texts_in
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.persona.times import times

if TYPE_CHECKING:
    from perbench.shapes.base import Named
    from perbench.shapes.task import ItemExampleSpec, TaskSpec


@dataclass(frozen=True)
class OwnData:
    """`examples`: by user, for users of the test split that have any. `users`: all users of that split.
    `held_out`: items left out because they hold the text that one of the user's test examples asks for."""

    examples: dict[str, list[Example]]
    users: int
    held_out: int

    @property
    def digest(self) -> str:
        """sha256 over canonical JSON of `examples`."""
        return canonical_digest({user: [one.values for one in own] for user, own in self.examples.items()})


def own_data(
    task: Named[TaskSpec],
    train: Sequence[Example],
    test: Sequence[Example],
    kind: Literal["history", "examples", "both"],
    history: Literal["others", "earlier"] = "others",
) -> OwnData:
    """The data of every user of `test`, each from that user alone: the history items of the user's test
    examples, each turned into an example whose history is the other items, or only earlier ones
    (`fields.item_example`), and the user's examples in `train`, without duplicates.

    Raises:
        PerbenchError: history is requested but the task does not define how an item becomes an example; or an
            item's `persona.time` is not a number.
    """
    form = task.spec.fields.item_example
    if kind != "examples" and form is None:
        raise PerbenchError(
            f"task {task.name}: per_user learns from history items; set fields.item_example with question "
            f"and reference, or set training.per_user.data to examples"
        )
    by_user: dict[str, list[Example]] = {}
    for example in test:
        by_user.setdefault(example.user, []).append(example)
    found: dict[str, list[Example]] = {}
    held_out = 0
    for user, asked in by_user.items():
        own: dict[tuple[str, str], Example] = {}
        secret = {same_text(example.reference) for example in asked}
        items = [_items(example, form, task.spec, history) for example in asked] if form is not None else []
        mine = [example for example in train if example.user == user]
        for example in [
            *(item for group in items for item in group if kind != "examples"),
            *(example for example in mine if kind != "history"),
        ]:
            texts = {"question": example.question, "reference": example.reference}
            if same_text(example.reference) in secret or holds([texts], secret):
                held_out += 1
            elif example.reference.strip():
                persona = tuple(item for item in example.persona if not _asked_for(item, secret))
                own.setdefault((example.question, example.reference), replace(example, persona=persona))
        if own:
            found[user] = list(own.values())
    return OwnData(dict(sorted(found.items())), len(by_user), held_out)


def _asked_for(item: Mapping[str, Any], secret: Collection[str]) -> bool:
    """Whether a history item reveals the text that a test example asks for."""
    return any(same_text(text) in secret for text in texts_in(item)) or holds([item], secret)


def _items(
    example: Example, form: ItemExampleSpec, spec: TaskSpec, history: Literal["others", "earlier"]
) -> list[Example]:
    visible = _earlier(example, spec) if history == "earlier" else None
    try:
        return [
            Example(
                id=f"{example.id}/item {number}",
                user=example.user,
                question=form.question.format_map(item),
                reference=form.reference.format_map(item),
                persona=tuple(
                    other
                    for place, other in enumerate(example.persona)
                    if place != number and (visible is None or place in visible[number])
                ),
                extra={name: item[name] for name in spec.fields.extra},
            )
            for number, item in enumerate(example.persona)
        ]
    except KeyError as error:
        raise PerbenchError(
            f"example {example.id}: a history item has no field {error} for fields.item_example; its fields: "
            f"{', '.join(sorted({name for item in example.persona for name in item}))}"
        ) from None


def _earlier(example: Example, spec: TaskSpec) -> list[set[int]]:
    """The places of the items earlier than each: by the field `persona.time`, where an equal time is not
    earlier; without it, items are listed oldest first."""
    try:
        found = times(example.persona, getattr(spec.persona, "time", None))
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None
    return [{place for place, other in enumerate(found) if other < own} for own in found]
