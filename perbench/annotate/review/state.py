"""Rows under review and their decisions; every decision is on disk before it is confirmed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, Literal, cast, get_args

from perbench.annotate.build import NAMES
from perbench.contracts.source import Row
from perbench.data.gold import checked
from perbench.data.jsonl import read_jsonl
from perbench.data.spans import row_faults
from perbench.disk.files import append_journal, cut_torn, write_text
from perbench.disk.locks import locked
from perbench.errors import PerbenchError, Problem, SpecError
from perbench.text.marks import KINDS
from perbench.text.words import occurrences

Decision = Literal["open", "accepted", "rejected"]
Span = dict[str, Any]
"""{start, end, kind, sentence}; kind and sentence are None until annotated."""
LAYERS = ("first", "second")
TEXTS = (NAMES.persona, NAMES.question, NAMES.answer)
MEND = "or remove the line: only its decision is lost"


@dataclass
class Item:
    """A row, its current spans, those proposed by the file, and the decision; under adjudication also the
    spans of both reviewers."""

    row: Mapping[str, Any]
    proposed: list[Span]
    gold: list[Span]
    decision: Decision = "open"
    layers: tuple[list[Span], list[Span]] | None = None

    def shown(self) -> dict[str, Any]:
        """The item as sent to the page."""
        names = ("id", NAMES.persona, NAMES.question, NAMES.answer)
        both = {} if self.layers is None else dict(zip(LAYERS, self.layers, strict=True))
        shown = {name: self.row[name] for name in names}
        return {**shown, "gold": self.gold, "decision": self.decision, **both}

    def exported(self) -> dict[str, Any]:
        """The row of an accepted item in the format of annotated data, with `review`: accepted or edited;
        under adjudication agreed or adjudicated, and both reviewers' spans as `first` and `second`."""
        if self.layers is not None:
            both = {name: self._with_text(spans) for name, spans in zip(LAYERS, self.layers, strict=True)}
            agreed = self.layers[0] == self.layers[1] == self.gold
            gold = self._with_text(self.gold)
            return {**self.row, "gold": gold, **both, "review": "agreed" if agreed else "adjudicated"}
        same = len(self.gold) == len(self.proposed) and all(
            before["start"] == after["start"]
            and before["end"] == after["end"]
            and all(before[name] in (None, after[name]) for name in ("kind", "sentence"))
            for before, after in zip(self.proposed, self.gold, strict=True)
        )
        return {**self.row, "gold": self._with_text(self.gold), "review": "accepted" if same else "edited"}

    def faults(self, gold: Sequence[Span]) -> list[str]:
        """The faults of `gold` under the rules of annotated data, without those that spans cannot fix."""
        beyond = set(row_faults({**self.row, "gold": []}, NAMES, annotated=True))
        found = row_faults({**self.row, "gold": self._with_text(gold)}, NAMES, annotated=True)
        return [fault for fault in found if fault not in beyond]

    def _with_text(self, gold: Sequence[Span]) -> list[Span]:
        answer = self.row[NAMES.answer]
        return [
            {
                "start": span["start"],
                "end": span["end"],
                "text": answer[span["start"] : span["end"]],
                "kind": span["kind"],
                "sentence": span["sentence"],
            }
            for span in gold
        ]


class Review:
    """Rows of FILE. Decisions are appended to a journal beside OUT, where the latest per row counts; OUT
    holds the accepted rows and is replaced atomically after each decision. Thread-safe."""

    def __init__(self, items: Mapping[str, Item], out: Path, left_out: Sequence[str] = ()) -> None:
        self.items = dict(items)
        self.left_out = left_out
        """Of two reviewers: the ids of rows that only one accepted."""
        self.out = out
        self._journal = journal_file(out)
        self._lock = Lock()

    @classmethod
    @contextmanager
    def open(cls, file: Path, out: Path, second: Path | None = None) -> Iterator[Review]:
        """Continue an earlier review of `file` into `out`, and lock `out`. With `second`, both are what two
        reviewers accepted of the same rows, and the review decides where their spans differ.

        Raises:
            PerbenchError: a file is missing or holds rows without the fields, `out` is not an earlier review,
                its journal holds an invalid line, or another process is reviewing it.
            SpecError: every line of a file that is not a row, or whose spans do not fit; of two, also rows
                that are not of a review, or whose texts differ.
        """
        left_out: list[str] = []
        if second is None:
            items = _items(read_jsonl(file))
        else:
            items, left_out = adjudicated(file, second)
        journal = journal_file(out)
        if out.exists() and not journal.exists():
            raise PerbenchError(
                f"{out} is not an earlier review (there is no {journal.name}); name another --out"
            )
        if not out.parent.is_dir() or out.resolve() in {one.resolve() for one in (file, second) if one}:
            raise PerbenchError(f"--out {out}: name another file, in a folder that exists")

        def busy(_: IO[str]) -> None:
            raise PerbenchError(f"{out} is under review by another process") from None

        with locked(journal, busy):
            review = cls(items, out, left_out)
            review._replay(cut_torn(journal, MEND).rows)
            review._export()
            yield review

    def decide(self, name: str, decision: str, gold: Any) -> dict[str, Any]:
        """Store the spans of a row and the decision; accepting spans that break a rule leaves the row open.

        Returns: {"decision", "faults"}.

        Raises:
            ValueError: the row, decision or spans are invalid.
        """
        item = self.items.get(name)
        if item is None or decision not in get_args(Decision):
            raise ValueError(f"no row {name!r} or no decision {decision!r}")
        spans = _spans(gold, len(item.row[NAMES.answer]))
        faults = item.faults(spans) if decision == "accepted" else []
        kept: Decision = "open" if faults else decision  # type: ignore[assignment]
        with self._lock:
            between = {} if item.layers is None else {"between": [*item.layers]}
            append_journal(self._journal, [{"id": name, "decision": kept, "gold": spans, **between}])
            item.gold, item.decision = spans, kept
            self._export()
        return {"decision": kept, "faults": faults}

    def counts(self) -> Counter[str]:
        return Counter(item.decision for item in self.items.values())

    def exported(self) -> str:
        """The accepted rows as JSONL, in the order of the file."""
        rows = [item.exported() for item in self.items.values() if item.decision == "accepted"]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def _export(self) -> None:
        write_text(self.out, self.exported())

    def _replay(self, decisions: Sequence[Mapping[str, Any]]) -> None:
        """A decision is reopened if its row has changed so that the spans no longer fit, and not applied to
        other spans of the reviewers than those it was made between."""
        for line, entry in enumerate(decisions, start=1):
            name, decision = entry.get("id"), cast("Any", entry.get("decision"))
            if not isinstance(name, str) or decision not in get_args(Decision) or "gold" not in entry:
                raise PerbenchError(
                    f"{self._journal}:{line}: not a decision {{id, decision, gold}}, decision one of "
                    f"{', '.join(get_args(Decision))}; restore the file, {MEND}"
                )
            item = self.items.get(name)
            if item is None or entry.get("between") != (item.layers and [*item.layers]):
                continue
            try:
                gold = _spans(entry["gold"], len(item.row[NAMES.answer]))
            except ValueError:
                item.gold, item.decision = item.proposed, "open"
                continue
            kept: Decision = "open" if decision == "accepted" and item.faults(gold) else decision
            item.gold, item.decision = gold, kept


def journal_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.decisions.jsonl")


def _items(rows: Sequence[Row]) -> dict[str, Item]:
    problems = []
    items: dict[str, Item] = {}
    for row in rows:
        fields = {"id": f"line {row.line}", **row.fields}
        faults = [*row_faults(fields, NAMES, annotated=False)]
        if not isinstance(fields["id"], str) or fields["id"] in items:
            faults.append(f"id {fields['id']!r} is not a text, or a duplicate")
        problems += [Problem(row.place, row.line, fault) for fault in faults]
        if not faults:
            gold = _proposed(fields)
            items[fields["id"]] = Item(fields, gold, gold)
    if problems:
        raise SpecError(problems)
    return items


def adjudicated(first: Path, second: Path) -> tuple[dict[str, Item], list[str]]:
    """The rows that both reviewers accepted, in the order of the first's file: decided where their spans are
    equal; else open, with the spans that both marked. And the ids of rows that only one accepted.

    Raises: as `Review.open`.
    """
    if first.resolve() == second.resolve():
        raise PerbenchError(f"--second {second}: is the same file; name that of the other reviewer")
    found, problems = [], []
    for path in (first, second):
        rows = read_jsonl(path)
        items = _items(rows)
        places = dict(zip(items, rows, strict=True))
        found.append((items, places))
        problems += [
            Problem(
                places[name].place,
                places[name].line,
                "is not a row that a reviewer accepted (no field review); name a file that `perbench data "
                "review` wrote",
            )
            for name, item in items.items()
            if not checked(item.row)
        ]
    (items, places), (others, other_places) = found
    merged = {}
    for name, item in items.items():
        if name not in others:
            continue
        other, place = others[name], places[name]
        differing = [one for one in TEXTS if item.row[one] != other.row[one]]
        if differing:
            where = f"{other_places[name].place}:{other_places[name].line}"
            fault = f"its {differing[0]} differs from that in {where}; both must review the same file"
            problems.append(Problem(place.place, place.line, fault))
        common = [span for span in item.gold if span in other.gold]
        decision: Decision = "accepted" if item.gold == other.gold else "open"
        merged[name] = Item(item.row, common, common, decision, (item.gold, other.gold))
    if problems:
        raise SpecError(problems)
    if not merged:
        raise PerbenchError(f"{first} and {second} have no row in common; both must review the same file")
    return merged, sorted(items.keys() ^ others.keys())


def _proposed(row: Mapping[str, Any]) -> list[Span]:
    spans: list[Span] = []
    for entry in row["gold"]:
        if isinstance(entry, str):
            places = occurrences(row[NAMES.answer], entry)
            spans += [{"start": start, "end": end, "kind": None, "sentence": None} for start, end in places]
        else:
            spans.append(
                {"kind": None, "sentence": None}
                | {name: entry[name] for name in ("start", "end", "kind", "sentence") if name in entry}
            )
    return sorted(spans, key=lambda span: span["start"])


def _spans(given: Any, length: int) -> list[Span]:
    """Spans as sent by the page; raises ValueError if invalid."""
    if not isinstance(given, list):
        raise ValueError(f"spans must be a list, not {given!r}")
    spans = []
    for entry in given:
        if not isinstance(entry, Mapping):
            raise ValueError(f"not a span: {entry!r}")
        start, end, kind, sentence = (entry.get(name) for name in ("start", "end", "kind", "sentence"))
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
            raise ValueError(f"not a span of {length} characters: {entry!r}")
        if (kind is not None and kind not in KINDS) or (sentence is not None and type(sentence) is not int):
            raise ValueError(f"invalid kind or sentence: {entry!r}")
        spans.append({"start": start, "end": end, "kind": kind, "sentence": sentence})
    return sorted(spans, key=lambda span: (span["start"], span["end"]))
