"""`perbench lm-eval run`: lm-eval's own command with perbench's tasks and models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from perbench.errors import PerbenchError
from perbench.harness.folder import check_names, task_folder
from perbench.harness.version import check_version


def run_lm_eval(arguments: Sequence[str]) -> int:
    """Run `lm_eval run` with these arguments in this process.

    Raises:
        PerbenchError: lm-eval is missing or of another version; a task is unknown.
    """
    check_version()
    given = list(arguments)
    if given and not any(word in ("-h", "--help", "--include_path") for word in given):
        folder = task_folder({})
        check_names(folder, list(_tasks(given)))
        given += ["--include_path", str(folder)]
    from lm_eval._cli import HarnessCLI
    from lm_eval.api.registry import model_registry
    from lm_eval.utils import setup_logging

    if "perbench" not in model_registry:
        model_registry.register("perbench", target="perbench.harness.model:PerbenchLM")
    setup_logging()
    before, sys.argv = sys.argv, ["lm-eval", "run", *given]
    try:
        command = HarnessCLI()
        command.execute(command.parse_args())
    except ValueError as error:
        if str(error).startswith("Tasks not found"):
            raise PerbenchError(f"lm-eval: {error}; `lm-eval ls tasks` lists them all") from None
        raise
    finally:
        sys.argv = before
    return 0


def _tasks(given: Sequence[str]) -> Iterator[str]:
    """The names after --tasks or -t."""
    inside = False
    for word in given:
        flag, equals, value = word.partition("=")
        if flag in ("--tasks", "-t"):
            inside = not equals
            yield from (name for name in value.split(",") if name)
        elif word.startswith("-"):
            inside = False
        elif inside:
            yield from (name for name in word.split(",") if name)
