"""Command-line options shared by `run`, `train` and `eval`, and the one-cell matrices of the short forms."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from perbench.shapes.base import Named
    from perbench.specs.matrix import MatrixSpec


@dataclass(frozen=True)
class Options:
    """How a matrix is run; `train_only` skips evaluations; `track` names a tracker."""

    out: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    limit: int | None = None
    dry_run: bool = False
    verbose: bool = False
    """Whether a dry run prints each cell of a plan, however many."""
    devices: int = 1
    device_memory: int | None = None
    """GB (10^9 bytes) per device; both for a dry run."""
    wait: bool = True
    json: bool = False
    train_only: bool = False
    track: str | None = None
    cached: bool = True
    """Whether endpoints answer repeated requests from the cache."""
    executor: str = "local"
    executor_set: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None
    """Processes to start; None for this one, or as many as the executor wants."""
    gpus: int | None = None
    """Devices of each worker; None for one, if there are any."""
    cell_timeout: float | None = None
    """Seconds without progress after which a cell has failed."""

    @property
    def fleet(self) -> str | None:
        """The option that asks for workers in processes of their own, if any does."""
        if self.executor != Options.executor:
            return f"--executor {self.executor}"
        return f"--workers {self.workers}" if self.workers is not None else None


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="set a key of the matrix, such as training.learning_rate=1e-4; may be repeated",
    )
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="the engine that loads the models' weights (default: as their files say); its keys: --set "
        "engine.KEY=…",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="use at most N examples of every split")
    add_data(parser)
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="neither read nor write the cache of endpoint replies",
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="fail instead of waiting when another process works on cells of the plan",
    )
    add_workers(parser)
    parser.add_argument("--json", action="store_true", help="print results as JSON")


def sets_of(args: argparse.Namespace) -> list[str]:
    """`--engine` and `--set` as changes to the matrix, for `perbench.specs.names.apply_sets`."""
    from perbench.specs.names import ENGINE

    return [*([f"{ENGINE}{args.engine}"] if args.engine is not None else []), *args.set]


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="run the cells in N processes (default: in this one); more may join by `perbench work`",
    )
    parser.add_argument(
        "--gpus-per-cell",
        type=int,
        metavar="G",
        help="devices of each worker (default: one, if there are any; 0: all workers see all)",
    )
    parser.add_argument(
        "--cell-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="with workers: a cell without progress for so long has failed, and its worker starts anew",
    )
    parser.add_argument(
        "--executor",
        default=Options.executor,
        metavar="NAME",
        help="where workers run (default: %(default)s, processes of this machine)",
    )
    parser.add_argument(
        "--executor-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the executor; may be repeated",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=_family,
        metavar="FAMILY=DIR",
        help="read the tasks of a dataset family from a local folder; may be repeated",
    )


def data_folders(args: argparse.Namespace) -> dict[str, Path]:
    """The folders of `add_data`, by family.

    Raises:
        PerbenchError: one does not exist.
    """
    for family, folder in args.data:
        if not folder.expanduser().is_dir():
            raise PerbenchError(f"--data {family}={folder}: no such folder")
    return dict(args.data)


def add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--track",
        choices=["tensorboard", "trackio"],
        help="also log trainings to a tracker (training.jsonl is always written)",
    )


def add_training(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a model's name, local folder or hub name"
    )
    parser.add_argument("--trainer", required=required, metavar="NAME", help="trainer to use")
    parser.add_argument("--source", required=required, metavar="TASK", help="task to train on")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hyperparameter of the trainer or identifier; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs", "single"),
        metavar="DIR",
        help="run directory, new or existing (default: %(default)s)",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run nothing; print the plan, why each cell would run, and the memory that training needs",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="with --dry-run: print each cell of a large plan, too"
    )
    parser.add_argument(
        "--devices", type=positive, metavar="N", help="with --dry-run: number of devices to train on"
    )
    parser.add_argument(
        "--device-memory",
        type=positive,
        metavar="GB",
        help="with --dry-run: memory of each device; prints the largest micro-batch that fits",
    )


def read(args: argparse.Namespace, out: Path, *, dry_run: bool = False, train_only: bool = False) -> Options:
    from perbench.specs.yaml import parse_param

    devices, memory = (getattr(args, name, None) for name in ("devices", "device_memory"))
    verbose = getattr(args, "verbose", False)
    if not dry_run and verbose:
        raise PerbenchError("--verbose is for --dry-run: add it, or remove --verbose")
    if not dry_run and (devices or memory):
        raise PerbenchError(
            "--devices and --device-memory are for --dry-run: add it, or remove them; a run uses the "
            "processes that torchrun or accelerate launch starts (docs/training.md)"
        )
    if args.cell_timeout is not None and args.workers is None and args.executor == Options.executor:
        raise PerbenchError(
            "--cell-timeout ends a process and starts another, so it needs workers: add --workers 1"
        )
    return Options(
        out=out,
        data=dict(args.data),
        limit=args.limit,
        dry_run=dry_run,
        verbose=verbose,
        devices=devices or 1,
        device_memory=memory,
        wait=not args.no_wait,
        json=args.json,
        train_only=train_only,
        track=getattr(args, "track", None),
        cached=not args.no_cache,
        executor=args.executor,
        executor_set=dict(parse_param(text, "--executor-set") for text in args.executor_set),
        workers=args.workers,
        gpus=args.gpus_per_cell,
        cell_timeout=args.cell_timeout,
    )


def one_cell(
    args: argparse.Namespace, *, target: str | None = None, identifier: str | None = None
) -> Named[MatrixSpec]:
    """The matrix of a short form; without a target, the source takes its place but is not evaluated.

    Raises:
        PerbenchError: --trainer without --source or the reverse, or a --param without its method.
    """
    from perbench.specs.matrices import matrix_of
    from perbench.specs.rows import plain_name
    from perbench.specs.yaml import COMMAND_LINE, Document, KeyPath, Place, flag, parse_param

    if (args.trainer is None) != (args.source is None):
        raise PerbenchError("give both --trainer and --source, or neither for the base model")
    if identifier is not None and args.trainer is not None:
        raise PerbenchError("--identifier runs on the base model; remove --trainer and --source")
    method, axis = args.trainer or identifier, "trainers" if args.trainer else "identifiers"
    goal = target if target is not None else args.source
    places: dict[KeyPath, Place] = {
        (): COMMAND_LINE,
        ("models",): flag("model", args.model),
        ("trainers",): flag("trainer", args.trainer),
        ("identifiers",): flag("identifier", identifier),
        ("sources",): flag("source", args.source),
        ("targets",): flag("target" if target is not None else "source", goal),
        ("seeds",): flag("seed", args.seed),
    }
    params: dict[str, Any] = {}
    for text in args.param:
        name, value = parse_param(text)
        params[name] = value
        places[axis, 0, "params", name] = flag("param", text)
    if params and method is None:
        raise PerbenchError("--param sets a hyperparameter of --trainer or --identifier; name one")
    row = {"name": method, "params": params}
    words = [args.model, method or "base", args.source, goal if goal != args.source else None]
    name = " ".join(plain_name(word) for word in words if word)
    values = {
        "summary": name,
        "models": [args.model],
        "trainers": [row] if args.trainer else [],
        "sources": [args.source] if args.source else [],
        "targets": [goal],
        "identifiers": [row] if identifier else [],
        "seeds": [args.seed],
        "base_rows": args.trainer is None and identifier is None,
    }
    return matrix_of(name, None, Document(values, places), sets_of(args))


def positive(text: str) -> int:
    """Parse an argument 1, 2, ..."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return found


def _family(text: str) -> tuple[str, Path]:
    family, equals, folder = text.partition("=")
    if not equals or not family or not folder:
        raise argparse.ArgumentTypeError(f"expected FAMILY=DIR, got {text!r}")
    return family, Path(folder)
