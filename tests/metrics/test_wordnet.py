"""Where WordNet comes from, and what is refused."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import zipfile
from pathlib import Path

import nltk
import pytest

from perbench.errors import MetricAbsent, PerbenchError
from perbench.text import wordnet
from tests.damage import DAMAGES


def test_a_folder_and_a_zip_of_it_give_the_same_wordnet(tiny_wordnet: Path, tmp_path: Path) -> None:
    wordnet.prepare(tiny_wordnet)
    from_folder = wordnet.load()
    with zipfile.ZipFile(tmp_path / "wordnet.zip", "w") as archive:
        for path in tiny_wordnet.iterdir():
            archive.write(path, f"wordnet/{path.name}")
    wordnet.prepare(tmp_path / "wordnet.zip")
    assert wordnet.load().digest == from_folder.digest
    assert {lemma for s in wordnet.load().reader.synsets("dog") for lemma in s.lemma_names()} == {
        "dog",
        "hound",
    }


def test_an_nltk_corpus_is_found(tiny_wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora = tmp_path / "nltk_data" / "corpora"
    corpora.mkdir(parents=True)
    tiny_wordnet.rename(corpora / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])
    assert wordnet.prepare().is_dir()
    assert wordnet.load().version == "3.0"


def test_debian_lacks_lexnames_which_are_made(tiny_wordnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet, "DEBIAN", tiny_wordnet)
    made = (wordnet.prepare() / "lexnames").read_text().splitlines()
    # lexnames(5WN): 45 files, adj.all is 00, noun.animal 05, verb.weather 43
    assert len(made) == 45
    assert (made[0], made[5], made[43]) == ("00\tadj.all\t3", "05\tnoun.animal\t1", "43\tverb.weather\t2")
    assert wordnet.load().reader.synsets("dog")[0].lexname() == "noun.animal"


def test_preparing_again_replaces_what_was_there(tiny_wordnet: Path) -> None:
    folder = wordnet.prepare(tiny_wordnet)
    before = wordnet.load().digest
    (tiny_wordnet / "noun.exc").write_text("dogs dog\n")
    assert wordnet.prepare(tiny_wordnet) == folder
    assert wordnet.load().digest != before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".wordnet.lock", "wordnet"]


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_wordnet_gives_no_scores_and_is_prepared_again(tiny_wordnet: Path, damage: str) -> None:
    folder = wordnet.prepare(tiny_wordnet)
    before = wordnet.load().digest
    chance = random.Random(damage)
    names = sorted(path for path in folder.iterdir() if path.stat().st_size)
    assert DAMAGES[damage](chance.choice(names), chance)
    with pytest.raises(MetricAbsent, match=r"perbench data prepare wordnet"):
        wordnet.load()
    wordnet.prepare(tiny_wordnet)
    assert wordnet.load().digest == before


BESIDE = """
import sys
from pathlib import Path
from perbench.text import wordnet

replace = wordnet.os.replace

def slow(origin, target):
    print("copied", flush=True)
    sys.stdin.readline()
    replace(origin, target)

wordnet.os.replace = slow
wordnet.prepare(Path(sys.argv[1]))
"""


def test_a_second_process_waits_and_leaves_what_is_the_same(tiny_wordnet: Path) -> None:
    folder = wordnet.prepare(tiny_wordnet)
    (tiny_wordnet / "noun.exc").write_text("dogs dog\n")
    words = [sys.executable, "-c", BESIDE, str(tiny_wordnet)]
    first, second = (
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    if first.stdout not in select.select([first.stdout, second.stdout], [], [])[0]:
        first, second = second, first
    assert select.select([second.stdout, second.stderr], [], [])[0] == [second.stderr]
    assert second.stderr is not None
    assert (
        second.stderr.readline() == "WordNet is being prepared by another process; waiting for it to finish\n"
    )
    assert first.communicate("\n\n")[0] == "copied\n" * 2  # the old one away, the new one in its place
    assert second.communicate("\n\n")[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert wordnet.load().reader.synsets("dog")
    assert sorted(path.name for path in folder.parent.iterdir()) == [".wordnet.lock", "wordnet"]


def test_an_incomplete_source_is_refused_and_the_old_one_kept(tiny_wordnet: Path) -> None:
    wordnet.prepare(tiny_wordnet)
    before = wordnet.load().digest
    (tiny_wordnet / "index.sense").unlink()
    with pytest.raises(PerbenchError, match=r"index\.sense missing; .*apt-get install wordnet-base"):
        wordnet.prepare(tiny_wordnet)
    assert wordnet.load().digest == before


def test_no_folder_and_no_zip(tmp_path: Path) -> None:
    (tmp_path / "wordnet.txt").write_text("no zip")
    with pytest.raises(PerbenchError, match="neither a folder nor a zip file"):
        wordnet.prepare(tmp_path / "wordnet.txt")


def test_nowhere_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(nltk, "download", lambda *args, **kwargs: False)
    with pytest.raises(PerbenchError, match="apt-get install wordnet-base wordnet-sense-index"):
        wordnet.prepare()
    with pytest.raises(MetricAbsent, match="perbench data prepare wordnet"):
        wordnet.load()
