"""Resolves a ModelSpec to a local folder in the HF format (safetensors, config, tokenizer) and its digest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.disk.digests import canonical_digest, content_sha256, forget_sha256
from perbench.errors import PerbenchError
from perbench.lm import gguf_package
from perbench.lm.model_files import (
    FILES,
    check_folder,
    check_hub_files,
    check_loaded,
    files,
    folder_digest,
    verify_if_sealed,
)
from perbench.shapes.model import ModelSpec

if TYPE_CHECKING:
    import torch

    from perbench.shapes.base import Named


@dataclass(frozen=True)
class ResolvedModel:
    """A model on this machine. `digest` is the sha256 of `identify`; `label` names it in results."""

    name: str
    folder: Path
    digest: str
    label: str | None = None


def identify(model: Named[ModelSpec]) -> dict[str, Any]:
    """The identity inputs of a model: JSON-ready and cheap, without torch, conversion or download.

    {"gguf_sha256", "pre_tokenizer", "max_position_embeddings", "conversion"} | {"hub", "revision"}, the
    revision resolved to a commit | {"weights_sha256"}, over weights, config and tokenizer files; {} if the
    model's file names no weights.

    Raises:
        PerbenchError: the model is unavailable; the message says what to do.
    """
    spec = model.spec
    if spec.gguf is not None:
        return gguf_package.identity(spec.gguf)
    if spec.hub is not None:
        return {"hub": spec.hub, "revision": _commit(spec.hub, spec.revision)}
    return {"weights_sha256": folder_digest(_local_folder(model))} if spec.path is not None else {}


def resolve(model: Named[ModelSpec]) -> ResolvedModel:
    """Make the model available as a local folder: convert, download, or check it. This process hashes every
    local file once, so the digest is that of what is loaded. A hub model's digest is that of its commit; its
    files are compared with the checksums kept by the hub's client.

    Raises:
        PerbenchError: as `identify`; also for weights that are not safetensors, damaged files, or no weights.
    """
    spec = model.spec
    inputs = identify(model)
    if not inputs:
        raise PerbenchError(
            f"model {model.name} names no weights (hub, path or gguf), so it cannot be trained or inspected"
        )
    if spec.gguf is not None:
        folder = gguf_package.materialise(spec.gguf)
    elif spec.hub is not None:
        folder = _snapshot(spec.hub, inputs["revision"])
        again = f"run: hf download {spec.hub} --revision {inputs['revision']}"
        check_hub_files(folder, f"model {model.name}", again)
    else:
        folder = _local_folder(model)
        if folder_digest(folder, content_sha256) != inputs["weights_sha256"]:
            for path in files(folder):
                forget_sha256(path)
            raise PerbenchError(
                f"model {model.name}: {folder} has changed since planning, or its cached hashes were wrong "
                "(they are now deleted); run the same command again"
            )
    return ResolvedModel(model.name, folder, canonical_digest(inputs), spec.label)


def at_hand(model: Named[ModelSpec]) -> Path | None:
    """The folder that `resolve` would return, unless it needs a conversion or download; else None."""
    spec = model.spec
    if spec.gguf is not None:
        folder = gguf_package.folder(spec.gguf)
        return folder if folder.is_dir() else None
    if spec.path is not None:
        return _local_folder(model)
    if spec.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.hub, "config.json", revision=identify(model)["revision"])
    return Path(found).parent if isinstance(found, str) else None


# ---------------------------------------------------------------- local folders


def _local_folder(model: Named[ModelSpec]) -> Path:
    """The spec's `path`, relative to its file."""
    assert model.spec.path is not None
    folder = Path(model.spec.path).expanduser()
    if not folder.is_absolute() and model.path is not None and model.path.is_file():
        folder = model.path.parent / folder
    if not folder.is_dir():
        raise PerbenchError(f"model {model.name}: no folder {folder}")
    check_folder(folder, f"model {model.name}")
    return folder.absolute()


# ---------------------------------------------------------------- the hub


def _commit(hub: str, revision: str | None) -> str:
    """`revision` as a commit: itself if it is one; else, offline, the local copy's; else the hub's."""
    from huggingface_hub import HfApi, is_offline_mode

    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    if is_offline_mode():
        # A snapshot's folder is named after its commit.
        return _snapshot(hub, revision, check=False).name
    try:
        commit = HfApi().model_info(hub, revision=revision).sha
    except Exception as error:  # the client raises its own and its HTTP library's types
        raise PerbenchError(f"model {hub}: {_refused(error)}") from error
    assert commit is not None
    return commit


def _snapshot(hub: str, revision: str | None, *, check: bool = True) -> Path:
    from huggingface_hub import is_offline_mode, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = is_offline_mode()
    try:
        found = snapshot_download(
            hub, revision=revision, allow_patterns=list(FILES), local_files_only=offline
        )
    except LocalEntryNotFoundError as error:
        at = f" --revision {revision}" if revision else ""
        raise PerbenchError(
            f"model {hub}{at}: not in the local hub cache, and "
            f"{'HF_HUB_OFFLINE is set' if offline else 'the hub is not reachable'}; with a network, run: "
            f"hf download {hub}{at}; or use a local folder as the model"
        ) from error
    except Exception as error:  # as in _commit
        raise PerbenchError(f"model {hub}: {_refused(error)}") from error
    folder = Path(found)
    if check:
        check_folder(folder, f"model {hub}")
    return folder


def _refused(error: Exception) -> str:
    return (
        f"the hub does not provide it ({type(error).__name__}: {_first_line(error)}); check its name and "
        f"your access; offline, set HF_HUB_OFFLINE=1 to use the local hub cache, or use a local folder"
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


# ---------------------------------------------------------------- loading


def native_dtype() -> torch.dtype:
    """`perbench.lm.native.native`."""
    import torch

    from perbench.lm.native import native

    found: torch.dtype = getattr(torch, native())
    return found


def load_tokenizer(folder: Path) -> Any:
    """The folder's fast tokenizer, with the clock of its chat template fixed (`perbench.lm.template`).

    Raises:
        PerbenchError: it has no chat template, which every prompt needs.
    """
    from perbench.lm.template import pin

    try:
        tokenizer = _tokenizer_class(folder).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # damaged files raise any parser's errors
        raise PerbenchError(f"{folder}: the tokenizer does not load: {_first_line(error)}") from error
    if tokenizer.chat_template is None:
        raise PerbenchError(
            f"{folder}: the tokenizer has no chat template; use the model's instruction-tuned version, "
            f"or save a chat_template.jinja beside it"
        )
    pin(tokenizer)
    return tokenizer


OWN_TOKENIZERS = ("qwen", "siglip", "hyperclovax", "mistral", "voxtral", "pixtral")
"""Beginnings of model types for which AutoTokenizer may take another class than the files name."""


def _tokenizer_class(folder: Path) -> Any:
    """The class that AutoTokenizer would take. That imports torch, which takes seconds and 250 MB, so it is
    asked only where the folder's files leave the class open."""
    try:
        settings, config = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("tokenizer_config.json", "config.json")
        )
        generic = settings.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
        plain = generic and "auto_map" not in settings and (folder / "tokenizer.json").is_file()
        if plain and not str(config.get("model_type")).startswith(OWN_TOKENIZERS):
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast
    except (OSError, ValueError, AttributeError):
        pass  # reported when it is loaded
    from transformers import AutoTokenizer

    return AutoTokenizer


def load_causal_lm(folder: Path, dtype: torch.dtype | str = "auto") -> Any:
    """The folder's causal language model on the CPU, in eval mode. dtype: a torch dtype, its name, or "auto"
    (`native_dtype`, whatever the dtype of the saved weights).

    Raises:
        PerbenchError: transformers does not know the architecture; files are damaged, or their tensors do not
            match the architecture; the folder is an adapter's.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # commands show the progress
    wanted = native_dtype() if dtype == "auto" else dtype
    if isinstance(wanted, str):
        wanted = getattr(torch, wanted)
    if (folder / "adapter_config.json").is_file():
        check_folder(folder, "model")
    verify_if_sealed(folder)
    options = {"dtype": wanted, "local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    level = logging.get_verbosity()
    logging.set_verbosity(40)  # errors only; missing weights are checked below
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:  # damaged files raise any parser's errors
        raise PerbenchError(f"{folder}: the model does not load: {_first_line(error)}") from error
    finally:
        logging.set_verbosity(level)
    model, info = loaded
    check_loaded(info, folder)
    model.eval()
    return model
