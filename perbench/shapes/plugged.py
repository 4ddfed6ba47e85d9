"""Keys of specs that name plugins."""

from __future__ import annotations

from pydantic import AfterValidator

from perbench import plugins
from perbench.errors import PerbenchError, suggest


class Broken(ValueError):
    """A plugin of that name is there and cannot be loaded, so what keys it brings is unknown."""


def plugin_of(kind: str, *others: str) -> AfterValidator:
    """Of a text: that it names a plugin of that kind which can be loaded, or is one of `others`."""

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
