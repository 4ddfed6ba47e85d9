"""A table of bad inputs: each exits 2, names the place (file:line where there is one) and the way out."""

import pytest

from perbench import cli

TASK = """\
summary: a task
protocol: generation
license: CC0
data:
  files: rows
fields:
  user: u
  question: q
  reference: r
  persona: p
prompt: plain
prompts:
  plain:
    system: "{persona}"
    item: "{text}"
metrics: [rougeL]
headline: rougeL
"""
MODEL = """\
summary: a model
path: weights
"""
MATRIX = """\
summary: a matrix
models: [smollm2-135m]
trainers:
- ce
- name: perce
  params:
    clip_max: [2.0, 5.0]
sources: [mine/notes]
targets: [mine/notes]
baseline: ce
training:
  learning_rate: 1e-4
tasks:
  mine/notes:
    persona.k: 2
"""
TRAINER = '''\
"""A trainer."""
from perbench.api import Trainer


class Own(Trainer):
    scale: float = 1.0

    def loss(self, batch):
        return batch.targets, batch.targets
'''
ROW = '{"u": "%s", "q": "where?", "r": "here", "p": ["I hunt."]}\n'
FILES = {
    "tasks/mine/notes.yaml": TASK,
    "leaderboard/models/own.yaml": MODEL,
    "leaderboard/matrices/own.yaml": MATRIX,
    "trainers/own.py": TRAINER,
    "tasks/mine/rows/train.jsonl": ROW % "ann",
    "tasks/mine/rows/test.jsonl": ROW % "bob",
}
T, M, X, P, *DATA = FILES

CASES = [
    # file, what is replaced, by what, line of the fault, what the message says
    (T, "license: CC0", "licence: CC0", 3, "unknown key 'licence'. Did you mean 'license'?"),
    (T, "license: CC0", "", 1, "missing key 'license'"),
    (T, "license: CC0", "license: CC0\nlicense: MIT", 4, "duplicate key 'license', first given on line 3"),
    (T, "protocol: generation", "protocol: generating", 2, "Did you mean 'generation'?"),
    (T, "license: CC0", "max_length: '5000'", 3, "expected an integer, got '5000' (a string)"),
    (T, "license: CC0", "license: CC0\nexamples: {test: 0}", 4, "examples.test: input should be greater"),
    (T, "  files: rows", "  fils: rows", 5, "unknown key 'fils' in data. Did you mean 'files'?"),
    (T, "  files: rows", "  files: rows\n  hub: a/b", 4, "(got files, hub)"),
    (T, "data:\n", "data:\n\t", 5, "indent with spaces"),
    (T, "summary: a task", "summary: a: task", 1, "quote a value that holds ': '"),
    (T, "{persona}", "{persna}", 14, "unknown {persna}; allowed: {persona}, {question}"),
    (T, '"{text}"', '"{text"', 15, "write {{ and }} for literal braces"),
    (T, '"{text}"', "{{text}}", 15, "is a {placeholder} missing its quotes?"),
    (T, "metrics: [rougeL]", "metrics: [rouge]", 16, "Did you mean 'rouge"),
    (T, "headline: rougeL", "headline: bleu", 17, "headline 'bleu' is not among metrics. There are: rougeL."),
    (T, "prompt: plain", "prompt: fancy", 11, "prompt 'fancy' is not one of prompts"),
    (T, "license: CC0", "license: &l CC0", 3, "anchors are not supported; write the value out"),
    (T, "license: CC0", "license: !!python/name:os.system x", 3, "write a plain value"),
    (T, TASK, "- a list\n", 1, "expected a mapping of keys to values, got a list"),
    (M, "path: weights", "path: weights\nhub: a/b", 1, "path, gguf, endpoint (got hub, path)"),
    (M, "path: weights", "hub: a/b\ndtype: fp16", 3, "Did you mean 'float16'?"),
    (M, "path: weights", "endpoint: {model: m, base_url: foo}", 2, "base_url: must be an address"),
    (X, "[smollm2-135m]", "[smollm-135m]", 2, "unknown model 'smollm-135m'"),
    (X, "[smollm2-135m]", "[]", 2, "models: an empty list; name at least one"),
    (X, "[smollm2-135m]", "smollm2-135m", 2, "models: expected a list, got 'smollm2-135m' (a string)"),
    (X, "- ce", "- cee", 4, "unknown trainer 'cee'. Did you mean 'ce'?"),
    (X, "- ce", "- ce\n- ce", 5, "names a row twice; remove one"),
    (X, "clip_max:", "clipmax:", 7, "Did you mean 'clip_max'?"),
    (X, "[2.0, 5.0]", "[2.0, -5.0]", 7, "hyperparameter clip_max=-5.0: Input should be greater than 0"),
    (X, "[2.0, 5.0]", "[]", 7, "clip_max: an empty axis; name at least one"),
    (X, "sources: [mine/notes]", "sources: [mine/note]", 8, "Did you mean 'mine/notes'?"),
    (X, "sources: [mine/notes]", "", 3, "trainers given without sources: name both"),
    (X, "baseline: ce", "baseline: nextquill", 10, "not among the trainers. There are: ce, perce."),
    (X, "learning_rate: 1e-4", "learning_rat: 1e-4", 12, "Did you mean 'learning_rate'?"),
    (X, "learning_rate: 1e-4", "learning_rate: [1e-4, fast]", 12, "expected a number, got 'fast' (a string)"),
    (X, "learning_rate: 1e-4", "gradient_checkpointing: yes", 12, "expected true or false, got 'yes'"),
    (X, "baseline: ce", "seeds: [0, 0]", 10, "seeds names 0 twice; remove one"),
    (X, "baseline: ce", "identifiers: [percontrast]", 10, "no target is of protocol identification"),
    (X, "persona.k", "persona.kk", 15, "unknown key 'kk' under persona. Did you mean 'k'?"),
    (X, "persona.k: 2", "persona.k: many", 15, "persona.k: expected an integer, got 'many' (a string)"),
    (X, "  mine/notes:", "  mine/nodes:", 14, "remove it or add it to targets"),
    (P, "class Own", "clas Own", 5, "trainer 'own' cannot be imported: SyntaxError"),
    (P, "import Trainer", "import Trainr", 2, "cannot import name 'Trainr'"),
    (P, "(Trainer)", "", None, "must define exactly one subclass of perbench.api.Trainer (found: none)"),
    (P, "scale: float = 1.0", "scale: float = 'x'", None, "default of hyperparameter scale='x'"),
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_files_are_good_as_they_stand(root, capsys):
    assert cli.main(["validate", *(str(root / name) for name in (T, M, X, P)), "--include", str(root)]) == 0
    assert "4 files checked, 0 faults" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "said"), CASES, ids=[f"{c[0]}: {c[4][:40]}" for c in CASES]
)
def test_a_bad_file_is_named_by_line_with_the_way_out(root, name, old, new, line, said, capsys):
    path = root / name
    assert FILES[name].count(old) >= 1
    path.write_text(FILES[name].replace(old, new, 1), encoding="utf-8")
    assert cli.main(["validate", str(path), "--include", str(root)]) == 2
    place = f"{path}:{line}: " if line else f"{path}: "
    told = capsys.readouterr().err
    assert any(fault.startswith(place) and said in fault for fault in told.splitlines()), told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["validate", "ROOT/none.yaml"], "ROOT/none.yaml: cannot be read: No such file or directory"),
        (["validate", "ROOT/none.py"], "ROOT/none.py: no such file"),
        (["validate", "ROOT"], "ROOT: is a folder; name files, or check all of a root: --include ROOT"),
        (["show", "task", "mine/note", "--include", "ROOT"], "Did you mean 'mine/notes'?"),
        (
            ["eval", "--model", "smollm2-135m", "--target", "mine/note"],
            "A task of your own needs --include",
        ),
        (
            ["eval", "--model", "smollm2-135m", "--target", "identification/persona_qa"],
            "is of protocol identification: name --identifier NAME to evaluate on it",
        ),
        (["show", "model", "smolm2-135m"], "unknown model 'smolm2-135m'. Did you mean 'smollm2-135m'?"),
        (["ls", "--include", "ROOT/trainers"], "--include: ROOT/trainers has none of the folders tasks"),
        (["ls", "--include", "ROOT/none"], "--include: ROOT/none is not a folder"),
        (["run", "--matrix", "ownn", "--include", "ROOT"], "unknown matrix 'ownn'. Did you mean 'own'?"),
        (
            ["run", "--matrix", "own", "--include", "ROOT", "--set", "training.epoch=1", "--dry-run"],
            "--set training.epoch=1: unknown key 'epoch'. Did you mean 'epochs'?",
        ),
        (
            ["run", "--matrix", "own", "--include", "ROOT", "--set", "seeds=one", "--dry-run"],
            "--set seeds=one: seeds: expected a list, got 'one' (a string)",
        ),
        (
            ["run", "--matrix", "own", "--include", "ROOT", "--devices", "8"],
            "--devices and --device-memory are for --dry-run",
        ),
    ],
)
def test_a_bad_command_line_names_the_way_out(root, words, said, capsys):
    assert cli.main([word.replace("ROOT", str(root)) for word in words]) == 2
    assert said.replace("ROOT", str(root)) in capsys.readouterr().err


def test_validate_without_files_checks_every_root_and_tells_all_faults(root, capsys):
    (root / T).write_text(TASK.replace("CC0", "[CC0]"), encoding="utf-8")
    (root / P).write_text("import nothing_like_it\n", encoding="utf-8")
    assert cli.main(["validate", "--include", str(root)]) == 2
    told = capsys.readouterr().err
    assert f"{root / T}:3: license: expected a string, got a list" in told
    assert f"{root / P}:1: trainer 'own' cannot be imported: ModuleNotFoundError" in told
    assert ", 2 faults" in told, "the matrix's faults are its task's, told once"


def test_validate_tells_a_files_kind_by_its_keys_outside_a_root(tmp_path, capsys):
    path = tmp_path / "loose.yaml"
    for text, said in [
        (TASK.replace("protocol: generation", "protocol: gen"), "protocol: got 'gen'"),
        (MATRIX.replace("- ce", "- cee"), "unknown trainer 'cee'"),
        (MODEL + "labl: x\n", "unknown key 'labl'. Did you mean 'label'?"),
        ("colour: red\n", "loose.yaml: not a task"),
    ]:
        path.write_text(text, encoding="utf-8")
        assert cli.main(["validate", str(path)]) == 2
        assert said in capsys.readouterr().err


def test_no_hostile_name_key_or_value_reaches_the_terminal(tmp_path, capsys):
    """Neither a file's nor a key, a value or a flag, in plain or JSON output: it is printed as escapes."""
    nasty = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
    folder = tmp_path / "tasks" / nasty
    folder.mkdir(parents=True)
    file = folder / "notes.yaml"
    file.write_text(f'{TASK}"\\e[31m\\u202ekey": 1\nheadline: "\\e[2J"\n', encoding="utf-8")
    codes = [
        cli.main(["validate", str(file)]),
        cli.main(["show", "task", nasty]),
        cli.main(["run", "--matrix", nasty]),
        cli.main(["ls", f"--{nasty}"]),
        cli.main(["--include", str(tmp_path), "ls"]),
        cli.main(["--include", str(tmp_path), "ls", "--json"]),
    ]
    out, err = capsys.readouterr()
    assert codes == [2, 2, 2, 2, 0, 0]
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(out + err)
    assert err.count(r"\u202e") >= 4
    assert r"\u001b[2J" in out
