"""The files of a model folder: which are loaded, their digest, and checks before and after loading."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from perbench.disk.digests import canonical_digest, content_sha256, file_sha256
from perbench.disk.manifest import MANIFEST, verify
from perbench.errors import PerbenchError

FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "additional_chat_templates/*.jinja")
"""The files of a model folder. Pickled weights are excluded: loading them can run code."""
INDEX = "*.safetensors.index.json"
MOST_KEYS = 5
"""Tensors listed in a message."""


def check_folder(folder: Path, what: str) -> None:
    """Raise a PerbenchError unless the folder is a model in the HF format whose files all lie in it; `what`
    names it."""
    if (folder / "adapter_config.json").is_file():
        raise PerbenchError(f"{what}: {folder} is {_adapter(folder)}")
    if not (folder / "config.json").is_file():
        raise PerbenchError(f"{what}: {folder} has no config.json, so it is not a model in the HF format")
    if not any(folder.glob("*.safetensors")):
        raise PerbenchError(
            f"{what}: {folder} holds no *.safetensors, and other weight files are refused, since pickles "
            f"can run code; save the model again with save_pretrained(), which writes safetensors"
        )
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise PerbenchError(
            f"{what}: {folder} has no tokenizer; save it beside the weights with save_pretrained()"
        )
    _check_names(folder, what)


def _adapter(folder: Path) -> str:
    try:
        base = json.loads((folder / "adapter_config.json").read_bytes()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    if (folder / "config.json").is_file():
        return (
            "both a model and a peft adapter (config.json and adapter_config.json), so other weights than "
            "its own would be loaded; move adapter_config.json out of the folder"
        )
    return (
        f"a peft adapter{f' of {base}' if base else ''}, not a model; to evaluate what perbench trained, add "
        "targets to the matrix that trained it and rerun it with the same --out; to use it as a model, merge "
        "it into its base (docs/running.md) and name the merged folder"
    )


def _check_names(folder: Path, what: str) -> None:
    """Refuse references to weights outside the folder, which its digest does not cover."""
    for index in sorted(folder.glob(INDEX)):
        named = _object(index, what).get("weight_map")
        if not isinstance(named, dict):
            raise PerbenchError(f"{index}: no weight_map; restore the file, or save the model again")
        for tensor, file in named.items():
            _check_name(file, f"{index}: weight_map, {tensor}", folder)
    explicit = _object(folder / "config.json", what).get("transformers_weights")
    if explicit is not None:
        _check_name(explicit, f"{folder / 'config.json'}: transformers_weights", folder)


def _check_name(name: Any, place: str, folder: Path) -> None:
    if not isinstance(name, str) or Path(name).name != name or not name.endswith((".safetensors", INDEX[1:])):
        raise PerbenchError(
            f"{place}: {name!r} is not a safetensors file of this folder, so the model's digest does not "
            "cover it; move it into the folder"
        )
    if not (folder / name).is_file():
        raise PerbenchError(f"{place}: {folder / name} is missing; restore the file, or copy the model again")


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PerbenchError(f"{what}: {path} is damaged: {error}; restore the file") from None
    if not isinstance(value, dict):
        raise PerbenchError(f"{what}: {path} is damaged: not a JSON object; restore the file")
    return value


def files(folder: Path) -> list[Path]:
    """All files that loading may read, sorted."""
    return sorted({path for pattern in FILES for path in folder.glob(pattern)})


def folder_digest(folder: Path, digest: Callable[[Path], str] = file_sha256) -> str:
    """sha256 over the names and contents of `files`; `digest` as in `perbench.disk.manifest.faults`."""
    return canonical_digest({path.relative_to(folder).as_posix(): digest(path) for path in files(folder)})


def check_hub_files(folder: Path, what: str, again: str) -> None:
    """Compare the files of a hub snapshot with the hub's checksums: the hub's client stores each file under
    its checksum and links to it. Without links, the content cannot be checked.

    Raises:
        PerbenchError: a file is damaged; `again` is the command that downloads it.
    """
    for path in files(folder):
        kept = path.resolve()
        if not path.is_symlink() or kept.parent.name != "blobs":
            continue
        if re.fullmatch(r"[0-9a-f]{64}", kept.name):
            found = content_sha256(kept)
        elif re.fullmatch(r"[0-9a-f]{40}", kept.name):
            content = kept.read_bytes()
            found = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            continue
        if found != kept.name:
            raise PerbenchError(f"{what}: {path} is damaged: its checksum differs; delete {kept} and {again}")


# ---------------------------------------------------------------- while loading


def verify_if_sealed(folder: Path) -> None:
    """Check a folder of weights written by perbench file by file; others cannot be checked.

    Raises:
        Damaged: a file is missing, damaged or unexpected.
    """
    if (folder / MANIFEST).exists():
        way_out = f"restore or recreate it; if it was changed on purpose, delete {folder / MANIFEST}"
        verify(folder, way_out)


def check_loaded(info: Mapping[str, Any], folder: Path) -> None:
    """transformers initialises missing weights at random with only a warning.

    Args:
        info: from `from_pretrained(..., output_loading_info=True)`, which leaves out tied and optional
            weights.

    Raises:
        PerbenchError: tensors are missing, unexpected, or of another shape than the model's.
    """
    shapes = [
        f"{name} ({list(found)}, not {list(wanted)})" for name, found, wanted in info["mismatched_keys"]
    ]
    wrong = key_faults(
        missing=info["missing_keys"], unexpected=info["unexpected_keys"], **{"of another shape": shapes}
    )
    if wrong:
        raise PerbenchError(
            f"{folder}: the weights do not match the model in config.json: {wrong}; restore the files, "
            "or save the model again with save_pretrained()"
        )


def key_faults(**named: Iterable[str]) -> str:
    """ "missing: a, b and 3 more; unexpected: c": tensors by fault, or ""."""
    parts = []
    for what, keys in named.items():
        names = sorted(keys)
        more = f" and {len(names) - MOST_KEYS} more" if len(names) > MOST_KEYS else ""
        if names:
            parts.append(f"{what}: {', '.join(names[:MOST_KEYS])}{more}")
    return "; ".join(parts)
