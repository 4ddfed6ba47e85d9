"""Messages name the options that were typed, and every misspelt option or value has a suggestion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perbench import cli

EVAL = ["eval", "--model", "smollm2-135m", "--target", "embedded/sotu_writing"]
TRAIN = ["train", "--model", "smollm2-135m", "--trainer", "perce", "--source", "embedded/sotu_writing"]
SPANS = "identification/persona_qa"
IDENTIFY = ["identify", "--task", SPANS, "--identifier", "random"]


def changed(words: list[str], option: str, value: str) -> list[str]:
    place = words.index(option) + 1
    return [*words[:place], value, *words[place + 1 :]]


@pytest.mark.parametrize(
    ("words", "said", "meant"),
    [
        (changed(EVAL, "--model", "smollm2-135n"), "--model smollm2-135n: ", "'smollm2-135m'"),
        (changed(EVAL, "--target", "embedded/dialoge"), "--target embedded/dialoge: ", "'embedded/dialogue'"),
        (changed(TRAIN, "--trainer", "perse"), "--trainer perse: ", "'perce'"),
        (changed(TRAIN, "--source", "longlamp/pug"), "--source longlamp/pug: ", "'longlamp/pag'"),
        ([*TRAIN, "--param", "clip_mx=3"], "--param clip_mx=3: ", "'clip_max'"),
        ([*TRAIN, "--param", "clip_max=high"], "--param clip_max=high: ", "clip_max='high'"),
        ([*TRAIN, "--set", "training.method=lorra"], "--set training.method=lorra: ", "'lora'"),
        ([*TRAIN, "--set", "tasks.longlamp/pag.k=1"], "--set tasks.longlamp/pag.k=1: ", "sotu_writing"),
        (changed(TRAIN, "--source", "embedded/dialogue"), "--source embedded/dialogue: ", "likelihood tasks"),
        (changed(IDENTIFY, "--task", "longlamp/pag"), "--task longlamp/pag: ", "protocol identification"),
        (changed(IDENTIFY, "--task", "longlamp/prww"), "--task longlamp/prww: ", "'longlamp/prw'"),
        (changed(IDENTIFY, "--identifier", "randon"), "--identifier randon: ", "'random'"),
        ([*IDENTIFY, "--param", "sed=1"], "--param sed=1: ", "'seed'"),
        ([*IDENTIFY, "--param", "randon.seed=1"], "--param randon.seed=1: ", "'random'"),
        ([*EVAL, "--identifier", "random"], "--target embedded/sotu_writing: ", "remove --identifier"),
        (changed(EVAL, "--target", SPANS), f"--target {SPANS}: ", "--identifier NAME"),
        ([*EVAL, "--data", "embeded=."], "--data embeded=", "'embedded'"),
    ],
)  # fmt: skip
def test_the_option_that_was_typed_is_named(
    words: list[str], said: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--dry-run"]) == 2
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if said in line]
    assert meant in line
    for key in () if "--set" in words else ("targets", "identifiers:", "command line", "`"):
        assert key not in line.partition(said)[2].partition(" There are:")[0]


def commands() -> list[str]:
    return [name for name, _ in cli._commands()]


@pytest.mark.parametrize("command", commands())
def test_every_misspelt_option_of_every_command_has_a_suggestion(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where something that is needed is missing, which argparse would tell instead."""
    assert cli.main([command, "--help"]) == 0
    listed = re.findall(r"^  (?:-\w, )?(--\w[\w-]*)", capsys.readouterr().out, re.MULTILINE)
    options = {option for option in listed if len(option) > 4} - {"--help"}
    assert "--include" in options
    for option in options:
        assert cli.main([command, option[:-2] + option[-1]]) == 2
        assert f"Did you mean '{option}'?" in capsys.readouterr().err


def test_commands_and_kinds_have_suggestions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, meant in (
        (["evl"], "'eval'"),
        (["ls", "taks"], "'tasks'"),
        (["show", "trainr", "ce"], "'trainer'"),
        (["show", "matrix", "dem"], "'demo'"),
        (["run", "--matrix", "dmo", "--out", str(tmp_path)], "'demo'"),
        ([*TRAIN, "--track", "tensorbord"], "'tensorboard'"),
        (["data", "prepare", "longlam"], "'longlamp'"),
        (["leaderboard", "bild"], "'build'"),
    ):
        assert cli.main(words) == 2
        assert f"Did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["verify"], ["samples"], ["rescore"], ["leaderboard", "build", "--out", "site"]], ids=str
)
def test_a_run_directory_that_is_misspelt(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/demo/cells", "elsewhere/other/cells"):
        Path(name).mkdir(parents=True)
    for given, meant in (
        ("runs/dmeo", "runs/demo"),
        ("demo", "runs/demo"),
        ("elsewhere/othr", "elsewhere/other"),
    ):
        assert cli.main([*words, given]) == 2
        err = capsys.readouterr().err
        assert f"{given} does not exist (yet)" in err
        assert f"Did you mean {meant!r}?" in err
        assert not Path(given).exists()
    assert cli.main([*words, "runs/mine"]) == 2
    err = capsys.readouterr().err
    assert "runs/mine does not exist (yet)" in err
    assert "Did you mean" not in err
    assert "runs/demo" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (changed(IDENTIFY, "--task", "nowhere.jsonl"), "nowhere.jsonl"),
        (changed(EVAL, "--model", "./adapter"), "is a peft adapter"),
        (changed(TRAIN, "--model", "./adapter"), "is a peft adapter"),
        (changed(EVAL, "--model", "./empty"), "config.json"),
    ],
)
def test_a_dry_run_exits_2_on_what_a_run_refuses(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("adapter", "empty"):
        Path(name).mkdir()
    Path("adapter/adapter_config.json").write_text("{}")
    for more in ([], ["--dry-run"]):
        assert cli.main([*words, *more]) == 2
        assert said in capsys.readouterr().err
