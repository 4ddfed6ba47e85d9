"""An endpoint that speaks OpenAI's chat API: a server of one's own (vLLM, llama.cpp) or a provider's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from perbench.engines.base import Conversation, Generation, TokenIds
from perbench.errors import PerbenchError
from perbench.specs.model import Endpoint
from perbench.specs.task import SamplingSpec

if TYPE_CHECKING:
    import numpy as np

TIMEOUT = 300.0
"""Seconds for one answer."""
RETRIES = 2
"""By the client, with growing pauses: after a broken connection, a timeout, status 408, 409, 429 or 5xx."""
CONCURRENT = 8
"""Requests under way at once; the server batches them."""


class OpenAIEngine:
    """Implements `chat` of `perbench.engines.base.Engine`; what needs tokens or weights raises an error.

    Address and key are read from the environment and kept out of records and messages.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import openai
        except ModuleNotFoundError:
            raise PerbenchError(
                "an endpoint needs the package openai: pip install 'perbench[openai]'"
            ) from None
        self.name = f"openai {version('openai')}"
        self._endpoint = endpoint
        self._key = _variable(endpoint.api_key_env, "key (any text for a server that asks for none)")
        address = _variable(endpoint.base_url_env, "address, such as http://127.0.0.1:8000/v1")
        self._client = openai.OpenAI(
            api_key=self._key, base_url=address, timeout=TIMEOUT, max_retries=RETRIES
        )

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        """See `perbench.engines.base.Engine.chat`. Whether a seed makes answers repeat is up to it.

        Raises:
            PerbenchError: the endpoint does not answer, or refuses.
        """
        with ThreadPoolExecutor(CONCURRENT) as pool:
            return list(pool.map(lambda messages: self._answer(messages, sampling, seed), conversations))

    def _answer(self, messages: Conversation, sampling: SamplingSpec, seed: int) -> Generation:
        import openai

        body: Any = [dict(message) for message in messages]
        try:
            reply = self._client.chat.completions.create(
                model=self._endpoint.model,
                messages=body,
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed,
            )
        except openai.OpenAIError as error:
            raise PerbenchError(f"endpoint model {self._endpoint.model!r}: {self._why(error)}") from None
        if not reply.choices:
            raise PerbenchError(f"endpoint model {self._endpoint.model!r}: the reply holds no answer")
        choice, usage = reply.choices[0], reply.usage
        return Generation(
            choice.message.content or "",
            "length" if choice.finish_reason == "length" else "stop",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
        )

    def _why(self, error: Exception) -> str:
        import openai

        address, key = self._endpoint.base_url_env, self._endpoint.api_key_env
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            return f"the key in {key} is refused (status {error.status_code})"
        if isinstance(error, openai.APITimeoutError):
            return f"no answer within {TIMEOUT:g} s from the address in {address}"
        if isinstance(error, openai.APIConnectionError):
            return f"nothing answers at the address in {address}: is the server running?"
        said = " ".join(str(error).replace(self._key, "[key]").split())[:200]
        if isinstance(error, openai.NotFoundError):
            return (
                f"status 404; check the model's name, and that the address in {address} ends in /v1: {said}"
            )
        return said

    # ------------------------------------------------------------ what an endpoint cannot do

    @property
    def tokenizer(self) -> Any:
        self._refuse("shows no tokens")

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        self._refuse("takes messages, not token ids")

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray[Any, Any]]:
        self._refuse("gives no log-probs of given texts")

    def load_adapter(self, path: Path | None) -> None:
        if path is not None:
            self._refuse("serves no adapters")

    def _refuse(self, what: str) -> NoReturn:
        raise PerbenchError(
            f"endpoint model {self._endpoint.model!r}: an endpoint {what}; it can only chat "
            "(identifier llm_judge). Use a model whose weights are on this machine (hub, path or gguf)"
        )


def _variable(name: str, what: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise PerbenchError(f"set the environment variable {name} to the endpoint's {what}")
    return value
