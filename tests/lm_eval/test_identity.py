"""All that a task of lm-eval reads is in its identity: by content, without paths, without running it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from perbench import plugins
from perbench.data import load_examples
from perbench.errors import PerbenchError
from perbench.protocols.lm_eval import catalogue
from perbench.protocols.lm_eval.reads import portable
from perbench.specs.load import load_task

RESULTS = "def results(doc, results): return {'v': 1.0}\n"
TASK = """\
task: probe
dataset_path: json
dataset_kwargs: {data_files: {test: ROOT/data/test.jsonl}, cache_dir: ROOT/cache}
test_split: test
output_type: loglikelihood
doc_to_text: "{{q}}"
doc_to_target: " {{a}}"
metric_list: [{metric: v, aggregation: mean, higher_is_better: true}]
"""
FUNCTION = "process_results: !function fn.results\n"
FILES = {
    "plain": {"lm_eval/probe.yaml": TASK + FUNCTION, "lm_eval/fn.py": RESULTS},
    "included from another folder": {
        "lm_eval/sub/probe.yaml": "include: ../base.yaml.inc\ntask: probe\n",
        "lm_eval/base.yaml.inc": TASK + FUNCTION,
        "lm_eval/fn.py": RESULTS,
    },
    "dotted": {
        "lm_eval/probe.yaml": TASK + "process_results: !function deep.fn.results\n",
        "lm_eval/deep/fn.py": RESULTS,
    },
    "imported": {
        "lm_eval/probe.yaml": TASK + FUNCTION,
        "lm_eval/fn.py": "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
        "from helper import V\ndef results(doc, results): return {'v': V}\n",
        "lm_eval/helper.py": "from package.inner import V\n",
        "lm_eval/package/__init__.py": "",
        "lm_eval/package/inner.py": "V = 1.0\n",
    },
    "imported from a folder put on the path": {
        "lm_eval/tasks/probe.yaml": TASK + FUNCTION,
        "lm_eval/tasks/fn.py": "import helper\ndef results(doc, results): return {'v': helper.V}\n",
        "lm_eval/library/helper.py": "V = 1.0\n",
    },
    "opened by code": {
        "lm_eval/probe.yaml": TASK + FUNCTION,
        "lm_eval/fn.py": "import json, pathlib\nV = json.loads((pathlib.Path(__file__).parent / 'v.json')"
        ".read_text())\ndef results(doc, results): return {'v': V}\n",
        "lm_eval/v.json": "1.0",
    },
    "folder of documents": {
        "lm_eval/probe.yaml": TASK.replace("json\n", "ROOT/data/set\n", 1).replace("dataset_kwargs", "#")
        + FUNCTION,
        "lm_eval/fn.py": RESULTS,
        "data/set/test.jsonl": json.dumps({"q": "a", "a": "c"}),
    },
    "documents by pattern": {
        "lm_eval/probe.yaml": TASK.replace("test.jsonl", "t*.jsonl") + FUNCTION,
        "lm_eval/fn.py": RESULTS,
    },
    "documents in a data_dir": {
        "lm_eval/probe.yaml": TASK.replace("{test: ROOT/data/test.jsonl}", "test.jsonl, data_dir: ROOT/data")
        + FUNCTION,
        "lm_eval/fn.py": RESULTS,
    },
    "made by a function": {
        "lm_eval/probe.yaml": TASK.replace(
            "dataset_path: json", "custom_dataset: !function rows.rows"
        ).replace("dataset_kwargs", "#")
        + FUNCTION,
        "lm_eval/fn.py": RESULTS,
        "lm_eval/rows.py": "def rows(**known): return {'test': [{'q': 'a', 'a': 'b'}]}\n",
    },
    "metric and few-shot examples": {
        "lm_eval/probe.yaml": TASK.replace("{metric: v,", "{metric: !function fn.results,")
        + "fewshot_config: {samples: !function shots.samples}\n",
        "lm_eval/fn.py": RESULTS,
        "lm_eval/shots.py": "def samples(): return []\n",
    },
    "changed by its group": {
        "lm_eval/probe.yaml": "group: probe\nnum_fewshot: 1\n"
        "task: [{task: inner, process_results: !function fn.results}]\n",
        "lm_eval/inner.yaml": TASK.replace("probe", "inner"),
        "lm_eval/fn.py": RESULTS,
    },
}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    def digest(root: Path) -> str:
        monkeypatch.setenv("PERBENCH_INCLUDE", str(root))
        catalogue._manager.cache_clear()
        return load_examples(load_task("lm_eval:probe"), "test").digest

    yield digest
    monkeypatch.undo()
    plugins.discover()


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"data/test.jsonl": json.dumps({"q": "a", "a": "b"}), **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("ROOT", str(root)))
    return root


@pytest.mark.parametrize("kind", FILES)
def test_every_file_that_a_task_reads_is_in_its_identity(
    tmp_path: Path, planned: Callable[[Path], str], kind: str
) -> None:
    root = make(tmp_path / "here", FILES[kind])
    before = planned(root)
    told = json.dumps([portable(leaf) for leaf in catalogue.leaves("probe")])
    assert str(tmp_path) not in told
    assert "ROOT" not in told
    assert planned(make(tmp_path / "moved" / "there", FILES[kind])) == before
    read = [name for name in FILES[kind] if not name.endswith((".inc", "__init__.py"))]
    for name in [
        *read,
        *([] if kind in ("folder of documents", "made by a function") else ["data/test.jsonl"]),
    ]:
        file = root / name
        kept = file.read_text()
        edited = {
            ".json": "2.0",
            ".jsonl": kept + "\n" + kept,
            ".py": kept + "\nOTHER = 2\n",
            ".yaml": kept + "description: other\n",
        }[file.suffix]
        file.write_text(edited)
        assert planned(root) != before, name
        file.write_text(kept)
        assert planned(root) == before, name


def test_planning_runs_none_of_its_code(tmp_path: Path, planned: Callable[[Path], str]) -> None:
    code = "import pathlib\npathlib.Path(__file__).with_name('ran').write_text('')\n"
    made = {name: code + text if name.endswith(".py") else text for name, text in FILES["imported"].items()}
    root = make(tmp_path / "root", made)
    planned(root)
    assert not list(root.rglob("ran"))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("class: !function fn.Task\n", r"'probe' is written in Python \(fn.Task\)"),
        ("unsafe_code: true\n", r"'probe' runs code that models write"),
        ("doc_to_image: image\n", r"'probe' shows models more than text \(doc_to_image\)"),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_what_cannot_be_a_target_is_refused_by_name_when_planning(
    tmp_path: Path, planned: Callable[[Path], str], more: str, what: str, grouped: bool
) -> None:
    root = make(tmp_path / "root", {"lm_eval/probe.yaml": TASK + more, "lm_eval/fn.py": RESULTS})
    (root / "lm_eval" / "all.yaml").write_text("group: all\ntask: [probe]\n")
    with pytest.raises(PerbenchError, match="probe"):
        planned(root)
    with pytest.raises(PerbenchError, match=what):
        load_task("lm_eval:all" if grouped else "lm_eval:probe")


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"lm_eval/probe.yaml": TASK + "include: gone.yaml\n"}, "no task 'probe'|gone.yaml"),
        ({"lm_eval/probe.yaml": TASK.replace("probe", "prove")}, "Did you mean 'prove'"),
    ],
)
def test_faults_of_files(
    tmp_path: Path, planned: Callable[[Path], str], files: dict[str, str], what: str
) -> None:
    with pytest.raises(PerbenchError, match=what):
        planned(make(tmp_path / "root", files))
