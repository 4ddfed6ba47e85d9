"""A third party's rubric, and a protocol in one file that judges answers by it, found by --include."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perbench import cli
from perbench.data import load_examples
from perbench.errors import SpecError
from perbench.specs.compose import owner_of
from perbench.specs.load import load_rubric, load_task

ROOT = Path(__file__).parents[1] / "third_party" / "perbench_extra"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the third party's root."""
    copy = tmp_path / "root"
    shutil.copytree(ROOT, copy)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(copy))
    return copy


def places(task: str) -> dict[str, str]:
    """The faults of a task: file and line -> message."""
    with pytest.raises(SpecError) as error:
        load_task(task)
    return {f"{one.path}:{one.line}": one.message for one in error.value.problems}


def test_answers_are_judged_by_it(root: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    models = f"models: [{tiny_model_dir}]\ntasks: {{quiz/tact: {{tact.judge.model: {tiny_model_dir}}}}}\n"
    matrix.write_text(f"summary: s\ntargets: [quiz/tact]\n{models}", encoding="utf-8")
    command = [sys.executable, "-m", "perbench", "run", "--matrix", str(matrix), "--out", str(tmp_path / "o")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["headline"] == "tactful"
    (file,) = (tmp_path / "o" / "cells").glob("eval-*/cell.json")
    record, rubric = json.loads(file.read_text("utf-8")), load_rubric("tactful").spec
    judge = record["inputs"]["target"]["tact"]["judge"]
    assert judge["rubric"] == {"answer": "yes_no", "ask": rubric.ask}
    assert list(record["metrics"]) == ["tactful", "blunt", "fits"]
    assert record["better"] == {"blunt": "lower"}
    samples = [json.loads(line) for line in (file.parent / "samples.jsonl").read_text("utf-8").splitlines()]
    blunt, fits = ([one["checks"][name] for one in samples] for name in ("blunt", "fits"))
    assert record["metrics"]["blunt"]["value"] == sum(blunt) / len(samples)
    right = [yes and not no for yes, no in zip(fits, blunt, strict=True)]
    assert record["metrics"]["tactful"]["value"] == sum(right) / len(samples)
    assert record["tokens"]["judge_prompt"] > record["tokens"]["prompt"] > 0


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (
            {"metrics: {tactful: fits and not blunt}": "metrics: {tactful: fits or not blunt}"},
            "tactful of other",
        ),
        ({"metrics: {": "metrics: {fits: fits and blunt, "}, "fits of other"),
        ({"better: {blunt: lower}": "better: {}"}, "which values of blunt are better"),
        ({"better: {blunt: lower}": "better: {blunt: lower, fits: null}"}, "which values of fits are better"),
    ],
)
def test_finished_cells_of_other_rules_are_named(
    root: Path,
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rules: dict[str, str],
    named: str,
) -> None:
    model, rubric = str(tiny_model_dir), root / "rubrics" / "tactful.yaml"
    words = [
        "eval",
        "--target",
        "quiz/tact",
        "--model",
        model,
        "--out",
        str(tmp_path / "o"),
        "--set",
        f"tasks.quiz/tact.tact.judge.model={model}",
    ]
    before = changed = rubric.read_text("utf-8")
    for old, new in rules.items():
        assert old in changed
        changed = changed.replace(old, new)
    for first, second in ((before, changed), (changed, before)):
        shutil.rmtree(tmp_path / "o", ignore_errors=True)
        for text, said in ((first, False), (first, False), (second, True)):
            rubric.write_text(text, "utf-8")
            assert cli.main([*words]) == 0
            assert (named in capsys.readouterr().err) == said


def test_what_follows_from_the_rubric(root: Path) -> None:
    task = load_task("quiz/tact")
    owner = owner_of(task.spec)
    scales = {name: owner.scale(name) for name in owner.headlines() or ()}
    assert {name: scale.better for name, scale in scales.items()} == {
        "tactful": "higher",
        "blunt": "lower",
        "fits": "higher",
    }
    assert {scale.bounds for scale in scales.values()} == {(0.0, 1.0)}
    (role,) = owner.roles()
    assert (role.model, set(role.needs)) == ("smollm2-135m", {"score"})
    asked = owner.asks(load_examples(task, "test").examples[:3])
    assert (asked["subject"].requests, asked["judge"].requests) == (3, 6)
    assert set(owner.idle()) >= {"tact.judge.max_new_tokens", "tact.judge.retries"}


def test_only_what_is_asked_enters_identities(root: Path) -> None:
    def judge() -> object:
        task = load_task("quiz/tact")
        return owner_of(task.spec).inputs({"smollm2-135m": {}})["tact"]["judge"]

    file, before = root / "rubrics" / "tactful.yaml", judge()
    text = file.read_text("utf-8")
    file.write_text(text.replace("fits and not blunt", "fits or not blunt"), encoding="utf-8")
    assert judge() == before
    file.write_text(text.replace("answer fit?", "answer suit?"), encoding="utf-8")
    assert judge() != before


def test_faults_are_at_the_lines_of_their_files(root: Path) -> None:
    task, rubric = root / "tasks" / "quiz" / "tact.yaml", root / "rubrics" / "tactful.yaml"
    whole, text = task.read_text("utf-8"), rubric.read_text("utf-8")
    named = whole.splitlines().index("  judge: {model: smollm2-135m, rubric: tactful, method: likeliest}") + 1
    task.write_text(whole.replace("rubric: tactful", "rubric: tactfull"), encoding="utf-8")
    (told,) = places("quiz/tact").items()
    assert told[0] == f"{task}:{named}"
    assert "Did you mean 'tactful'" in told[1]
    task.write_text(whole, encoding="utf-8")
    rubric.write_text(text.replace("not blunt", "not blnt").replace("blunt: lower", "blunt: less"), "utf-8")
    lines = text.splitlines()
    assert set(places("quiz/tact")) == {f"{rubric}:{lines.index('better: {blunt: lower}') + 1}"}
    rubric.write_text(text.replace("not blunt", "not blnt"), encoding="utf-8")
    metrics = lines.index("metrics: {tactful: fits and not blunt}") + 1
    assert set(places("quiz/tact")) == {f"{rubric}:{metrics}"}
    rubric.write_text(text.replace("persona", "preference"), encoding="utf-8")
    (told,) = places("quiz/tact").items()
    assert told[0] == f"{task}:{named}"
    assert "{preference}" in told[1]
    rubric.write_text(text + "  - wrong\n", encoding="utf-8")
    assert any(place.startswith(f"{rubric}:") for place in places("quiz/tact"))


def test_a_rubric_of_digits_in_the_place_of_another(root: Path) -> None:
    file = root / "rubrics" / "marks.yaml"
    asks = "ask: {rude: '{response}: how rude, 0 to 9?', kind: '{response}: how kind?'}"
    file.write_text(f"answer: 0..9\nholds: [response]\n{asks}\nbetter: {{rude: lower}}\n", encoding="utf-8")
    changes = {"tact.judge.rubric": "marks", "headline": "kind"}
    owner = owner_of(load_task("quiz/tact", overrides=changes).spec)
    assert owner.scale("rude").bounds == (0.0, 9.0)
    verdicts = {"checks": {"rude": 2, "kind": None}, "checks_missing": {"kind": "judge_unreadable"}}
    sample = {"id": "a", "user": "u", "response": "x", "finish_reason": "stop", **verdicts}
    found = owner.score([sample, {**sample, "id": "b", "checks": {"rude": 5, "kind": 7}}])
    assert {name: metric.value for name, metric in found.metrics.items()} == {"rude": 3.5, "kind": 7.0}
    assert found.metrics["kind"].why == {"judge_unreadable": 1}
    with pytest.raises(SpecError, match="headline 'tactful' is not a metric"):
        load_task("quiz/tact", overrides={"tact.judge.rubric": "marks"})
