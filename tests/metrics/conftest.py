"""A WordNet of three synsets in the real file format (wndb(5WN)): METEOR is tested without downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

SYNSETS = {
    "noun": [("dog", "hound"), ("commands", "orders")],
    "verb": [("bark", "woof")],
    "adj": [],
    "adv": [],
}
LETTER = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
HEADER = "  1 This software and database: WordNet 3.0 Copyright 2006 by Princeton University.  \n"


def write_wordnet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    senses = []
    for number, (part, synsets) in enumerate(SYNSETS.items(), start=1):
        letter = LETTER[part]
        data, index = HEADER, HEADER
        rows = []
        for lemmas in synsets:
            offset = len(data)
            words = " ".join(f"{lemma} 0" for lemma in lemmas)
            frames = "01 + 01 00 " if part == "verb" else ""
            data += f"{offset:08d} 05 {letter} {len(lemmas):02x} {words} 000 {frames}| a gloss  \n"
            rows += [f"{lemma} {letter} 1 0 1 0 {offset:08d}  \n" for lemma in lemmas]
            senses += [f"{lemma}%{number}:05:00:: {offset:08d} 1 0\n" for lemma in lemmas]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index + "".join(sorted(rows)))
        (folder / f"{part}.exc").write_text("")
    (folder / "index.sense").write_text("".join(sorted(senses)))
    (folder / "cntlist.rev").write_text("")
    return folder


@pytest.fixture
def tiny_wordnet(tmp_path: Path) -> Path:
    return write_wordnet(tmp_path / "dict")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, and NLTK's data path restored after."""
    import nltk

    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(nltk.data, "path", [])
    return tmp_path / "cache"
