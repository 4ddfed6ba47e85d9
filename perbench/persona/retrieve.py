"""What rankings share. The reference is never seen."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from perbench.shapes.persona import PersonaSpec
from perbench.specs.compose import ranking_of


def absent(spec: PersonaSpec) -> list[str]:
    """The package that the ranking needs and that is not installed, with the command that installs it."""
    requires = ranking_of(spec).requires
    if requires is None:
        return []
    module, extra = requires
    told = f"persona.retrieve {spec.retrieve} needs the package {module}: pip install 'perbench[{extra}]'"
    return [told] if find_spec(module) is None else []


def query_of(question: str, after: str | None) -> str:
    """The request, or what follows the first `after` in it."""
    if after is None:
        return question
    _, marker, rest = question.partition(after)
    return rest.strip() if marker else question


def by_score(scores: Sequence[float]) -> list[int]:
    """Highest first; of equal scores, what stands earlier."""
    return sorted(range(len(scores)), key=lambda place: -scores[place])
