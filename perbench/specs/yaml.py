"""Strict YAML 1.2 with the line of every key.

PyYAML parses; this module builds values from its events, because its loaders keep the last of two equal keys,
follow YAML 1.1 (`yes` is true, `2e-6` is a string, `12:30` is 750) and lose positions. Line breaks remain
PyYAML's: besides those of YAML 1.2 also U+0085, U+2028 and U+2029, unless escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from perbench.errors import PerbenchError, Problem, SpecError

KeyPath = tuple[str | int, ...]
MAX_DEPTH = 40
MAX_BYTES = 1_000_000
MAX_KEYS = 50_000
"""Maximum number of keys and list items in a file."""
LONG = 50_000
"""Length from which only libyaml parses, though its messages are shorter."""

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LENIENT = re.compile("[\t\ufeff]|[|>][-+0-9]*#")
"""What libyaml may accept where PyYAML does not: tabs, byte order marks, comments after | and >."""
_SPECIAL = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}
_HINTS = {
    "'\\t'": "; indent with spaces",
    "mapping values are not allowed": "; quote a value that holds ': '",
    "cannot start any token": "; quote a value that starts with a sign",
}


@dataclass(frozen=True)
class Place:
    """Where a value was given: a file and line, or a command-line option."""

    source: Path | str
    line: int | None = None

    @property
    def option(self) -> str | None:
        """The option that gave it, "--model"; None for a file."""
        text = str(self.source)
        return text.partition(" ")[0] if text.startswith("--") else None

    def problem(self, message: str) -> Problem:
        return Problem(self.source, self.line, message)


COMMAND_LINE = Place("command line")
"""The place of values that a short form (`perbench eval`) gives without an option."""


def flag(name: str, value: object) -> Place:
    """The place of an option's value, as typed: "--model smollm2-135n"."""
    return Place(f"--{name} {value}")


@dataclass
class Document:
    """A mapping with the place of each of its keys and list items."""

    data: dict[str, Any]
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """The place of a key, or of the nearest enclosing one that has a place."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def read(path: Path) -> Document:
    """Read a file that holds one mapping.

    Raises:
        SpecError: a missing, unreadable or too large file, bad syntax, not a mapping, duplicate keys,
            anchors, tags.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            message = f"more than {MAX_BYTES:,} bytes, too many for a spec; put data into a file of rows"
            raise SpecError([Problem(path, None, message)])
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError([Problem(path, None, f"not UTF-8 ({error.reason} at byte {error.start})")]) from None
    except OSError as error:
        raise SpecError([Problem(path, None, f"cannot be read: {error.strerror}")]) from None
    value, places, problems = _parse(text, path)
    if not isinstance(value, dict):
        problems = problems or [
            Problem(path, 1, f"expected a mapping of keys to values, got {describe(value)}")
        ]
        raise SpecError(problems)
    if problems:
        raise SpecError(problems)
    return Document(value, places)


def parse_value(text: str, source: str) -> Any:
    """One value as read from a file; `source` is named in errors.

    Raises:
        SpecError: bad syntax.
    """
    value, _, problems = _parse(text, source)
    if problems:
        raise SpecError([Problem(source, None, problem.message) for problem in problems])
    return value


def parse_param(text: str, option: str = "--param") -> tuple[str, Any]:
    """Name and value of an option `--param NAME=VALUE`.

    Raises:
        PerbenchError: there is no "=", or the value is not YAML.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise PerbenchError(f"{option} {text}: expected NAME=VALUE")
    return name, parse_value(value, f"{option} {text}")


def at(data: Any, path: KeyPath) -> Any:
    """The value at a key path, or None."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def describe(value: Any) -> str:
    """A value and its YAML type, for messages: "'3' (a string)"."""
    kinds: dict[type, str] = {bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return f"{shown} ({kinds[type(value)]})"


def _scalar(text: str) -> Any:
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _parse(text: str, source: Path | str) -> tuple[Any, dict[KeyPath, Place], list[Problem]]:
    # libyaml is twenty times as fast, but gives shorter messages and accepts what PyYAML refuses.
    found = _built(text, source, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if len(text) <= LONG and (found[2] or _LENIENT.search(text)):
        found = _built(text, source, yaml.SafeLoader)
    return found


def _built(text: str, source: Path | str, loader: Any) -> tuple[Any, dict[KeyPath, Place], list[Problem]]:
    builder = _Builder(yaml.parse(text, Loader=loader), source)
    try:
        value = builder.document()
    except yaml.MarkedYAMLError as error:
        message = " ".join(filter(None, (error.context, error.problem)))
        hint = next((hint for part, hint in _HINTS.items() if part in message), "")
        marks = [mark.line + 1 for mark in (error.problem_mark, error.context_mark) if mark is not None]
        builder.problems.append(Problem(source, marks[0] if marks else None, f"bad YAML: {message}{hint}"))
        return {}, {}, builder.problems
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        builder.problems.append(Problem(source, line, f"bad YAML: {error.reason}"))
        return {}, {}, builder.problems
    except ValueError as error:  # a lone surrogate, a character number that does not exist
        builder.problems.append(Problem(source, None, f"bad YAML: {error}"))
        return {}, {}, builder.problems
    return value, builder.places, builder.problems


class _Builder:
    def __init__(self, events: Iterator[Any], source: Path | str) -> None:
        self.events = events
        self.source = source
        self.places: dict[KeyPath, Place] = {(): Place(source, 1 if isinstance(source, Path) else None)}
        self.problems: list[Problem] = []

    def document(self) -> Any:
        value, documents = None, 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._fault(event, "a second document; a file holds one mapping")
                    return value
                value = self._value(next(self.events), ())
        return value

    def _fault(self, event: Any, message: str) -> None:
        self.problems.append(Problem(self.source, event.start_mark.line + 1, message))

    def _set(self, path: KeyPath, event: Any) -> None:
        if len(self.places) > MAX_KEYS:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_KEYS:,} keys and list items; put data into a file of rows",
                problem_mark=event.start_mark,
            )
        self.places[path] = Place(self.source, event.start_mark.line + 1)

    def _value(self, event: Any, path: KeyPath) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._fault(
                event, f"alias *{event.anchor}: aliases are not supported; write the value out"
            )
        if event.anchor is not None:
            self._fault(event, f"anchor &{event.anchor}: anchors are not supported; write the value out")
        if event.tag is not None:
            self._fault(event, f"tag {event.tag}: tags are not supported; write a plain value")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event.value) if event.implicit[0] and not event.style else event.value
        if len(path) >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark
            )
        build: Callable[[KeyPath], Any] = (
            self._mapping if isinstance(event, yaml.MappingStartEvent) else self._list
        )
        return build(path)

    def _list(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self._set(here, event)
            items.append(self._value(event, here))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
            if key is None:
                self._fault(event, "a key must be a plain word; is a {placeholder} missing its quotes?")
                self._value(event, (*path, "?"))
                self._value(next(self.events), (*path, "?"))
                continue
            here = (*path, key)
            if key == "<<":
                self._fault(event, "merge keys (<<) are not supported; write the keys out")
            elif key in found:
                first = self.places[here].line
                self._fault(event, f"duplicate key {key!r}, first given on line {first}; remove one")
            else:
                self._set(here, event)
                found[key] = None
                found[key] = self._value(next(self.events), here)
                continue
            self._value(next(self.events), (*path, "?"))
        return found
