"""Engine vllm before vLLM is started: settings, what a plan refuses, and what its errors become."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.contracts.engine_kind import Host
from perbench.engines.vllm.engine import adapter_of, digest_of
from perbench.engines.vllm.section import Vllm
from perbench.engines.vllm.server import reserved
from perbench.engines.vllm.start import Log, check_device, failed, linear_layers, options
from perbench.errors import PerbenchError, SpecError
from perbench.specs.compose import engine_inputs, engine_name, engine_of
from perbench.specs.load import load_model
from tests.processes import ROOT


def named(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(f"summary: s\n{text}", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hub: a/b\nvllm: {tensor_paralel: 2}\n", "Did you mean 'tensor_parallel'"),
        ("hub: a/b\nvllm: {max_lora_rank: 24}\n", "vllm.max_lora_rank: got 24"),
        ("hub: a/b\nvllm: {gpu_memory_utilization: 1.5}\n", "vllm.gpu_memory_utilization"),
        ("hub: a/b\nvllm: {max_model_len: 0}\n", "vllm.max_model_len"),
        ("hub: a/b\nvllm: {}\nengine: transformers\n", "vllm: is not used by engine transformers"),
        ("engine: vllm\n", "exactly one of hub, path, gguf"),
        ("hub: a/b\nengine: vllm\ndtype: int8\n", "dtype: got 'int8'"),
    ],
)
def test_faults_are_told_with_the_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_model(named(tmp_path, text))
    assert any(told in str(one) for one in caught.value.problems), caught.value


def test_the_identity_holds_what_changes_what_is_computed(tmp_path: Path) -> None:
    def inputs(text: str) -> Any:
        return engine_inputs(load_model(named(tmp_path, f"hub: a/b\n{text}")))

    assert inputs("") == "transformers"
    plain = inputs("engine: vllm\n")
    assert plain == {"name": "vllm", "version": 1}
    assert inputs("vllm: {tensor_parallel: 4, eager: true, max_sequences: 8, cache_gb: 2}\n") == plain
    own = inputs("vllm: {batch_invariant: true, adapters: merge}\n")
    assert own == {**plain, "batch_invariant": True, "adapters": "merge"}


def test_a_matrix_chooses_the_engine_of_its_models_of_weights(tmp_path: Path) -> None:
    mine = named(tmp_path, "hub: a/b\nvllm: {tensor_parallel: 4, eager: true}\n")
    serving = {"engine": "vllm", "vllm": {"tensor_parallel": 2}}
    found = load_model(mine, serving).spec
    assert engine_name(found) == "vllm"
    assert engine_of(load_model(mine, serving)).keys.vllm == Vllm(tensor_parallel=2, eager=True)
    assert engine_name(load_model(mine, {"engine": "transformers"}).spec) == "transformers"
    assert engine_name(load_model("a/b", serving).spec) == "vllm"
    assert engine_name(load_model("openai/gpt-4o", serving).spec) == "openai"
    with pytest.raises(SpecError, match="unknown key 'rank' in vllm"):
        load_model("a/b", {"engine": "vllm", "vllm": {"rank": 2}})


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed here")
def test_without_vllm_a_run_says_what_installs_it(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--model", str(tiny_model_dir), "--target", "embedded/sotu_writing", "--limit", "1"]
    words += ["--out", str(tmp_path / "out")]
    assert main([*words, "--engine", "vllm"]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()
    assert main([*words, "--engine", "vlm"]) == 2
    told = capsys.readouterr().err
    assert "'vlm'" in told
    assert "'vllm'" in told
    assert main([*words, "--engine", "vllm", "--set", "engine.eager=maybe"]) == 2
    assert "vllm.eager" in capsys.readouterr().err
    assert main(["doctor", "--engine", "vllm", "--model", str(tiny_model_dir)]) == 2
    assert "pip install" in capsys.readouterr().err


def test_context_steering_is_refused_when_planning(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steered = {"decoding": {"method": "context_steering"}}
    matrix = tmp_path / "m.yaml"
    row = {"task": "embedded/sotu_writing", **steered}
    values = {"summary": "s", "models": [str(tiny_model_dir)], "targets": [row], "engine": "vllm"}
    matrix.write_text(json.dumps(values), encoding="utf-8")
    assert main(["run", "--matrix", str(matrix), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "decoding.method context_steering" in told
    assert "engine vllm" in told


# ---------------------------------------------------------------- adapters


def adapter(folder: Path, rank: int, weights: bytes = b"w", **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, **more}))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def test_an_adapter_is_named_by_its_content(tmp_path: Path) -> None:
    spec = Vllm()
    one, two = adapter(tmp_path / "a", 4), adapter(tmp_path / "b", 4, b"v")
    names = [adapter_of(path, None, spec).name for path in (one, two, one)]
    assert names[0] == names[2] != names[1]
    adapter(tmp_path / "a", 4, b"trained again")
    assert adapter_of(one, None, spec).name not in names
    users = {adapter_of(two, below, spec).name for below in (None, one)}
    assert len(users) == 2
    assert all(name.endswith(digest_of(two)) for name in users)
    assert adapter_of(adapter(tmp_path / "c", 4, rank_pattern={"q_proj": 24}), None, spec).rank == 24


@pytest.mark.parametrize(
    ("rank", "most", "room"),
    [(0, None, 0), (0, 64, 0), (1, None, 1), (5, None, 8), (16, None, 16), (5, 64, 64)],
)
def test_the_room_for_adapters(rank: int, most: Any, room: int) -> None:
    assert reserved(rank, Vllm(max_lora_rank=most)) == room


@pytest.mark.parametrize(("rank", "most"), [(17, 16), (513, None)])
def test_a_rank_above_the_largest_is_refused(rank: int, most: Any, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=rf"rank {rank}, .*max_lora_rank allows {most or 512}"):
        adapter_of(adapter(tmp_path / "a", rank), None, Vllm(max_lora_rank=most))


def test_a_rank_above_the_largest_is_refused_when_planning(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--model", str(tiny_model_dir), "--engine", "vllm", "--limit", "1", "--dry-run"]
    words += ["--trainer", "ce", "--source", "embedded/sotu_writing", "--target", "embedded/sotu_writing"]
    words += ["--set", "training.lora.rank=24", "--out", str(tmp_path / "out")]
    assert main([*words, "--set", "engine.max_lora_rank=16"]) == 2
    assert "max_lora_rank allows 16" in capsys.readouterr().err
    for allowed in ("engine.max_lora_rank=32", "engine.adapters=merge"):
        main([*words, "--set", allowed])
        assert "max_lora_rank" not in capsys.readouterr().err


# ---------------------------------------------------------------- starting


def test_what_vllm_is_started_with(tiny_model_dir: Path) -> None:
    found = options(tiny_model_dir, Vllm(cache_gb=0.5, tensor_parallel=2), "bfloat16", 512, 8)
    assert found["max_model_len"] == 513
    assert (found["dtype"], found["tensor_parallel_size"]) == ("bfloat16", 2)
    assert (found["enable_lora"], found["max_lora_rank"]) == (True, 8)
    assert found["kv_cache_memory_bytes"] == 500_000_000
    assert found["generation_config"] == "vllm"
    assert found["lora_target_modules"] == linear_layers(tiny_model_dir)
    assert linear_layers(tiny_model_dir) == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    assert "enable_lora" not in options(tiny_model_dir, Vllm(), "bfloat16", 512, 0)


@pytest.mark.parametrize(
    ("printed", "key"),
    [
        ("ValueError: To serve at least one request with the models's max seq len (131072), KV cache of 16 "
         "GiB is needed, larger than the available KV cache memory (2 GiB).", "max_model_len"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "gpu_memory_utilization"),
        ("ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired",
         "gpu_memory_utilization"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "dtype"),
        ("ValueError: Total number of attention heads (9) must be divisible by tensor parallel size (2).",
         "tensor_parallel"),
        ("ValueError: Model architectures ['Odd'] are not supported for now.", "engine transformers"),
    ],
)  # fmt: skip
def test_the_cause_and_the_way_out_are_told(printed: str, key: str) -> None:
    log = Log()
    log.file.write(f"(EngineCore pid=7) ERROR 01-01 00:00:00 [core.py:1]     raise\n{printed}\n".encode())
    log.file.write(b"RuntimeError: Engine core initialization failed. See root cause above.\n")
    log.file.flush()
    error = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
    told = str(failed(error, log, "does not start with model m"))
    assert printed.partition(": ")[2][:40] in told
    assert key in told.rpartition(";")[2]


def test_nothing_that_vllm_prints_reaches_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    log = Log()
    print("before")
    with log.capture():
        os.write(1, b"within\n")
        os.write(2, b"ValueError: of a process\n")
    print("after")
    assert capfd.readouterr() == ("before\nafter\n", "")
    assert log.cause() == "ValueError: of a process"


KILLED = """
import os, signal, sys
from perbench.engines.vllm.start import Log, Started
started = Started(None, Log(), [int(sys.argv[1])])
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_a_killed_process_leaves_no_vllm_behind(end: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as vllm:
        done = subprocess.run([sys.executable, "-c", KILLED, str(vllm.pid), end], cwd=ROOT, check=False)
        assert done.returncode == (-signal.SIGKILL if end == "killed" else 0)
        if end == "killed":
            assert vllm.wait(timeout=60) == -signal.SIGKILL
        else:
            assert vllm.poll() is None  # vLLM's own shutdown ends its processes
            vllm.kill()


def test_batch_invariance_needs_a_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(PerbenchError, match="batch_invariant"):
        check_device(Vllm(batch_invariant=True))


def test_a_context_longer_than_the_models_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = load_model(named(tmp_path, f"path: {tiny_model_dir}\nvllm: {{max_model_len: 4096}}\n"))
    with pytest.raises(PerbenchError, match=r"max_model_len 4096 .* 2048"):
        engine_of(model).open(Host(lambda: tiny_model_dir))
