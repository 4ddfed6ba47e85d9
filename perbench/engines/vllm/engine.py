"""The vLLM engine: requests of a whole target side by side, each with its own seed."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from perbench.contracts.engine import Conversation, Engine, Generation, Seeds, TokenIds, seed_of_each
from perbench.disk.digests import canonical_digest, content_sha256
from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError
from perbench.lm.adapters import adapted, is_adapter
from perbench.lm.context import check_room, context_in
from perbench.lm.model_files import verify_if_sealed
from perbench.lm.models import load_causal_lm, load_tokenizer
from perbench.lm.native import native
from perbench.prompts.chat import decode_response
from perbench.prompts.serving import chat_by_tokens, ends, stop_tokens
from perbench.seeds import derive_seed
from perbench.shapes.sampling import SamplingSpec

from . import OFFERS
from .section import Vllm
from .server import Adapter, VllmRequest, VllmServer, reserved
from .start import version

if TYPE_CHECKING:
    import numpy as np

UNBOUNDED = 32768
"""Context of a model that names none."""
_servers: weakref.WeakValueDictionary[tuple[str, ...], VllmServer] = weakref.WeakValueDictionary()
"""Those in use by some engine of this process."""


class VllmEngine(Engine):
    """`longest` and `rank` are as in `perbench.contracts.engine_kind.Host`. vLLM is started by the first
    request, so that weights which are never used need no memory."""

    offers = OFFERS
    batch = 256
    alone = True
    continuous = True
    tokenizer: Any = None

    def __init__(
        self, folder: Path, spec: Vllm, *, dtype: str = "auto", longest: int | None = None, rank: int = 0
    ) -> None:
        self.name = f"vllm {version()}"
        self.tokenizer = load_tokenizer(folder)
        self.stop_tokens = stop_tokens(folder, self.tokenizer)
        self._folder, self._spec = folder, spec
        self._dtype = dtype if dtype != "auto" else native()
        self._room = self._context(folder)
        self._longest = spec.max_model_len or longest
        self._rank = rank if spec.adapters == "swap" else 0
        self._adapter: Adapter | None = None
        self._server: VllmServer | None = None
        self._serve(None, False, self._rank)

    # ------------------------------------------------------------ weights

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        """Serve a peft adapter folder or a full model folder; None is the base model.

        A full model has a vLLM of its own. An adapter is applied by the base model's, or merged if the
        settings say so; with `user` on top it is always merged, since vLLM applies one adapter at a time.

        Raises:
            PerbenchError: a folder holds neither, is damaged, or the adapter's rank is too large.
        """
        for folder in filter(None, (path, user)):
            is_adapter(folder)  # raises if it is neither
            verify_if_sealed(folder)
        lora = path is not None and is_adapter(path)
        merging = lora and (user is not None or self._spec.adapters == "merge")
        own = user or (path if lora and not merging else None)
        adapter = adapter_of(own, path if user is not None else None, self._spec) if own else None
        self._adapter = None
        self._serve(path if path != own else None, merging, max(self._rank, adapter.rank if adapter else 0))
        self._adapter = adapter

    def _serve(self, weights: Path | None, merging: bool, rank: int) -> None:
        """Turn to the server of these weights: the base model's, a full model's, or the base model's with an
        adapter merged into them."""
        what = "" if weights is None else digest_of(weights)
        key = (str(self._folder), what, self._dtype, self._spec.model_dump_json())
        self._server = _servers.get(key)  # a server that no other engine uses stops now
        if self._server is not None:
            return
        folder = merged(self._folder, weights, self._dtype) if weights is not None and merging else None
        self._server = _servers[key] = VllmServer(
            Path(folder.name) if folder is not None else weights or self._folder,
            self._spec,
            self._dtype,
            room=self._room,
            longest=self._longest,
            rank=rank,
            merged=folder,
        )

    def _context(self, folder: Path) -> int:
        room = context_in(folder) or UNBOUNDED
        most = self._spec.max_model_len
        if most is not None and most > room:
            raise PerbenchError(
                f"vllm.max_model_len {most} exceeds the model's context of {room}; lower it, or remove it"
            )
        return most or room

    @property
    def context(self) -> int | None:
        """See `perbench.contracts.engine.Engine.context`; at most `vllm.max_model_len`."""
        return self._room

    # ------------------------------------------------------------ the protocol

    def chat(
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.chat`."""
        return chat_by_tokens(self, conversations, sampling, seed=seed, skip=skip)

    def generate(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.generate`. A prompt is drawn by its tokens and its seed, so
        the answer is the same in any batch; further equal prompts of one seed get other answers."""
        times: Counter[tuple[int, str]] = Counter()
        drawn = []
        given = seed_of_each(seed, len(prompts))
        for prompt, own in zip(prompts, given, strict=True):
            digest = canonical_digest(list(prompt))
            drawn.append(derive_seed("prompt", own, digest, times[own, digest]))
            times[own, digest] += 1
        answers = dict(self.stream(prompts, sampling, seeds=drawn))
        return [answers[place] for place in range(len(prompts))]

    def stream(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Generation]]:
        """See `perbench.contracts.engine.Engine.stream`.

        Raises:
            TooLong: a prompt and its answer exceed the model's context.
        """
        new = sampling.max_new_tokens
        check_room(self._room, max(map(len, prompts), default=0), new)
        stops = ends(self, self.stop_tokens, sampling)
        shared = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": new,
            "stop_token_ids": sorted(stops),
            "ignore_eos": True,  # all stop tokens are named
            "detokenize": False,
        }
        requests = [
            VllmRequest(
                prompt, len(prompt) + new, {**shared, **({"seed": seed} if sampling.temperature else {})}
            )
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        for place, output in self._asked(requests):
            (answer,) = output.outputs
            ids = list(answer.token_ids)
            ended = bool(ids) and ids[-1] in stops
            text = decode_response(self.tokenizer, ids[:-1] if ended else ids)
            reason = "stop" if ended else "length"
            yield place, Generation(text, reason, len(prompts[place]), len(ids))

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray[Any, Any]]:
        """See `perbench.contracts.engine.Engine.score`. vLLM normalises in float32 and reads at most
        `vllm.max_batched_tokens` tokens at once."""
        import numpy as np

        pairs = list(zip(prompts, responses, strict=True))
        check_room(self._room, max((len(one) + len(other) for one, other in pairs), default=0), 0)
        found = [np.zeros(0, np.float32) for _ in pairs]
        due = [place for place, (_, response) in enumerate(pairs) if response]
        params = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}
        requests = [
            VllmRequest(
                (*pairs[place][0], *pairs[place][1]), len(pairs[place][0]) + len(pairs[place][1]), params
            )
            for place in due
        ]
        for number, output in self._asked(requests):
            place = due[number]
            response = pairs[place][1]
            rows = output.prompt_logprobs[-len(response) :]
            found[place] = np.array(
                [row[token].logprob for row, token in zip(rows, response, strict=True)], np.float32
            )
        return found

    def _asked(self, requests: Sequence[VllmRequest]) -> Iterator[tuple[int, Any]]:
        assert self._server is not None, "the last load_adapter() failed"
        return self._server.answers(requests, self._adapter)


def adapter_of(path: Path, below: Path | None, spec: Vllm) -> Adapter:
    """The adapter at `path`, named by its content, and that of the trained weights `below` it."""
    config = json.loads((path / "adapter_config.json").read_bytes())
    rank = max(config["r"], *(config.get("rank_pattern") or {}).values(), 1)
    reserved(rank, spec)
    return Adapter("/".join(digest_of(one) for one in (below, path) if one is not None), path, rank)


def merged(base: Path, adapter: Path, dtype: str) -> TemporaryDirectory[str]:
    """A folder of the base model's weights with an adapter in them."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    folder = TemporaryDirectory(prefix="merged-", dir=cache_dir())
    adapted(load_causal_lm(base, dtype), adapter, merge=True).save_pretrained(folder.name)
    return folder


def digest_of(folder: Path) -> str:
    """sha256 of a folder's weights and their settings."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*config.json")])
    return canonical_digest([[file.name, content_sha256(file)] for file in files])
