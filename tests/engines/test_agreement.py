"""perbench doctor --engine: what two engines agree on, and when they may share a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.conformance import agreement
from perbench.conformance.agreement import Agreement, Divergence
from perbench.engines.transformers.engine import TransformersEngine
from perbench.shapes.sampling import SamplingSpec


class Other(TransformersEngine):
    """Log-probs off by `off`, answers by weights that favour one token by `push`."""

    name = "other 1"
    off, push = 0.0, 0.0

    def score(self, prompts: Any, responses: Any) -> list[Any]:
        return [values - self.off for values in super().score(prompts, responses)]

    def generate(self, prompts: Any, sampling: Any, *, seed: Any) -> Any:
        from torch import nn

        head = self.model.get_output_embeddings()
        plain = head.forward
        try:
            head.forward = lambda hidden: _pushed(plain(hidden), self.push)
            return super().generate(prompts, sampling, seed=seed)
        finally:
            assert isinstance(head, nn.Module)
            head.forward = plain


def _pushed(logits: Any, by: float) -> Any:
    logits = logits.clone()
    logits[..., 7] += by
    return logits


@pytest.fixture
def vllm_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as perbench looks."""
    monkeypatch.setattr("perbench.contracts.engine_kind.find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("off", "push", "equal", "told"),
    [
        (0.0, 0.0, True, None),
        (2e-5, 0.0, True, None),
        (0.01, 0.0, True, "log-probs differ by 0.01"),
        (0.0, 50.0, False, "apart, more than rounding"),
    ],
)
@pytest.mark.usefixtures("vllm_installed")
def test_two_engines(
    tiny_model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    off: float,
    push: float,
    equal: bool,
    told: str | None,
) -> None:
    opened: list[TransformersEngine] = []

    def open_model(model: Any) -> TransformersEngine:
        other = Other(tiny_model_dir, dtype="float32")
        other.off, other.push = off, push
        opened.append(other if opened else TransformersEngine(tiny_model_dir, dtype="float32"))
        return opened[-1]

    monkeypatch.setattr(agreement, "open_model", open_model)
    monkeypatch.setattr(agreement, "TOPICS", agreement.TOPICS[:1])
    monkeypatch.setattr(agreement, "GREEDY", SamplingSpec(max_new_tokens=8, temperature=0))
    file = tmp_path / "tiny.yaml"
    file.write_text(f"summary: s\npath: {tiny_model_dir}\ndtype: float32\n")
    words = ["doctor", "--engine", "vllm", "--model", str(file), "--json"]
    assert main(words) == (0 if told is None else 1)
    found = json.loads(capsys.readouterr().out)
    assert found["share"] is (told is None)
    assert (found["equal"] == found["prompts"] == 5) is equal
    assert found["engines"][1] == opened[1].name
    assert found["mean"] == pytest.approx(off, abs=1e-5)
    assert told is None or told in found["why"][0]
    if not equal:
        first = found["divergences"][0]
        assert 0 <= first["token"] < 8
        assert first["gap"] is not None


def test_the_verdict_by_hand() -> None:
    def of(mean: float, largest: float, *gaps: float | None, dtype: str = "bfloat16") -> Agreement:
        apart = tuple(Divergence("?", place, gap) for place, gap in enumerate(gaps))
        return Agreement("m", dtype, ("a", "b"), 50, 100, mean, largest, 50 - len(gaps), apart)

    assert of(0.02, 0.3, -0.1, None, 0.6).faults == []
    assert len(of(0.02, 0.3, 0.61).faults) == len(of(0.02, 0.3, -0.61).faults) == 1
    assert len(of(0.06, 0.3).faults) == 1
    assert len(of(0.02, 0.3, dtype="float32").faults) == 1
    assert len(of(float("nan"), float("nan"), float("nan")).faults) == 2
    first = of(0.0, 0.0, 0.0, 0.0).first
    assert first is not None
    assert first.token == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--engine", "vllm"], "--model"),
        (["--model", "smollm2-135m"], "--engine"),
        (["--engine", "transformers", "--model", "smollm2-135m"], "two engines"),
        (["--engine", "openai", "--model", "openai/gpt-4o"], "log-probs"),
        (["--engine", "vlm", "--model", "smollm2-135m"], "vllm"),
        (["--engine", "vllm", "--model", "smollm2-135m", "--set", "eagre=true"], "eager"),
    ],
)
@pytest.mark.usefixtures("vllm_installed")
def test_what_is_asked_wrongly(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2
    assert told in capsys.readouterr().err
