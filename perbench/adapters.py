"""peft adapters in folders: telling them from full models, and merging them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError


def is_adapter(path: Path) -> bool:
    """True for a peft adapter's folder, False for a full model's in the HF format.

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
    """`model` in evaluation mode with the adapter at `path`, merged into its weights or on top of them. The
    module is changed in place; `unload()` of one that is not merged gives it back as it was.

    Raises:
        PerbenchError: the adapter does not fit the model.
    """
    from peft import PeftModel

    try:
        result = PeftModel.from_pretrained(model, str(path))
        return (result.merge_and_unload(safe_merge=True) if merge else result).eval()
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise PerbenchError(f"{path}: the adapter does not fit the model: {error}") from error
