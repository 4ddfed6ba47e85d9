"""JSON lines, read strictly: one object per line, every key once, no NaN, no half characters."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

from perbench.contracts.source import Row
from perbench.data.lines import packed, read_lines
from perbench.data.values import MOST_PROBLEMS, value_faults
from perbench.errors import PerbenchError, Problem, SpecError


def read_jsonl(path: Path) -> list[Row]:
    """One JSON object per line; blank lines are passed over.

    Raises:
        PerbenchError: the file is not there.
        SpecError: every line that is no JSON object, or holds a key twice, NaN or a lone surrogate; a file of
            another form, encoding, or with a line that is too long.
    """
    if not path.is_file():
        raise PerbenchError(
            f"no data file {path}; check the path, for a family of tasks --data FAMILY=DIR"
            f"{packed(path.parent, path.name)}"
        )
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        found = parse_row(line)
        if isinstance(found, dict):
            rows.append(Row(path, number, found))
            continue
        form = _form(path, line) if not rows and not problems else None
        if form is not None:
            raise SpecError([Problem(path, number, form)])
        problems += [Problem(path, number, fault) for fault in found]
    if problems:
        raise SpecError(problems[:MOST_PROBLEMS])
    return rows


def parse_row(line: str) -> dict[str, Any] | list[str]:
    """The object that a line holds, or what is wrong with it."""
    try:
        value = parse_json(line.rstrip())
    except (ValueError, RecursionError) as error:
        return [told(error)]
    if not isinstance(value, dict):
        return [f"a row is a JSON object, not {type(value).__name__}"]
    # A file in UTF-8 holds lone surrogates by their escapes only.
    faults = [*value_faults(value)] if "\\u" in line else []
    return faults or value


def parse_json(text: str) -> Any:
    """A JSON value.

    Raises:
        ValueError: it is none, or holds a key twice, NaN or a number beyond all bounds.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} is given twice in one object; remove one")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON; write null, or leave the field out")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond what a number can hold; write null, or leave the field out")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def told(error: ValueError | RecursionError) -> str:
    """Without the parser's line numbers: to it, a file's line is a whole text."""
    if isinstance(error, RecursionError):
        return "not JSON: nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}, at character {error.pos + 1}"
    message = str(error)
    # Python's own words would have the user change Python.
    return "a number of more than 4,300 digits; write it as a text" if "int_max_str" in message else message


def _form(path: Path, line: str) -> str | None:
    """What a file seems to hold whose first line is no row, with the way out; None where nothing is known."""
    text, named = line.strip(), shlex.quote(str(path))
    if text.startswith("["):
        return f"a JSON array; write its objects one per line: jq -c '.[]' {named} > ROWS.jsonl"
    if text == "{":
        return f"an object over several lines; write one per line: jq -c . {named} > ROWS.jsonl"
    mark = max(",;\t", key=text.count)
    if not text.startswith("{") and mark in text:
        apart = "" if mark == "," else f", delimiter={mark!r}"
        rows = f"csv.DictReader(open('{path}', newline=''){apart})"
        convert = f"import csv, json; [print(json.dumps(row)) for row in {rows}]"
        return f'looks like CSV; write each row as a JSON object: python -c "{convert}" > ROWS.jsonl'
    return None
