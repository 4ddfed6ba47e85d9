"""Reads JSON lines strictly: one object per line, no duplicate keys, NaN or lone surrogates."""

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
    """One JSON object per line; blank lines are skipped.

    Raises:
        PerbenchError: the file is missing.
        SpecError: every line that is not a JSON object, or holds a duplicate key, NaN or a lone surrogate; a
            file in another format or encoding, or with a line that is too long.
    """
    if not path.is_file():
        raise PerbenchError(
            f"no data file {path}; check the path, or for a family of tasks --data FAMILY=DIR"
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
    """The object in a line, or its faults."""
    try:
        value = parse_json(line.rstrip())
    except (ValueError, RecursionError) as error:
        return [json_fault(error)]
    if not isinstance(value, dict):
        return [f"a row is a JSON object, not {type(value).__name__}"]
    # UTF-8 can hold lone surrogates only as escapes.
    faults = [*value_faults(value)] if "\\u" in line else []
    return faults or value


def parse_json(text: str) -> Any:
    """A JSON value.

    Raises:
        ValueError: it is not JSON, or holds a duplicate key, NaN or a number that is too large.
        RecursionError: it is nested too deeply.
    """
    return _DECODER.decode(text)


def parse_next(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends. Raises as `parse_json`."""
    return _DECODER.raw_decode(text, start)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice!r} appears twice in one object; remove one")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number; write null, or omit the field")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a number; write null, or omit the field")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def json_fault(error: ValueError | RecursionError) -> str:
    """The message of a JSON error, without the parser's line numbers, which do not refer to the file."""
    if isinstance(error, RecursionError):
        return "not JSON: nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}, at character {error.pos + 1}"
    message = str(error)
    # Python's own message suggests changing a limit of the interpreter.
    return "a number of more than 4,300 digits; write it as a text" if "int_max_str" in message else message


def _form(path: Path, line: str) -> str | None:
    """The likely format of a file whose first line is not a row, and how to convert it; None if unknown."""
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
