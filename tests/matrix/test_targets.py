"""What targets may ask for besides their metrics, through the CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import expand
from perbench.matrix.estimate import Estimator
from perbench.specs.matrices import load_matrix
from perbench.store import RunDir, read_records
from tests.lm_eval.conftest import choice_rows, write_tasks
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user cache of the runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def runs(cache: Path) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERBENCH_CACHE", str(cache))
        process = Runs()
    yield process
    process.close()


def test_persona_swap_of_trained_rows_is_scored_by_the_untrained_model(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    swap = {"persona_swap.others": 2, "headline": "persona_swap"}
    root.matrix(trainers=["ce"], targets=["tiny/writing"], identifiers=[], tasks={"tiny/writing": swap})
    out = tmp_path / "run"
    code, output, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out), "--json")
    assert code == 0, errors
    values = [cell["value"] for cell in json.loads(output)["cells"] if cell["kind"] == "eval"]
    assert len(values) == 2
    assert all(0 <= value <= 1 for value in values)
    records = {r.labels.trainer: (r, folder) for r, folder in read_records(out) if r.kind == "eval"}
    base, trained = records[None][0], records["ce"][0]
    assert base.metrics["persona_swap_reference"] == trained.metrics["persona_swap_reference"]
    assert base.tokens["scored"] > 0
    code, output, errors = runs(root.path, "rescore", str(out))
    assert code == 0, errors
    assert "nothing changed" in output


def test_general_ability_stands_beside_the_tasks(root: Root, runs: Runs, tmp_path: Path) -> None:
    write_tasks(root.path, choice_rows(5))
    root.matrix(trainers=["ce"], targets=["tiny/writing", "lm_eval:tiny_choice"], identifiers=[])
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out), "--limit", "4")
    code, output, errors = runs(root.path, *words, "--dry-run")
    assert code == 0, errors
    assert output.count("│ unknown │ unknown │") == 2, output  # tokens and time of what lm-eval reads itself
    lacking = next(line for line in output.splitlines() if line.startswith("not in these sums: "))
    assert "2 cells" in lacking
    assert "unavailable" not in lacking
    assert "endpoint" not in lacking
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    assert "%|" not in errors  # lm-eval's own bars
    records = [r for r, _ in read_records(out) if r.labels.target == "lm_eval:tiny_choice"]
    assert {record.labels.trainer for record in records} == {None, "ce"}
    assert all(record.metrics["acc"].n == 4 for record in records)
    assert "lm_eval:tiny_choice" in output
    code, output, errors = runs(root.path, "rescore", str(out))
    assert (code, "nothing changed" in output) == (0, True), errors
    code, _, errors = runs(root.path, *words, "--set", "targets=[lm_eval:tiny_choise]")
    assert code == 2
    assert "Did you mean 'tiny_choice'?" in errors


def test_perplexity_of_a_task_has_gains_by_document(root: Root, runs: Runs, tmp_path: Path) -> None:
    """A value of sums over documents: shown, verified and compared by the sums."""
    write_tasks(root.path, choice_rows(5))
    root.matrix(trainers=["ce", "perce"], targets=["lm_eval:tiny_rolling"], identifiers=[], baseline="ce")
    out = tmp_path / "run"
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
    assert code == 0, errors
    found = {r.labels.trainer: r for r, _ in read_records(out) if r.kind == "eval"}
    assert {record.headline for record in found.values()} == {"word_perplexity"}
    assert {record.better_of("word_perplexity") for record in found.values()} == {"lower"}
    assert all(record.environment["dtype"] in ("bfloat16", "float32") for record in found.values())
    code, output, errors = runs(root.path, "leaderboard", "show", str(out), "--json")
    assert code == 0, errors
    table = next(one for one in json.loads(output)["sections"] if one["name"] == "transfer")["tables"][0]
    (value,) = next(row["values"] for row in table["rows"] if row["name"] == "perce")
    low, high = value["gain"]["ci"]
    assert low <= value["gain"]["value"] <= high
    code, output, errors = runs(root.path, "verify", str(out), "--json")
    assert code == 0, errors
    assert all(one["faults"] == [] for one in json.loads(output))


SUMMARY = {"model": "tiny", "max_new_tokens": 4}
BUILT: list[dict[str, Any]] = [
    {"as": "bm25", "persona": {"retrieve": "bm25", "k": 1}},
    {"as": "dense", "persona": {"retrieve": "dense", "k": 2, "encoder": "tiny"}},
    {"as": "summary", "persona": {"summarise": "recurrent", "summary": SUMMARY}},
    {"as": "steered", "decoding": {"method": "context_steering", "lam": [0.0, 2.0]}},
]


def test_personas_are_built_and_answers_steered_target_by_target(
    root: Root, runs: Runs, cache: Path, tmp_path: Path
) -> None:
    bare: dict[str, Any] = {"trainers": [], "sources": [], "identifiers": [], "baseline": None}
    rows = [{"task": "tiny/writing", "sampling.temperature": 0.0, **row} for row in [{"as": "plain"}, *BUILT]]
    root.matrix(targets=rows, **bare)
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    cells = expand(spec := load_matrix("small").spec, Catalogue(spec, {}, None))
    estimates = {cell.labels.target: Estimator(Catalogue(spec, {}, None), out, ())(cell) for cell in cells}
    guessed = {name for name, estimate in estimates.items() if not estimate.exact}
    assert guessed == {"tiny/writing (dense)", "tiny/writing (summary)"}

    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    found = {r.labels.target: (r, RunDir(out).cell("eval", r.identity)) for r, _ in read_records(out)}
    kept = {name: record.counts["persona_items_kept"] for name, (record, _) in found.items()}
    expected = {"plain": 15, "bm25": 5, "dense": 10, "summary": 5}  # five examples of three items
    expected |= {f"steered, decoding.lam={lam}": 15 for lam in ("0.0", "2.0")}
    assert kept == {f"tiny/writing ({name})": count for name, count in expected.items()}
    assert found["tiny/writing (summary)"][0].counts["summaries"] == 5

    def answers(name: str) -> dict[str, str]:
        return {s["id"]: s["response"] for s in found[f"tiny/writing ({name})"][1].samples()}

    assert answers("steered, decoding.lam=0.0") == answers("plain")
    assert answers("steered, decoding.lam=2.0") != answers("plain")
    assert all((cache / f"{kind}.sqlite").is_file() for kind in ("embeddings", "summaries"))
    assert "6 cells reused" in runs(root.path, *words)[2]
    assert runs(root.path, "rescore", str(out))[0] == 0


def test_personas_are_built_for_training_too(root: Root, runs: Runs, tmp_path: Path) -> None:
    source = {"task": "tiny/writing", "persona": {"retrieve": "bm25", "k": 2}}
    root.matrix(sources=[source], trainers=["ce"], targets=["tiny/writing"], identifiers=[], base_rows=False)
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--set", "training.epochs=1")
    code, _, errors = runs(root.path, *words, "--out", str(out))
    assert code == 0, errors
    (trained,) = [record for record, _ in read_records(out) if record.kind == "train"]
    assert trained.labels.source == "tiny/writing (persona.k=2, persona.retrieve=bm25)"
    assert trained.counts["persona_items_kept"] == 6 * 2
    assert trained.inputs["source"]["persona"]["retrieve"] == "bm25"


ASKED = """
from perbench.protocols.identification import IdentificationProtocol


class Asked(IdentificationProtocol):
    reads = IdentificationProtocol.reads | {"persona"}
"""


def test_models_that_build_the_personas_of_an_identification_enter_its_identity(root: Root) -> None:
    (root.path / "protocols").mkdir()
    (root.path / "protocols" / "asked.py").write_text(ASKED)
    root.task("qa", protocol="asked", persona={"retrieve": "dense", "k": 2, "encoder": "tiny"})
    root.matrix(trainers=[], sources=[], targets=["tiny/qa"], baseline=None, base_rows=False)
    spec = load_matrix("small").spec
    catalogue = Catalogue(spec, {}, None)
    (cell,) = expand(spec, catalogue)
    assert cell.inputs["target"]["persona"]["encoder"] == catalogue.helper_inputs("tiny")


OWN = """
from perbench.contracts.metric import Measured, TextMetric, mean_metric


class Own(TextMetric):
    def measure(self, name, texts):
        values = [VALUE for _ in texts.predictions]
        return Measured(mean_metric(values, texts.clusters, "own"), values)
"""


def test_a_value_outside_its_metrics_bounds_is_refused_by_run_rescore_and_verify(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    file = root.path / "metrics" / "own.py"
    file.parent.mkdir()
    changes = {"metrics": ["own"], "headline": "own"}
    bare: dict[str, Any] = {"trainers": [], "sources": [], "identifiers": [], "baseline": None}
    root.matrix(targets=[{"task": "tiny/writing", **changes}], **bare)
    first, second = tmp_path / "first", tmp_path / "second"
    file.write_text(OWN.replace("VALUE", "0.5"))
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(first))
    assert code == 0, errors
    ((before, _),) = read_records(first)
    file.write_text(OWN.replace("VALUE", "2.5"))
    code, _, errors = runs(root.path, "rescore", str(first))
    assert (code, "[eval tiny base" in errors, "own: the value 2.5" in errors) == (2, True, True), errors
    assert [record for record, _ in read_records(first)] == [before]
    code, output, errors = runs(root.path, "verify", str(first))
    assert "own: the value 2.5" in output + errors
    assert runs(root.path, "run", "--matrix", "small", "--out", str(second))[0] == 1
    ((failed, _),) = read_records(second)
    assert failed.error is not None
    assert "own: the value 2.5" in failed.error.message


PARTS = """
from perbench.contracts.data import Dataset, Example
from perbench.contracts.protocol import Protocol
from perbench.shapes.base import Strict


class Keys(Strict):
    part: int = 0


class Parts(Protocol[Keys]):
    Keys = Keys
    fields = ()

    def headlines(self):
        return None

    def dataset(self, limit):
        return Dataset([Example(f"e{self.keys.part}", "u", "q", "r")], f"digest {self.keys.part}")

    def score(self, samples):
        raise NotImplementedError
"""


def test_data_that_a_protocol_brings_by_its_keys_are_each_variants_own(root: Root) -> None:
    (root.path / "protocols").mkdir()
    (root.path / "protocols" / "parts.py").write_text(PARTS)
    task = {"summary": "s", "protocol": "parts", "license": "MIT", "headline": "x"}
    root.write("tasks/tiny/parts", {**task, "data": {"files": "../../data/talk"}})
    rows = [{"task": "tiny/parts", "part": [0, 1]}]
    root.matrix(trainers=[], sources=[], targets=rows, identifiers=[], baseline=None)
    spec = load_matrix("small").spec
    cells = expand(spec, Catalogue(spec, {}, None))
    assert [cell.inputs["data"] for cell in cells] == ["digest 0", "digest 1"]
