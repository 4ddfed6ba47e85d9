"""perbench new: a plugin that runs, with a test that passes, to start from."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from pathlib import Path
from string import Template

from perbench import plugins
from perbench.errors import PerbenchError

SUMMARY = "write the skeleton of an identifier, trainer, task or matrix, with its test"

SKELETONS = Path(__file__).parent / "skeletons"
FILES = {
    "trainer": {"trainer.txt": "trainers/$name.py", "trainer_test.txt": "tests/test_${slug}_trainer.py"},
    "identifier": {
        "identifier.txt": "identifiers/$name.py",
        "identifier_test.txt": "tests/test_${slug}_identifier.py",
    },
    "task": {
        "task.txt": "tasks/$name.yaml",
        "task_train.txt": "tasks/$name/train.jsonl",
        "task_test.txt": "tasks/$name/test.jsonl",
        "task_test_file.txt": "tests/test_${slug}_task.py",
    },
    "matrix": {
        "matrix.txt": "leaderboard/matrices/$name.yaml",
        "matrix_test.txt": "tests/test_${slug}_matrix.py",
    },
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=FILES, metavar="KIND", help=", ".join(FILES))
    parser.add_argument("name", metavar="NAME", help="a Python name; for a task or matrix also folder/name")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="plugin root to write to (default: this folder)",
    )


def run(args: argparse.Namespace) -> int:
    _check_name(args.kind, args.name)
    slug = args.name.replace("/", "_")
    words = {
        "name": args.name,
        "slug": slug,
        "stem": args.name.rpartition("/")[2],
        "cls": "".join(part.capitalize() for part in slug.split("_")),
    }
    targets = {
        skeleton: args.dir / Template(target).substitute(words)
        for skeleton, target in FILES[args.kind].items()
    }
    present = [str(target) for target in targets.values() if target.exists()]
    if present:
        raise PerbenchError(
            f"already there and not overwritten: {', '.join(present)}; choose another name or --dir"
        )
    for skeleton, target in targets.items():
        text = Template((SKELETONS / skeleton).read_text(encoding="utf-8")).substitute(words)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PerbenchError(f"cannot write {target}: {error.strerror}; choose another --dir") from None
        print(target)
    first = {
        "task": f"perbench validate {next(iter(targets.values()))}",
        "matrix": f"perbench run --dry-run --matrix {args.name}",
    }.get(args.kind, f"perbench check {args.kind} {args.name}")
    print(
        f"next: {first} --include {args.dir}\n      python -m pytest {targets[list(targets)[-1]]}",
        file=sys.stderr,
    )
    return 0


def _check_name(kind: str, name: str) -> None:
    parts = name.split("/") if kind in ("task", "matrix") else [name]
    if not all(re.fullmatch(r"[a-z][a-z0-9_]*", part) and not keyword.iskeyword(part) for part in parts):
        form = (
            "lower-case words joined by _, with / between folder and name"
            if kind in ("task", "matrix")
            else "as word_word"
        )
        raise PerbenchError(f"{name!r} is no name of this kind, {kind}: write it in lower case, {form}")
    known = plugins.discover().get((kind, name))
    if known is not None:
        raise PerbenchError(f"{kind} {name!r} exists: {known.path}; choose another name")
