"""The page of each trainer and identifier: what it is, its settings, its results, and its file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import isfinite
from typing import Any, Literal

from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.results import Entry, ModelRow, Outcome, TargetColumn
from perbench.contracts.section import Table, Value
from perbench.site.comparisons import WinLoss
from perbench.site.format import between, number
from perbench.site.plugin_text import PluginText, Setting, read_plugin, read_text
from perbench.site.values import outcome_value
from perbench.site.view import SiteView
from perbench.store import CellRecord

SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
"""Names that are also names of files."""
MOST_PANELS = 12
"""Of training curves."""
LEFT = 0.4
"""How much of a scale is left of 0, as a share of what is right of it."""
PASSES = {
    "no_grad": ("1 forward pass", "without the persona, no gradient"),
    "grad": ("1 pass with gradient", "without the persona"),
}
"""What a trainer's `counterfactual` costs."""


@dataclass(frozen=True)
class Gain:
    """A trained model on a target; `scale` is that of the target's intervals, with 0 at one place in all."""

    row: ModelRow
    column: TargetColumn
    value: Value
    scale: tuple[float, float] | None


@dataclass(frozen=True)
class MethodFact:
    name: str
    value: str
    more: str = ""
    open: bool = False
    """Whether no test supports the number."""


@dataclass(frozen=True)
class MethodPage:
    """A trainer or identifier of the records. `text` is None if its plugin is not installed here."""

    kind: Literal["trainer", "identifier"]
    name: str
    page: str
    """The path of its page."""
    entries: tuple[Entry, ...]
    text: PluginText | None
    view: SiteView

    @property
    def records(self) -> list[CellRecord]:
        return [entry.record for entry in self.entries]

    @cached_property
    def digests(self) -> dict[str, int]:
        """How many records name each digest of the plugin, most first."""
        found: dict[str, int] = {}
        for record in self.records:
            if digest := _inputs(record, self.kind).get("plugin"):
                found[str(digest)] = found.get(str(digest), 0) + 1
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def same(self) -> bool:
        """Whether the installed file is that of some records."""
        return self.text is not None and self.text.digest in self.digests

    @property
    def caveat(self) -> str:
        """Why what the page says of the method may not hold for its records."""
        if self.text is None:
            return f"The {self.kind} {self.name} is not installed here, so only its records are shown."
        if not self.digests:
            return "The records do not say from which file the method was run."
        if not self.same:
            return (
                f"The installed {self.text.place} differs from the file of these records: the description "
                "is of the installed one, and its text is not shown."
            )
        others = sum(count for digest, count in self.digests.items() if digest != self.text.digest)
        if others:
            return f"{others} of {sum(self.digests.values())} records are from another version of the file."
        return ""

    @property
    def runs(self) -> list[str]:
        return sorted({entry.run for entry in self.entries})

    @property
    def commands(self) -> list[str]:
        return sorted({record.command for record in self.records})

    @property
    def settings(self) -> list[tuple[Setting, list[str]]]:
        """Each hyperparameter with the values that the records used."""
        used: dict[str, dict[str, None]] = {}
        for record in self.records:
            for name, value in _inputs(record, self.kind).get("params", {}).items():
                text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
                used.setdefault(str(name), {})[text] = None
        known = list(self.text.settings) if self.text is not None else []
        names = {one.name for one in known}
        known += [Setting(name, "", "", "") for name in sorted(used) if name not in names]
        return [(one, sorted(used.get(one.name, {}), key=_by_size)) for one in known]

    @property
    def tallies(self) -> list[WinLoss]:
        return [
            one for one in self.view.verdict.tallies if one.trainer == self.name and self.kind == "trainer"
        ]

    @property
    def facts(self) -> Iterator[MethodFact]:
        over = self.view.matrix.baseline
        for one in self.tallies:
            aside = f"{one.lost} worse, {one.open} not separable" + f", {one.missing} missing" * bool(
                one.missing
            )
            more = f" ({one.method})" * (one.method != self.name)
            yield MethodFact(f"Better than {over}{more}", f"{one.won} of {one.tested}", aside)
        yield from self._overall()
        if self.text is not None and self.kind == "trainer":
            declared = dict(self.text.declared)
            if declared.get("examples") == "pairs":
                yield MethodFact("Examples", "pairs of answers", "a chosen and a rejected one, both read")
            found = PASSES.get(declared.get("counterfactual", ""))
            yield MethodFact("Extra passes", *(found or ("none", "but the one with the persona")))

    def _overall(self) -> Iterator[MethodFact]:
        """Its first line of the overview, and how other lines differ."""
        if self.kind != "trainer":
            return
        for table in (table for table in self.view.tables if table.summary):
            rows = [(head, values) for head, values in table.rows if head.name == self.name]
            for place, column in enumerate(table.columns):
                cells = [(head, values[place]) for head, values in rows]
                shown = [
                    (" ".join(filter(None, (head.variation, head.model if len(rows) > 1 else ""))), value)
                    for head, value in cells
                    if isinstance(value, Value) and value.value is not None and value.versus != "baseline"
                ]
                if shown and not column.minor:
                    (where, first), *others = shown
                    gain = first.gain
                    on = f" on {where}" if where else ""
                    ci = (
                        f", {between(first.ci, first.digits, signed=True)}"
                        if first.is_gain and first.ci
                        else ""
                    )
                    more = [flag.text for flag in first.flags]
                    more += [f"{_shown(value)} on {what}" for what, value in others[:2]]
                    yield MethodFact(
                        column.name,
                        _shown(first),
                        "; ".join([f"{column.metric}{on}{ci}", *more]),
                        open=gain is not None and not gain.remains,
                    )

    @cached_property
    def gains(self) -> list[Gain]:
        matrix = self.view.matrix
        if self.kind != "trainer":
            return []
        mine = [(row, outcomes) for row, outcomes in matrix.rows if row.trainer == self.name]
        scales = [_scale([outcomes[place] for _, outcomes in mine]) for place in range(len(matrix.columns))]
        return [
            Gain(row, column, outcome_value(outcome, column), scale)
            for row, outcomes in mine
            for column, outcome, scale in zip(matrix.columns, outcomes, scales, strict=True)
        ]

    @property
    def tables(self) -> list[tuple[str, Table]]:
        """Its rows of other tables of methods without a source, such as those of identifiers, with the page's
        name."""
        return [
            (section.page, replace(table, rows=tuple(rows)))
            for section in self.view.sections
            for table in section.tables
            if table.first == self.kind and self.kind == "identifier"
            if (rows := [row for row in table.rows if row[0].name == self.name and not row[0].reported])
        ]

    @property
    def trainings(self) -> list[CellRecord]:
        return [record for record in self.records if record.kind == "train"]

    @property
    def curves(self) -> Chart | None:
        """The logged losses of its trainings, a panel for each model and source."""
        panels: dict[tuple[str, str, str], list[Series]] = {}
        for record in self.trainings:
            points = tuple(_points(record.training_log))
            labels = record.labels
            if len(points) > 1:
                varied = {**labels.trainer_params, **labels.training}
                aside = ", ".join(f"{name}={value}" for name, value in sorted(varied.items()))
                key = (labels.model, labels.source or "", aside)
                panels.setdefault(key, []).append(Series(f"seed {labels.seed}", points, "method"))
        if not panels:
            return None
        several = len({model for model, _, _ in panels}) > 1
        drawn = tuple(
            Panel(" · ".join(filter(None, (model if several else "", source))), tuple(series), aside)
            for (model, source, aside), series in list(panels.items())[:MOST_PANELS]
        )
        left = len(panels) - len(drawn)
        return Chart(
            caption="Loss while training",
            x=Axis("update"),
            y=Axis("loss"),
            panels=drawn,
            explanation="A line for each seed; losses of different trainers are not comparable."
            + f" {left} more are on the pages of their trainings." * bool(left),
            own_scale=True,
            tabled=True,
        )


def methods_of(view: SiteView) -> list[MethodPage]:
    """Trainers, the baseline first, then identifiers."""
    found: dict[tuple[Literal["trainer", "identifier"], str], list[Entry]] = {}
    for entry in view.entries:
        labels = entry.record.labels
        if labels.trainer is not None:
            found.setdefault(("trainer", labels.trainer), []).append(entry)
        if labels.identifier is not None:
            found.setdefault(("identifier", labels.identifier), []).append(entry)
    trainers = {name for kind, name in found if kind == "trainer"}
    order = sorted(found, key=lambda key: (key[0] != "trainer", key[1] != view.matrix.baseline, key[1]))
    return [
        MethodPage(
            kind,
            name,
            f"methods/{_file(name, kind if kind == 'identifier' and name in trainers else '')}.html",
            tuple(found[kind, name]),
            _text(kind, name, found[kind, name], view),
            view,
        )
        for kind, name in order
    ]


def _text(kind: str, name: str, entries: Sequence[Entry], view: SiteView) -> PluginText | None:
    """The plugin's file: the one of the records, if it is installed or came with them, else the installed
    one."""
    installed = read_plugin(kind, name)
    packed = [read_text(one) for one in view.plugins if (one.kind, one.name) == (kind, name)]
    known = [text for text in (installed, *packed) if text is not None]
    made = {_inputs(entry.record, kind).get("plugin") for entry in entries}
    return next((text for text in known if text.digest in made), known[0] if known else None)


def _file(name: str, prefix: str) -> str:
    """Equal for no two methods on any file system; names come from records, so they may hold anything."""
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    safe = name if SAFE.fullmatch(name) else f"method.{digest}"
    return f"{prefix}.{safe}" if prefix else safe


def _inputs(record: CellRecord, kind: str) -> dict[str, Any]:
    """What a cell's identity says of the plugin; an evaluation names only its training."""
    found = record.inputs.get(kind)
    return found if isinstance(found, dict) else {}


def _by_size(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _shown(value: Value) -> str:
    return value.text or number(value.value or 0.0, value.digits, signed=value.is_gain)


def _scale(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    bounds = [bound for one in outcomes if one.gain and one.gain.ci for bound in one.gain.ci]
    known = [bound for bound in bounds if isfinite(bound)]
    largest = max((max(bound, -bound / LEFT) for bound in known), default=0.0)
    return (-LEFT * largest, largest) if largest else None


def _points(log: Sequence[dict[str, float]]) -> Iterator[Point]:
    for point in log:
        if "step" in point and "loss" in point:
            yield Point(point["step"], point["loss"])
