"""Whatever a file holds, it is refused or shown: nothing crashes, and nothing in it acts."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench import cli
from perbench.disk.masking import without_paths
from perbench.matrix.submission import check
from perbench.published.form import text_of
from perbench.site import build
from tests.published.conftest import forge, one_of, reidentified
from tests.site.browsing import address, opened
from tests.site.browsing import pages as site_pages
from tests.site.payloads import PAYLOADS

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
def test_a_changed_file_is_refused_or_shown(
    kept: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of them with samples of every protocol."""
    draw = random.Random(seed)
    whole = draw.choice(sorted((kept / ("whole" if seed % 2 else "published")).iterdir()))
    before, path = whole.read_bytes(), Path(whole.name)
    for _ in range(4):
        path.write_bytes(before)
        try:
            new = forge(path, lambda value: changed(value, draw))
        except (AttributeError, TypeError, LookupError):  # no longer a file that could be sealed
            continue
        faults = check([new]).faults
        code = cli.main(["leaderboard", "build", str(new), "--out", "site"])
        assert code == 0 or (code == 2 and faults), (
            capsys.readouterr().err
        )  # some faults only `check` computes
        new.unlink()


def test_samples_that_cannot_be_read_cost_their_cell_only_its_samples(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(value: dict[str, Any]) -> None:
        value["cells"][0]["samples"][0]["persona_kept"] = 0.5

    files = Path(shutil.copytree(kept / "whole", "files"))
    path = forge(one_of(files, "base--probe-writing--"), edit)
    assert cli.main(["leaderboard", "build", str(files), "--out", "site"]) == 2
    assert f"{path}: samples of" in capsys.readouterr().err
    record = json.loads(path.read_bytes())["cells"][0]["record"]
    page = Path("site/cells", f"{record['identity'][:16]}.html").read_text("utf-8")
    assert f"Their file is damaged: {path.name}" in page
    assert record["metrics"]["rouge1"]["signature"] in page


NAMES = [text for text in PAYLOADS if text.isprintable() and without_paths(text) == text]
"""Those that a published file may hold as a name."""


def _hostile(value: dict[str, Any], evil: Sequence[str]) -> None:
    """Texts in labels, notes, the environment, counts, signatures, and the names of users."""
    for cell in [*value["cells"], *value["trainings"]]:
        record = cell["record"]
        record["labels"] |= {"model": evil[0], "model_label": evil[1], "training": {evil[2]: evil[3]}}
        record |= {"notes": [*evil], "environment": {text: text for text in evil}, "command": evil[4]}
        record["counts"] |= dict.fromkeys(evil, 1)
        for metric, text in zip(record.get("metrics", {}).values(), cycle(evil)):
            metric["signature"] = text
        cell["run"] = evil[5]
    for cell in value["cells"]:
        cell["scores"]["clusters"] = [f"{user}{evil[6]}" for user in cell["scores"]["clusters"]]
        cell.pop("samples", None)
        cell.pop("digests", None)


def test_texts_of_published_files_do_not_act(files: Path, browser: Browser) -> None:
    """Of files that fit, and of broken ones in the faults that are reported of them."""
    kept = sorted(files.iterdir())
    for place, path in enumerate(kept):
        evil = NAMES[place :: len(kept)]
        forge(path, lambda value, evil=evil: _hostile(value, evil))
    for number, text in enumerate(PAYLOADS):
        name = "".join(char for char in text if char not in "/\0")[:60]
        (files / f"{number}{name}.json").write_text(text_of({"schema_version": 1, text: text}), "utf-8")
    damaged: list[str] = []
    index = build([files], Path("site"), left_out=damaged.append)
    assert len(NAMES) >= 60
    assert len(damaged) == len(PAYLOADS)
    with opened(browser, index.parent.absolute()) as page:
        for name in [*site_pages(index.parent), "index.html#transfer-1.q=%3Cscript%3E"]:
            page.goto(address(index.parent.absolute(), name))
            assert page.evaluate("() => window.xss") is None, name
            assert (
                page.locator("script:not([src]), iframe, img, object, embed, base, form[action]").count() == 0
            )
