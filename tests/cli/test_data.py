"""perbench data prepare: families of data, and WordNet."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from perbench import plugins
from perbench.cli import data
from perbench.errors import PerbenchError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    data.configure(parser)
    return parser.parse_args(words)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(PerbenchError, match=r"unknown family 'aleo'\. Did you mean 'aloe'\?"):
        data.run(parse("prepare", "aleo"))


def test_a_source_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PerbenchError, match="neither a folder nor a zip file"):
        data.run(parse("prepare", "wordnet", "--from", str(tmp_path / "nowhere")))


def test_it_says_where_wordnet_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perbench.text import wordnet

    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    wordnet.folder().mkdir(parents=True)
    found = wordnet.WordNet(None, "3.0", "abc")
    monkeypatch.setattr(wordnet, "prepare", lambda source: wordnet.folder())
    monkeypatch.setattr(wordnet, "load", lambda: found)
    assert data.run(parse("prepare", "wordnet", "--json")) == 0
    out = json.loads(capsys.readouterr().out)
    assert out == {"folder": str(wordnet.folder()), "version": "3.0", "sha256": "abc"}
    assert data.run(parse("prepare", "wordnet")) == 0
    assert capsys.readouterr().out == f"WordNet 3.0 in {wordnet.folder()}\n"


# ---------------------------------------------------------------- families of data


@pytest.fixture
def counted_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty user cache, without the default model's package, which takes long to unpack."""
    from perbench.lm import gguf_package

    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf_package.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def personas(tmp_path: Path, counted_in_words: None) -> Path:
    """ALOE's personas, made up."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, count in (("profile_eval", 2), ("personality_eval", 7), ("profile", 1), ("personality", 1)):
        texts = [json.dumps(f"{name} {number} is short") for number in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(texts))
    return folder


def test_the_report(personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data.run(parse("prepare", "aloe", "--from", str(personas))) == 0
    found = capsys.readouterr()
    folder = tmp_path / "cache" / "data" / "aloe"
    assert "| personas/test | 10 |  |" in found.out
    assert "Lengths in words, mean (largest):" in found.out
    assert "| aloe/dialogue, test | 10 | 8.0 (8) |  |  |" in found.out
    assert "from local raw (NOT the published files); digest " in found.out
    assert found.out.endswith(f"in {folder}\ntasks with data: aloe/dialogue\n")
    assert "lengths are counted in words: the model's weights" in found.err
    assert "personas/test" in found.err

    out = tmp_path / "else where"
    assert data.run(parse("prepare", "aloe", "--from", str(personas), "--out", str(out))) == 0
    assert capsys.readouterr().out.endswith(
        f"in {out}\ntasks with data, by --data aloe={out}: aloe/dialogue\n"
    )


def test_no_task_is_said_to_find_what_none_reads(
    personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (personas / "Synthetic-Persona-Chat_test.csv").write_text(
        "user 1 personas,user 2 personas,Best Generated Conversation\nI hunt.,I bake.,Hi\n"
    )
    out = tmp_path / "out"
    words = ("prepare", "synthetic-persona-chat", "--from", str(personas), "--out", str(out))
    assert data.run(parse(*words)) == 0
    assert capsys.readouterr().out.endswith(f"\nin {out}\n")


def test_a_part_of_a_family_says_which_tasks_have_data(
    tmp_path: Path, counted_in_words: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "raw"
    (folder / "explicit_preference").mkdir(parents=True)
    (folder / "sample.json").write_text("[]")
    words = ("prepare", "prefeval", "--from", str(folder), "--out", str(tmp_path / "out"))
    with pytest.raises(
        PerbenchError, match=r"no file of the family prefeval is in .*raw:\n  no file .*explicit"
    ):
        data.run(parse(*words))
    for topic in sys.modules[plugins.get("family", "prefeval").load_class().__module__].TOPICS:
        row = {"preference": f"I like {topic}", "question": "What now?"}
        (folder / "explicit_preference" / f"{topic}.json").write_text(json.dumps([row]))
    assert data.run(parse(*words)) == 0
    *_, there, absent = capsys.readouterr().out.splitlines()
    assert there == f"tasks with data, by --data prefeval={tmp_path / 'out'}: prefeval/explicit"
    assert absent.startswith("tasks still without data: ")
    names = {"prefeval/choice", "prefeval/implicit_choice", "prefeval/implicit_persona"}
    assert set(absent.partition(": ")[2].split(", ")) == names


def test_lengths_in_a_named_models_tokens(
    personas: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("prepare", "aloe", "--from", str(personas), "--json")
    assert data.run(parse(*words, "--model", str(tiny_model_dir))) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["length_unit"] == f"tokens of {tiny_model_dir.name}"
    assert found["lengths"]["aloe/dialogue, test"]["with persona"]["mean"] > 8
    assert found["complete"] is True
    assert found["tables"]["personas/test"]["rows"] == 10
    with pytest.raises(PerbenchError, match="unknown model 'smolm2-135m'"):
        data.run(parse(*words, "--model", "smolm2-135m"))


def test_commits_are_named_by_repository() -> None:
    args = parse("prepare", "reviews", "--revision", "a/b=1", "--revision", "c/d=2")
    assert data._revisions(args.revision) == {"a/b": "1", "c/d": "2"}
    assert data._revisions(["abc"]) == {"": "abc"}


def test_wordnet_takes_no_options_of_families() -> None:
    with pytest.raises(PerbenchError, match="wordnet takes only --from and --json"):
        data.run(parse("prepare", "wordnet", "--sample", "3"))


def test_an_unwritable_place(personas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from perbench import cli

    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert cli.main(["data", "prepare", "aloe", "--from", str(personas), "--out", str(out)]) == 2
    assert f"perbench: error: {tmp_path / 'file'}" in capsys.readouterr().err
