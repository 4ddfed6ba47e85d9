"""The verdict: which tasks are shown to need the persona, and how much of the score."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.progress import counted
from perbench.site.format import number
from perbench.site.naming import metric_title

from .pairs import NONE, OTHER, OWN, PersonaComparison

MOST = 8
"""Sentences of single tasks; of more, only counts."""
WHY = "too few users, no spread, or not run without the persona"


def sentences(found: Sequence[PersonaComparison]) -> list[str]:
    tested = [one for one in found if one.over.get(NONE) is not None and one.over[NONE].adjusted is not None]
    helped, hurt = ([one for one in tested if _sign(one, NONE) == sign] for sign in (1, -1))
    same = [one for one in tested if not _sign(one, NONE)]
    said = []
    if len(found) <= MOST:
        said += [*map(_needs, helped), *map(_harms, hurt), *map(_open, same), *_rules(found)]
    elif tested:
        count = counted(len(tested), "comparison")
        said.append(
            f"The own persona makes the score better than none in {len(helped)} of {count} of a model on a "
            f"task, worse in {len(hurt)}; in {len(same)} the two cannot be told apart."
        )
    untested = [one for one in found if one not in tested]
    if untested and len(found) <= MOST:
        said += map(_untested, untested)
    elif untested:
        said.append(f"{counted(len(untested), 'row')} cannot be tested: {WHY}.")
    return said


def _rules(found: Sequence[PersonaComparison]) -> list[str]:
    """Rules that are above chance, once for each task."""
    said = []
    for one in {one.task: one for one in found}.values():
        if one.floor is None or one.floor.value is None:
            continue
        metrics = one.records[OWN][0].metrics
        for name in one.beside.shortcuts:
            metric = metrics.get(name)
            if metric and metric.value is not None and metric.ci and metric.ci[0] > one.floor.value:
                shown = (number(value, one.column.digits) for value in (metric.value, one.floor.value))
                title = metric_title(one.column.protocol, name)
                said.append("On {}, “{}” alone scores {}; chance is {}.".format(one.task, title, *shown))
    return said


def _sign(one: PersonaComparison, whose: str) -> int:
    """1 if the own persona is better than this after correction, -1 if worse, 0 if it cannot be told."""
    gain = one.over.get(whose)
    if gain is None or not gain.remains or not gain.value:
        return 0
    return 1 if (gain.value > 0) == (one.column.better != "lower") else -1


def _needs(one: PersonaComparison) -> str:
    said = f"{_who(one)} needs the persona"
    if one.part is not None:
        share = f"{100 * one.part.value:.0f}%"
        if one.part.ci is not None:
            low, high = (f"{100 * end:.0f}" for end in one.part.ci)
            share += f" ({low} to {high}%)"
        above = " above that of answers at random" if one.floor is not None else ""
        lower = one.column.better == "lower"
        said += f": it lowers {_metric(one)} by {share}" if lower else f": {share} of {_metric(one)}{above}"
    if OTHER not in one.over:
        return f"{said}."
    if _sign(one, OTHER) == 1:
        return f"{said}; another user's persona does not replace it."
    return f"{said}; the user's own cannot be told from another user's."


def _harms(one: PersonaComparison) -> str:
    return f"{_who(one)} comes out worse with the persona: {_scores(one)}."


def _untested(one: PersonaComparison) -> str:
    if why := one.beside.incomparable:
        return f"{_who(one)} cannot be compared with no persona: {why}."
    return f"{_who(one)} cannot be tested: {WHY}."


def _open(one: PersonaComparison) -> str:
    return f"{_who(one)} is not shown to need the persona: {_scores(one)} cannot be told apart."


def _scores(one: PersonaComparison) -> str:
    own, none = (one.values[whose].value for whose in (OWN, NONE))
    digits = one.column.digits
    return f"{_metric(one)} {number(own or 0, digits)} with it and {number(none or 0, digits)} without"


def _who(one: PersonaComparison) -> str:
    row = one.row
    if row.trainer is None:
        return f"With {row.model}, {one.task}"
    trained = " ".join(filter(None, (row.trainer, row.variation)))
    return f"With {row.model} ({trained} on {row.source}), {one.task}"


def _metric(one: PersonaComparison) -> str:
    return (one.column.metric or one.column.headline or "the score").partition(",")[0]
