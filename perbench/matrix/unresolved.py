"""The models and data that a plan could not find, one line for all splits and tasks with one remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perbench.errors import NotThere, PerbenchError


@dataclass
class Unresolved:
    """`models`: messages; `data`: the errors of splits of tasks, as (family, task, split, error)."""

    models: list[str] = field(default_factory=list)
    data: list[tuple[str, str, str, PerbenchError]] = field(default_factory=list)

    @property
    def tasks(self) -> set[str]:
        """Those that lack data."""
        return {task for _, task, _, _ in self.data}

    def lines(self) -> list[str]:
        """Models first; of a family's data, those with one remedy share a line."""
        alike: dict[tuple[str, str], list[tuple[str, str, PerbenchError]]] = {}
        for family, task, split, error in self.data:
            remedy = error.way_out if isinstance(error, NotThere) else str(error)
            alike.setdefault((family, remedy), []).append((task, split, error))
        return [*dict.fromkeys(self.models), *map(_line, alike.values())]


def _line(alike: Sequence[tuple[str, str, PerbenchError]]) -> str:
    splits: dict[str, dict[str, None]] = {}
    for task, split, _ in alike:
        splits.setdefault(task, {})[split] = None
    names = ", ".join(f"{task} ({', '.join(held)})" for task, held in splits.items())
    first = alike[0][2]
    if not isinstance(first, NotThere):
        return f"data of {names}: {first}"
    others = len({error.what for _, _, error in alike if isinstance(error, NotThere)}) - 1
    return f"data of {names}: {first.what}{f' (and {others} more)' if others else ''}; {first.way_out}"
