"""Loads peft adapters and tells them from full models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError
from perbench.lm.model_files import key_faults, verify_if_sealed


def is_adapter(path: Path) -> bool:
    """True for the folder of a peft adapter, False for that of a full model in the HF format.

    Raises:
        PerbenchError: the folder holds neither.
    """
    if (path / "adapter_config.json").is_file() and (path / "adapter_model.safetensors").is_file():
        return True
    if (path / "config.json").is_file():
        return False
    raise PerbenchError(
        f"{path} holds neither a peft adapter (adapter_config.json and adapter_model.safetensors) nor a "
        f"model in the HF format (config.json); train it again"
    )


def adapted(model: Any, path: Path, *, merge: bool) -> Any:
    """`model` in evaluation mode with the adapter at `path`, merged into its weights or added on top. The
    module is changed in place; `unload()` removes an unmerged adapter.

    Raises:
        PerbenchError: the adapter does not fit the model, or is incomplete or damaged.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    verify_if_sealed(path)
    try:
        with warnings.catch_warnings():
            # Missing and unexpected keys are reported below.
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            result = PeftModel.from_pretrained(model, str(path))
        _check_keys(result, path)
        return (result.merge_and_unload(safe_merge=True) if merge else result).eval()
    except (ValueError, RuntimeError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise PerbenchError(f"{path}: the adapter does not fit the model: {error}") from error


def _check_keys(model: Any, path: Path) -> None:
    """peft leaves missing tensors at their random initialisation and ignores unexpected ones."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    file = path / "adapter_model.safetensors"
    with safe_open(file, framework="pt") as stored:
        found = set(stored.keys())
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if wrong := key_faults(missing=expected - found, unexpected=found - expected):
        raise PerbenchError(f"{file} is incomplete: {wrong}; train it again, or restore the file")
