"""perbench lm-eval: perbench's tasks and trained models in lm-evaluation-harness."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUMMARY = "perbench's tasks and trained models in lm-evaluation-harness"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix.options import add_data, positive

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    path = actions.add_parser("path", help="print the folder for lm_eval's --include_path")
    add_data(path)
    write = actions.add_parser(
        "write", help="write tasks as YAML and JSONL files that need no other data of this machine"
    )
    write.add_argument("folder", type=Path, metavar="DIR", help="where to write")
    write.add_argument(
        "tasks", nargs="*", metavar="TASK", help="tasks (default: all whose data are on this machine)"
    )
    write.add_argument("--limit", type=positive, metavar="N", help="only the first N examples of each")
    write.add_argument(
        "--model",
        metavar="MODEL",
        help="trim histories by this model's tokens (default: estimated from characters)",
    )
    add_data(write)
    run = actions.add_parser(
        "run", help="lm_eval run with perbench's tasks and models: --model perbench", add_help=False
    )
    # All that follows is lm-eval's.
    run.parse_known_args = _passed_on  # type: ignore[assignment,method-assign]


def _passed_on(args: Sequence[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
    return argparse.Namespace(arguments=list(args)), []


def run(args: argparse.Namespace) -> int:
    return {"path": _path, "write": _write, "run": _run}[args.action](args)


def _path(args: argparse.Namespace) -> int:
    from perbench.harness.folder import notes, task_folder
    from perbench.harness.version import check_version
    from perbench.matrix.options import data_folders

    check_version()
    folder = task_folder(data_folders(args))
    for note in notes(folder):
        print(f"perbench: {note}", file=sys.stderr)
    print(folder)
    return 0


def _write(args: argparse.Namespace) -> int:
    from perbench import plugins
    from perbench.errors import PerbenchError
    from perbench.harness.written import write_groups, write_task
    from perbench.matrix.options import data_folders

    if args.folder.exists() and not args.folder.is_dir():
        raise PerbenchError(f"{args.folder} is a file; name a folder")
    data = {family: str(folder) for family, folder in data_folders(args).items()}
    written = []
    for task in args.tasks or plugins.names("task"):
        try:
            found = write_task(args.folder, task, data, limit=args.limit, model=args.model)
        except PerbenchError as error:
            if args.tasks:
                raise
            print(f"perbench: {task} is left out: {error}", file=sys.stderr)
            continue
        written.append(task)
        print(f"{found.file}: {found.examples} examples")
        if not found.redistributable:
            print(f"perbench: {task}: check its license before you publish: {found.license}", file=sys.stderr)
    write_groups(args.folder, written)
    return 0


def _run(args: argparse.Namespace) -> int:
    from perbench.harness.command import run_lm_eval

    return run_lm_eval(args.arguments)
