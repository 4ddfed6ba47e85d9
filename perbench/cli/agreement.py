"""perbench doctor --engine: whether results of two engines may share a table."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from perbench.conformance.agreement import Agreement

REFERENCE = "transformers"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", metavar="NAME", help="compare this engine with another on the weights of --model"
    )
    parser.add_argument("--model", metavar="MODEL", help="with --engine: a model whose weights it can load")
    parser.add_argument(
        "--against",
        metavar="NAME",
        help=f"with --engine: the engine to compare with (default: {REFERENCE})",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with --engine: a key of the engine's section, such as eager=true; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """The exit code: 0 if they may share a table, 1 if not."""
    from perbench import plugins
    from perbench.conformance.agreement import agreement, check_engine
    from perbench.console.printing import say
    from perbench.specs.load import load_model
    from perbench.specs.yaml import Place, parse_param

    against = args.against or REFERENCE
    for name in (args.engine, against):
        check_engine(name, plugins.get("engine", name).load_class())
    if args.engine == against:
        raise PerbenchError(f"--engine and --against are both {args.engine}; name two engines")
    if args.model is None:
        raise PerbenchError(
            f"--engine {args.engine}: engines are compared on one model's weights; add --model MODEL, such "
            "as --model smollm2-135m"
        )
    keys = dict(parse_param(text, "--set") for text in args.set)
    serving = {"engine": args.engine, **({args.engine: keys} if keys else {})}
    place = Place(f"--engine {args.engine}")
    found = agreement(
        load_model(args.model, {"engine": against}, place), load_model(args.model, serving, place), say
    )
    if args.json:
        print(json.dumps({**asdict(found), "share": not found.faults, "why": found.faults}, indent=1))
    else:
        _show(found)
    return 1 if found.faults else 0


def _show(found: Agreement) -> None:
    print(f"{found.model}, {found.dtype}, {found.prompts} prompts: {found.engines[0]} and {found.engines[1]}")
    print(
        f"log-probs: {found.mean:.1e} apart on average, {found.largest:.1e} at most, {found.tokens:,} tokens"
    )
    print(f"greedy answers: {found.equal} of {found.prompts} equal")
    if (first := found.first) is not None:
        gap = "where one answer ends" if first.gap is None else f"between tokens {first.gap:.1e} apart"
        print(f"first divergence: token {first.token + 1}, {gap}, after {first.prompt!r}")
    for line in found.faults:
        print(f"their results may not share a table: {line}")
    if not found.faults:
        print("their results may share a table: they differ by rounding")
