"""What is said of owners that cannot be loaded, clash or are unknown: place, key and the way out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from perbench import plugins
from perbench.cli import main
from perbench.errors import PerbenchError, SpecError
from perbench.specs.load import load_task

RANKING = """
from perbench.contracts.persona import Ranking
from perbench.shapes.base import Strict


class Keys(Strict):
    {key}


class Own(Ranking[Keys]):
    Keys = Keys

    def rank(self, text, examples, models):
        return [list(range(len(one.persona))) for one in examples]
"""
METRIC = """
from perbench.contracts.metric import TextMetric


class Own(TextMetric):
    names = ("mine", "rouge1")

    def measure(self, name, texts):
        raise NotImplementedError
"""
TASK = {
    "summary": "a task",
    "protocol": "generation",
    "license": "none",
    "data": {"files": "rows"},
    "fields": {"user": "user", "question": "ask", "reference": "answer", "persona": "past"},
    "prompt": "plain",
    "prompts": {"plain": {"system": "{persona}", "item": "{text}"}},
    "metrics": ["rouge1"],
    "headline": "rouge1",
}


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str = "") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def task(self, name: str, **changes: object) -> Path:
        return self.write(f"tasks/{name}.yaml", yaml.safe_dump({**TASK, **changes}, sort_keys=False))

    def faults(self, name: str) -> Mapping[str, str]:
        """Of a task: by the line, what is there and what is said."""
        with pytest.raises(SpecError) as error:
            load_task(name)
        lines = (self.path / f"tasks/{name}.yaml").read_text("utf-8").splitlines()
        return {lines[(one.line or 0) - 1].strip(): one.message for one in error.value.problems}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    (tmp_path / "tasks").mkdir()
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("kind", "changes", "place"),
    [
        ("protocol", {"protocol": "own", "own": {"key": 1}}, "protocol: own"),
        ("ranking", {"persona": {"retrieve": "own", "key": 1}}, "retrieve: own"),
        ("summariser", {"persona": {"summarise": "own", "key": 1}}, "summarise: own"),
        ("metric", {"metrics": ["rouge1", "own"]}, "- own"),
    ],
)
def test_a_broken_file_is_one_fault_of_what_uses_it_and_of_nothing_else(
    root: Folder, kind: str, changes: dict[str, object], place: str
) -> None:
    """What keys it brings cannot be known, so none of its section is called unknown."""
    file = root.write(f"{plugins.KINDS[kind].folder}/own.py", "x = 1\n1 / 0\n")
    root.task("broken", **changes)
    root.task("whole")
    faults = root.faults("broken")
    assert list(faults) == [place]
    assert f"{file}:2" in faults[place]
    assert "ZeroDivisionError" in faults[place]
    assert load_task("whole").spec.headline == "rouge1"
    assert plugins.get(kind, "own").summary == ""


@pytest.mark.parametrize(
    ("changes", "place", "near"),
    [
        ({"protocol": "generatoin"}, "protocol: generatoin", "'generation'"),
        ({"persona": {"retrieve": "bm52"}}, "retrieve: bm52", "'bm25'"),
        ({"persona": {"summarise": "recurent"}}, "summarise: recurent", "'recurrent'"),
        ({"metrics": ["rouge1", "rougel"]}, "- rougel", "'rougeL'"),
    ],
)
def test_an_unknown_name_is_told_at_its_line_with_the_one_that_was_meant(
    root: Folder, changes: dict[str, object], place: str, near: str
) -> None:
    root.task("misspelt", **changes)
    faults = root.faults("misspelt")
    assert list(faults) == [place]
    assert f"Did you mean {near}?" in faults[place]


def test_faults_of_an_owners_section_are_told_by_line(root: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(__file__).parents[1] / "third_party" / "perbench_extra"
    monkeypatch.setenv("PERBENCH_INCLUDE", f"{root.path}{os.pathsep}{package}")
    task = yaml.safe_load((package / "tasks/quiz/colours.yaml").read_text("utf-8"))
    wrong = {**task, "likeliest": {"option": "options", "length": "max"}}
    root.write("tasks/wrong.yaml", yaml.safe_dump(wrong, sort_keys=False))
    faults = root.faults("wrong")
    assert "Did you mean 'options'" in faults["option: options"]
    assert "'mean'" in faults["length: max"]
    root.write("tasks/unread.yaml", yaml.safe_dump({**task, "sampling": {"temperature": 0.0}}))
    assert "protocol likeliest" in root.faults("unread")["sampling:"]


def test_two_files_that_define_one_metric_are_both_named(root: Folder) -> None:
    file = root.write("metrics/own.py", METRIC)
    with pytest.raises(PerbenchError) as error:
        plugins.discover()
    own = plugins.builtin_root() / "perbench" / "metrics" / "rouge.py"
    assert f"metric 'rouge1': {own} and {file}" in str(error.value)
    assert "'mine'" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("depth: int = 3", ""),  # one definition may be shared
        ("depth: str = 'all'", "ranking one (ROOT/rankings/one.py) and ranking two (ROOT/rankings/two.py)"),
        ("order: int = 3", "every persona and ranking two (ROOT/rankings/two.py)"),
    ],
)
def test_two_owners_of_one_key_are_both_named(
    root: Folder, key: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root.write("rankings/one.py", RANKING.format(key="depth: int = 3"))
    two = root.write("rankings/two.py", RANKING.format(key=key))
    assert main(["validate", str(two)]) == (2 if said else 0)
    told = capsys.readouterr().err
    assert said.replace("ROOT", str(root.path)) in told
    assert (repr(key.partition(":")[0]) in told) == bool(said)


def test_a_key_that_an_owner_cannot_do_without_is_asked_for_where_it_is_in_force(root: Folder) -> None:
    root.write("rankings/deep.py", RANKING.format(key="depth: int"))
    root.task("without", persona={"retrieve": "deep"})
    root.task("whole")
    assert any("depth" in told and "ranking deep" in told for told in root.faults("without").values())
    assert load_task("whole").spec.persona.retrieve == "all"


def test_a_folder_named_as_a_kinds_is_no_root_without_a_plugin_in_it(tmp_path: Path) -> None:
    """`metrics` and `protocols` are names that anybody's folders have."""
    for name in ("metrics/notes.txt", "protocols/readme/notes.py", "rankings/_shared.py"):
        Folder(tmp_path).write(name)
    with pytest.raises(PerbenchError, match="has none of the folders"):
        plugins.include(tmp_path)
