"""The files of a model's folder: what loading reads, its digest, and what is refused before and after it."""

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
"""What a model folder is made of. Pickled weights are not among it: loading them can run code."""
INDEX = "*.safetensors.index.json"
MOST_KEYS = 5
"""Tensors that a message names."""


def check_folder(folder: Path, what: str) -> None:
    """Raises:
    PerbenchError: the folder is no model in the HF format whose files all lie in it; `what` names it.
    """
    if (folder / "adapter_config.json").is_file():
        raise PerbenchError(f"{what}: {folder} is {_adapter(folder)}")
    if not (folder / "config.json").is_file():
        raise PerbenchError(f"{what}: {folder} has no config.json, so it is no model in the HF format")
    if not any(folder.glob("*.safetensors")):
        raise PerbenchError(
            f"{what}: {folder} holds no *.safetensors. Other weight files are refused: loading a pickle "
            f"can run code. Save the model again with save_pretrained(), which writes safetensors"
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
            "a model and a peft adapter at once (config.json and adapter_config.json): loading would take "
            "other weights than its own. Move adapter_config.json out of the folder"
        )
    return (
        f"a peft adapter{f' of {base}' if base else ''}, not a model. To evaluate what perbench trained, run "
        "the matrix that trained it, with further targets, on the same --out: the training is reused. To use "
        "it as a model, merge it into its base (docs/running.md shows how) and name the merged folder"
    )


def _check_names(folder: Path, what: str) -> None:
    """Refuse what names weights outside the folder: no digest of the folder covers them."""
    for index in sorted(folder.glob(INDEX)):
        named = _object(index, what).get("weight_map")
        if not isinstance(named, dict):
            raise PerbenchError(f"{index}: no weight_map. Restore the file, or save the model again")
        for tensor, file in named.items():
            _check_name(file, f"{index}: weight_map, {tensor}", folder)
    explicit = _object(folder / "config.json", what).get("transformers_weights")
    if explicit is not None:
        _check_name(explicit, f"{folder / 'config.json'}: transformers_weights", folder)


def _check_name(name: Any, place: str, folder: Path) -> None:
    if not isinstance(name, str) or Path(name).name != name or not name.endswith((".safetensors", INDEX[1:])):
        raise PerbenchError(
            f"{place}: {name!r} is no safetensors file of this folder; weights elsewhere are refused, since "
            "the model's digest does not cover them. Move them into the folder"
        )
    if not (folder / name).is_file():
        raise PerbenchError(f"{place}: {folder / name} is missing. Restore the file, or copy the model again")


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PerbenchError(f"{what}: {path} is damaged: {error}. Restore the file") from None
    if not isinstance(value, dict):
        raise PerbenchError(f"{what}: {path} is damaged: no JSON object. Restore the file")
    return value


def files(folder: Path) -> list[Path]:
    """All that loading may read, sorted."""
    return sorted({path for pattern in FILES for path in folder.glob(pattern)})


def folder_digest(folder: Path, digest: Callable[[Path], str] = file_sha256) -> str:
    """sha256 over the names and contents of `files`; `digest` as in `perbench.disk.manifest.faults`."""
    return canonical_digest({path.relative_to(folder).as_posix(): digest(path) for path in files(folder)})


def check_hub_files(folder: Path, what: str, again: str) -> None:
    """Compare the files of a hub snapshot with the checksums that the hub gave: the hub's client keeps each
    under its checksum and links to it. Where links are not possible, nothing is known of the content.

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
            raise PerbenchError(
                f"{what}: {path} is damaged: its checksum differs. Delete {kept}, and {again}"
            )


# ---------------------------------------------------------------- while loading


def verify_if_sealed(folder: Path) -> None:
    """Check a folder of weights that perbench wrote, file by file; of any other nothing is known.

    Raises:
        Damaged: a file is missing, damaged or unexpected.
    """
    if (folder / MANIFEST).exists():
        way_out = f"Restore it or make it again; if it was changed on purpose, delete {folder / MANIFEST}"
        verify(folder, way_out)


def check_loaded(info: Mapping[str, Any], folder: Path) -> None:
    """transformers draws weights at random that it does not find, and only warns.

    Args:
        info: what `from_pretrained(..., output_loading_info=True)` reports. Tied weights and what a model
            declares to do without are not among it.

    Raises:
        PerbenchError: tensors that are missing, not expected, or of other shapes than the model's.
    """
    shapes = [
        f"{name} ({list(found)}, not {list(wanted)})" for name, found, wanted in info["mismatched_keys"]
    ]
    wrong = key_faults(
        missing=info["missing_keys"], unexpected=info["unexpected_keys"], **{"of another shape": shapes}
    )
    if wrong:
        raise PerbenchError(
            f"{folder}: the weights are not those of the model in config.json: {wrong}. Restore the files, "
            "or save the model again with save_pretrained()"
        )


def key_faults(**named: Iterable[str]) -> str:
    """ "missing: a, b and 3 more; unexpected: c": tensors by what is wrong with them, "" where none is."""
    parts = []
    for what, keys in named.items():
        names = sorted(keys)
        more = f" and {len(names) - MOST_KEYS} more" if len(names) > MOST_KEYS else ""
        if names:
            parts.append(f"{what}: {', '.join(names[:MOST_KEYS])}{more}")
    return "; ".join(parts)
