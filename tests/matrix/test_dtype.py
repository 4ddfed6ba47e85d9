"""The dtype computed in: decided without torch, in identities and records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench.lm import native as module
from perbench.matrix.catalogue import Catalogue, helper_inputs
from perbench.matrix.cells import Cell, expand
from perbench.matrix.identity import differing
from perbench.specs.load import load_model
from perbench.specs.matrices import load_matrix
from tests.matrix.conftest import Root


def test_it_is_known_without_torch_and_as_torch_says() -> None:
    code = "import sys; from perbench.lm.native import native; print(native(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, loaded = done.stdout.split()
    import torch

    module.native.cache_clear()
    assert found == module.native()
    if not torch.cuda.is_available() and sys.platform == "linux":
        assert loaded == "False"


@pytest.mark.parametrize(
    ("capability", "wanted"), [("7", "float32"), ("8", "bfloat16"), ("9", "bfloat16"), (None, None)]
)
def test_a_gpu_is_asked_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: str | None, wanted: str | None
) -> None:
    """None: only torch can tell."""
    monkeypatch.setattr(module, "version", lambda name: "2.13.0")
    monkeypatch.setattr(module, "GPUS", (str(tmp_path),))
    monkeypatch.setattr(module, "CAPABILITY", f"print({capability})" if capability else "raise SystemExit(1)")
    assert module._without_torch() == wanted


def cells(matrix: str, monkeypatch: pytest.MonkeyPatch, native: str) -> list[Cell]:
    monkeypatch.setattr("perbench.matrix.catalogue.native", lambda: native)
    spec = load_matrix(matrix).spec
    return expand(spec, Catalogue(spec, {}, 2))


def test_auto_is_in_the_identity_by_what_it_stands_for(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[])
    usual, other = (cells("small", monkeypatch, native) for native in (module.USUAL, "float32"))
    kinds: dict[str, Any] = {}
    for one, two in zip(usual, other, strict=True):
        kinds.setdefault(one.kind, []).append(differing(one.inputs, two.inputs))
        assert "computed" not in one.inputs, "identities of finished runs would change"
    assert kinds["eval"] == [["computed"]] * len(kinds["eval"])
    assert kinds["train"] == [[]] * len(kinds["train"]), "precision is a training's own setting"
    file = root.path / "leaderboard/models/tiny.yaml"
    file.write_text(file.read_text() + "dtype: float32\n")
    named = [cells("small", monkeypatch, native) for native in (module.USUAL, "float32")]
    assert [one.identity for one in named[0]] == [one.identity for one in named[1]]


def test_models_of_servers_compute_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perbench.matrix.catalogue.native", lambda: "float32")
    found = helper_inputs(load_model("smollm2-135m"))
    assert found["computed"] == "float32"
    served = load_model("openai/gpt-4o")
    assert "computed" not in helper_inputs(served)
