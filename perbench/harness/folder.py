"""The folder of YAML files for lm-eval's --include_path, kept in the user cache.

It is named by the digest of the plugins that it lists and written as a whole, so that readers see all of it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from perbench import __version__, plugins
from perbench.disk.digests import canonical_digest
from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError, suggest
from perbench.plugins.roots import included

VERSION = 1
"""Of the files' content."""
NOTES = "notes.json"
"""Tasks that are left out, with the reason."""
NAMES = "names.json"
"""lm-eval's name of each task."""


def task_folder(data: Mapping[str, Path]) -> Path:
    """The folder for the plugins of this process, written now unless it exists.

    Args:
        data: folders of local data by family, which the files name.
    """
    found = [
        (plugin.kind, plugin.name, str(plugin.path), (stat := plugin.path.stat()).st_mtime_ns, stat.st_size)
        for plugin in plugins.discover().values()
    ]
    folders = {family: str(path.expanduser().absolute()) for family, path in sorted(data.items())}
    made_of = [VERSION, __version__, found, list(map(str, included())), folders]
    folder = cache_dir() / "lm_eval" / canonical_digest(made_of)[:16]
    if not folder.is_dir():
        _write(folder, folders)
    return folder


def notes(folder: Path) -> list[str]:
    """What to tell users of the folder."""
    return list(json.loads((folder / NOTES).read_text(encoding="utf-8")))


def check_names(folder: Path, asked: list[str]) -> None:
    """
    Raises:
        PerbenchError: a name that begins like perbench's is not in the folder; the message suggests one.
    """
    from perbench.harness.tasks import PREFIX

    known = json.loads((folder / NAMES).read_text(encoding="utf-8"))
    for name in asked:
        if name.startswith(PREFIX) and not any(sign in name for sign in "*?[") and name not in known:
            raise PerbenchError(f"--tasks: unknown task {name!r}.{suggest(name, known)}")


def _write(folder: Path, data: Mapping[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, text in _files(data).items():
            (made / name).write_text(text, encoding="utf-8")
        made.chmod(0o755)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process wrote it meanwhile
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _files(data: Mapping[str, str]) -> dict[str, str]:
    from perbench.harness.tasks import TAG, config, groups, independent, lm_eval_name, yaml_text
    from perbench.specs.load import load_task

    roots = [str(path.resolve()) for path in included()]
    source = {**({"roots": roots} if roots else {}), **({"data": dict(data)} if data else {})}
    files: dict[str, str] = {}
    names: dict[str, str] = {}
    left_out: list[str] = []
    for task in plugins.names("task"):
        name = lm_eval_name(task)
        try:
            if name in names.values():
                raise PerbenchError(f"another task is {name}, too; rename one")
            named = load_task(task, data={family: Path(place) for family, place in data.items()})
            files[f"{name}.yaml"] = yaml_text(config(named, independent(named), **source))
        except PerbenchError as error:
            left_out.append(f"{task} is left out: {error}")
            continue
        names[task] = name
    gathered = groups(names)
    for group, members in gathered.items():
        files[f"{group}.group.yaml"] = json.dumps({"group": group, "task": members})
    return {
        **files,
        NOTES: json.dumps(left_out),
        NAMES: json.dumps([*names.values(), *gathered, TAG]),
    }
