"""Reads a published file, which anybody may have written: every fault of its form, by place."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from perbench.disk.digests import canonical_digest
from perbench.disk.sealed import seal_holds
from perbench.published.form import file_name, setup_of, text_of
from perbench.published.shape import MOST_BYTES, SCHEMA, Published

DEEPEST = 64
LARGEST = 2**53
"""Larger whole numbers are not exact in every JSON reader."""
AGAIN = "publish the run again with `perbench leaderboard add RUN`"


class FileFault(NamedTuple):
    """A fault of a published file: the key's path ("cells[0].record.seconds", "" for the whole file), the
    fault with the value, and the way out."""

    key: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.key, f"{self.what}; {self.way_out}")))


def whole(path: Path) -> tuple[Published | None, list[FileFault]]:
    """A file's content, None if it cannot be read as such; and the faults of its form: size, encoding, JSON,
    schema, seals, identities, its own name."""
    try:
        raw = _bytes(path)
        text = raw.decode("utf-8")
        value = _DECODER.decode(text)
    except OSError as error:
        return None, [FileFault("", error.strerror or str(error), "give a published file")]
    except UnicodeDecodeError as error:
        return None, [FileFault("", f"not UTF-8 at byte {error.start}", AGAIN)]
    except RecursionError:
        return None, [FileFault("", "not JSON: nested too deeply", AGAIN)]
    except json.JSONDecodeError as error:
        return None, [FileFault("", f"not JSON: line {error.lineno}: {error.msg}", AGAIN)]
    except ValueError as error:
        return None, [FileFault("", str(error), "give a published file")]
    faults = [*_values(value, "", 0)]
    if faults:
        return None, faults
    try:
        found = Published.model_validate_json(text)
    except ValidationError as error:
        return None, [_invalid(one) for one in error.errors(include_url=False)]
    faults = [*_form(found, value, path.name)]
    if text_of(value) != text:
        faults.append(
            FileFault("", "not in the form that perbench writes (order of keys, lines, escapes)", AGAIN)
        )
    return found, faults


def _bytes(path: Path) -> bytes:
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        raise ValueError("a link, which may lead out of the folder")
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("not a file")
    if state.st_size > MOST_BYTES:
        raise ValueError(f"{state.st_size:,} bytes; published files have at most {MOST_BYTES:,}")
    return path.read_bytes()


class _Twice(dict[str, Any]):
    """An object with a key that was given twice."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice, seen = _Twice(found), set[str]()
    for name, _ in pairs:
        twice.name = name if name in seen and not twice.name else twice.name
        seen.add(name)
    return twice


def _integer(text: str) -> int | float:
    return int(text) if len(text) < 20 else math.inf


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


def _values(value: Any, key: str, depth: int) -> Iterator[FileFault]:
    """What no schema says: depth, keys given twice, numbers that are not finite or not exact."""
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:  # NaN is not
        if isinstance(value, int):
            yield FileFault(key, f"{value} is too large to be exact", AGAIN)
        elif not math.isfinite(value):
            yield FileFault(key, f"{value} is not a number of JSON, or too large", AGAIN)
    if not isinstance(value, (dict, list)):
        return
    if depth == DEEPEST:
        yield FileFault(f"{key[:60]}…", f"nested more than {DEEPEST} deep", AGAIN)
        return
    if isinstance(value, _Twice):
        yield FileFault(f"{key}.{value.name}".strip("."), f"key {value.name!r} appears twice", "remove one")
    for name, one in value.items() if isinstance(value, dict) else enumerate(value):
        if one is None or isinstance(one, (str, bool)) or (isinstance(one, float) and -1e15 < one < 1e15):
            continue  # most of all: scores, ids
        below = f"{key}[{name}]" if isinstance(name, int) else f"{key}.{name}".strip(".")
        yield from _values(one, below, depth + 1)


def _invalid(error: Any) -> FileFault:
    place, kind = error["loc"], error["type"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).strip(".")
    if kind == "extra_forbidden":
        return FileFault(key, f"unknown key {place[-1]!r}", "remove it")
    if place == ("schema_version",):
        return FileFault(key, f"version {shown(error['input'])}; this perbench reads {SCHEMA}", AGAIN)
    if kind == "missing":
        return FileFault(key, "missing", AGAIN)
    return FileFault(key, f"{shown(error['input'])}: {error['msg']}", AGAIN)


def shown(value: Any) -> str:
    """A value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _form(found: Published, value: dict[str, Any], name: str) -> Iterator[FileFault]:
    raw = {"cells": value.get("cells", []), "trainings": value.get("trainings", [])}
    for key, cell in found.placed:
        part, _, number = key.partition("[")
        record = cell.record
        if not seal_holds(raw[part][int(number[:-1])]):
            yield FileFault(
                f"{key}.sha256", f"{shown(cell.sha256)} is not the digest of the cell: it was edited", AGAIN
            )
        if record.schema_version != 2:
            yield FileFault(
                f"{key}.record.schema_version", f"{record.schema_version}; published records have 2", AGAIN
            )
        if canonical_digest(record.inputs) != record.identity:
            what = f"{shown(record.identity)} is not the sha256 of the cell's inputs"
            yield FileFault(f"{key}.record.identity", what, AGAIN)
        if (record.kind == "train") != (part == "trainings"):
            yield FileFault(f"{key}.record.kind", f"{record.kind!r} is in the wrong list", AGAIN)
    yield from _trainings(found)
    if not any(True for _ in found.placed):
        yield FileFault("cells", "empty, and so are the trainings", AGAIN)
        return
    yield from _name(found, name)


def _trainings(found: Published) -> Iterator[FileFault]:
    used = set()
    for place, cell in enumerate(found.cells):
        record, training = cell.record, found.training_of(cell)
        key = f"cells[{place}].record.trained_by"
        if record.trained_by is not None and training is None:
            yield FileFault(key, f"{shown(record.trained_by)} is not among the file's trainings", AGAIN)
        used.add(record.trained_by)
    for place, cell in enumerate(found.trainings):
        if found.cells and cell.record.identity not in used:
            key = f"trainings[{place}].record.identity"
            yield FileFault(
                key, f"{shown(cell.record.identity)} made no model of the file's cells", "remove it"
            )


def _name(found: Published, name: str) -> Iterator[FileFault]:
    cells = found.cells or found.trainings
    setups = [(setup_of(cell.record, found.training_of(cell)), cell) for cell in cells]
    first, cell = setups[0]
    list_ = "cells" if found.cells else "trainings"
    for place, (setup, _) in enumerate(setups):
        if setup != first:
            what = "made otherwise than the first of the file, by more than its seed"
            yield FileFault(f"{list_}[{place}].record", what, AGAIN)
    wanted = file_name(cell.record, found.training_of(cell))
    if name != wanted:
        yield FileFault("", f"the file is named {name!r}", f"its content belongs in {wanted}")
