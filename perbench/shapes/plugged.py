"""Spec keys that name plugins."""

from __future__ import annotations

from pydantic import AfterValidator

from perbench import plugins
from perbench.errors import PerbenchError, suggest


class Broken(ValueError):
    """The named plugin exists but cannot be loaded, so its keys are unknown."""


def plugin_of(kind: str, *others: str) -> AfterValidator:
    """Validates that a text names a loadable plugin of the kind, or is one of `others`."""

    def check(value: str) -> str:
        found = {name: plugin for (_, name), plugin in plugins.discover(kind).items()}
        if value not in others and value not in found:
            raise ValueError(f"got {value!r} (a string).{suggest(value, [*others, *found])}")
        if value not in others:
            try:
                found[value].load_class()
            except PerbenchError as error:
                raise Broken(str(error)) from None
        return value

    return AfterValidator(check)
