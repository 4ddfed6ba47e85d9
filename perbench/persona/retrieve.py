"""Helpers of rankings; the reference is never used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec

from perbench.contracts.persona import Compared
from perbench.shapes.persona import PersonaSpec
from perbench.specs.compose import ranking_of


def absent(spec: PersonaSpec) -> list[str]:
    """The message that a package needed by the ranking is not installed, if so."""
    requires = ranking_of(spec).requires
    if requires is None:
        return []
    module, extra = requires
    message = f"persona.retrieve {spec.retrieve} needs the package {module}: pip install 'perbench[{extra}]'"
    return [message] if find_spec(module) is None else []


def query_of(question: str, keys: Compared) -> str:
    """The part of a request that is compared with items."""
    if keys.query_match is not None and (found := re.search(keys.query_match, question)) is not None:
        return " ".join(filter(None, found.groups()))
    after = keys.query_after
    if after is None:
        return question
    _, marker, rest = question.partition(after)
    return rest.strip() if marker else question


def by_score(scores: Sequence[float]) -> list[int]:
    """Highest first; of equal scores, earlier items first."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])
