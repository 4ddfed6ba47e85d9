"""A third party's engine, one file found by --include: a run, faults, what it does not offer, identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.contracts.base import Capability
from perbench.contracts.engine_kind import Host
from perbench.engines.openai.engine import OpenAIEngine
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError, SpecError
from perbench.matrix.catalogue import helper_inputs, model_inputs
from perbench.specs.compose import engine_name, engine_of, engines
from perbench.specs.load import load_model
from perbench.store import read_records

ROOT = Path(__file__).parents[1] / "third_party" / "perbench_extra"


@pytest.fixture(autouse=True)
def included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_INCLUDE", str(ROOT))


def model(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(f"summary: s\n{text}", encoding="utf-8")
    return str(file)


def evaluate(model: str, out: Path, target: str = "quiz/name", *more: str) -> int:
    return main(["eval", "--model", model, "--target", target, "--out", str(out), "--json", *more])


def test_it_evaluates_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[int, Any] = {}
    for word in (-1, 0):
        out = tmp_path / str(word)
        assert evaluate("polly" if word else model(tmp_path, "parrot: {word: 0}\n"), out) == 0
        (cell,) = json.loads(capsys.readouterr().out)["cells"]
        (record,) = [record for record, _ in read_records(out)]
        found[word] = cell["value"], record
    digest = plugins.get("engine", "parrot").digest()
    for word, (value, record) in found.items():
        assert value == (1.0 if word else 0.0)
        assert record.inputs["engine"] == {"name": "parrot", "plugin": digest, "parrot": {"word": word}}
        assert record.inputs["model"] == {"dtype": "auto"}
        assert record.endpoints == {}


def test_as_a_judge_it_is_told_from_others(tiny_model_dir: Path) -> None:
    parrot, local = load_model("polly"), load_model(str(tiny_model_dir))
    assert helper_inputs(parrot) == {"dtype": "auto", "engine": helper_inputs(parrot)["engine"]}
    assert helper_inputs(parrot)["engine"]["parrot"] == {"word": -1}
    assert helper_inputs(local) == model_inputs(local)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parrot: {words: 1}\n", "unknown key 'words' in parrot. Did you mean 'word'"),
        ("parrot: {word: 1}\nhub: a/b\n", "exactly one of hub, path, gguf, endpoint, parrot"),
        ("license: none\n", "exactly one of hub, path, gguf, endpoint, parrot (got none)"),
        ("engine: parrot\n", "parrot: required by engine parrot"),
        ("engine: parot\nhub: a/b\n", "engine: got 'parot' (a string). Did you mean 'parrot'"),
        ("engine: transformers\nhub: a/b\nparrot: {word: 1}\n", "parrot: is not used by engine"),
    ],
)
def test_faults_are_told_with_the_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_model(model(tmp_path, text))
    assert any(told in str(one) for one in caught.value.problems), caught.value
    assert all(str(one).startswith(str(tmp_path / "mine.yaml")) for one in caught.value.problems)


def test_a_file_may_name_its_engine(tmp_path: Path) -> None:
    assert engine_name(load_model(model(tmp_path, "engine: parrot\nparrot: {word: 1}\n")).spec) == "parrot"
    assert engine_name(load_model(model(tmp_path, "hub: a/b\n")).spec) == "transformers"
    assert engine_name(load_model("openai/gpt-4o").spec) == "openai"


def test_what_it_does_not_offer_is_told_beforehand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate("polly", tmp_path / "out", "quiz/colours") == 2
    assert "polly is a parrot" in capsys.readouterr().err
    matrix = tmp_path / "m.yaml"
    matrix.write_text(
        "summary: s\nmodels: [polly]\ntrainers: [ce]\nsources: [quiz/name]\ntargets: [quiz/name]\n"
    )
    assert main(["run", "--matrix", str(matrix), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert "polly: a parrot cannot be trained" in capsys.readouterr().err
    monkeypatch.setenv("PARROT_FLOWN", "1")
    assert evaluate("polly", tmp_path / "out") == 2
    assert "unset PARROT_FLOWN" in capsys.readouterr().err
    with pytest.raises(PerbenchError, match="parrot 1 gives no log-probs"):
        engine_of(load_model("polly")).open(Host(weights=Path)).score([[1]], [[2]])


def test_kinds_say_what_their_engines_offer() -> None:
    known = engines()
    assert known["openai"].offers == OpenAIEngine.offers == {"chat"}
    assert known["transformers"].offers == TransformersEngine.offers == set(get_args(Capability))
