"""The content of page, terminal and JSON as plain data, without markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.contracts.chart import Chart, Empty
from perbench.contracts.results import Entry, Loaded, Matrix
from perbench.contracts.section import Block, Section, Table
from perbench.errors import PerbenchError
from perbench.plugins.faults import fault_of
from perbench.site.alerts import Alert, alerts, facts
from perbench.site.apart import Namesake, tell_apart
from perbench.site.chart import table_of
from perbench.site.format import natural
from perbench.site.matrix import matrix_of
from perbench.site.verdict import Verdict, verdict_of
from perbench.store import CellRecord, Labels

INDEX = "index"
"""The first page."""
TAKEN = ("records", "compare")
"""Pages that are made without a section."""


@dataclass(frozen=True)
class ShownSection:
    """`template` is the section's own; None for the common one. `page` is the page that shows it, `verdict`
    what that page opens with."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    template: Path | None
    page: str = INDEX
    verdict: tuple[str, ...] = ()
    part_of: str = ""
    """The section whose table it holds some rows of (`perbench.site.split`)."""
    files: str = ""
    """Where the whole table is, as CSV and as JSON, without the ending."""

    @property
    def included(self) -> str:
        """The name under which its template is included."""
        return f"{self.part_of or self.name}/section.html" if self.template else "section.html"

    @property
    def label(self) -> str:
        """The text of a link to it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def empty(self) -> list[Empty]:
        return [block for block in self.blocks if isinstance(block, Empty)]

    def number_of(self, table: Table) -> int:
        """The place of a table, from 1, among all of the section."""
        for place, one in enumerate(self.numbers, 1):
            if one is table:  # comparing large tables takes longer than writing them
                return place
        return self.numbers.index(table) + 1

    @cached_property
    def numbers(self) -> list[Table]:
        """All tables, those of its charts among them: what JSON and CSV hold."""
        return [
            table_of(block) if isinstance(block, Chart) else block
            for block in self.blocks
            if isinstance(block, Table) or (isinstance(block, Chart) and not block.tabled)
        ]


@dataclass(frozen=True)
class SiteView:
    """`facts` is a line of what was run; `newest` is the latest `finished` of all records: the
    page's only date. `entries` are in page order; `superseded` lists hidden records."""

    matrix: Matrix
    sections: tuple[ShownSection, ...]
    verdict: Verdict
    facts: str
    alerts: tuple[Alert, ...]
    entries: tuple[Entry, ...]
    models: tuple[tuple[str, str | None], ...]
    runs: tuple[str, ...]
    summaries: tuple[str, ...]
    superseded: tuple[str, ...]
    newest: str
    damaged: tuple[str, ...] = ()
    """Left out because they differ from what perbench wrote."""
    broken: tuple[tuple[str, str], ...] = ()
    """Sections left out because their file is broken, with the reason."""
    unverifiable: int = 0
    """Records without digests."""
    plugins: tuple[plugins.Plugin, ...] = ()
    """As in `Loaded`."""

    @property
    def tables(self) -> list[Table]:
        return [table for section in self.sections for table in section.tables]

    def sections_of(self, page: str) -> list[ShownSection]:
        return [section for section in self.sections if section.page == page]

    @property
    def pages(self) -> list[tuple[str, str]]:
        """Names and labels of the pages that sections have, in order, without the first one."""
        labels: dict[str, str] = {}
        for section in self.sections:
            labels.setdefault(section.page, section.label)
        return [(page, label) for page, label in labels.items() if page != INDEX]

    @property
    def old_intervals(self) -> int:
        """Records with intervals computed by an older perbench."""
        return sum(
            any(metric.ci is not None and metric.users is None for metric in entry.record.metrics.values())
            for entry in self.entries
        )

    @property
    def failed(self) -> int:
        return sum(entry.record.status == "failed" for entry in self.entries)


def build_view(loaded: Loaded) -> SiteView:
    """
    Raises:
        PerbenchError: two cells of one target hold the same sample under different users.
    """
    records = [entry.record for entry in loaded.entries]
    matrix = matrix_of(loaded)
    sections, broken = _sections(loaded, matrix)
    return SiteView(
        matrix=matrix,
        sections=sections,
        verdict=verdict_of(matrix),
        facts=facts(loaded),
        alerts=tuple(alerts(loaded)),
        entries=tuple(sorted(loaded.entries, key=lambda entry: _place(entry.record))),
        models=tuple(
            sorted(
                {(r.labels.model, r.labels.model_label) for r in records},
                key=lambda one: (natural(one[0]), natural(one[1] or "")),
            )
        ),
        runs=tuple(sorted({entry.run for entry in loaded.entries})),
        summaries=tuple(sorted({spec["summary"] for spec in loaded.matrices if spec.get("summary")})),
        superseded=tuple(_hidden(old, new) for old, new in loaded.superseded),
        newest=max(record.finished for record in records),
        damaged=tuple(sorted({damage.here for damage in loaded.damaged})),
        broken=broken,
        unverifiable=loaded.unverifiable,
        plugins=loaded.plugins,
    )


def _sections(loaded: Loaded, matrix: Matrix) -> tuple[tuple[ShownSection, ...], tuple[tuple[str, str], ...]]:
    """All sections with content, in order; and those that failed, with the reason."""
    shown, broken = [], []
    for (_, name), plugin in plugins.discover("section").items():
        try:
            section = plugin.load_class()()
            blocks = tuple(section.build(loaded, matrix))
            if stray := [type(one).__name__ for one in blocks if not isinstance(one, Block)]:
                raise PerbenchError(
                    f"{plugin.path}: build() returned a {stray[0]}; return a list of Table, Chart and Empty"
                )
            page = _page_of(section, name, plugin.path)
            sentences = tuple(section.verdict(loaded, matrix)) if blocks else ()
        except PerbenchError as error:
            broken.append((name, str(error)))
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            broken.append((name, fault.message(plugin.path)))
        else:
            template = plugin.path.parent / "section.html"
            own = template if plugin.path.name == "__init__.py" and template.is_file() else None
            found = ShownSection(name, section.title, blocks, own, page, sentences)
            shown += [(section.order, found)] if blocks else []
    ordered = sorted(shown, key=lambda pair: (pair[0], pair[1].name))
    return tuple(section for _, section in ordered), tuple(broken)


def _page_of(section: Section, name: str, file: Path) -> str:
    page = section.page or name
    if not re.fullmatch(r"[\w-]+", page) or page in TAKEN:
        why = "taken" if page in TAKEN else "no name of letters, digits, _ and -"
        raise PerbenchError(f"{file}: its page {page!r} is {why}; set `page` to another name")
    return page


def _hidden(old: Entry, new: Entry) -> str:
    """ "ce · fam/read → fam/write · tiny · seed 0, of run a: 8 examples"."""
    variants = [Namesake(entry.record.inputs, entry.size, (entry.record.finished,)) for entry in (old, new)]
    return f"{title(old.record)}, of run {old.run}: {tell_apart(variants)[0]}"


def title(record: CellRecord) -> str:
    """A cell's name in words: "perce · embedded/sotu_writing → embedded/dialogue · smollm2-135m · seed 0"."""
    labels = record.labels
    path = " → ".join(task for task in (labels.source, labels.target) if task)
    return " · ".join(filter(None, (_method(labels), path, labels.model, f"seed {labels.seed}")))


def _method(labels: Labels) -> str:
    return labels.identifier or labels.trainer or "base model"


def _place(record: CellRecord) -> tuple[Any, ...]:
    """Sort key: trainings first, then by title."""
    labels = record.labels
    kind = ("train", "eval", "identify").index(record.kind)
    names = (_method(labels), labels.source or "", labels.target or "", labels.model)
    return kind, *map(natural, names), labels.seed, record.identity
