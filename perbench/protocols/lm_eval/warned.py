"""Collects warnings of lm-eval and its libraries, which would otherwise mix with progress bars on stderr."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence

from perbench.store.environment import shorten

LOGGERS = ("lm_eval", "datasets", "transformers")
ABOUT_THE_CALL = re.compile(
    r"`pretrained` model kwarg is not of type `str`|already-initialized model through `pretrained`"
    r"|Custom kwargs can be passed to `--metadata` in console"
)
"""Warnings of every call by perbench that users cannot act on."""
FOR_DEVELOPERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
    ResourceWarning,
)


class _Handler(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        _add(self._found, record.getMessage())


@contextlib.contextmanager
def listening(found: list[str]) -> Iterator[None]:
    """Append each distinct warning of the block to `found`; other output on stderr is discarded."""
    handler = _Handler(found)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            for warning in caught:
                if not issubclass(warning.category, FOR_DEVELOPERS):
                    _add(found, str(warning.message))


def _add(found: list[str], message: str) -> None:
    message = " ".join(shorten(message).split())
    if message and message not in found and not ABOUT_THE_CALL.search(message):
        found.append(message)


def warning_notes(warned: Sequence[Sequence[str]]) -> list[str]:
    """A note per distinct warning of the samples; warnings that differ only in numbers share one."""
    alike: dict[str, list[str]] = {}
    for message in dict.fromkeys(message for messages in warned for message in messages):
        alike.setdefault(re.sub(r"\d+", "0", message), []).append(message)
    return [
        f"lm-eval warns: {first}" + (f" (and {len(others)} more like it)" if others else "")
        for first, *others in alike.values()
    ]
