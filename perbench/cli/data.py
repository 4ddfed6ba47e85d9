"""perbench data: fetch, build and describe what metrics and tasks need beyond packages."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

SUMMARY = "prepare data that packages cannot carry; describe annotated data"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix.options import positive

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    families = actions.add_parser("prepare", help="put data into the user cache").add_subparsers(
        dest="family", required=True, metavar="FAMILY"
    )
    wordnet = families.add_parser("wordnet", help="WordNet, which the METEOR metric needs")
    wordnet.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="folder or zip file of WordNet (default: NLTK's data, Debian's packages, NLTK's downloader)",
    )
    wordnet.add_argument("--json", action="store_true", help="print the folder and its digest as JSON")

    describe = actions.add_parser("describe", help="counts, shares and agreement of a task's gold spans")
    describe.add_argument("task", metavar="TASK", help="a task of protocol identification")
    describe.add_argument("--json", action="store_true", help="print the numbers as JSON, unrounded")

    build = actions.add_parser("build", help="have a model write annotated data").add_subparsers(
        dest="family", required=True, metavar="FAMILY"
    )
    persona_qa = build.add_parser("persona-qa", help="questions and answers with keywords, one per persona")
    persona_qa.add_argument(
        "--personas",
        type=Path,
        required=True,
        metavar="FILE",
        help="a Synthetic-Persona-Chat CSV file, or text: a persona per line or paragraph",
    )
    persona_qa.add_argument(
        "--model", required=True, metavar="MODEL", help="a model's name, local folder or hub name"
    )
    persona_qa.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSONL file, new or earlier; what it holds stays",
    )
    persona_qa.add_argument(
        "--count", type=positive, default=100, metavar="N", help="personas to draw (default: %(default)s)"
    )
    persona_qa.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the drawing (default: %(default)s)"
    )
    persona_qa.add_argument("--json", action="store_true", help="print the counts as JSON")

    review = actions.add_parser("review", help="accept, edit or reject gold spans in a browser")
    review.add_argument("file", type=Path, metavar="FILE", help="rows of `perbench data build` or the like")
    review.add_argument(
        "--out", type=Path, metavar="FILE", help="where accepted rows go (default: FILE's name, .reviewed)"
    )
    review.add_argument(
        "--port", type=int, default=0, metavar="P", help="on 127.0.0.1 (default: one that is free)"
    )


def run(args: argparse.Namespace) -> int:
    actions = {"describe": _describe, "prepare": _prepare, "build": _build, "review": _review}
    return actions[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from perbench import models
    from perbench.cache import canonical_digest
    from perbench.data.build import build, unusable_file
    from perbench.data.personas import read_personas
    from perbench.errors import PerbenchError
    from perbench.matrix.engines import open_model
    from perbench.progress import Progress
    from perbench.specs.load import load_model

    if args.out.is_dir() or not args.out.parent.is_dir():
        raise PerbenchError(f"--out {args.out}: name a file in a folder that exists")
    personas = read_personas(args.personas)
    drawn = personas.draw(args.count, args.seed)
    for length, count in personas.left_out.items():
        print(f"{args.personas}: {count} personas of {length} sentences left out", file=sys.stderr)
    if len(drawn) < args.count:
        print(f"{args.personas}: {len(drawn)} usable personas, --count {args.count}", file=sys.stderr)
    model = load_model(args.model)
    made_by = {"model": model.name, "digest": canonical_digest(models.identify(model))}
    progress = Progress(1)
    with progress.shown(), progress.cell(f"{model.name} writes") as tick:
        built = build(drawn, open_model(model), made_by, args.out, tick=tick)
    if args.json:
        found = {"out": str(args.out), "rows": built.rows, "unusable": dict(built.reasons)}
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(built.report())
        print(f"unusable replies: {unusable_file(args.out)}" if built.reasons else "no unusable reply")
        if built.rows:
            print(f"next: perbench data review {args.out}")
    return 0


def _review(args: argparse.Namespace) -> int:
    from perbench.review.server import serve
    from perbench.review.state import Review

    out = args.out if args.out is not None else args.file.with_name(f"{args.file.stem}.reviewed.jsonl")
    with Review.open(args.file, out) as review:
        serve(review, args.port)
    return 0


def _describe(args: argparse.Namespace) -> int:
    from perbench.data import agreement, spans
    from perbench.errors import PerbenchError
    from perbench.specs.load import load_task

    task = load_task(args.task)
    if task.spec.protocol != "identification":
        raise PerbenchError(
            f"task {task.name} is of protocol {task.spec.protocol} and has no gold spans; "
            f"perbench show task {task.name} prints its spec"
        )
    splits = spans.check(task)
    found = agreement.describe_splits(splits, spans.names_of(task.spec))
    print(json.dumps(found, ensure_ascii=False) if args.json else agreement.table(found))
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from perbench.metrics import wordnet

    folder = wordnet.prepare(args.source)
    found = wordnet.load()
    if args.json:
        print(json.dumps({"folder": str(folder), "version": found.version, "sha256": found.digest}))
    else:
        print(f"WordNet {found.version} in {folder}")
    return 0
