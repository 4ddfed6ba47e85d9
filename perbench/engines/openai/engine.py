"""The engine of endpoints with OpenAI's chat API."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from perbench.console.signals import held
from perbench.contracts.engine import LEFT_OUT, Conversation, Engine, Generation, Seeds, seed_of_each
from perbench.disk.masking import Mask, remember
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong
from perbench.progress import counted
from perbench.shapes.sampling import SamplingSpec
from perbench.store.record import EndpointUse

from .completion import read_reply, thoughtless
from .replies import ReplyCache
from .retry import LONGEST_WAIT, Halted, Retry
from .section import OPENAI_URL, Endpoint
from .wire import Wire

ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""Headers sent only to OpenAI itself, as its own client does, and the variables that hold their values."""


class OpenAIEngine(Engine):
    """Chats only.

    Addresses and keys appear in no record, message or cache. `book` receives the use of every request, `say`
    a line before every retry. An interrupt loses no answer: each is booked, then cached.
    """

    offers = frozenset({"chat"})
    batch = 64
    """Several times the concurrency, so that one slow answer delays little. A killed run finds the batch's
    answers in the cache."""
    alone = True

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: ReplyCache | None = None,
        book: Callable[[EndpointUse], None] = lambda use: None,
        say: Callable[[str], None] = lambda line: None,
        retry: Retry | None = None,
    ) -> None:
        if missing := endpoint.absent():
            raise PerbenchError(missing[0])
        self.name = f"openai (httpx2 {version('httpx2')})"
        self._endpoint = endpoint
        self._cache = cache
        self._book = book
        self._say = say
        self._retry = retry if retry is not None else Retry()
        key = os.environ[endpoint.api_key_env]
        self._url = endpoint.url
        account = {
            header: value
            for header, variable in ACCOUNT.items()
            if self._url == OPENAI_URL and (value := os.environ.get(variable))
        }
        self._mask = Mask(key, self._url, *account.values())
        remember(self._mask)
        self._wire = Wire(
            self._url,
            {"Authorization": f"Bearer {key}", **account},
            timeout=endpoint.timeout,
            connections=endpoint.concurrency,
            mask=self._mask,
            place=endpoint.place,
        )
        self._under_way = 0

    @property
    def who(self) -> str:
        return f"endpoint model {self._endpoint.model!r}"

    def chat(
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.chat`; the server decides what is too long. Without a cache,
        answers repeat only if the server honours the seed. Conversations that are equal, with their seed, are
        requested once.

        Raises:
            TooLong: as in `Engine.chat`.
            PerbenchError: the endpoint refuses, or gave no usable answer within the patience. No further
                request starts; pending ones finish and their answers are kept.
            KeyboardInterrupt: likewise; a second one drops the pending requests.
        """
        seeds = seed_of_each(seed, len(conversations))
        requests = [
            self._request(conversation, sampling, one)
            for conversation, one in zip(conversations, seeds, strict=True)
        ]
        keys = [json.dumps(request) for request in requests]
        halt = asyncio.Event()

        def end() -> None:
            halt.set()
            loop.get_loop().call_soon(self._announce)  # after tasks that were only waiting have ended

        # The first interrupt waits for pending requests to keep their answers; a second one drops them.
        with asyncio.Runner() as loop, held(lambda: loop.get_loop().call_soon_threadsafe(end)):
            found = loop.run(self._all(dict(zip(keys, requests, strict=True)), halt, skip))
        return [found[key] for key in keys]

    async def _all(
        self, requests: Mapping[str, dict[str, Any]], halt: asyncio.Event, skip: bool
    ) -> dict[str, Generation]:
        """The answers by key, requested with the endpoint's concurrency."""
        gate = asyncio.Semaphore(self._endpoint.concurrency)
        async with self._wire:
            tasks = {
                key: asyncio.ensure_future(self._reply(one, gate, halt, skip))
                for key, one in requests.items()
            }
            try:
                if tasks:
                    await asyncio.wait(tasks.values())
            finally:  # retrieve all exceptions, or asyncio prints them
                ended = [task for task in tasks.values() if task.done() and not task.cancelled()]
                errors = [task.exception() for task in ended]
        for error in errors:
            if error is not None and not isinstance(error, Halted):
                raise error
        return {key: task.result() for key, task in tasks.items()}

    def _announce(self) -> None:
        """Report what an interrupt waits for."""
        if self._under_way:
            self._say(
                f"{self.who}: waiting for {counted(self._under_way, 'pending request')} "
                f"to keep the answers, at most {self._endpoint.timeout:g} s; press Ctrl-C again to drop them"
            )

    def _request(self, conversation: Conversation, sampling: SamplingSpec, seed: int) -> dict[str, Any]:
        """The request under perbench's own names (`_body` has those on the wire), which keys the reply in the
        cache; how it is sent is part of it only if not the default."""
        return {
            "model": self._endpoint.model,
            "messages": [dict(message) for message in conversation],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
            **self._penalty(sampling),
            **self._endpoint.sent,
        }

    def _penalty(self, sampling: SamplingSpec) -> dict[str, float]:
        """
        Raises:
            PerbenchError: the sampling is beyond what the server is known to do.
        """
        if sampling.end != "turn":
            raise self._lacks("ends answers at the end of a turn, not at sampling.end: eos")
        if sampling.repetition_penalty == 1:
            return {}
        if "repetition_penalty" not in self._endpoint.names:
            raise PerbenchError(
                f"{self.who} is not known to apply sampling.repetition_penalty; if its server does, set "
                "endpoint.send_as.repetition_penalty in the model's file to the server's name of it"
            )
        return {"repetition_penalty": sampling.repetition_penalty}

    def _body(self, request: Mapping[str, Any]) -> dict[str, Any]:
        names = self._endpoint.names
        if request["top_p"] == 1.0:  # no effect, and some servers reject it with a temperature
            names = {name: sent for name, sent in names.items() if name != "top_p"}
        body = {"model": request["model"], "messages": request["messages"]}
        known = {sent: request[name] for name, sent in names.items() if name in request}
        return {**body, **known, **self._endpoint.extra}

    async def _reply(
        self, request: Mapping[str, Any], gate: asyncio.Semaphore, halt: asyncio.Event, skip: bool
    ) -> Generation:
        async with gate:
            if halt.is_set():
                raise Halted
            self._under_way += 1
            try:
                return await self._asked(request, halt, skip)
            except BaseException:
                halt.set()  # on any error, also a full disk: do not pay for what cannot be kept
                raise
            finally:
                self._under_way -= 1

    async def _asked(self, request: Mapping[str, Any], halt: asyncio.Event, skip: bool) -> Generation:
        key = self._cache.key(self._url, request) if self._cache is not None else None
        if self._cache is not None and key is not None:
            known = self._cache.get(key)
            # If too long is an error here, ask again: the server's context may have grown.
            if known is not None and (skip or known[0].missing != LEFT_OUT.missing):
                kept, served = known
                found = thoughtless(kept)
                self._book(self._use(EndpointUse(reused=1, served=served), kept, found))
                return found
        try:
            reply, use = await self._retry(
                lambda: self._attempt(request), halt, lambda line: self._say(f"{self.who}: {line}")
            )
        except TooLong as failure:
            if not skip:
                raise TooLong(f"{self.who}: {failure}") from None
            reply, use = LEFT_OUT, EndpointUse()
        except PerbenchError as failure:
            raise PerbenchError(f"{self.who}: {failure}") from None
        # Booked before cached: if killed in between, the request is repeated and both are counted; in the
        # other order its cost would be lost.
        found = thoughtless(reply)
        self._book(self._use(use, reply, found))
        if self._cache is not None and key is not None:
            self._cache.put(key, reply, use.served)
        return found

    def _use(self, use: EndpointUse, reply: Generation, found: Generation) -> EndpointUse:
        """The use with the details of the answer that notes report."""
        counts = {"thoughts": int(found != reply), "replaced": int("\ufffd" in found.text)}
        return use.model_copy(update={**counts, "unsent": self._endpoint.unsent})

    async def _attempt(self, request: Mapping[str, Any]) -> tuple[Generation, EndpointUse]:
        self._book(EndpointUse(requests=1))
        reply = await self._wire.post(self._body(request))
        if reply.used_up is not None and reply.status < 400:
            # If the limit lasts longer, the server's refusal gives a new wait.
            self._retry.hold(min(reply.used_up, LONGEST_WAIT))
        return read_reply(reply, self._endpoint, self._mask)
