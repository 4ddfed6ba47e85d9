"""Templates -> self-contained pages: all text escaped, nothing loaded, no script run but their own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from unicodedata import bidirectional

import perbench
from perbench.console.printing import printable
from perbench.plugins import builtin_root

RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
MARK = '<meta name="generator" content="perbench'


def render_page(
    template: str,
    *,
    css: Sequence[str],
    script: str,
    filters: Mapping[str, Callable[..., Any]],
    **values: Any,
) -> str:
    """The HTML of a template of leaderboard/templates, with the named style sheets and script inside it and
    their hashes (`css_hash`, `script_hash`) for its content security policy."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = builtin_root() / "leaderboard" / "templates"
    style = "".join((folder / name).read_text(encoding="utf-8") for name in css)
    code = (folder / script).read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_isolated,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: json.dumps(
        value, indent=1, ensure_ascii=False, sort_keys=True
    )
    environment.filters["plain"] = Plain
    environment.filters.update(filters)
    page = environment.get_template(template).render(
        css=style,
        script=code,
        css_hash=_hash(style),
        script_hash=_hash(code),
        version=perbench.__version__,
        **values,
    )
    return page + "\n"


class Plain(str):
    """Text for places without markup, such as attributes and titles, and pieces that are read as one text."""


def _isolated(value: Any) -> Any:
    """What an expression of a template shows: nothing that is not seen or reorders the page; text that runs
    from right to left keeps this to itself."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = printable(value)
    if isinstance(value, Plain) or not any(bidirectional(char) in RIGHT_TO_LEFT for char in text):
        return text
    return Markup("<bdi>{}</bdi>").format(text)


def _hash(content: str) -> str:
    return "sha256-" + b64encode(sha256(content.encode()).digest()).decode()
