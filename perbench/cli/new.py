"""perbench new: write a working plugin with a passing test, to start from.

`skeletons/KIND` is a plugin root that holds `my_KIND`, whose class is `MyKind`, and what is needed to try it.
In a copy, the new plugin's name replaces these words, in file names, too.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from pathlib import Path

from perbench import plugins
from perbench.errors import PerbenchError

SUMMARY = "write a skeleton of any kind, with a test that passes"

SKELETONS = Path(__file__).parent / "skeletons"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=plugins.KINDS, metavar="KIND", help=", ".join(plugins.KINDS))
    parser.add_argument("name", metavar="NAME", help="a Python name; of a YAML file also folder/name")
    parser.add_argument(
        "--into",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="plugin root to write to (default: this folder)",
    )


def run(args: argparse.Namespace) -> int:
    _check_name(args.kind, args.name)
    files = {args.into / path: text for path, text in _copy(args.kind, args.name)}
    present = [str(file) for file in files if file.exists()]
    if present:
        raise PerbenchError(
            f"existing files are not overwritten: {', '.join(present)}; choose another name or --into"
        )
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PerbenchError(f"cannot write {file}: {error.strerror}; choose another --into") from None
        print(file)
    print(
        f"next: perbench check {args.kind} {args.name} --include {args.into}\n"
        f"      python -m pytest {list(files)[-1]}",
        file=sys.stderr,
    )
    return 0


def _copy(kind: str, name: str) -> list[tuple[Path, str]]:
    """The files of a new plugin, relative to its root; its test last."""
    slug, stem = name.replace("/", "_"), name.rpartition("/")[2]
    cls = "".join(part.capitalize() for part in slug.split("_"))
    found = []
    for file in sorted((SKELETONS / kind).rglob("*")):
        path = file.relative_to(SKELETONS / kind)
        if file.is_file() and "__pycache__" not in path.parts:
            test = path.parts[0] == "tests"
            place = path.as_posix().replace(f"my_{kind}", slug if test else name)
            text = file.read_text(encoding="utf-8").replace(f"My{kind.capitalize()}", cls)
            found.append((test, Path(place), text.replace(f"my_{kind}", name if test else stem)))
    return [(place, text) for _, place, text in sorted(found)]


def _check_name(kind: str, name: str) -> None:
    folders = plugins.KINDS[kind].base is None
    parts = name.split("/") if folders else [name]
    if not all(re.fullmatch(r"[a-z][a-z0-9_]*", part) and not keyword.iskeyword(part) for part in parts):
        form = "lower-case words joined by _" + (", with / between folder and name" if folders else "")
        raise PerbenchError(f"{name!r} cannot be the name of a {kind}; write {form}")
    known = plugins.discover(kind).get((kind, name))
    if known is not None:
        raise PerbenchError(f"{kind} {name!r} exists: {known.path}; choose another name")
