"""Results of `perbench check`, and the settings to test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perbench.errors import PerbenchError
from perbench.hyperparameters import Hyperparameters, model_of
from perbench.plugins.faults import fault_of, place_of
from perbench.progress import counted
from perbench.shapes.describe import section_of
from perbench.site.format import variation

NEAR = 1e-3
"""Distance at which a value is tested near an excluded bound."""


@dataclass(frozen=True)
class Finding:
    """One check: `ok` is None if it was not run because of another fault; `said` is the result, or the fault
    and what to do."""

    name: str
    ok: bool | None
    said: str


class Fault(Exception):
    """A failed check: what is wrong and what to do."""


@dataclass
class Report:
    """The findings on `plugin`, whose method `method` is tested."""

    plugin: object
    method: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def run(self, checks: Mapping[str, Callable[[], str]]) -> Report:
        """Run each check, which returns its result or raises. Those after the first run only if the first
        passes."""
        for name, check in checks.items():
            if self.findings and not self.findings[0].ok:
                first = self.findings[0].name
                self.findings.append(Finding(name, None, f"not run: {first} must pass first"))
                continue
            try:
                self.findings.append(Finding(name, True, check()))
            except Exception as error:
                self.findings.append(Finding(name, False, self._message(error)))
        return self

    def _message(self, error: Exception) -> str:
        place = place_of(self.plugin, self.method)
        if isinstance(error, Fault | PerbenchError):
            text = "; ".join([str(error), *getattr(error, "__notes__", [])])
            return text if text.startswith(place) else f"{place}: {text}"
        fault = fault_of(error)
        text = fault.message(fault.place) if fault else f"{place}: raised {type(error).__name__}: {error}"
        return "; ".join([text, *getattr(error, "__notes__", [])])


def settings(cls: type[Hyperparameters], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Hyperparameters to test, by a name: as `given`, then with each other choice and each bound of one
    field. Those that the plugin refuses are left out."""
    fields = model_of(cls).model_fields
    return _varied(
        {(name,): info for name, info in fields.items()}, given, lambda params: not cls.faults(params)
    )


def tried(
    keys: type[BaseModel], given: Mapping[str, Any], trial: Callable[[Any], Callable[[], object]]
) -> str:
    """Test an owner's keys in the same way, including those in sections. `trial` returns the test for some
    values, and raises PerbenchError if they are not valid."""

    def valid(values: Mapping[str, Any]) -> bool:
        with suppress(PerbenchError):
            return bool(trial(values))
        return False

    found = _varied(dict(_leaves(keys)), given, valid)
    for name, values in found.items():
        try:
            trial(values)()
        except Exception as error:
            error.add_note(f"with {name}")
            raise
    return f"{counted(len(found), 'setting')} tried: {', '.join(found)}"


def _leaves(keys: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, info in keys.model_fields.items():
        inner = section_of(info)
        yield from (
            [((name,), info)] if inner is None else (((name, *path), one) for path, one in _leaves(inner))
        )


def _varied(
    fields: Mapping[tuple[str, ...], FieldInfo], given: Mapping[str, Any], valid: Callable[[Any], bool]
) -> dict[str, dict[str, Any]]:
    found = {variation(given) or "defaults": dict(given)}
    for path, info in fields.items():
        for value in [] if path[0] in given and len(path) == 1 else _values(info):
            params = deepcopy(dict(given))
            inner = params
            for part in path[:-1]:
                inner = inner.setdefault(part, {})
            inner[path[-1]] = value
            if valid(params):
                found[variation({".".join(path): value})] = params
    return found


def _values(info: Any) -> list[Any]:
    """Values of a field besides its default: all choices, else those at its bounds."""
    choices: list[Any] = []
    if get_origin(info.annotation) is Literal:
        choices = list(get_args(info.annotation))
    elif info.annotation is bool:
        choices = [False, True]
    elif inspect.isclass(info.annotation) and issubclass(info.annotation, int | float):
        kind, step = info.annotation, 1 if issubclass(info.annotation, int) else NEAR
        for bound in info.metadata:
            for key, shift in (("ge", 0), ("gt", step), ("le", 0), ("lt", -step)):
                if (limit := getattr(bound, key, None)) is not None:
                    choices.append(kind(limit + shift))
    return [value for value in choices if value != info.default]
