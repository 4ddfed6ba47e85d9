"""Pages of single cells, and of two side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.results import Entry
from perbench.site.cells import data
from perbench.site.cells.facts import Fact, baseline_trainings, cut, facts, sentence, setting_of, title_of
from perbench.site.cells.places import CellPlace, places_of
from perbench.site.cells.samples import PIR, CellSamples, SampleTexts, folded, marked, name_of
from perbench.site.templates import TEMPLATES, Page
from perbench.site.view import SiteView
from perbench.store import CellRecord, DamagedRecord


class CellPages:
    """`left_out` is called with each damage that is found."""

    def __init__(
        self,
        view: SiteView,
        texts: SampleTexts | None,
        matrices: Mapping[str, Any],
        left_out: Callable[[str], None],
    ) -> None:
        self._view, self._texts, self._matrices, self._left_out = view, texts, matrices, left_out
        self._entries = {entry.record.identity: entry for entry in view.entries}
        self._places = places_of(view.matrix)
        self._over = view.matrix.baseline
        self._bases = baseline_trainings((entry.record for entry in view.entries), self._over)
        self._made: dict[str, list[CellRecord]] = defaultdict(list)
        self._alike: dict[str, list[CellRecord]] = defaultdict(list)
        for entry in view.entries:
            self._made[entry.record.trained_by or ""].append(entry.record)
            self._alike[_apart_from_seed(entry.record)].append(entry.record)

    def address(self, record: CellRecord) -> str:
        """The page of a cell."""
        return f"cells/{name_of(record, 1)}"

    @property
    def compares(self) -> bool:
        """Whether there is a page that compares cells."""
        done = (self._entries[name].record.status == "done" for name in self._places)
        return self._texts is not None and any(done)

    def files(self, page: Page) -> Iterator[tuple[str, str]]:
        """The path and text of each file."""
        comparable: list[CellRecord] = []
        columns: set[int] = set()
        by_model = sorted(self._view.entries, key=lambda entry: entry.record.labels.model)
        for entry in by_model:  # so that shading loads each model once
            record, place = entry.record, self._places.get(entry.record.identity)
            samples = self._samples(entry, place)
            values = {**self._values(entry, place), "samples": samples}
            yield f"cells/{name_of(record, 1)}", page("cell.html", "records", root="../", **values)
            for number in range(2, len(samples.pages) + 1):
                more = page("samples.html", "records", root="../", number=number, **values)
                yield f"cells/{name_of(record, number)}", more
            if place is not None and samples.pages:
                comparable.append(record)
                yield data.answers_file(record), data.answers_of(record, samples.cards)
                if place.number not in columns:
                    columns.add(place.number)
                    yield data.prompts_file(place.number), data.prompts_of(place.number, samples.cards)
        if self.compares:
            yield f"{data.FOLDER}/cells.js", data.cells_of(self._places, comparable, self._over)
            yield "compare.js", (TEMPLATES / "compare.js").read_text(encoding="utf-8")
            yield "compare.html", page("compare.html", "compare")

    def _samples(self, entry: Entry, place: CellPlace | None) -> CellSamples:
        if self._texts is None or entry.record.kind == "train":
            return CellSamples()
        base = place.base.identity if place is not None and place.base is not None else ""
        try:
            return self._texts.of(entry, self._entries.get(base), self._matrices)
        except DamagedRecord as damage:
            self._left_out(str(damage))
            return CellSamples(why=f"Their file is damaged: {damage.here}.")

    def _values(self, entry: Entry, place: CellPlace | None) -> dict[str, Any]:
        record = entry.record
        training = self._record(record.trained_by)
        base = self._record(place.base.trained_by) if place is not None and place.base is not None else None
        if record.kind == "train" and record.labels.trainer != self._over:
            base = self._bases.get(setting_of(record))
        return {
            "entry": entry,
            "place": place,
            "training": training,
            "base": base,
            "facts": facts(entry, place, training, base, self._over),
            "sentence": sentence(record),
            "cut": cut(record),
            "seeds": self._seeds(record, place),
            "made": self._made.get(record.identity, []),
            "loss": loss_chart(record, base),
            "name_of": name_of,
            "title_of": title_of,
            "marked": marked,
            "folded": folded,
            "short": data.short,
            "bounds": PIR,
        }

    def _record(self, identity: str | None) -> CellRecord | None:
        entry = self._entries.get(identity or "")
        return entry.record if entry is not None else None

    def _seeds(self, record: CellRecord, place: CellPlace | None) -> list[CellRecord]:
        """The cells that differ from this one in their seed."""
        found = self._alike[_apart_from_seed(record)] if place is None else place.outcome.records
        return sorted((one for one in found if one != record), key=lambda one: one.labels.seed)


def _apart_from_seed(record: CellRecord) -> str:
    return record.kind + record.labels.model_dump_json(exclude={"seed"})


def loss_chart(record: CellRecord, base: CellRecord | None) -> Chart | None:
    """The training's loss by step, over the baseline's in grey."""
    lines = [("baseline", base)] if base is not None else []
    series = tuple(
        Series(one.labels.trainer or "", points, "method" if role == "method" else "baseline")
        for role, one in [*lines, ("method", record)]
        if len(points := _losses(one)) > 1
    )
    if not any(one.role == "method" for one in series):
        return None
    grey = f", {base.labels.trainer} in grey" if base is not None and len(series) > 1 else ""
    explained = f"{record.labels.trainer} in blue{grey}."
    return Chart("Loss", Axis("step"), Axis("loss"), (Panel("", series),), explanation=explained)


def _losses(record: CellRecord) -> tuple[Point, ...]:
    log = record.training_log
    return tuple(Point(point["step"], point["loss"]) for point in log if "step" in point and "loss" in point)


__all__ = ["CellPages", "Fact", "SampleTexts"]
