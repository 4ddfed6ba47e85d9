"""Renders the view as the pages of one folder: all text is escaped, nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from perbench.contracts.missing import in_words
from perbench.contracts.section import Table
from perbench.progress import duration
from perbench.site import cards
from perbench.site import draw as drawing
from perbench.site import format as text
from perbench.site.cells import CellPages
from perbench.site.cells.data import script
from perbench.site.cells.groups import GroupPages
from perbench.site.cells.samples import bare
from perbench.site.chart import drawing as drawn_chart
from perbench.site.chart import table_of
from perbench.site.cost import tokens_read
from perbench.site.methods import methods_of
from perbench.site.split import LACKS, Split, divided, summary
from perbench.site.tabular import as_csv, as_json, file_of
from perbench.site.templates import TEMPLATES, Page, environment, faults_named
from perbench.site.view import INDEX, ShownSection, SiteView, title
from perbench.store import CellRecord

CSP = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'self'; script-src 'self'; "
    "img-src data:"
)
SHARED = ("site.css", "site.js")


def files(view: SiteView, cells: CellPages | GroupPages, split: Split) -> Iterator[tuple[str, str | bytes]]:
    """The path and content of each file of the site.

    Raises:
        PerbenchError: a section's own template is broken.
    """
    yield from ((name, (TEMPLATES / name).read_text(encoding="utf-8")) for name in SHARED)
    for section in view.sections:
        for number, table in enumerate(section.numbers, 1):
            yield f"{file_of(section, number)}.csv", as_csv(table)
            yield f"{file_of(section, number)}.json", as_json(section.name, table)
            if cards.apart(table) and not split.of(section, table):
                yield _cards(view, section, number, table, cells)
    for part in split.parts:
        if cards.apart(part.table):
            yield _cards(view, part.section, 1, part.table, cells)
    own = {f"{one.name}/section.html": one.template for one in view.sections if one.template}
    found = environment(
        {
            "number": text.number,
            "padded": text.padded,
            "interval": text.interval,
            "between": text.between,
            "measured": text.measured,
            "duration": duration,
            "tokens_read": tokens_read,
            "variation": text.variation,
            "flatten": text.flatten,
            "day": text.day,
            "bare": bare,
        },
        included=own,
    )
    found.globals.update(
        view=view,
        split=split,
        lacks=LACKS if split.large else "",
        compares=cells.compares,
        csp=CSP,
        title=title,
        address=cells.address,
        cards=cards,
        drawing=drawing,
        file_of=file_of,
        cards_of=cards_of,
        digests=digests,
        drawn_chart=drawn_chart,
        table_of=table_of,
        in_words=in_words,
        summary=summary,
    )
    methods = methods_of(view)
    pages = {(one.kind, one.name): one.page for one in methods}
    found.globals.update(methods=methods, method_page=lambda kind, name: pages.get((kind, name), ""))
    page = partial(_page, found)
    with faults_named(own):
        for name, label in [(INDEX, ""), *view.pages]:
            sections = [split.whole(section) for section in view.sections_of(name)]
            heading = {"heading": label} if label else {}
            yield f"{name}.html", page("page.html", name, sections=sections, **heading)
        for part in split.parts:
            yield part.page, page("part.html", part.section.page, part=part)
    if methods:
        yield "methods.html", page("methods.html", "methods")
    for one in methods:
        yield one.page, page("method.html", "methods", root="../", method=one)
    yield from _records(view, split, page)
    yield from cells.files(page)


def _cards(
    view: SiteView, section: ShownSection, number: int, table: Table, cells: CellPages | GroupPages
) -> tuple[str, str]:
    held = cards.as_data(f"{section.name}-{number}", table, view.matrix.baseline, cells.address)
    return cards_of(section, number), script(held)


def cards_of(section: ShownSection, number: int) -> str:
    """The file of a table's cards."""
    return f"data/{section.name}-{number}.js"


def _records(view: SiteView, split: Split, page: Page) -> Iterator[tuple[str, str]]:
    """All records on one page; in a split site on a page for each model, or each source."""
    if not split.large:
        yield "records.html", page("records.html", "records", entries=view.entries, part="")
        return
    parts = divided(view.entries, lambda one: _named(one.record), lambda one: one.record.labels.source or "")
    rows = [(label, f"records-{place}.html", held) for place, (label, held) in enumerate(parts.items(), 1)]
    yield "records.html", page("records-parts.html", "records", parts=rows)
    for label, name, held in rows:
        yield name, page("records.html", "records", entries=held, part=label or "not trained")


def _named(record: CellRecord) -> str:
    label = record.labels.model_label
    return f"{record.labels.model} ({label})" if label else record.labels.model


def _page(found: Any, template: str, current: str, *, root: str = "", **values: Any) -> str:
    rendered: str = found.get_template(template).render(current=current, root=root, **values)
    return rendered + "\n"


def digests(record: CellRecord) -> list[tuple[str, str]]:
    """Content digests and pinned revisions among the inputs."""
    chosen = ("data", "plugin", "revision")
    return [
        (path, value)
        for path, value in text.flatten(record.inputs)
        if (last := path.rpartition(".")[2]) in chosen or "sha256" in last or "digest" in last
    ]
