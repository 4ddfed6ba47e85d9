"""Where rows come from: a Python function, JSONL files, a dataset hub, or prepared data."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from perbench.data.jsonl import MOST_PROBLEMS, Row, read_jsonl
from perbench.data.lines import packed
from perbench.data.prepared import origin, prepared_folder
from perbench.data.split import cut
from perbench.data.values import value_faults
from perbench.errors import PerbenchError, Problem, SpecError, suggest
from perbench.shapes.task import DataSpec, FieldSpec


@dataclass(frozen=True)
class Source:
    """Rows of one split, and what a record says of them: no machine's paths, so that records compare.
    `place`: their file or other source, for messages; `shared`: the fields that every row has from
    `data.shared`."""

    rows: list[Row]
    described: dict[str, Any]
    place: Path | str
    shared: Mapping[str, Any] = field(default_factory=dict)


def read(data: DataSpec, split: str, beside: Path | None, fields: FieldSpec | None = None) -> Source:
    """All rows of `split`. Relative paths are taken from the folder `beside` (the spec's), else from here.
    `fields` names what `data.split` goes by.

    Raises:
        PerbenchError: the source is not there, with the way out.
        SpecError: every malformed line of a file, by number, and every row with a field that all share.
    """
    if data.shared is not None:
        return _with_shared(data, data.shared, split, beside)
    base = beside or Path()
    if data.data_dir is not None or data.prepared is not None:
        return _from_folder(data, split, base)
    if data.files is not None:
        path = base / Path(data.files).expanduser()
        if path.is_dir():
            if data.split is not None:
                raise PerbenchError(
                    f"{path}: data.split splits a single file, but this is a folder; name a file in it"
                )
            file = _split_file(path, split)
            return Source(read_jsonl(file), {"files": f"{path.name}/{file.name}"}, file)
        rows = read_jsonl(path)
        if data.split is None:
            return Source(rows, {"files": path.name}, path)
        part = cut(path, rows, fields or FieldSpec(), data.split)[split]
        return Source(part, {"files": path.name, "split": split, **data.split.model_dump()}, path)
    if data.hub is not None:
        return _from_hub(data, split)
    return _from_python(data, split, beside)


def _with_shared(data: DataSpec, config: str, split: str, beside: Path | None) -> Source:
    source = read(data.model_copy(update={"shared": None}), split, beside)
    common = read(data.model_copy(update={"config": config, "shared": None}), split, beside).rows
    if len(common) != 1:
        raise PerbenchError(
            f"{common[0].place if common else config}: data.shared takes a file of one row, whose fields are "
            f"every row's (found {len(common)} rows)"
        )
    shared = common[0].fields
    faults = [
        Problem(
            row.place,
            row.line,
            f"the row has a field {name!r}, which all rows have from {config}; leave it out of one, or set "
            "data.shared: null",
        )
        for row in source.rows
        for name in sorted(shared.keys() & row.fields.keys())
    ]
    if faults:
        raise SpecError(faults[:MOST_PROBLEMS])
    rows = [replace(row, fields={**shared, **row.fields}) for row in source.rows]
    return Source(rows, {**source.described, "shared": config}, source.place, shared)


def has_train_split(data: DataSpec, beside: Path | None) -> bool:
    """Whether there is a split to train or tune on, apart from the test split: a single file holds none
    unless `split` cuts it, nor does a folder without its file; of a function or a hub, the two names tell."""
    if data.split is not None:
        return True
    if data.train_split == data.test_split:
        return False
    base = beside or Path()
    if data.files is not None:
        folder = base / Path(data.files).expanduser()
    elif data.data_dir is not None or data.prepared is not None:
        folder = _folder(data, base) / (data.config or "")
    else:
        return True
    return folder.is_dir() and (folder / f"{data.train_split}.jsonl").is_file()


# ---------------------------------------------------------------- files


def _folder(data: DataSpec, base: Path) -> Path:
    if data.data_dir is not None:
        return base / Path(data.data_dir).expanduser()
    assert data.prepared is not None, "only prepared data lie in the cache"
    return prepared_folder(data.prepared)


def _from_folder(data: DataSpec, split: str, base: Path) -> Source:
    assert data.config is not None, "DataSpec asks for a config beside data_dir and prepared"
    root = _folder(data, base)
    file = f"{data.config}/{split}.jsonl"
    if data.data_dir is not None and not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise PerbenchError(f"{root}: {what}; check the path, data.data_dir or --data FAMILY=DIR")
    if data.prepared is not None and not (root / file).is_file():
        raise PerbenchError(
            f"{root} has no {file}; run `perbench data prepare {data.prepared}`, with --from PATH from local "
            f"files, with --out DIR into a folder that --data {data.prepared}=DIR then names"
            f"{packed(root, file)}"
        )
    path = _split_file(root / data.config, split)
    return Source(read_jsonl(path), {"data_dir": file, **origin(root)}, path)


def _split_file(folder: Path, split: str) -> Path:
    path = folder / f"{split}.jsonl"
    if folder.is_dir() and not path.is_file():
        there = [file.stem for file in folder.glob("*.jsonl")]
        hint = packed(folder, path.name)
        raise PerbenchError(f"{folder} has no split {split!r}.{suggest(split, there)}{hint.lstrip('.')}")
    return path


# ---------------------------------------------------------------- a Python function


def _from_python(data: DataSpec, split: str, beside: Path | None) -> Source:
    assert data.python is not None, "DataSpec has exactly one source"
    module_name, _, function_name = data.python.partition(":")
    try:
        module = _module(module_name, beside)
        function = getattr(module, function_name, None)
        if function is None:
            raise PerbenchError(f"data.python: module {module_name} has no function {function_name!r}")
        rows = list(_numbered(data.python, function(split)))
    except PerbenchError:
        raise
    except ModuleNotFoundError as error:
        way_out = f" Run: pip install {data.requires}" if data.requires else ""
        raise PerbenchError(f"data.python: {data.python} needs the module {error.name}.{way_out}") from error
    except Exception as error:  # whatever a function that is not perbench's raises
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise PerbenchError(
            f"data.python: {data.python} raised {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        ) from error
    described: dict[str, Any] = {"python": data.python, "split": split}
    if data.requires:
        name = data.requires.partition("==")[0]
        try:
            described["package"] = f"{name}=={version(name)}"
        except PackageNotFoundError:
            described["package"] = data.requires
    return Source(_checked(rows), described, data.python)


def _module(name: str, beside: Path | None) -> ModuleType:
    """The file NAME.py in the folder `beside`, else the module that can be imported by this name."""
    file = beside / f"{name}.py" if beside is not None else None
    if file is None or not file.is_file():
        return importlib.import_module(name)
    own = str(file.resolve())  # not `name`, which an installed package may have
    if own not in sys.modules:
        spec = importlib.util.spec_from_file_location(own, file)
        assert spec is not None
        assert spec.loader is not None, "it ends on .py"
        sys.modules[own] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[own])
        except BaseException:
            del sys.modules[own]
            raise
    return sys.modules[own]


def _checked(rows: list[Row]) -> list[Row]:
    faults = [Problem(row.place, row.line, fault) for row in rows for fault in value_faults(row.fields)]
    if faults:
        raise SpecError(faults[:MOST_PROBLEMS])
    return rows


def _numbered(place: str, rows: Iterable[Any]) -> Iterator[Row]:
    for number, fields in enumerate(rows, start=1):
        if not isinstance(fields, Mapping):
            raise PerbenchError(f"{place}, row {number}: a row is a mapping, not {type(fields).__name__}")
        yield Row(place, number, fields)


# ---------------------------------------------------------------- the hub


def _from_hub(data: DataSpec, split: str) -> Source:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise PerbenchError(
            f"reading {data.hub} from the hub needs the package datasets. Run: pip install 'perbench[hub]'; "
            f"or name a local folder of <config>/<split>.jsonl: --data FAMILY=DIR"
        ) from error
    try:
        table = datasets.load_dataset(data.hub, data.config, split=split, revision=data.revision)
    except Exception as error:  # the client raises a family of types of its own and of its HTTP library
        raise PerbenchError(
            f"{data.hub} ({data.config}, {split}) does not load: {type(error).__name__}: {error}. Offline, "
            f"name a local folder of <config>/<split>.jsonl: --data FAMILY=DIR"
        ) from error
    described = {"hub": data.hub, "config": data.config, "split": split, "revision": data.revision}
    place = f"{data.hub} {data.config} {split}"
    return Source(_checked(list(_numbered(place, table))), described, place)
