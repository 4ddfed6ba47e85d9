"""The `perbench` command: every file in this folder is a subcommand.

A command file holds SUMMARY (a string literal), configure(parser) and run(args) -> exit code. Summaries are
read without import, and only the chosen command is imported.

Exit codes: 0 done, 1 some cells failed, 2 usage or spec error, 3 internal error, 130 interrupted by Ctrl-C,
143 by SIGTERM, 129 by the end of the terminal.
Results go to stdout (JSON with --json), everything else to stderr.
"""

from __future__ import annotations

import argparse
import ast
import errno
import gc
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from perbench import __version__
from perbench.console.printing import guarded_streams, keep_lines
from perbench.console.signals import as_interrupted, ending_interrupts
from perbench.errors import NO_ROOM, PerbenchError, no_room, suggest

# Spin barriers cost up to 30x on shared machines; torch reads this on import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Libraries' progress bars would break perbench's own and fill logs.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

ENVIRONMENT_FAULTS = {
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. `--include` applies to this call only."""
    with guarded_streams(), ending_interrupts():
        return _main(argv)


def program() -> int:
    """Entry point of the process."""
    code = main()
    gc.freeze()  # what is left goes with the process: a last collection would look at all of it
    return code


def _main(argv: Sequence[str] | None) -> int:
    before = os.environ.get("PERBENCH_INCLUDE")
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except SystemExit as done:  # argparse: --help, --version and usage errors, already printed
        return done.code if isinstance(done.code, int) else 0
    except PerbenchError as error:
        return _say(f"error: {error}", error.exit_code)
    except KeyboardInterrupt as error:
        stopped = as_interrupted(error)
        return _say(stopped.message, stopped.exit_code)
    except BrokenPipeError:
        # The reader closed stdout; nothing may be written there at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in NO_ROOM:
            return _say(f"error: {no_room(error)}", 2)
        if error.errno in ENVIRONMENT_FAULTS and error.filename is not None:
            return _say(f"error: {error.filename}: {error.strerror}", 2)
        return _unforeseen(error)
    except Exception as error:
        return _unforeseen(error)
    finally:
        if before is None:
            os.environ.pop("PERBENCH_INCLUDE", None)
        else:
            os.environ["PERBENCH_INCLUDE"] = before


def _say(message: str, code: int) -> int:
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    who = f" (process {os.environ.get('RANK')})" if several else ""
    print(f"perbench{who}: {message}", file=sys.stderr)
    return code


def _unforeseen(error: Exception) -> int:
    fault = _plugin_fault(error)
    return _say(f"error: {fault}", 2) if fault else _internal(error)


def _plugin_fault(error: Exception) -> str | None:
    """The fault of a third party's plugin, or None."""
    if "perbench.plugins" not in sys.modules:
        return None
    from perbench.plugins import builtin_root
    from perbench.plugins.faults import fault_of

    fault = fault_of(error)
    if fault is None or fault.plugin.path == builtin_root() / fault.place:
        return None
    return fault.message(fault.plugin.path)


def _internal(error: Exception) -> int:
    traceback.print_exception(error)
    return _say(f"internal error, a bug in perbench: {type(error).__name__}: {error}", 3)


def _run(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        command: argparse.ArgumentParser = args.parser_in_use
        words = [word.partition("=")[0] for word in unknown]
        options = [word for word in words if word.startswith("-")]
        tail = suggest(options[0], command._option_string_actions) if options else ""
        argparse.ArgumentParser.error(command, f"unrecognized arguments: {' '.join(unknown)}.{tail}")
    folders = [
        folder for name in sorted(vars(args)) if name.startswith("include") for folder in getattr(args, name)
    ]
    if folders:
        from perbench import plugins

        plugins.include(*folders)
    if getattr(args, "json", False):
        keep_lines()
    code: int = args.run(args)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="perbench",
        description="Benchmark methods that personalise language models.",
        epilog="exit codes: 0 done, 1 some cells failed, 2 usage, spec or data error, 3 internal error",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"perbench {__version__}")
    _add_include(parser, "include")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Command, title="commands"
    )
    for name, summary in _commands():
        commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    return parser


def _commands() -> Iterator[tuple[str, str]]:
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
                "SUMMARY"
            ]:
                yield path.stem.replace("_", "-"), ast.literal_eval(node.value)


def _add_include(parser: argparse.ArgumentParser, dest: str) -> None:
    parser.add_argument(
        "--include",
        dest=dest,
        action="append",
        default=[],
        metavar="DIR",
        help="also look for tasks, trainers and all other kinds of plugins in DIR (repeatable)",
    )


class _Parser(argparse.ArgumentParser):
    """Adds "Did you mean" to argparse's errors about choices and options."""

    words: Sequence[str] = ()
    """The words being parsed."""

    def error(self, message: str) -> NoReturn:
        match = re.search(r"invalid choice: '(?P<given>.*?)' \(choose from (?P<known>.*)\)", message)
        if match:
            known = [word.strip("' ") for word in match["known"].split(",")]
            message = (
                message[: match.start()] + f"unknown {match['given']!r}.{suggest(match['given'], known)}"
            )
        # argparse would report missing options before misspelt ones.
        elif strange := [word for word in self.words if self._strange(word)]:
            flag = strange[0].partition("=")[0]
            message = f"unknown option {flag}.{suggest(flag, self._option_string_actions)}"
        super().error(message)

    def _strange(self, word: str) -> bool:
        return bool(re.match(r"--[a-z]", word)) and word.partition("=")[0] not in self._option_string_actions


class _Command(_Parser):
    """The parser of a subcommand, which imports and configures the command when it is chosen."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.get_default("run") is None and self.prog.count(" ") == 1:
            module = _load(self.prog.split()[-1])
            module.configure(self)
            self.set_defaults(run=module.run)
        self.set_defaults(parser_in_use=self)
        if "--include" not in self._option_string_actions:
            # One name per level: a subparser's defaults would overwrite outer values.
            _add_include(self, f"include_{self.prog.count(' ')}")
        self.words = [] if args is None else list(args)
        return super().parse_known_args(args, namespace)


def _load(command: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{command.replace('-', '_')}")
