"""The documentation names what there is, and its examples run."""

import inspect
import re
import shlex
import tomllib
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from perbench import cli
from perbench._moved import MOVED
from perbench.shapes.reported import ReportedTable
from perbench.specs.compose import model_spec, task_spec
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.yaml import parse_value

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
COMMANDS = [
    shlex.split(line, comments=True)
    for page in PAGES
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("perbench ")
]
NAMES = {name for name, _ in cli._commands()}
ROOTS = {"Task": task_spec(), "Model": model_spec(), "Matrix": MatrixSpec, "Reported": ReportedTable}
BY_ROOT = {("Matrix", "training"): TrainingSpec}
"""Sections that a spec holds as bare mappings."""
SPREAD = {"examples", "training.lora"}
"""Sections whose keys stand in the table of what they are in."""


def nested(annotation):
    """The specs in a type, by what stands between its key and theirs."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return {"": annotation}
    args, named = typing.get_args(annotation), typing.get_origin(annotation) is dict
    return {".NAME" * named + tail: one for arg in args[named:] for tail, one in nested(arg).items()}


def keys_of(spec, root, under=""):
    """Every key of a spec and of the specs in it: by dotted path, its default; None where it is required."""
    found = {}
    for name, field in spec.model_fields.items():
        key = under + (field.alias or name)
        inner = nested(field.annotation)
        default = field.get_default(call_default_factory=True)
        found[key] = None if field.is_required() else (default, isinstance(default, BaseModel))
        if (root, key) in BY_ROOT:
            inner[""] = BY_ROOT[root, key]
        for tail, one in inner.items():
            found |= keys_of(one, root, f"{key}{tail}.")
    return found


def told_keys(text):
    """The keys of a reference's tables: by dotted path, (whether it is marked *, default). A table is about
    the sections that begin the paragraph before it."""
    found, sections = {}, [""]
    for block in text.split("\n\n"):
        title = re.match(r"(`[\w.]+`(, | and |, besides)?)+[:,]", block)
        if title:
            sections = [f"{name}." for name in re.findall(r"`([\w.]+)`", title[0])]
        for row in re.findall(r"^\| (`.*?) \|(.*?)\|", block, re.MULTILINE):
            names = re.findall(r"`([\w.]+)`(\*?)", row[0])
            values = re.findall(r"`.*?`|[^`, ]+", row[1]) or [""] * len(names)
            for (name, star), value in zip(names, values, strict=True):
                found |= {section + name: (bool(star), value.strip("`")) for section in sections}
    return found


@pytest.mark.parametrize("root", ROOTS)
def test_every_key_is_in_the_reference_with_its_default(root):
    (text,) = re.findall(rf"^## {root} .*?(?=^## |\Z)", (DOCS / "specs.md").read_text("utf-8"), re.M | re.S)
    there, told = keys_of(ROOTS[root], root), told_keys(text)
    assert told.keys() ^ there.keys() == SPREAD & there.keys()
    for key, (required, value) in told.items():
        assert required == (there[key] is None), key
        if there[key] is not None and not there[key][1]:
            assert parse_value(value, key) == there[key][0], key


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_can_be_given_as_written(words):
    assert cli._parser().parse_args(words[1:]).command == next(word for word in words[1:] if word in NAMES)


def test_what_built_in_methods_import_is_open_to_plugins():
    told = (DOCS / "plugins.md").read_text("utf-8")
    files = [file for folder in ("identifiers", "trainers") for file in (DOCS.parent / folder).glob("*.py")]
    skeletons = DOCS.parent / "perbench" / "cli" / "skeletons"
    files += [file for file in skeletons.rglob("*.py") if file.parent.name != "tests"]
    used = {
        MOVED.get(name, name)
        for file in files
        for name in re.findall(r"^ *from (perbench[\w.]*) import", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(used) > 5
    assert not [name for name in sorted(used) if f"`{MOVED.get(name, name)}" not in told]


def test_every_extra_that_is_named_exists():
    there = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        extra
        for file in [*PAGES, *(DOCS.parent / "perbench").rglob("*.py")]
        for extra in re.findall(r"perbench\[([\w-]+)\]", file.read_text("utf-8"))
    }
    assert {"hub", "demo", "track"} <= named <= there["optional-dependencies"].keys()


def test_no_line_is_longer_than_120():
    for page in [*PAGES, DOCS.parent / "CONTRIBUTING.md"]:
        assert not [line for line in page.read_text("utf-8").splitlines() if len(line) > 120], page


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_there_are_commands_in_the_documentation():
    assert {"run", "train", "eval", "identify"} <= {word for words in COMMANDS for word in words}
