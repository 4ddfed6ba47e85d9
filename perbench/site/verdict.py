"""The verdict: what the tests of the transfer table show, in plain sentences, the answer first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perbench.contracts.results import FEW_USERS, Matrix
from perbench.progress import counted
from perbench.site.comparisons import Comparison, Comparisons, WinLoss, compare, method_of
from perbench.site.format import any_of, number, part_of
from perbench.site.means import kinds_of, standings

MOST_POINTS = 5
SINGLE = 2
"""Maximum methods after the first with a sentence of their own."""


@dataclass(frozen=True)
class Verdict:
    """`headline` is the answer, `points` are at most MOST_POINTS facts, `notes` what else limits it; all are
    sentences, "" and () without targets. `tests` is the number of gains that were corrected together."""

    headline: str = ""
    points: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tallies: tuple[WinLoss, ...] = ()
    tests: int = 0

    @property
    def lines(self) -> list[str]:
        return [self.headline, *self.points, *self.notes] if self.headline else []

    def named(self, text: str) -> list[tuple[str, bool]]:
        """A sentence in parts, and whether each is the name of a method."""
        names = sorted((re.escape(one.method) for one in self.tallies), key=len, reverse=True)
        if not names:
            return [(text, False)]
        parts = re.split(rf"(?<![\w/-])({'|'.join(names)})(?![\w/-])", text)
        return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def verdict_of(matrix: Matrix) -> Verdict:
    """From the corrected tests alone: what the strongest method wins and loses, or that the run is too small
    to tell any from the baseline; the other methods, each kind of task, and what the data cannot show."""
    over = matrix.baseline
    if not matrix.columns:
        return Verdict()
    if over is None:
        return Verdict("No row was trained by a baseline, so no method is compared.")
    found = compare(matrix, over)
    tallies, tests = found.tallies(), len(found.tested)
    if not tests and not found.left_out:
        return Verdict(f"Nothing but {over} was trained and evaluated, so no method is compared.")
    notes = tuple(_notes(matrix, found))
    if not tests and not any(why.startswith("without a test") for why in found.left_out):
        return Verdict(f"No method can be compared with {over} yet.", (), notes, tallies)
    points = _Points(found, len({one.row.model for one in found.tested}) > 1)
    headline, facts = points.answer()
    if not any(one.gain.remains for one in found.tested) and (
        means := _on_average(matrix, over, points.several)
    ):
        headline = f"On average {_words(means)}; no single comparison tells a method from {over}."
    last = [*points.by_kind(), *points.visible()]
    seeds = [*points.single_seeds()]
    facts = [*facts, *points.others(MOST_POINTS - len(facts) - len(last)), *last]
    room = len(facts) < MOST_POINTS
    return Verdict(headline, (*facts, *seeds * room), (*seeds * (not room), *notes), tallies, tests)


def _notes(matrix: Matrix, found: Comparisons) -> Iterator[str]:
    outcomes = [one for _, held in matrix.rows for one in held if one.status == "done"]
    if part := sum(any(record.status == "failed" for record in one.records) for one in outcomes):
        yield f"{counted(part, 'value')} without the seeds that failed."
    if found.left_out:
        parts = (f"{count} {why}" for why, count in sorted(found.left_out.items()))
        yield f"Not compared: {', '.join(parts)}."


def _on_average(matrix: Matrix, over: str, several_models: bool) -> list[str]:
    """Mean gains that remain after the correction over all of them (the overview's table)."""
    kinds, parts = kinds_of(matrix), []
    for one in standings(matrix, kinds):
        for mean, kind in zip(one.means, kinds, strict=True):
            gain = mean.estimate
            if gain is None or not gain.remains or not gain.value:
                continue
            side = "ahead of" if (gain.value > 0) == (kind.better == "higher") else "behind"
            size = f"{number(gain.value, kind.digits, signed=True)} {kind.metric.partition(',')[0]}"
            where = f"{size}, {one.row.model}" if several_models else size
            parts.append(
                f"{method_of(one.row, over)} is {side} {over} in {kind.title or kind.metric} ({where})"
            )
    return parts


class _Points:
    """The sentences."""

    def __init__(self, found: Comparisons, several_models: bool) -> None:
        self.found, self.over, self.several = found, found.over, several_models
        self.order = found.strongest()
        self.rest = self.order[1:]
        """Methods that the answer does not name."""

    def answer(self) -> tuple[str, list[str]]:
        """The headline, and facts that belong to it."""
        found, over = self.found, self.over
        directed = found.directed
        if any(one.side > 0 for one in directed):
            first = self.order[0]
            return self._line(first, found.methods[first], lone=True), [*self._loss(first)]
        self.rest = self.order
        if any(one.side for one in directed):
            return f"No method beats {over} in {_any(directed)}.", []
        if any(one.gain.remains for one in found.neither):
            if not directed:
                (first, *others) = self._neither()
                return first, others
            return f"No method can be told from {over} in {_any(directed)} with a better side.", [
                *self._neither()
            ]
        self.rest = []
        tested, tests = directed or found.neither, len(found.tested)
        if all(one.blunt(tests) for one in tested):
            return f"The run is too small to tell any method from {over}.", [*self._needed(tested, tests)]
        return f"No method can be told from {over} in {_any(tested)}.", [*self._needed(tested, tests)]

    def _line(self, name: str, found: Sequence[Comparison], lone: bool = False) -> str:
        """A method's wins and losses; `lone`: its only loss has a sentence of its own."""
        over = self.over
        won, lost = (sum(one.side == side for one in found) for side in (1, -1))
        one_loss = next((one for one in found if one.side < 0), None) if lost == 1 and not lone else None
        named = f" ({one_loss.where(self.several)})" if one_loss is not None else ""
        if len(found) == 1:
            how = {1: f"beats {over}", -1: f"loses to {over}", 0: f"cannot be told from {over}"}[
                found[0].side
            ]
            return f"{name} {how} in its only comparison{named}."
        if won:
            return f"{name} beats {over} in {won} of {_count(found)} and loses in {lost or 'none'}{named}."
        if lost:
            return f"{name} loses to {over} in {lost} of {_count(found)}{named} and beats it in none."
        return f"{name} cannot be told from {over} in {_any(found)}."

    def _loss(self, name: str) -> Iterator[str]:
        lost = [one for one in self.found.methods[name] if one.side < 0]
        if len(lost) != 1:
            return
        (one,) = lost
        how = ", the task it was trained on" if one.own else f" after training on {one.row.source}"
        more = [one.row.model if self.several else "", one.row.variation if name == one.row.trainer else ""]
        aside = f" ({', '.join(filter(None, more))})" if any(more) else ""
        yield f"Its one loss: {one.column.title}{how}{aside}."

    def others(self, room: int) -> Iterator[str]:
        """The methods that the answer does not name, in at most `room` sentences: those with a difference
        have their own as long as there is room."""
        held = self.found.methods
        apart = [name for name in self.rest if _apart(held[name])]
        apart.sort(key=lambda name: -_apart(held[name]))  # of as many, the strongest first
        alike = [name for name in self.rest if name not in apart]
        whole = len(apart) + bool(alike)
        single = apart if len(apart) <= SINGLE and whole <= room else apart[: max(0, min(SINGLE, room - 1))]
        yield from (self._line(name, held[name]) for name in single)
        more = [name for name in apart if name not in single]
        if more:
            counts = sorted({_apart(held[name]) for name in more})
            span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
            sides = {one.side for name in more for one in held[name]} - {0}
            one_ = len(more) == 1
            verb = {1: "beats" if one_ else "beat", -1: "loses to" if one_ else "lose to"}.get(
                sides.pop() if len(sides) == 1 else 0, "differs from" if one_ else "differ from"
            )
            tail = f"; {_words(alike)} cannot be told from it" if alike else ""
            yield f"{_words(more)} {verb} {self.over} in {span}{' each' * (not one_)}{tail}."
        elif len(alike) == 1:
            yield self._line(alike[0], held[alike[0]])
        elif alike:
            yield f"{_words(alike)} cannot be told from {self.over} in any comparison."
        if room > whole and apart:
            yield from self._neither()

    def _neither(self) -> Iterator[str]:
        neither = self.found.neither
        if neither:
            apart = sum(one.gain.remains for one in neither)
            metrics = ", ".join(sorted({one.column.metric or one.column.headline or "" for one in neither}))
            where = f"{apart} of {_count(neither)}"
            yield f"{metrics} (neither side is better) differs from {self.over} in {where}."

    def by_kind(self) -> Iterator[str]:
        """Who wins and loses in each kind of task, if there are several."""
        kinds: dict[str, dict[str, list[Comparison]]] = defaultdict(lambda: defaultdict(list))
        for name in self.order:
            for one in self.found.methods[name]:
                kinds[kind_title(one)][name].append(one)
        if len(kinds) < 2 or not any(one.side for one in self.found.directed):
            return
        parts = []
        for place, (title, held) in enumerate(sorted(kinds.items(), key=_size)):
            won = [
                f"{name} ({_wins(found)})"
                for name, found in sorted(held.items(), key=lambda pair: -_won(pair[1]))
                if _won(found)
            ]
            lost = [
                f"{name}{{}} in {sum(one.side < 0 for one in found)} of {len(found)}"
                for name, found in held.items()
                if any(one.side < 0 for one in found) and not _won(found)
            ]
            said = (
                "no method beats" if not won else f"{'only ' * (len(won) == 1 < len(held))}{_words(won)} beat"
            )
            said += "s" * (len(won) == 1)
            said += f" {self.over if not place else 'it'}"
            said += "".join(f", {text.format('' if i else ' loses')}" for i, text in enumerate(lost))
            parts.append(f"in {title} {said}")
        yield _sentence("; ".join(parts))

    def visible(self) -> Iterator[str]:
        """Which gains such data would mostly miss, by kind of task."""
        kinds: dict[str, list[Comparison]] = defaultdict(list)
        for one in self.found.directed:
            if one.column.detectable is not None:
                kinds[(one.column.metric or one.column.headline or "").partition(",")[0]].append(one)
        parts = []
        for metric, found in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
            digits = max(one.column.digits for one in found)
            least = sorted(one.column.detectable or 0.0 for one in found)
            ends = dict.fromkeys(number(value, digits) for value in (least[0], least[-1]))
            parts.append(f"{' to '.join(ends)} {metric}")
        if parts:
            yield f"With these data, gains below about {_words(parts, 'or')} would mostly go unseen."

    def _needed(self, found: Sequence[Comparison], tests: int) -> Iterator[str]:
        """With the users that the clearest difference needs, were it as large as it looks: fewest of all."""
        needed = [
            (users, one)
            for one in found
            if one.gain.users >= FEW_USERS and (users := one.gain.users_needed(tests)) is not None
        ]
        if needed:
            users, one = min(needed, key=lambda pair: pair[0])
            gain = number(one.gain.value or 0.0, one.column.digits, signed=True)
            yield (
                f"About {users:,} users would do if the true difference of {method_of(one.row, self.over)} "
                f"({one.where(self.several)}) is the {gain} observed with {one.gain.users}."
            )

    def single_seeds(self) -> Iterator[str]:
        tested = self.found.tested
        if single := sum(one.gain.seeds == 1 for one in tested):
            rest = "rests" if single == 1 else "rest"
            which = part_of(single, len(tested), "comparison")
            yield f"{which} {rest} on 1 seed: other trainings may come out otherwise."


def kind_title(one: Comparison) -> str:
    """ "writing"; the metric if the kind of task is unknown."""
    return one.column.task or one.column.metric or one.column.headline or one.column.target


def _size(kind: tuple[str, Mapping[str, Sequence[Comparison]]]) -> int:
    """Sorts kinds of tasks: those with the most comparisons first."""
    return -sum(map(len, kind[1].values()))


def _apart(found: Sequence[Comparison]) -> int:
    return sum(one.side != 0 for one in found)


def _won(found: Sequence[Comparison]) -> int:
    return sum(one.side > 0 for one in found)


def _wins(found: Sequence[Comparison]) -> str:
    lost = sum(one.side < 0 for one in found)
    return f"{_won(found)} of {len(found)}" + (f", loses in {lost}" if lost else "")


def _count(found: Sequence[Comparison]) -> str:
    return counted(len(found), "comparison")


def _any(found: Sequence[Comparison]) -> str:
    return any_of(len(found), "comparison")


def _words(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
