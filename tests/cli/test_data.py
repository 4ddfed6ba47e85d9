"""perbench data prepare wordnet."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from perbench.cli import data
from perbench.errors import PerbenchError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    data.configure(parser)
    return parser.parse_args(words)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        parse("prepare", "wordnett")
    assert refused.value.code == 2


def test_a_source_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PerbenchError, match="neither a folder nor a zip file"):
        data.run(parse("prepare", "wordnet", "--from", str(tmp_path / "nowhere")))


def test_it_says_where_wordnet_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perbench.metrics import wordnet

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
