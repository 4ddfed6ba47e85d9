"""Whatever a file holds, it is refused or shown: nothing crashes, and nothing in it acts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench.errors import PerbenchError
from perbench.matrix.submission import check
from perbench.site import build
from perbench.site.load import load
from perbench.site.render import files as pages
from perbench.site.view import build_view
from tests.published.conftest import forge, reidentified

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ODD = [
    *(None, "", "x", -1, 0, 1e308, 5e-324, [], {}, True, ["a"], {"a": 1}, 2**53, [None], [[1.0]], "train"),
    *("\u202e<script>", "2026-01-01T00:00:00Z", "../../x", "a#b"),
]
Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict):
        pairs: Any = value.items()
    else:
        pairs = enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*at, key)
        yield from places(inner, (*at, key))


def changed(value: dict[str, Any], draw: random.Random) -> None:
    *above, last = draw.choice(list(places(value)))
    at: Any = value
    for key in above:
        at = at[key]
    what = draw.choice(["set", "remove", "repeat"])
    if what == "set" or (what == "repeat" and not isinstance(at, list)):
        at[last] = draw.choice(ODD)
    elif what == "remove":
        del at[last]
    else:
        at.append(at[last])
    for cell in [*value.get("cells", []), *value.get("trainings", [])]:
        record = cell.get("record") if isinstance(cell, dict) else None
        if isinstance(record, dict) and isinstance(record.get("inputs"), dict):
            reidentified(record)


@pytest.mark.parametrize("seed", range(12))
def test_a_changed_file_is_refused_or_shown(files: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = draw.choice(sorted(files.iterdir()))
    before = path.read_bytes()
    for _ in range(4):
        path.write_bytes(before)
        try:
            new = forge(path, lambda value: changed(value, draw))
        except (AttributeError, TypeError, KeyError):  # no longer a file that could be sealed
            continue
        faults = check([new]).faults
        try:
            view = build_view(load([new]))
        except PerbenchError:
            assert faults
        else:
            assert not view.broken
            assert all(text for _, text in pages(view))
        new.unlink()


PAYLOADS = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "'><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "</title></style></textarea><script>window.hacked=1</script>",
    "{{ 7 * 7 }}{% raw %}",
    "<a href=javascript:window.hacked=1>x</a>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
]


def test_texts_of_published_files_do_not_act(files: Path, browser: Browser) -> None:
    """In labels, notes, the environment, counts, signatures, and the names of users and samples."""
    for path, evil in zip(sorted(files.iterdir()), PAYLOADS, strict=True):

        def edit(value: dict[str, Any], evil: str = evil) -> None:
            for cell in [*value["cells"], *value["trainings"]]:
                record = cell["record"]
                record["labels"] |= {"model": evil, "model_label": evil, "training": {evil: evil}}
                record |= {"notes": [evil], "environment": {evil: evil}, "command": evil}
                record["counts"][evil[:9]] = 1
                for metric in record.get("metrics", {}).values():
                    metric["signature"] = evil
                cell["run"] = evil
            for cell in value["cells"]:
                cell["scores"]["clusters"] = [f"{user}{evil}" for user in cell["scores"]["clusters"]]
                cell.pop("samples", None)
                cell.pop("digests", None)

        forge(path, edit)
    index = build([files], Path("site"))
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for file in sorted(index.parent.rglob("*.html")):
        page.goto(file.absolute().as_uri())
        assert page.evaluate("window.hacked") is None, file
    assert not said
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    page.close()
