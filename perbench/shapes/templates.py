"""Templates in specs: their placeholders and faults."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import Formatter
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(gt=0)]


def placeholders(template: str) -> set[str]:
    """Names in braces of a str.format template; positional arguments and attribute access are refused."""
    names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    for name in sorted(names):
        if not name.isidentifier():
            raise ValueError(f"{{{name}}} is not a plain name")
    return names


def template_faults(name: str, template: str | None, allowed: Collection[str] | None = None) -> list[str]:
    """Faults of a template: its braces, or placeholders outside `allowed` (None: any name)."""
    try:
        used = placeholders(template or "")
    except ValueError as error:
        return [f"{name}: {error}; write {{{{ and }}}} for literal braces"]
    if allowed is None:
        return []
    names = ", ".join(f"{{{word}}}" for word in sorted(allowed))
    return [f"{name}: unknown {{{word}}}; allowed: {names}" for word in sorted(used.difference(allowed))]


def refuse(faults: Sequence[str]) -> None:
    """Raise all faults of a model validator at once, one per line, each starting with its key."""
    if faults:
        raise ValueError("\n".join(faults))
