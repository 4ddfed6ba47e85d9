"""What selections and profiles say of the cells of a run: which only served a choice, which were chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perbench.store import CellRecord
from perbench.store.selection import Choice


@dataclass(frozen=True)
class Roles:
    """As in `Loaded`; `plain` are cells that some matrix plans as results."""

    choices: tuple[Choice, ...] = ()
    aside: frozenset[str] = frozenset()
    settled: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()


def choices_of(described: Mapping[str, Any], names: Collection[str]) -> dict[str, list[Choice]]:
    """Those in run.json, by matrix.

    Raises:
        ValueError: they are not in its form.
    """
    found = described.get("choices", {})
    return {name: [Choice.model_validate(one) for one in found[name]] for name in names if name in found}


def roles_of(
    records: Sequence[CellRecord],
    plans: Mapping[str, Collection[str]],
    choices: Mapping[str, Sequence[Choice]],
    profiles: Mapping[str, str | None],
) -> Roles:
    """The roles of cells in a run's matrices.

    A cell is a result as soon as one matrix plans it as one: a learning rate that lost in a selection has its
    row where another matrix compares learning rates.

    Args:
        plans, choices, profiles: by matrix; identities are those of the latest plans.
    """
    held = {name: set(found) for name, found in plans.items()}
    by_cell: dict[str, list[str]] = defaultdict(list)
    aside, plain, settled = set[str](), set[str](), dict[str, tuple[Choice, ...]]()
    for record in records:
        training = record.trained_by or record.identity
        for name, identities in held.items():
            lost, won = _in(choices.get(name, ()), training, record.identity)
            if lost:
                aside.add(record.identity)
            elif record.identity in identities:
                plain.add(record.identity)
                if profile := profiles.get(name):
                    by_cell[record.identity].append(profile)
            if won and record.identity in identities:
                settled.setdefault(training, ())
                settled[training] += tuple(one for one in won if one not in settled[training])
    for name, identities in held.items():
        # Beside its rivals in another matrix, a chosen training is told apart as they are.
        chosen = {one for choice in choices.get(name, ()) for one in choice.trainings}
        for identity in identities - chosen:
            settled.pop(identity, None)
    made = [choice for found in choices.values() for choice in found]
    return Roles(
        _once(made),
        frozenset(aside - plain),
        settled,
        {identity: tuple(sorted({*found})) for identity, found in by_cell.items()},
        frozenset(plain),
    )


def _in(choices: Iterable[Choice], training: str, identity: str) -> tuple[bool, list[Choice]]:
    """Whether a cell only served a choice, and the choices that its training won."""
    lost, won = False, []
    for one in choices:
        lost = lost or one.losers(training, identity)
        if one.winner is not None and training in one.winner.trainings:
            won.append(one)
    return lost, won


def _once(found: Iterable[Choice]) -> tuple[Choice, ...]:
    return tuple({one.key: one for one in found}.values())


def joined(found: Sequence[Roles]) -> Roles:
    """Of several places. What is a result in one is a result."""
    aside = frozenset(name for one in found for name in one.aside)
    plain = frozenset(name for one in found for name in one.plain)
    profiles: dict[str, set[str]] = defaultdict(set)
    settled: dict[str, tuple[Choice, ...]] = {}
    for one in found:
        for name, won in one.settled.items():
            settled[name] = _once([*settled.get(name, ()), *won])
        for identity, names in one.profiles.items():
            profiles[identity] |= {*names}
    return Roles(
        _once(choice for one in found for choice in one.choices),
        aside - plain,
        settled,
        {identity: tuple(sorted(names)) for identity, names in profiles.items()},
        plain,
    )
