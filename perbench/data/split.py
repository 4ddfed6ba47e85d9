"""Splits one file of rows into a training and a test part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from perbench.contracts.source import Row
from perbench.data.overlap import LONG, same_text
from perbench.errors import PerbenchError, Problem, SpecError, suggest
from perbench.progress import counted
from perbench.shapes.base import Strict
from perbench.shapes.task import FieldSpec


class SplitSpec(Strict):
    """How to split one file of rows into a training and a test part."""

    by: Literal["user", "row"]
    """ "user" keeps all rows of a user together, so that tested users are unseen."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the users, or rows, to test."""
    seed: Annotated[int, Field(ge=0)] = 0


def cut(path: Path, rows: Sequence[Row], fields: FieldSpec, split: SplitSpec) -> dict[str, list[Row]]:
    """Every row in either "train" or "test". `split.test` is the share of users, or of rows, to test, chosen
    by a hash of each and `split.seed`. Rows with the same text stay together.

    Raises:
        SpecError: rows lack a field that the split needs; reported at the first.
        PerbenchError: there are fewer than two users, or two different rows.
    """
    _check_fields(rows, _parted_by(fields, split))
    keys = [_key(row, fields, split) for row in rows]
    order = sorted(set(keys), key=lambda key: hashlib.sha256(f"{split.seed}/{key}".encode()).digest())
    if len(order) < 2:
        way_out = "; add users, or split by row" if split.by == "user" else "; add rows"
        raise PerbenchError(
            f"{path}: data.split by {split.by} needs two {split.by}s, found {len(order)}{way_out}"
        )
    tested = set(order[: min(max(round(len(order) * split.test), 1), len(order) - 1)])
    parts: dict[str, list[Row]] = {"train": [], "test": []}
    for row, key in zip(rows, keys, strict=True):
        parts["test" if key in tested else "train"].append(row)
    return parts


def _parted_by(fields: FieldSpec, split: SplitSpec) -> list[str]:
    named = (
        [fields.persona if fields.user is None else fields.user]
        if split.by == "user"
        else [fields.user, fields.question, fields.reference]
    )
    return [name for name in named if name is not None]


def _check_fields(rows: Sequence[Row], names: Sequence[str]) -> None:
    """Rows without the field would count as rows of one user."""
    for name in names:
        lacking = [row for row in rows if name not in row.fields]
        if lacking:
            first, others = lacking[0], len(lacking) - 1
            more = f" (also in {counted(others, 'further row')})" if others else ""
            message = f"the row has no field {name!r}, which data.split needs."
            raise SpecError(
                [Problem(first.place, first.line, f"{message}{suggest(name, map(str, first.fields))}{more}")]
            )


def _key(row: Row, fields: FieldSpec, split: SplitSpec) -> str:
    """The key of rows that stay together: a user's, or single rows that an overlap would count as the
    same."""
    user, question, reference, persona = (
        row.fields.get(name) if name is not None else None
        for name in (fields.user, fields.question, fields.reference, fields.persona)
    )
    if split.by == "user":
        return _text(persona if fields.user is None else user)
    reference = same_text(_text(reference))
    return (
        reference
        if len(reference) >= LONG
        else "\n".join([_text(user), same_text(_text(question)), reference])
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
