"""perbench data: prepare, build, review and describe the data of tasks and metrics."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.specs.compose import owner_of

DEFAULT_MODEL = "smollm2-135m"

SUMMARY = "download or convert datasets; build, review and describe annotated data"


def configure(parser: argparse.ArgumentParser) -> None:
    from perbench.matrix.options import positive

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser("prepare", help="download or convert a dataset, and check it")
    prepare.add_argument(
        "family",
        metavar="FAMILY",
        help="a name that `perbench ls families` lists, or wordnet, which the METEOR metric needs",
    )
    prepare.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="read local files instead of downloading: a folder, for WordNet also a zip file",
    )
    prepare.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: the user cache)")
    prepare.add_argument(
        "--revision",
        action="append",
        default=[],
        metavar="[REPOSITORY=]COMMIT",
        help="commit to download (default: the family's, else the newest at the first download)",
    )
    prepare.add_argument(
        "--sample",
        type=positive,
        metavar="N",
        help="sample N rows of a train split and N/4 of any other (default: all)",
    )
    prepare.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the sample (default: %(default)s)"
    )
    prepare.add_argument(
        "--model",
        metavar="MODEL",
        help=f"count lengths in this model's tokens (default: {DEFAULT_MODEL}; words if not installed)",
    )
    prepare.add_argument("--json", action="store_true", help="print the manifest as JSON")

    describe = actions.add_parser(
        "describe", help="print counts, shares and agreement of a task's gold spans"
    )
    describe.add_argument("task", metavar="TASK", help="a task of protocol identification")
    describe.add_argument("--json", action="store_true", help="print the numbers as JSON, unrounded")

    build = actions.add_parser("build", help="have a model write annotated data").add_subparsers(
        dest="family", required=True, metavar="FAMILY"
    )
    persona_qa = build.add_parser(
        "persona-qa", help="a question, an answer and its keywords for each persona"
    )
    persona_qa.add_argument(
        "--personas",
        type=Path,
        required=True,
        metavar="FILE",
        help="Synthetic-Persona-Chat CSV, prepared JSONL, or text with one persona per line or paragraph",
    )
    persona_qa.add_argument(
        "--model", required=True, metavar="MODEL", help="a model's name, local folder or hub name"
    )
    persona_qa.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSONL file to write; rows of an earlier call are kept",
    )
    persona_qa.add_argument(
        "--count", type=positive, default=100, metavar="N", help="personas to draw (default: %(default)s)"
    )
    persona_qa.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the sample (default: %(default)s)"
    )
    persona_qa.add_argument("--json", action="store_true", help="print the counts as JSON")

    review = actions.add_parser("review", help="accept, edit or reject gold spans in a browser")
    review.add_argument(
        "file", type=Path, metavar="FILE", help="JSONL rows, for instance of `perbench data build`"
    )
    review.add_argument(
        "--second",
        type=Path,
        metavar="FILE",
        help="adjudicate: FILE and this hold what two reviewers accepted; decide where they differ",
    )
    review.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file for accepted rows (default: FILE with .reviewed, or .adjudicated, in its name)",
    )
    review.add_argument(
        "--port", type=int, default=0, metavar="P", help="port on 127.0.0.1 (default: any free one)"
    )


def run(args: argparse.Namespace) -> int:
    actions = {"describe": _describe, "prepare": _prepare, "build": _build, "review": _review}
    return actions[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from perbench.annotate.build import build, unusable_file
    from perbench.annotate.personas import read_personas
    from perbench.disk.digests import canonical_digest
    from perbench.errors import PerbenchError
    from perbench.matrix.engines import open_model
    from perbench.progress import Progress, counted
    from perbench.specs.compose import engine_of, served_by
    from perbench.specs.load import load_model

    if args.out.is_dir() or not args.out.parent.is_dir():
        raise PerbenchError(f"--out {args.out}: name a file in a folder that exists")
    if args.personas.resolve() in (args.out.resolve(), unusable_file(args.out).resolve()):
        raise PerbenchError(f"--out {args.out} would overwrite --personas {args.personas}; name another file")
    personas = read_personas(args.personas)
    drawn = personas.draw(args.count, args.seed)
    for length, count in personas.left_out.items():
        print(f"{args.personas}: {counted(count, 'persona')} of {length} sentences left out", file=sys.stderr)
    if len(drawn) < args.count:
        print(
            f"{args.personas}: {counted(len(drawn), 'usable persona')}, --count {args.count}", file=sys.stderr
        )
    model = load_model(args.model)
    identity = {**engine_of(model).identify(), **served_by(model)}
    made_by = {"model": model.name, "digest": canonical_digest(identity)}
    progress = Progress(1)
    with progress.shown(), progress.cell(f"{model.name} writes") as tick:
        built = build(drawn, open_model(model, say=progress.say), made_by, args.out, tick=tick)
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
    from perbench.annotate.review.server import serve
    from perbench.annotate.review.state import Review
    from perbench.errors import listed
    from perbench.progress import counted

    step = "reviewed" if args.second is None else "adjudicated"
    out = args.out if args.out is not None else args.file.with_name(f"{args.file.stem}.{step}.jsonl")
    with Review.open(args.file, out, args.second) as review:
        if review.left_out:
            rows = f"{counted(len(review.left_out), 'row')} that only one reviewer accepted"
            print(f"{rows}, left out: {listed(review.left_out)}", file=sys.stderr)
        serve(review, args.port)
    return 0


def _describe(args: argparse.Namespace) -> int:
    from perbench.annotate import agreement
    from perbench.data import spans
    from perbench.errors import PerbenchError
    from perbench.specs.load import load_task

    task = load_task(args.task)
    if owner_of(task.spec).cells != "identify":
        raise PerbenchError(
            f"task {task.name} is of protocol {task.spec.protocol} and has no gold spans; "
            f"perbench show task {task.name} prints its spec"
        )
    splits = spans.check(task)
    found = agreement.describe_splits(splits, spans.names_of(task.spec))
    print(json.dumps(found, ensure_ascii=False) if args.json else agreement.table(found))
    return 0


def _prepare(args: argparse.Namespace) -> int:
    if args.family == "wordnet":
        return _prepare_wordnet(args)
    import shlex

    from perbench.prepare.prepare import Request, describe, prepare
    from perbench.store.environment import shorten

    out, manifest = prepare(
        Request(
            family=args.family,
            source=args.source,
            out=args.out,
            revisions=_revisions(args.revision),
            sample=args.sample,
            seed=args.seed,
            command=shorten(shlex.join(["perbench", *sys.argv[1:]])),
        )
    )
    manifest = describe(out, manifest, *_tokenizer(args.model))
    print(
        json.dumps({"folder": str(out), **manifest}, ensure_ascii=False)
        if args.json
        else report(out, manifest)
    )
    return 0


def _revisions(given: list[str]) -> dict[str, str]:
    """ "REPOSITORY=COMMIT" as a mapping; a bare COMMIT gets the key ""."""
    split = [text.rpartition("=") for text in given]
    return {repository: commit for repository, _, commit in split}


def _tokenizer(model: str | None) -> tuple[Any, str]:
    """The model's tokenizer and the unit of its lengths; words if the default model is unavailable."""
    from perbench.errors import PerbenchError
    from perbench.lm import models
    from perbench.prepare.lengths import Words
    from perbench.specs.load import load_model

    name = model or DEFAULT_MODEL
    try:
        found = models.resolve(load_model(name))
    except PerbenchError as error:
        if model is not None:
            raise
        print(f"lengths are counted in words: {error}", file=sys.stderr)
        return Words(), "words"
    return models.load_tokenizer(found.folder), f"tokens of {Path(name).name}"


def report(out: Path, manifest: Mapping[str, Any]) -> str:
    """The report on what was prepared."""
    from perbench.prepare.lengths import published

    lines = ["| table | rows | left out |", "|---|---:|---|"]
    for name, table in manifest["tables"].items():
        skipped = "; ".join(f"{reason}, {count}" for reason, count in table["skipped"].items())
        lines.append(f"| {name} | {table['rows']} | {skipped} |")
    for name, table in manifest["tables"].items():
        lines += [f"{name}: {note} ({count:,})" for note, count in table["notes"].items()]
    lines += [f"{name}: not there ({reason})" for name, reason in manifest["absent"].items()]
    if manifest["lengths"]:
        columns = ("with persona", "without", "response")
        lines += ["", f"Lengths in {manifest['length_unit']}, mean (largest):", ""]
        lines += [f"| task, split | examples | {' | '.join(columns)} |", "|---|---:|---:|---:|---:|"]
        for name, found in manifest["lengths"].items():
            cells = [
                f"{found[column]['mean']:.1f} ({found[column]['max']})" if column in found else ""
                for column in columns
            ]
            lines.append(f"| {name} | {found['examples']['count']} | {' | '.join(cells)} |")
        for name, printed in published({name.rpartition(",")[0] for name in manifest["lengths"]}).items():
            lines.append(f"| {name} | | {' | '.join(printed.get(column, '') for column in columns)} |")
    official = {
        True: "what was read is as published",
        False: "NOT the published files",
        None: "no checksum known",
    }[manifest["official"]]
    if not any(digest for table in manifest["tables"].values() for digest in table["inputs"].values()):
        official = "none of the family's files was there"
    origin = ", ".join(f"{name} {value}" for name, value in manifest["origin"].items())
    lines += ["", f"from {origin} ({official}); digest {manifest['digest'][:12]}"]
    lines += [f"task file {out / name}; use it with --include {out}" for name in manifest["specs"]]
    return "\n".join([*lines, f"in {out}", *_use(out, manifest)])


def _use(out: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Which tasks have rows to test on now, how they find them, and which have none; nothing if no task reads
    the family."""
    from perbench.data.prepared import prepared_folder
    from perbench.prepare.lengths import readers, ready

    family = manifest["family"]
    there, absent = ready(readers(family, out))
    if there:
        how = "" if out == prepared_folder(family) else f", by --data {family}={out}"
        yield f"tasks with data{how}: {', '.join(there)}"
    if absent:
        yield f"tasks still without data: {', '.join(absent)}"


def _prepare_wordnet(args: argparse.Namespace) -> int:
    from perbench.errors import PerbenchError
    from perbench.text import wordnet

    if args.out or args.revision or args.sample or args.model:
        raise PerbenchError("wordnet takes only --from and --json: it always goes into the user cache")
    folder = wordnet.prepare(args.source)
    found = wordnet.load()
    if args.json:
        print(json.dumps({"folder": str(folder), "version": found.version, "sha256": found.digest}))
    else:
        print(f"WordNet {found.version} in {folder}")
    return 0
