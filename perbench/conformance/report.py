"""Findings of `perbench check`, and the settings that are tried."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from perbench.errors import PerbenchError
from perbench.hyperparameters import Hyperparameters
from perbench.plugins.faults import fault_of, place_of
from perbench.site.format import variation

NEAR = 1e-3
"""How far from a bound that is itself excluded a value is tried."""


@dataclass(frozen=True)
class Finding:
    """One check: `ok` is None where another fault kept it from being tried; `said` is what was found, or what
    is wrong and the way out."""

    name: str
    ok: bool | None
    said: str


class Fault(Exception):
    """A check's own: what is wrong and the way out."""


@dataclass
class Report:
    """The findings on `plugin`, whose method `method` is tried."""

    plugin: Hyperparameters
    method: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @contextmanager
    def check(self, name: str) -> Iterator[Callable[[str], None]]:
        """One check: the block calls what it is given with what it found, or raises."""
        said: list[str] = []
        try:
            yield said.append
        except Exception as error:
            self.findings.append(Finding(name, False, self._told(error)))
        else:
            self.findings.append(Finding(name, True, said[-1] if said else ""))

    def open(self, name: str, *needs: str) -> bool:
        """Whether the checks that this one builds on went well; noted as not tried where not."""
        failed = [finding.name for finding in self.findings if finding.name in needs and not finding.ok]
        if failed:
            self.findings.append(Finding(name, None, f"not tried: {failed[0]} must be right first"))
        return not failed

    def _told(self, error: Exception) -> str:
        place = place_of(self.plugin, self.method)
        if isinstance(error, Fault | PerbenchError):
            text = "; ".join([str(error), *getattr(error, "__notes__", [])])
            return text if text.startswith(place) else f"{place}: {text}"
        fault = fault_of(error)
        text = fault.told(fault.place) if fault else f"{place}: raised {type(error).__name__}: {error}"
        return "; ".join([text, *getattr(error, "__notes__", [])])


def settings(cls: type[Hyperparameters], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Hyperparameters to try, by what to call them: as `given`, then with each other choice and each bound of
    one field. What the plugin itself refuses is left out."""
    found = {variation(given) or "defaults": dict(given)}
    for name, info in cls._model().model_fields.items():
        for value in [] if name in given else _values(info):
            params = {**given, name: value}
            if not cls.faults(params):
                found[variation({name: value})] = params
    return found


def _values(info: Any) -> list[Any]:
    """Values of a field beside its default: all choices, else those at its bounds."""
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
