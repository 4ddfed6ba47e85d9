"""The installed lm-eval, and errors under its command line."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType

from perbench.errors import PerbenchError

INSTALL = "pip install 'perbench[lm-eval]'"
OLDEST, NEXT = (0, 4, 13), (0, 5)
"""The range of pyproject.toml."""


def check_version() -> None:
    """
    Raises:
        PerbenchError: lm-eval is not installed, or another version is.
    """
    try:
        found = version("lm_eval")
    except PackageNotFoundError:
        raise PerbenchError(f"lm-evaluation-harness is not installed; run: {INSTALL}") from None
    numbers = tuple(map(int, re.findall(r"\d+", found)[:3]))
    if not OLDEST <= numbers < NEXT:
        oldest, following = (".".join(map(str, one)) for one in (OLDEST, NEXT))
        raise PerbenchError(
            f"lm-evaluation-harness {found} is installed, but perbench needs {oldest} or later, below "
            f"{following}; run: {INSTALL}"
        )


def one_line_errors() -> None:
    """Have the `lm_eval` command end with a PerbenchError's message and exit code, not with a traceback. Code
    that catches exceptions is not affected."""
    before = sys.excepthook
    if getattr(before, "of_perbench", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, PerbenchError):
            before(kind, error, trace)
            return
        print(f"perbench: error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code)

    hook.of_perbench = True  # type: ignore[attr-defined]
    sys.excepthook = hook
