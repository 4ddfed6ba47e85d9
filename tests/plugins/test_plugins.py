"""Roots and discovery: names, summaries without imports, and who is blamed for what."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.site.plugin_text import read_text

TRAINER = '''"""Summary line.

More.
"""

from perbench.api import Trainer


class Own(Trainer):
    scale: float = 1.0

    def loss(self, batch):
        return batch.targets, batch.targets
'''


def write(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PERBENCH_INCLUDE", "")
    write(tmp_path, "trainers/own.py", TRAINER)
    plugins.include(tmp_path)
    yield tmp_path
    monkeypatch.setenv("PERBENCH_INCLUDE", "")
    plugins.include()


def test_built_ins_are_found():
    names = set(plugins.discover())
    assert {("trainer", "ce"), ("trainer", "perce"), ("identifier", "percontrast")} <= names
    assert ("model", "smollm2-135m") in names


def test_names_are_paths_below_the_kinds_folder(root):
    write(root, "tasks/family/one.yaml", "summary: one\n")
    write(root, "tasks/flat.yaml", "summary: flat\n")
    write(root, "leaderboard/models/org/big-1.5b.yaml", "summary: big\n")
    write(root, "leaderboard/matrices/wide.yaml", "summary: wide\n")
    write(root, "tasks/family/data.jsonl")
    write(root, "tasks/.hidden.yaml")
    write(root, "trainers/_shared.py")
    found = {key for key, plugin in plugins.discover().items() if root in plugin.path.parents}
    assert found == {
        ("task", "family/one"),
        ("task", "flat"),
        ("model", "org/big-1.5b"),
        ("matrix", "wide"),
        ("trainer", "own"),
    }
    assert "family/one" in plugins.names("task")


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("summary: plain text\nprotocol: x\n", "plain text"),
        ("# note\nlicense: {a: summary}\nsummary: 'quoted: text'\n", "quoted: text"),
        ("summary: >\n  folded\n  text\nrest: 1\n", "folded text"),
        ("data: {summary: inner}\nsummary: outer\n", "outer"),
        ("license: x\n", ""),
        ("summary: ok\nbroken: [\n", "ok"),
    ],
)
def test_yaml_summaries(root, text, summary):
    write(root, "tasks/t.yaml", text)
    assert plugins.get("task", "t").summary == summary


def test_a_summary_is_the_first_paragraph(root):
    write(root, "trainers/long.py", '"""A sentence\nof two lines.\n\nMore,\n  indented.\n"""\n')
    plugin = plugins.get("trainer", "long")
    assert plugin.summary == "A sentence of two lines."
    found = read_text(plugin)
    assert (found.summary, found.about) == ("A sentence of two lines.", "More,\n  indented.")


def test_no_summary_of_perbench_breaks_off():
    for plugin in plugins.discover().values():
        if plugin.path.suffix == ".py" and plugin.path.is_relative_to(plugins.PACKAGE):
            assert plugin.summary.endswith("."), plugin.path


def test_unreadable_files_say_so_in_their_summary(root):
    write(root, "trainers/bad.py", "def (:\n")
    write(root, "tasks/bad.yaml", "a: [\n")
    (root / "tasks" / "latin.yaml").write_bytes(b"summary: caf\xe9\n")
    assert plugins.get("trainer", "own").summary == "Summary line."
    for kind, name in (("trainer", "bad"), ("task", "bad"), ("task", "latin")):
        assert plugins.get(kind, name).summary.startswith("(unreadable: ")


def test_the_digest_is_the_files_sha256(root):
    assert plugins.get("trainer", "own").digest() == hashlib.sha256(TRAINER.encode()).hexdigest()


def test_load_trainer_validates_hyperparameters(root):
    assert plugins.load_trainer("own", {"scale": 2.0}).params == {"scale": 2.0}
    assert plugins.load_trainer("own").params == {"scale": 1.0}
    with pytest.raises(PerbenchError, match=r"unknown hyperparameter 'scal'. Did you mean 'scale'"):
        plugins.load_trainer("own", {"scal": 2.0})


def test_a_class_survives_pickling_into_another_process(root):
    trainer = plugins.load_trainer("own", {"scale": 3.0})
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).scale)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(trainer),
        capture_output=True,
        env=dict(os.environ),
        check=True,
    )
    assert done.stdout == b"3.0\n"


def test_the_same_name_from_another_root_is_another_class(tmp_path, monkeypatch):
    for folder, scale in (("a", "1.0"), ("b", "7.0")):
        write(tmp_path / folder, "trainers/own.py", TRAINER.replace("1.0", scale))
        monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / folder))
        assert plugins.load_trainer("own").params == {"scale": float(scale)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (:\n", r"own\.py:1: trainer 'own' cannot be imported: SyntaxError"),
        ("\nimport no_such_module\n", r"own\.py:2: .*ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\n\n1 / 0\n", r"own\.py:3: .*ZeroDivisionError"),
        ("raise SystemExit(5)\n", r"own\.py:1: .*SystemExit"),
        ("x = 1\n", r"exactly one subclass of perbench\.api\.Trainer \(found: none\)"),
        ("from perbench.api import Trainer\n", r"\(found: none\)"),
        (TRAINER + "\nclass Two(Own):\n    pass\n", r"\(found: Own, Two\)"),
        (
            "from perbench.api import Trainer\nclass Own(Trainer):\n    pass\n",
            r"Own does not define loss\(\)",
        ),
    ],
)
def test_a_broken_plugin_is_blamed_and_breaks_only_its_user(root, text, said):
    write(root, "trainers/own.py", text)
    sys.modules.pop("perbench.plugins.trainers.own", None)
    with pytest.raises(PerbenchError, match=said) as error:
        plugins.load_trainer("own")
    assert str(root / "trainers" / "own.py") in str(error.value)
    assert plugins.load_trainer("ce").params == {}


def test_a_file_that_is_no_python_name_says_so(root):
    write(root, "trainers/my-loss.py", TRAINER)
    with pytest.raises(PerbenchError, match="'my-loss' is not a Python name; rename the file"):
        plugins.load_trainer("my-loss")


def test_unknown_names_suggest():
    with pytest.raises(
        PerbenchError, match=r"unknown trainer 'perc'\. Did you mean 'perce'\? There are: .*ce, "
    ):
        plugins.get("trainer", "perc")
    with pytest.raises(PerbenchError, match=r"unknown kind 'trainers'\. Did you mean 'trainer'"):
        plugins.get("trainers", "ce")


def test_two_files_of_one_name_are_both_named(root):
    path = write(root, "trainers/ce.py", TRAINER)
    with pytest.raises(PerbenchError) as error:
        plugins.discover()
    assert (
        f"two files define trainer 'ce': {plugins.builtin_root() / 'trainers' / 'ce.py'} and {path}"
        in str(error.value)
    )


def test_a_regular_package_is_refused(root):
    path = write(root, "trainers/__init__.py")
    with pytest.raises(PerbenchError, match=f"remove {path}"):
        plugins.discover()


def test_a_folder_included_twice_is_one_root(root, monkeypatch):
    plugins.include(root, root / "trainers" / "..")
    assert [place.path for place in plugins.roots()].count(root.resolve()) == 1
    plugins.include(plugins.builtin_root())
    assert plugins.roots()[0].origin == "built-in"
    assert ("trainer", "ce") in plugins.discover()


def test_a_misspelt_root_is_suggested(tmp_path):
    for name in ("plugins", "pluginz"):  # only the first is a root
        (tmp_path / name).mkdir()
    (tmp_path / "plugins" / "trainers").mkdir()
    with pytest.raises(PerbenchError) as told:
        plugins.include(tmp_path / "plugin")
    assert f"Did you mean '{tmp_path / 'plugins'}'" in str(told.value)


def test_a_folder_that_is_no_root_is_refused(tmp_path, monkeypatch):
    with pytest.raises(PerbenchError, match=r"--include: .*none is not a folder"):
        plugins.include(tmp_path / "none")
    (tmp_path / "trainer").mkdir()
    with pytest.raises(
        PerbenchError, match=r"has none of the folders tasks, identifiers, trainers, .*name their parent"
    ):
        plugins.include(tmp_path)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "gone"))
    with pytest.raises(PerbenchError, match=r"PERBENCH_INCLUDE: .*gone is not a folder"):
        plugins.discover()


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        ("trainers", "weight = 2.0", "write `weight: float = …`"),
        ("trainers", "counterfactuel = 'grad'", "did you mean 'counterfactual'?"),
        ("trainers", "WORDS = ('a', 'b')", "or `_WORDS` for a constant"),
        ("trainers", "scal = 2.0", "did you mean 'scale'?"),
        ("identifiers", "seed = 3", "write `seed: int = …`"),
        ("identifiers", "needs_modl = False", "did you mean 'needs_model'?"),
    ],
)
def test_a_field_without_annotation_is_an_error_at_its_line(root, kind, line, said):
    """Nothing would set, check or record it."""
    name, _, _ = line.partition(" ")
    base, method = {"trainers": ("Trainer", "loss"), "identifiers": ("Identifier", "score")}[kind]
    text = f"from perbench.api import {base}\n\n\nclass Odd({base}):\n    scale: float = 1.0\n    {line}\n"
    path = write(root, f"{kind}/odd.py", f"{text}\n    def {method}(self, *given):\n        return given\n")
    with pytest.raises(PerbenchError) as caught:
        plugins.get(kind[:-1], "odd").load_class()
    assert str(caught.value).startswith(f"{path}:6: {name} = ")
    assert said in str(caught.value)


def test_what_is_no_field_needs_no_annotation(root):
    text = (
        "from functools import cached_property\nfrom typing import ClassVar\n"
        "from perbench.api import Trainer\n\n\n"
        "class Odd(Trainer):\n    counterfactual = 'grad'\n    _table = {}\n    scale: float = 1.0\n"
        "    WORDS: ClassVar = ('a',)\n\n    @property\n    def two(self):\n        return 2\n\n"
        "    @cached_property\n    def three(self):\n        return 3\n\n    @staticmethod\n    def four():\n"
        "        return 4\n\n    def loss(self, batch):\n        return batch.targets, batch.targets\n"
    )
    write(root, "trainers/odd.py", text)
    assert plugins.get("trainer", "odd").load_class().validate({}) == {"scale": 1.0}
