"""Faults of prepared data by name, line or record: bad rows, files, folders, requests, disks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.errors import PerbenchError, SpecError
from perbench.prepare.prepare import Request, prepare

from .conftest import COMMIT, write

pytestmark = pytest.mark.usefixtures("cache")


def test_every_bad_row_is_named_and_nothing_half_done_is_kept(raw: Path, cache: Path) -> None:
    good = {"user": "u", "text": "t"}
    write(
        raw / "short" / "test.jsonl",
        [good, '{"user": "u", "te', {"user": "u"}, {"user": 1, "text": []}, "[1]"],
    )
    with pytest.raises(SpecError) as error:
        prepare(Request("diaries", raw))
    file = raw / "short" / "test.jsonl"
    told = str(error.value).splitlines()
    assert told[0].startswith(f"{file}:2: not JSON: ")
    assert told[1:] == [
        f"{file}:3: the row has no key 'text'. There are: user.",
        f"{file}:4: user is 1, not a text",
        f"{file}:4: text is [], not a text",
        f"{file}:5: the row is [1], not an object",
    ]
    out = cache / "data" / "diaries"
    assert (out / "short" / "train.jsonl").is_file()
    assert not (out / "short" / "test.jsonl").exists()
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ('row["nope"]', "KeyError: 'nope'"),
        ('open("/nope")', "FileNotFoundError: [Errno 2] No such file or directory: '/nope'"),
    ],
)
def test_a_fault_of_the_family_is_told_as_its_own(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, told: str
) -> None:
    plugin = tmp_path / "root" / "tasks" / "families" / "diaries.py"
    text = plugin.read_text().replace('row["text"]}', fault + "}")
    plugin.write_text(text)
    line = text[: text.index(fault)].count("\n") + 1
    assert main(["data", "prepare", "diaries", "--from", str(raw)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"perbench: error: {plugin}:{line}: family 'diaries' raised {told}"


def test_the_faults_of_all_files_of_a_table_are_told(tmp_path: Path) -> None:
    good = '[{"preference": "p", "question": "q"}]'
    folder = tmp_path / "raw"
    folder.mkdir()
    for remote in plugins.get("family", "prefeval").load_class().remotes:
        for published in remote.files:
            (folder / Path(published).name).write_text(good)
    (folder / "education_resources.json").write_text('[\n {"preference": "p"},\n {"question": "q"}]')
    (folder / "entertain_games.json").write_text("[")
    (folder / "pet_ownership.json").write_bytes(b"[\xff")
    (folder / "travel_hotel.json").unlink()  # the faults are reported before what is missing
    with pytest.raises(SpecError) as error:
        prepare(Request("prefeval", folder))
    assert [
        re.split(r"\. There|; convert", str(problem).removeprefix(f"{folder}/"))[0]
        for problem in error.value.problems
    ] == [
        "education_resources.json:2: record 1: the row has no key 'question'",
        "education_resources.json:3: record 2: the row has no key 'preference'",
        "entertain_games.json:1: not JSON: Expecting value",
        "pet_ownership.json:1: not UTF-8 (invalid start byte at byte 2 of the line)",
    ]


def test_a_file_of_faults_does_not_hide_the_next(tmp_path: Path) -> None:
    for remote in plugins.get("family", "prefeval").load_class().remotes:
        for published in remote.files:
            (tmp_path / Path(published).name).write_text('[{"preference": "p", "question": "q"}]')
    for name in ("education_resources", "entertain_games", "pet_ownership"):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"preference": "p"}] * 50))
    with pytest.raises(SpecError) as error:
        prepare(Request("prefeval", tmp_path))
    told = Counter(Path(problem.path).stem for problem in error.value.problems)
    assert told == {"education_resources": 6, "entertain_games": 6, "pet_ownership": 6}


def test_a_byte_order_mark_is_passed_over(raw: Path) -> None:
    expected = prepare(Request("diaries", raw))[1]["digest"]
    file = raw / "short" / "train.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert prepare(Request("diaries", raw))[1]["digest"] == expected


def test_a_bad_new_file_leaves_the_good_old_table(raw: Path) -> None:
    out, _ = prepare(Request("diaries", raw))
    before = (out / "short" / "test.jsonl").read_bytes()
    write(raw / "short" / "test.jsonl", ["{"])
    with pytest.raises(SpecError):
        prepare(Request("diaries", raw))
    assert (out / "short" / "test.jsonl").read_bytes() == before


def test_at_most_twenty_faults_are_told(raw: Path) -> None:
    write(raw / "short" / "train.jsonl", ["{"] * 50)
    with pytest.raises(SpecError) as error:
        prepare(Request("diaries", raw))
    assert len(error.value.problems) == 20


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file(raw: Path, content: str) -> None:
    (raw / "short" / "train.jsonl").write_text(content)
    with pytest.raises(
        PerbenchError, match=r"short/train: no usable row in short/train\.jsonl \(no records\)"
    ):
        prepare(Request("diaries", raw))


def test_a_file_of_skipped_rows_only(raw: Path) -> None:
    write(raw / "short" / "train.jsonl", [{"user": "u", "text": ""}] * 3)
    with pytest.raises(PerbenchError, match=r"no usable row .*\(3 empty text\)"):
        prepare(Request("diaries", raw))


def test_not_utf8(raw: Path) -> None:
    (raw / "short" / "train.jsonl").write_bytes(b'{"user": "\xff"}\n')
    with pytest.raises(PerbenchError, match=r"train\.jsonl:1: not UTF-8 .*byte 1?[18] .*iconv"):
        prepare(Request("diaries", raw))


def test_a_side_file_that_is_no_text(raw: Path, tmp_path: Path) -> None:
    """Told as its own fault, in whatever it made the family stumble over."""
    plugin = tmp_path / "root" / "tasks" / "families" / "diaries.py"
    reads = "    def rows(self, table, raw):\n        notes = raw.source('notes.txt')\n        len(notes)\n"
    plugin.write_text(plugin.read_text().replace("    def rows(self, table, raw):\n", reads))
    (raw / "notes.txt").write_bytes(b"n\xf6tes")
    with pytest.raises(SpecError) as error:
        prepare(Request("diaries", raw))
    assert str(error.value) == f"{raw}/notes.txt: not UTF-8 (invalid start byte at byte 1)"


def test_what_a_local_folder_lacks_is_told(raw: Path, tmp_path: Path) -> None:
    (raw / "long" / "train.jsonl").unlink()
    manifest = prepare(Request("diaries", raw))[1]
    assert "no file long/train (.jsonl, .json, .csv, .parquet) in " in manifest["absent"]["long/train"]
    (raw / "long" / "train.jsonl.gz").touch()
    told = prepare(Request("diaries", raw))[1]["absent"]["long/train"]
    assert told.endswith(f". {raw / 'long' / 'train.jsonl.gz'} is not read; decompress it with gunzip")
    (tmp_path / "none").mkdir()
    with pytest.raises(
        PerbenchError, match=r"no file of the family diaries is in .*none:\n  no file short/train"
    ):
        prepare(Request("diaries", tmp_path / "none", tmp_path / "out"))


def test_requests_that_cannot_be(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=r"unknown family 'diarie'\. Did you mean 'diaries'"):
        prepare(Request("diarie", raw))
    with pytest.raises(PerbenchError, match=r"--from .*absent: no such folder"):
        prepare(Request("diaries", tmp_path / "absent"))
    with pytest.raises(PerbenchError, match=r"--from .*test.jsonl: is a file; name its folder"):
        prepare(Request("diaries", raw / "short" / "test.jsonl"))
    (tmp_path / "taken").write_text("mine")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(PerbenchError, match=r"taken.* cannot be written as a folder \(.*--out DIR"):
            prepare(Request("diaries", raw, out))
    assert (tmp_path / "taken").read_text() == "mine"
    with pytest.raises(PerbenchError, match="--revision applies to downloads only"):
        prepare(Request("diaries", raw, revisions={"": COMMIT}))
    with pytest.raises(PerbenchError, match=r"name one: --revision SnowCharmQ/DPL-main=COMMIT or"):
        prepare(Request("reviews", revisions={"": COMMIT}))
    out, _ = prepare(Request("diaries", raw))
    (out / "manifest.json").write_text('{"family": "letters"}')
    with pytest.raises(PerbenchError, match="holds the family letters; name another folder"):
        prepare(Request("diaries", raw))
    (out / "manifest.json").write_text('{"family": ')
    with pytest.raises(PerbenchError, match=r"manifest\.json is damaged .*delete it"):
        prepare(Request("diaries", raw))


def test_a_folder_that_another_process_fills(raw: Path, tmp_path: Path) -> None:
    import fcntl

    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PerbenchError, match="is being prepared by another process"):
            prepare(Request("diaries", raw, out))


def test_a_full_disk_loses_nothing(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, first = prepare(Request("diaries", raw))
    before = (out / "short" / "train.jsonl").read_bytes()
    write(raw / "short" / "train.jsonl", [{"user": "a", "text": "new"}])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", "train.jsonl")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            prepare(Request("diaries", raw))
    assert (out / "short" / "train.jsonl").read_bytes() == before
    assert not list(out.rglob(".*.tmp"))
    assert prepare(Request("diaries", raw))[1]["digest"] != first["digest"]
