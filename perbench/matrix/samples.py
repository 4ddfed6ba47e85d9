"""Finds a cell by words, and chooses samples of it for reading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from perbench.contracts.shown import Shown, worst_first
from perbench.errors import PerbenchError, suggest
from perbench.matrix.cells import describe
from perbench.matrix.reading import SampleReader, stored
from perbench.progress import counted
from perbench.store import CellRecord, DamagedRecord, read_records
from perbench.store.check import read_record
from perbench.store.rundir import cells_of

MOST = 10
"""Maximum cells listed in a message."""


def find_cell(place: Path, words: Sequence[str]) -> tuple[CellRecord, Path]:
    """A finished evaluation or identification, given by its folder, or by a run directory and the start of
    its identity or words of its description.

    Raises:
        PerbenchError: none or several match; the message lists them.
    """
    if place.parent.name == "cells":
        if not place.is_dir():
            names = [folder.name for folder in cells_of(place.parent.parent).iterdir()]
            raise PerbenchError(f"{place}: no such cell.{suggest(place.name, names)}")
        record = read_record(place)
        if record is None:
            raise PerbenchError(f"{place} holds no finished cell; finish it by the command that started it")
        return record, place
    damaged: list[DamagedRecord] = []
    held = [pair for pair in read_records(place, damaged) if pair[0].kind != "train"]
    chosen = [pair for pair in held if _matches(pair[0], words, whole=True)]
    chosen = chosen or [pair for pair in held if _matches(pair[0], words, whole=False)]
    if len(chosen) == 1:
        return chosen[0]
    listed = chosen or held
    lines = [f"  {one.identity[:8]}  {describe(one.kind, one.labels)}" for one, _ in listed[:MOST]]
    more = [f"  and {len(listed) - MOST} more"] if len(listed) > MOST else []
    more += map(str, damaged)
    asked = f" match {' '.join(words)!r}" if words else ""
    raise PerbenchError(
        "\n".join([f"{place}: {counted(len(chosen), 'evaluation')}{asked}; name one:", *lines, *more])
    )


def _matches(record: CellRecord, words: Sequence[str], *, whole: bool) -> bool:
    """Whether each word starts the cell's identity or folder, or occurs in its description (as a `whole`
    word, so that "ce" does not match "perce")."""
    names = (record.identity, f"{record.kind}-{record.identity}")
    text = describe(record.kind, record.labels)
    ends = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
    return all(
        any(name.startswith(word) for name in names) or re.search(re.escape(word).join(ends), text)
        for word in words
    )


def shown_samples(
    record: CellRecord, folder: Path, *, worst: int | None, most: int, data: Mapping[str, Path]
) -> tuple[list[Shown], int]:
    """The chosen samples, one per example, and the total number: the `worst` by the headline, worst first,
    else the first `most`.

    Raises:
        PerbenchError: no sample has a score by the headline, or its values are neither better nor worse.
    """
    cell, reader = stored(record, folder), SampleReader(data)
    groups = {group.id: group for group in reader.groups(cell)}
    if worst is None:
        return reader.shown(cell, list(groups.values()))[:most], len(groups)
    headline = record.headline or ""
    scores = {name: group.scores.get(headline) for name, group in groups.items()}
    if all(score is None for score in scores.values()):
        raise PerbenchError(
            f"{folder}: no sample has a score of its own by {headline or 'a headline'}; remove --worst"
        )
    better = record.better_of(headline)
    if better is None:
        raise PerbenchError(f"{folder}: no value of {headline} is better than another; remove --worst")
    chosen = [groups[name] for name in worst_first(scores, better)[:worst]]
    return reader.shown(cell, chosen), len(groups)
