"""Renders templates as pages: all text escaped, nothing loaded from elsewhere, only their own scripts run."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from unicodedata import bidirectional

import perbench
from perbench.console.printing import printable
from perbench.errors import PerbenchError
from perbench.plugins import builtin_root

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = builtin_root() / "leaderboard" / "templates"
RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
MARK = '<meta name="generator" content="perbench'


def environment(
    filters: Mapping[str, Callable[..., Any]],
    *,
    folders: Sequence[Path] = (),
    included: Mapping[str, Path] = MappingProxyType({}),
) -> Environment:
    """Templates of `folders`, then of leaderboard/templates; `included` are further ones by the names under
    which they are included."""
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    own = {name: (path.read_text(encoding="utf-8"), str(path), None) for name, path in included.items()}
    files = FileSystemLoader([*folders, TEMPLATES])
    found = Environment(
        loader=ChoiceLoader([FunctionLoader(own.get), files]),
        autoescape=True,
        auto_reload=False,  # which looks at every file again for every page
        finalize=partial(_isolated, Markup),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["json"] = lambda value: json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    found.filters["plain"] = Plain
    found.filters.update(filters)
    found.globals["version"] = perbench.__version__
    return found


@contextmanager
def faults_named(included: Mapping[str, Path]) -> Iterator[None]:
    """
    Raises:
        PerbenchError: one of the `included` templates is broken; names its file and line.
    """
    whose = {str(path) for path in included.values()}
    try:
        yield
    except Exception as error:
        frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename in whose]
        if not frames:
            raise
        raise PerbenchError(f"{frames[-1].filename}:{frames[-1].lineno}: {error}") from error


def render_page(
    template: str,
    *,
    css: Sequence[str],
    script: str,
    filters: Mapping[str, Callable[..., Any]],
    folders: Sequence[Path] = (),
    **values: Any,
) -> str:
    """The HTML of a template with the named style sheets and script inlined, and their hashes (`css_hash`,
    `script_hash`) for its content security policy. Files are searched in `folders`, then in
    leaderboard/templates."""
    found = environment(filters, folders=folders)
    assert found.loader is not None
    style = "".join(found.loader.get_source(found, name)[0] for name in css)
    code = found.loader.get_source(found, script)[0]
    hashes = {"css_hash": _hash(style), "script_hash": _hash(code)}
    return found.get_template(template).render(css=style, script=code, **hashes, **values) + "\n"


class Page(Protocol):
    """Renders a template as a page of a site."""

    def __call__(self, template: str, current: str, *, root: str = "", **values: Any) -> str: ...


class Plain(str):
    """Text for places without markup, such as attributes and titles."""


def _isolated(markup: type[Markup], value: Any) -> Any:
    """The output of a template expression without invisible or reordering characters; right-to-left text is
    isolated. Called a thousand times for a page."""
    if not isinstance(value, str) or isinstance(value, markup):
        return value
    text = printable(value)
    if text.isascii() or isinstance(value, Plain):  # nearly all are: looking at each letter takes longer
        return text
    if not any(bidirectional(char) in RIGHT_TO_LEFT for char in text):
        return text
    return markup("<bdi>{}</bdi>").format(text)


def _hash(content: str) -> str:
    return "sha256-" + b64encode(sha256(content.encode()).digest()).decode()
