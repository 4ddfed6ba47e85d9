"""The frame: exit codes, global options, streams, and what is imported."""

import errno
import json
import os
import subprocess
import sys

import pytest

from perbench import cli, plugins
from perbench.errors import CellError, PerbenchError


def test_help_lists_every_command_file(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("ls", "show", "validate", "new", "doctor"):
        assert f"    {command} " in out


@pytest.mark.parametrize("command", [name for name, _ in cli._commands()])
def test_every_command_has_help_and_include(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert "--include DIR" in capsys.readouterr().out


@pytest.mark.parametrize("place", [1, 2, 3])
def test_include_is_accepted_at_every_level_of_subcommands(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    words = ["data", "prepare", "wordnet"]
    assert cli.main([*words[:place], "--include", str(tmp_path / "none"), *words[place:]]) == 2
    assert "none is not a folder" in capsys.readouterr().err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("perbench ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["lss"], "unknown 'lss'. Did you mean 'ls'?"),
        (["ls", "task"], "unknown 'task'. Did you mean 'tasks'?"),
        (["ls", "--jsn"], "unrecognized arguments: --jsn. Did you mean '--json'?"),
        (["leaderboard", "show", "run", "--jsn"], "unrecognized arguments: --jsn. Did you mean '--json'?"),
        (["ls", "tasks", "models"], "unrecognized arguments: models"),
        (["show", "trainer"], "NAME"),
    ],
)
def test_usage_errors_exit_2_with_the_way_out(words, said, capsys):
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert not captured.out


ELSEWHERE = (
    "free some space, or write elsewhere: --out DIR for results, the environment variable PERBENCH_CACHE=DIR "
    "for the cache"
)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PerbenchError("told so"), 2, "perbench: error: told so"),
        (CellError("one cell"), 1, "perbench: error: one cell"),
        (KeyboardInterrupt(), 130, "perbench: interrupted"),
        (RuntimeError("oops"), 3, "perbench: internal error, a bug in perbench: RuntimeError: oops"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            2,
            "error: runs/x: No space left on device",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 2, f"error: No space left on device: {ELSEWHERE}"),
        (OSError(errno.EDQUOT, "Quota exceeded"), 2, f"error: Quota exceeded: {ELSEWHERE}"),
        (OSError(errno.EROFS, "Read-only file system"), 2, f"error: Read-only file system: {ELSEWHERE}"),
        (PermissionError(errno.EACCES, "Permission denied", "/out"), 2, "error: /out: Permission denied"),
        (OSError(errno.EINVAL, "Invalid argument"), 3, "internal error"),
    ],
)
def test_errors_become_exit_codes(error, code, said, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr(plugins, "discover", fail)
    assert cli.main(["ls"]) == code
    err = capsys.readouterr().err
    assert err.rstrip().splitlines()[-1].endswith(said) or said in err.rstrip().splitlines()[-1]
    assert ("Traceback" in err) == (code == 3)


@pytest.mark.parametrize("before", [True, False])
def test_include_is_accepted_before_and_after_the_command_and_ends_with_it(
    tmp_path, before, monkeypatch, capsys
):
    monkeypatch.delenv("PERBENCH_INCLUDE", raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("summary: mine\n", encoding="utf-8")
    option = ["--include", str(tmp_path)]
    assert cli.main([*option, "ls", "--json"] if before else ["ls", "--json", *option]) == 0
    assert ("task", "mine") in {(row["kind"], row["name"]) for row in json.loads(capsys.readouterr().out)}
    assert "PERBENCH_INCLUDE" not in os.environ
    assert cli.main(["ls", "--json"]) == 0
    assert "mine.yaml" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--help"], ["ls"], ["ls", "--json"], ["new", "--help"], ["run", "--help"]]
)
def test_no_heavy_import(words):
    code = (
        "import sys; from perbench.cli import main; main(sys.argv[1:]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "perbench" in loaded
    assert not loaded & {
        "torch",
        "transformers",
        "peft",
        "accelerate",
        "pydantic",
        "numpy",
        "scipy",
        "nltk",
        "jinja2",
        "rich",
    }


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "perbench", "ls", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


def test_a_reader_of_messages_that_leaves_early_ends_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "perbench", "validate", tmp_path / "none.yaml"], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(60) == 2  # what it was asked was done, and said by the code


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed_from_the_beginning(closed):
    command = f"{sys.executable} -m perbench ls trainers {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
