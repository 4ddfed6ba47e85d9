"""Templates in specs: their placeholders, and how faults are told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import Formatter
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(gt=0)]


def placeholders(template: str) -> set[str]:
    """Names in braces of a str.format template; positional or attribute access is refused."""
    names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    for name in sorted(names):
        if not name.isidentifier():
            raise ValueError(f"{{{name}}} is no plain name")
    return names


def template_faults(name: str, template: str | None, allowed: Collection[str] | None = None) -> list[str]:
    """What is wrong with a template: its braces, or placeholders outside `allowed` (None: any name)."""
    try:
        used = placeholders(template or "")
    except ValueError as error:
        return [f"{name}: {error}; write {{{{ and }}}} for literal braces"]
    if allowed is None:
        return []
    told = ", ".join(f"{{{word}}}" for word in sorted(allowed))
    return [f"{name}: unknown {{{word}}}; allowed: {told}" for word in sorted(used.difference(allowed))]


def refuse(faults: Sequence[str]) -> None:
    """Raise all faults of a model validator at once, one a line, each starting with the key it is about."""
    if faults:
        raise ValueError("\n".join(faults))
