"""perbench identify: score identifiers of personal tokens against gold spans."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.matrix.options import Options
    from perbench.shapes.base import Named
    from perbench.specs.matrix import MatrixSpec
    from perbench.store import CellRecord

SUMMARY = "find personal tokens of given responses and score them against gold spans"

BUILT_IN = "identification/persona_qa"
"""The task whose prompt is used for a bare JSONL file."""
SKIPPED = "rows_skipped_"
"""Prefix of the counts of rows left out, followed by the reason."""
ROW = {
    "fields.user": None,
    "fields.persona": "persona",
    "fields.question": "question",
    "fields.reference": "answer",
    "fields.extra": ["gold"],
    "examples.test": None,
}
"""How a bare JSONL file is read: {"persona": [...], "question", "answer", "gold": [...]} in every line."""


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix import options

    parser.add_argument(
        "--task",
        required=True,
        metavar="TASK|FILE.jsonl",
        help="a task of protocol identification, or a file of {persona, question, answer, gold} rows",
    )
    parser.add_argument(
        "--identifier",
        action="append",
        default=[],
        metavar="NAME",
        help="identifier to run; may be repeated (default: all)",
    )
    parser.add_argument(
        "--model",
        default="smollm2-135m",
        metavar="MODEL",
        help="model to use (default: %(default)s, the packaged model)",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="[IDENTIFIER.]NAME=VALUE",
        help="hyperparameter of one identifier or of all, such as percontrast.threshold=0.5; may be repeated",
    )
    options.add_common(parser)
    options.add_dry_run(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/identify-TASK)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write an HTML page of the test answers: tokens shaded by score, gold underlined",
    )
    parser.add_argument(
        "--show",
        type=options.positive,
        metavar="N",
        help="also print the N answers with the most errors, for each identifier",
    )


def run(args: argparse.Namespace) -> int:
    from perbench.errors import PerbenchError
    from perbench.matrix import options
    from perbench.matrix.session import carry_out
    from perbench.site.reading import check_place

    if args.json and args.show:
        raise PerbenchError("--show prints text and --json prints JSON; remove one")
    if args.html is not None:
        check_place(args.html)
    out = args.out if args.out is not None else Path("runs", f"identify-{Path(args.task).stem}")
    read = options.read(args, out, dry_run=args.dry_run)
    return carry_out(_matrix(args), read, show=partial(_show, html=args.html, worst=args.show))


def _matrix(args: argparse.Namespace) -> Named[MatrixSpec]:
    from perbench import plugins
    from perbench.errors import PerbenchError
    from perbench.matrix import options
    from perbench.specs.matrices import matrix_of
    from perbench.specs.yaml import COMMAND_LINE, Document, KeyPath, Place, flag

    names = list(dict.fromkeys(args.identifier)) or plugins.names("identifier")
    places: dict[KeyPath, Place] = {
        (): COMMAND_LINE,
        ("models",): flag("model", args.model),
        ("targets",): flag("task", args.task),
        ("tasks",): flag("task", args.task),
        **{("identifiers", i): flag("identifier", name) for i, name in enumerate(names) if args.identifier},
    }
    params: dict[str, dict[str, Any]] = {name: {} for name in names}
    for name, key, value, text in _params(args.param, names):
        params[name][key] = value
        places["identifiers", names.index(name), "params", key] = flag("param", text)
    bare = Path(args.task).suffix.lower() in (".jsonl", ".json")
    if not bare and Path(args.task).is_file() and Path(args.task).suffix not in (".yaml", ".yml"):
        raise PerbenchError(f"--task {args.task}: neither a task's YAML file nor rows, named FILE.jsonl")
    values: dict[str, Any] = {
        "summary": f"identify on {Path(args.task).name}",
        "models": [args.model],
        "targets": [BUILT_IN if bare else args.task],
        "identifiers": [{"name": name, "params": params[name]} for name in names],
        "base_rows": False,
    }
    if bare:
        values["tasks"] = {BUILT_IN: {**ROW, "data.files": str(Path(args.task).resolve())}}
    return matrix_of("identify", None, Document(values, places), options.sets_of(args))


def _params(texts: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, str, Any, str]]:
    """Each hyperparameter's identifier, name, value and the text that gives it."""
    from perbench.errors import PerbenchError, suggest
    from perbench.specs.yaml import parse_value

    for text in texts:
        key, equals, value = text.partition("=")
        identifier, dot, name = key.rpartition(".")
        if not equals or not name:
            raise PerbenchError(f"--param {text}: expected NAME=VALUE or IDENTIFIER.NAME=VALUE")
        if dot and identifier not in names:
            raise PerbenchError(f"--param {text}: {identifier!r} is not run.{suggest(identifier, names)}")
        for chosen in [identifier] if dot else names:
            yield chosen, name, parse_value(value, f"--param {text}"), text


def _show(
    records: Sequence[CellRecord],
    options: Options,
    matrix: str,
    *,
    html: Path | None = None,
    worst: int | None = None,
) -> None:
    from perbench.console.printing import console
    from perbench.site.reading import reading_of, write_page
    from perbench.site.terminal import print_results
    from perbench.store import RunDir
    from perbench.store.check import read_samples

    if html is not None or worst is not None:
        run = RunDir(options.out)
        reading = reading_of(
            [
                (record, read_samples(run.cell(record.kind, record.identity).path, record.identity))
                for record in records
            ]
        )
    for line in dict.fromkeys(line for record in records for line in _left_out(record)):
        print(line, file=sys.stderr)
    if options.json:
        rows = [_row(record) for record in records]
        print(json.dumps({"out": str(options.out), "identifiers": rows}, ensure_ascii=False))
    else:
        print_results(options.out, matrix)
    if worst is not None:
        reading.show(worst, console())
    if html is not None:
        write_page(reading, html)
        print(f"{html}: open it in a browser", file=sys.stderr)


def _left_out(record: CellRecord) -> list[str]:
    from perbench.progress import counted

    skipped = {name.removeprefix(SKIPPED): n for name, n in record.counts.items() if name.startswith(SKIPPED)}
    return [
        f"{record.labels.target}: {counted(count, 'answer')} left out, {why}"
        for why, count in skipped.items()
    ]


def _row(record: CellRecord) -> dict[str, Any]:
    seconds = record.tokens.get("timed_ms", 0) / 1000  # of scoring alone; 0 if nothing was timed
    return {
        "identifier": record.labels.identifier,
        "params": record.labels.identifier_params,
        "model": record.labels.model,
        "status": record.status,
        "metrics": {name: metric.model_dump(mode="json") for name, metric in record.metrics.items()},
        "counts": record.counts,
        "seconds": record.seconds,
        "examples_per_second": record.tokens["timed_examples"] / seconds if seconds else None,
        "tokens_per_second": record.tokens["timed_tokens"] / seconds if seconds else None,
        "identity": record.identity,
        "error": record.error.message if record.error else None,
    }
