"""One running vLLM per set of weights: engines of one base model share it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perbench.contracts.engine import TokenIds
from perbench.errors import PerbenchError

from .section import RANKS, Vllm, too_large
from .start import Log, Started, failed, options, start


@dataclass(frozen=True)
class Adapter:
    """`name` identifies its content, by which vLLM's prefix cache tells adapters apart."""

    name: str
    path: Path
    rank: int


@dataclass(frozen=True)
class VllmRequest:
    """A prompt, and the arguments of `vllm.SamplingParams`; `length`: with the answer, in tokens."""

    prompt: TokenIds
    length: int
    params: dict[str, Any]


@dataclass
class _Running:
    vllm: Started
    length: int
    rank: int
    done: dict[str, Any] = field(default_factory=dict)
    """Finished outputs that nobody has taken yet: several callers may wait for theirs."""
    asked: dict[str, str] = field(default_factory=dict)
    """Requests in progress, or not yet taken, and the names of their adapters."""
    adapters: dict[str, int] = field(default_factory=dict)


class VllmServer:
    """Started when first used; again, with more room, when a request or an adapter needs more than planned.

    `room` is the model's context; `longest` and `rank` are what to expect; `merged` is the folder of the
    weights, if it is to be deleted with the server.
    """

    def __init__(
        self,
        folder: Path,
        spec: Vllm,
        dtype: str,
        *,
        room: int,
        longest: int | None,
        rank: int,
        merged: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._folder, self._spec, self._dtype = folder, spec, dtype
        self._room, self._rank = room, rank
        self._longest = min(room, longest) if longest is not None else room
        self._merged = merged
        self._held: list[_Running] = []
        self._number = 0
        weakref.finalize(self, _close, self._held)

    def answers(
        self, requests: Sequence[VllmRequest], adapter: Adapter | None = None
    ) -> Iterator[tuple[int, Any]]:
        """The places of requests and their `vllm.RequestOutput`, as they finish.

        Raises:
            PerbenchError: vLLM does not start, refuses the adapter, or died.
        """
        if not requests:
            return
        rank = adapter.rank if adapter is not None else 0
        running = self._need(max(one.length for one in requests), rank)
        core = running.vllm.llm.llm_engine
        waiting: dict[str, int] = {}
        try:
            used = adapter.name if adapter is not None else ""
            while any(other != used for name, other in running.asked.items() if name not in running.done):
                _step(running)  # on a CPU, vLLM applies an adapter to all requests of a batch
            lora = self._lora(running, adapter) if adapter is not None else None
            from vllm import SamplingParams

            for place, one in enumerate(requests):
                self._number += 1
                name = str(self._number)
                params = SamplingParams(**one.params)
                core.add_request(name, {"prompt_token_ids": list(one.prompt)}, params, lora_request=lora)
                waiting[name] = place
                running.asked[name] = used
            while waiting:
                # Also what another caller's steps have finished meanwhile.
                if not (ready := [name for name in waiting if name in running.done]):
                    _step(running)
                for name in ready:
                    del running.asked[name]
                    place, output = waiting.pop(name), running.done.pop(name)
                    yield place, output
        except Exception as error:  # vLLM raises its own and other libraries' types
            dead = type(error).__name__ == "EngineDeadError"
            failure = failed(error, running.vllm.log, "died" if dead else "refused a request")
            if dead:
                self.close()
            raise failure from error
        finally:
            if waiting and running in self._held:  # the caller stopped early
                with suppress(Exception):
                    core.abort_request([*waiting], internal=False)
                for name in waiting:
                    running.done.pop(name, None)
                    running.asked.pop(name, None)

    def close(self) -> None:
        """Stop vLLM; the next request starts it again."""
        _close(self._held)

    def _need(self, length: int, rank: int) -> _Running:
        """vLLM with room for requests and adapters of these sizes."""
        if self._held and length <= self._held[0].length and rank <= self._held[0].rank:
            return self._held[0]
        known = self._held[0] if self._held else None
        if known is not None and known.asked:
            raise PerbenchError(
                f"engine vllm: a request of {length} tokens, beyond the {known.length} that vLLM was started "
                f"with, while others run; set vllm.max_model_len: {max(length, self._longest)} or more"
            )
        length = max(self._longest if length <= self._longest else self._room, known.length if known else 0)
        rank = reserved(max(rank, self._rank, known.rank if known else 0), self._spec)
        self.close()
        log = Log()
        given = options(self._folder, self._spec, self._dtype, length, rank)
        self._held.append(_Running(start(given, self._spec, log), length, rank))
        return self._held[0]

    def _lora(self, running: _Running, adapter: Adapter) -> Any:
        from vllm.lora.request import LoRARequest

        number = running.adapters.get(adapter.name)
        found = LoRARequest(adapter.name, number or len(running.adapters) + 1, str(adapter.path))
        if number is None:
            running.vllm.llm.llm_engine.add_lora(found)  # here, so that a fault stops no other request
            running.adapters[adapter.name] = found.lora_int_id
        return found


def reserved(rank: int, spec: Vllm) -> int:
    """The room for adapters that vLLM reserves: 0 for none.

    Raises:
        PerbenchError: the rank is larger than it or the settings allow.
    """
    most = spec.max_lora_rank or RANKS[-1]
    if rank > most:
        raise PerbenchError(too_large(rank, most))
    if not rank:
        return 0
    return spec.max_lora_rank or next(size for size in RANKS if size >= rank)


def _step(running: _Running) -> None:
    outputs = running.vllm.llm.llm_engine.step()
    running.done |= {out.request_id: out for out in outputs if out.finished}


def _close(held: list[_Running]) -> None:
    while held:
        held.pop().vllm.close()
