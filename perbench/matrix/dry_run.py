"""Prints the plan of `--dry-run` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from perbench.console.printing import console
from perbench.matrix.estimate import CellEstimate, Estimator
from perbench.matrix.plan import Plan
from perbench.matrix.plan_summary import Breakable, summary_table
from perbench.matrix.spend import Spend
from perbench.matrix.spend import total as total_spend
from perbench.progress import counted, duration

if TYPE_CHECKING:
    from rich.table import Table

MANY = 60
"""Most lines of a plan that is printed whole, as folded to the present width."""


def show_plan(
    plan: Plan, estimator: Estimator, later: int = 0, *, as_json: bool, verbose: bool = False
) -> None:
    """Print every cell with its action and reason, tokens, time and endpoint costs; if that takes more than
    MANY lines, unless `verbose`, a summary. `later`: the number of cells that follow after the matrix's
    selection."""
    estimates = [estimator(step.cell) if step.action != "reuse" else None for step in plan.steps]
    todo = [estimate for estimate in estimates if estimate is not None]
    spends = total_spend([estimate.spends for estimate in todo])
    known = [estimate.seconds for estimate in todo if estimate.seconds is not None]
    total = {
        **plan.counts(),
        "tokens": sum(estimate.tokens for estimate in todo if estimate.tokens is not None),
        "uncounted": sum(estimate.tokens is None for estimate in todo),
        "tokens_exact": all(estimate.exact for estimate in todo if estimate.tokens is not None),
        "seconds": sum(known) if known or not todo else None,
        "untimed": len(todo) - len(known),
        "endpoints": _spend_json(spends),
        "after_selection": later,
    }
    if as_json:
        print(json.dumps({"cells": _plan_json(plan, estimates), "total": total}, ensure_ascii=False))
        return
    short = not verbose and (len(plan.steps) > MANY or _lines(_plan_table(plan, estimates)) > MANY)
    console().print((summary_table if short else _plan_table)(plan, estimates))
    if short:
        print(f"{counted(len(plan.steps), 'cell')}; --verbose prints each of them")
    print(_total_line(total, len(todo)))
    if later:
        print(
            f"then {counted(later, 'cell')} to evaluate, not in these sums: of the models that are selected"
        )
    for name, one in spends.items():
        print(_spend_line(name, one))
    for line in _uncounted_lines(todo):
        print(line)


DOING = {"train": "to train", "eval": "to evaluate", "identify": "to identify", "reuse": "reused"}


def _total_line(total: Mapping[str, Any], todo: int) -> str:
    """Of a plan with `todo` cells that are not reused: their actions, and the cost as far as it is known."""
    parts = [", ".join(f"{total[key]:,} {what}" for key, what in DOING.items() if total[key])]
    if not todo:
        return f"{parts[0]}; nothing to run"
    tokens, untimed = total["uncounted"], total["untimed"]
    about = "" if total["tokens_exact"] else "about "
    parts.append(
        "tokens: unknown"
        if tokens == todo
        else f"{_least(tokens)}{about}{counted(total['tokens'], 'token')}{_unknown(tokens)}"
    )
    if untimed == todo:
        parts.append(f"time: unknown{'' if tokens == todo else ', no similar past record'}")
    else:
        parts.append(f"time: {_least(untimed)}about {duration(total['seconds'])}{_unknown(untimed)}")
    return "; ".join(parts)


def _least(unknown: int) -> str:
    return "at least " if unknown else ""


def _unknown(cells: int) -> str:
    return f" ({counted(cells, 'cell')} unknown)" if cells else ""


def _uncounted_lines(todo: Sequence[CellEstimate]) -> Iterator[str]:
    """Why the tokens of cells are unknown."""
    reasons = {True: "whose data are unavailable here", False: "whose data only the run loads"}
    for unavailable, reason in reasons.items():
        cells = [one for one in todo if one.tokens is None and one.unavailable == unavailable]
        if cells:
            asks = ", and their endpoint requests" if any(one.unasked for one in cells) else ""
            yield f"not in these sums: {counted(len(cells), 'cell')} {reason}{asks}"


def _lines(table: Table) -> int:
    return len(console().render_lines(table, pad=False))


def _spend_line(name: str, one: Spend) -> str:
    money = (
        "cost unknown: its model file gives no prices"
        if one.cost is None
        else f"at most about {one.cost:,.4f} {one.currency}"
    )
    return (
        f"endpoint {name}: about {counted(one.asked.requests, 'request')}, "
        f"{counted(one.asked.input, 'token')} read, at most {one.asked.output:,} written; {money}; "
        f"replies in the cache cost nothing"
    )


def _spend_json(spends: Mapping[str, Spend]) -> dict[str, Any]:
    return {
        name: {**asdict(one.asked), "cost": one.cost, "currency": one.currency}
        for name, one in spends.items()
    }


def _plan_json(plan: Plan, estimates: list[CellEstimate | None]) -> list[dict[str, Any]]:
    return [
        {
            "kind": step.cell.kind,
            "identity": step.cell.identity,
            "labels": step.cell.labels.model_dump(mode="json"),
            "action": step.action,
            "reason": step.reason,
            "tokens": estimate.tokens if estimate else 0,
            "tokens_exact": estimate.exact if estimate else True,
            "seconds": estimate.seconds if estimate else 0.0,
            "endpoints": _spend_json(estimate.spends) if estimate else {},
        }
        for step, estimate in zip(plan.steps, estimates, strict=True)
    ]


def _plan_table(plan: Plan, estimates: Sequence[CellEstimate | None]) -> Table:
    from rich.table import Table

    table = Table()
    for head in ("cell", "action", "why"):
        table.add_column(head, overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("time", justify="right")
    for step, estimate in zip(plan.steps, estimates, strict=True):
        tokens = seconds = ""
        if estimate is not None:
            known = estimate.tokens is not None
            tokens = f"{'' if estimate.exact else '~'}{estimate.tokens:,}" if known else "unknown"
            seconds = "unknown" if estimate.seconds is None else f"~{duration(estimate.seconds)}"
        table.add_row(Breakable(str(step.cell)), step.action, Breakable(step.reason), tokens, seconds)
    return table
