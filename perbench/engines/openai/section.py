"""The section `endpoint` of a model's file: address, key, request format and prices."""

from __future__ import annotations

import json
import os
import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from perbench.contracts.base import Asked
from perbench.disk.digests import canonical_digest
from perbench.shapes.base import Strict
from perbench.shapes.fields import PRIVATE


class Prices(Strict):
    """Prices per million tokens; `cached_input` is for prompt tokens cached by the server, by default as
    `input`."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    cached_input: Annotated[float, Field(ge=0)] | None = None
    currency: str = "USD"

    def cost(self, asked: Asked) -> float:
        again = self.input if self.cached_input is None else self.cached_input
        fresh = asked.input - asked.cached
        return round((fresh * self.input + asked.cached * again + asked.output * self.output) / 1e6, 6)


Parameter = Literal["max_tokens", "temperature", "top_p", "seed", "repetition_penalty"]
"""Parameters of a request, by OpenAI's older names; OpenAI itself takes no `repetition_penalty`."""
OWN = ("max_tokens", "temperature", "top_p", "seed")
"""Those that are sent if `send_as` does not name them."""
OPENAI_URL = "https://api.openai.com/v1"
OPENAI_URL_ENV = "OPENAI_BASE_URL"


def is_address(url: str) -> bool:
    """Whether a URL is a valid server address: http or https, a host, a valid port."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # invalid port
        return False


class Endpoint(Strict):
    """A server with OpenAI's chat API. Its key is read from the environment; neither key nor address is
    recorded."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    """The model's name on the server; it should identify one set of weights."""
    base_url: Annotated[str, PRIVATE] | None = None
    """The address; None reads it from the environment variable `base_url_env`."""
    base_url_env: str = OPENAI_URL_ENV
    """Unset, the default variable means OpenAI's own address."""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Annotated[int, Field(gt=0)] = 8
    """Concurrent requests."""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """Seconds for one answer, from connection to last byte."""
    send_as: dict[Parameter, str | None] = {}
    """The server's names of parameters; null omits one. `repetition_penalty` is sent only if it is named."""
    extra: dict[str, JsonValue] = {}
    """Further fields of every request, such as {reasoning_effort: low}."""
    prices: Prices | None = None

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not is_address(value):
            raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
        return value

    @model_validator(mode="after")
    def _sendable(self) -> Endpoint:
        names = list(self.names.values())
        for name in ("", "model", "messages", "stream", "n"):
            if name in names or name in self.extra:
                raise ValueError(f"send_as and extra: {name!r} is set by perbench")
        for name in {*names} & {*self.extra} | {name for name in names if names.count(name) > 1}:
            raise ValueError(f"send_as and extra: {name!r} would be sent twice; set one to null in send_as")
        try:
            json.dumps(self.extra, allow_nan=False)
        except ValueError:
            raise ValueError("extra holds NaN or infinity, which JSON cannot represent") from None
        return self

    @property
    def names(self) -> dict[str, str]:
        """The name each parameter is sent under, without those that are omitted."""
        own = dict(zip(OWN, OWN, strict=True))
        found = {name: self.send_as.get(name, own.get(name)) for name in get_args(Parameter)}
        return {name: sent for name, sent in found.items() if sent is not None}

    @property
    def unsent(self) -> list[str]:
        """Omitted parameters, for which the server's own settings apply."""
        return sorted(name for name, sent in self.send_as.items() if sent is None)

    @property
    def sent(self) -> dict[str, Any]:
        """How requests are sent where it differs from the default, for the answer's identity."""
        changed = {name: sent for name, sent in self.send_as.items() if sent != name}
        return {**({"send_as": changed} if changed else {}), **({"extra": self.extra} if self.extra else {})}

    @property
    def place(self) -> str:
        """The setting that holds the address, for messages."""
        return self.base_url_env if self.base_url is None else "base_url"

    @property
    def url(self) -> str:
        """The address: the spec's, else the environment's; with the default variable, OpenAI's own, as in its
        client. Empty if there is none."""
        default = OPENAI_URL if self.base_url_env == OPENAI_URL_ENV else ""
        found = self.base_url or os.environ.get(self.base_url_env) or default
        return found.rstrip("/")

    @property
    def elsewhere(self) -> bool:
        """Whether the environment redirects OpenAI's models to another server."""
        return self.base_url is None and self.base_url_env == OPENAI_URL_ENV and self.url != OPENAI_URL

    @property
    def identity(self) -> dict[str, Any]:
        """The model's name on the server, how requests are sent, and the digest of an "address" that replaces
        OpenAI's."""
        address = {"address": canonical_digest(self.url)} if self.elsewhere else {}
        return {"endpoint": self.model, **self.sent, **address}

    def absent(self) -> list[str]:
        """Problems with address and key, and how to fix them, without showing the key."""
        whose = f"of endpoint model {self.model!r}"
        faults = []
        url, key = self.url, os.environ.get(self.api_key_env)
        if not url:
            example = "the address, such as http://127.0.0.1:8000/v1,"
            faults.append(f"set the environment variable {self.base_url_env} to {example} {whose}")
        elif not is_address(url):
            faults.append(
                f"the environment variable {self.base_url_env}, the address {whose}, must be an address such "
                "as http://127.0.0.1:8000/v1"
            )
        if not key:
            any_text = "the key (any text if the server needs none)"
            faults.append(f"set the environment variable {self.api_key_env} to {any_text} {whose}")
        elif not re.fullmatch(r"[!-~]+", key):
            faults.append(
                f"the environment variable {self.api_key_env}, the key {whose}, holds a space, a line break "
                "(perhaps at its end) or a non-ASCII character, which no key can hold; set it again"
            )
        return faults
