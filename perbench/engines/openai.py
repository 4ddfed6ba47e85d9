"""An endpoint that speaks OpenAI's chat API: a server of one's own (vLLM, llama.cpp) or a provider's."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from perbench.engines.absence import ending, withheld
from perbench.engines.base import Conversation, Generation, TokenIds
from perbench.engines.replies import ReplyCache
from perbench.engines.retry import Halted, Passing, Retry, asked_to_wait, used_up
from perbench.errors import PerbenchError
from perbench.specs.model import Endpoint, is_address
from perbench.specs.sampling import SamplingSpec
from perbench.store.record import EndpointUse

if TYPE_CHECKING:
    import numpy as np

MAY_PASS = frozenset({408, 409, 425, 429})
"""Statuses below 500 that another attempt may not meet."""


class OpenAIEngine:
    """Implements `chat` of `perbench.engines.base.Engine`; what needs tokens or weights raises an error.

    Address and key are kept out of records, messages and the cache. `book` is told of every request and
    answer. Safe to interrupt: what was answered is booked, then in the cache.
    """

    chat_only = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: ReplyCache | None = None,
        book: Callable[[EndpointUse], None] = lambda use: None,
        retry: Retry | None = None,
    ) -> None:
        missing = absent(endpoint)
        if missing:
            raise PerbenchError(missing[0])
        import openai

        self.name = f"openai {version('openai')}"
        self._endpoint = endpoint
        self._cache = cache
        self._book = book
        self._retry = retry if retry is not None else Retry()
        self._key = os.environ[endpoint.api_key_env]
        self._url = endpoint.url
        self._client = openai.OpenAI(
            api_key=self._key, base_url=self._url, timeout=endpoint.timeout, max_retries=0
        )

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        """See `perbench.engines.base.Engine.chat`. Whether a seed makes answers repeat is up to the server;
        with a cache they do. Conversations that are the same are asked once.

        Raises:
            PerbenchError: the endpoint refuses, or gave no usable answer for as long as patience lasts. No
                new request is made from then on; those under way are waited for and their answers kept.
        """
        bodies = [self._body(conversation, sampling, seed) for conversation in conversations]
        keys = [json.dumps(body) for body in bodies]
        halt = threading.Event()
        with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
            asked = {
                key: pool.submit(self._reply, body, halt)
                for key, body in dict(zip(keys, bodies, strict=True)).items()
            }
            try:
                wait(asked.values(), return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt:
                halt.set()
                raise
            finally:
                pool.shutdown(cancel_futures=halt.is_set())
        errors = [task.exception() for task in asked.values() if not task.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, Halted):
                raise error
        return [asked[key].result() for key in keys]

    def _body(self, conversation: Conversation, sampling: SamplingSpec, seed: int) -> dict[str, Any]:
        return {
            "model": self._endpoint.model,
            "messages": [dict(message) for message in conversation],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
        }

    def _reply(self, body: dict[str, Any], halt: threading.Event) -> Generation:
        try:
            return self._asked(body, halt)
        except BaseException:
            halt.set()  # whatever it was, a full disk too: what can no longer be kept shall not be paid for
            raise

    def _asked(self, body: dict[str, Any], halt: threading.Event) -> Generation:
        file = self._cache.file(self._url, body) if self._cache is not None else None
        if self._cache is not None and file is not None:
            known = self._cache.get(file)
            if known is not None:
                generation, served = known
                self._book(EndpointUse(reused=1, served=served))
                return generation
        try:
            reply, use = self._retry(lambda: self._attempt(body), halt)
        except PerbenchError as failure:
            raise PerbenchError(f"endpoint model {self._endpoint.model!r}: {failure}") from None
        # Booked first: killed in between, it is asked and paid again, and both are counted. The other way
        # round the next start would take it for one that cost nothing.
        self._book(use)
        if self._cache is not None and file is not None:
            self._cache.put(file, reply, use.served)
        return reply

    def _attempt(self, body: dict[str, Any]) -> tuple[Generation, EndpointUse]:
        import openai

        self._book(EndpointUse(requests=1))
        try:
            raw = self._client.chat.completions.with_raw_response.create(**body)
        except openai.OpenAIError as error:
            filtered = withheld(error.body) if isinstance(error, openai.APIStatusError) else None
            if filtered is not None:
                return filtered, EndpointUse()
            raise self._failure(error) from None
        used = used_up(raw.headers)
        if used is not None:
            self._retry.hold(used)
        return read_reply(raw.http_response.text, self._endpoint.model)

    def _failure(self, error: Any) -> Exception:
        """The error as one that may pass, or as final."""
        import openai

        told = self._why(error)
        if isinstance(error, openai.APIConnectionError):
            return Passing(told)
        if isinstance(error, openai.APIStatusError) and error.code != "insufficient_quota":
            status = error.status_code
            if status in MAY_PASS or status >= 500:
                asked = asked_to_wait(error.response.headers)
                return Passing(told, wait=asked, alive=True, limited=status == 429)
        return PerbenchError(told)

    def _why(self, error: Exception) -> str:
        import openai

        place = self._endpoint.base_url_env if self._endpoint.base_url is None else "base_url"
        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            return f"the key in {self._endpoint.api_key_env} is refused (status {error.status_code})"
        if isinstance(error, openai.APITimeoutError):
            return f"no answer within {self._endpoint.timeout:g} s from the address in {place}"
        if isinstance(error, openai.APIConnectionError):
            return f"no connection, or a broken one, to the address in {place}: is the server running?"
        said = " ".join(str(error).replace(self._key, "[key]").split())[:200]
        if isinstance(error, openai.NotFoundError):
            return f"status 404; check the model's name, and that the address in {place} ends in /v1: {said}"
        return said

    # ------------------------------------------------------------ what an endpoint cannot do

    @property
    def tokenizer(self) -> Any:
        self._refuse("shows no tokens")

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        self._refuse("takes messages, not token ids")

    def steer(
        self,
        prompts: Sequence[TokenIds],
        without: Sequence[TokenIds],
        sampling: SamplingSpec,
        *,
        lam: float,
        seed: int,
    ) -> list[Generation]:
        self._refuse("gives no logits to steer by")

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray[Any, Any]]:
        self._refuse("gives no log-probs of given texts")

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        if path is not None or user is not None:
            self._refuse("serves no adapters")

    def _refuse(self, what: str) -> NoReturn:
        raise PerbenchError(
            f"endpoint model {self._endpoint.model!r}: an endpoint {what}; it can only chat "
            "(identifier llm_judge). Use a model whose weights are on this machine (hub, path or gguf)"
        )


def read_reply(text: str, asked: str) -> tuple[Generation, EndpointUse]:
    """The answer of model `asked` in a reply's body, and what it cost; read strictly.

    Raises:
        Passing: the body is no whole JSON object, or holds no answer. One that begins as such shows that the
            server is the right one, unlike the page of another.
    """
    alive = text.lstrip().startswith("{")
    try:
        value = json.loads(text)
    except ValueError:
        raise Passing(f"the reply is broken: {text[-60:]!r} ends it", alive=alive) from None
    try:
        choice = value["choices"][0]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise Passing(f"the reply holds no answer: {text[:100]!r}", alive=alive) from None
    if content is not None and not isinstance(content, str):
        raise Passing(f"the reply holds no answer in words: {text[:100]!r}", alive=alive)
    read, cached, written = _usage(value.get("usage"))
    use = EndpointUse(
        answers=1,
        unmetered=int(read is None),
        input_tokens=read or 0,
        cached_input_tokens=cached,
        output_tokens=written,
        served=[name] if isinstance(name := value.get("model"), str) and name not in ("", asked) else [],
    )
    finish, missing = ending(choice, content or "")
    return Generation(content or "", finish, read or 0, written, missing), use


def _usage(value: Any) -> tuple[int | None, int, int]:
    """Tokens read (None where the server does not count), of them cached, and written."""
    if not isinstance(value, Mapping):
        return None, 0, 0
    read, written = value.get("prompt_tokens"), value.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int) or min(read, written) < 0:
        return None, 0, 0
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return read, cached if isinstance(cached, int) and 0 <= cached <= read else 0, written


# ---------------------------------------------------------------- address and key


def absent(endpoint: Endpoint) -> list[str]:
    """What of package, address and key is not there, or cannot be one, with the way out. Shows no key."""
    told = f"of endpoint model {endpoint.model!r}"
    faults = []
    if find_spec("openai") is None:
        faults.append("an endpoint needs the package openai: pip install 'perbench[openai]'")
    url, key = endpoint.url, os.environ.get(endpoint.api_key_env)
    if not url:
        example = "the address, such as http://127.0.0.1:8000/v1,"
        faults.append(f"set the environment variable {endpoint.base_url_env} to {example} {told}")
    elif not is_address(url):
        faults.append(
            f"the environment variable {endpoint.base_url_env}, the address {told}, is no address such as "
            "http://127.0.0.1:8000/v1"
        )
    if not key:
        any_text = "the key (any text for a server that asks for none)"
        faults.append(f"set the environment variable {endpoint.api_key_env} to {any_text} {told}")
    elif not re.fullmatch(r"[!-~]+", key):
        faults.append(
            f"the environment variable {endpoint.api_key_env}, the key {told}, holds what none can: a space, "
            "a line break (at its end, perhaps) or a character beyond ASCII; set it again"
        )
    return faults
