"""Files that nobody wrote by `perbench leaderboard add`, and files that contradict each other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench import cli
from perbench.errors import PerbenchError
from perbench.matrix.submission import check
from perbench.published import read_published
from perbench.published.form import text_of
from perbench.published.shape import MOST_BYTES
from perbench.site.load import load
from perbench.store import DamagedRecord
from tests.published.conftest import forge, one_of


def text(old: str, new: str) -> Callable[[Path], None]:
    def broken(path: Path) -> None:
        before = path.read_text("utf-8")
        assert old in before
        path.write_text(before.replace(old, new, 1), "utf-8")

    return broken


def raw(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


def sparse(path: Path) -> None:
    os.truncate(path, 100 * 2**20)


def link(path: Path) -> None:
    target = path.with_suffix(".kept")
    path.rename(target)
    path.symlink_to(target)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DEEP = '"run_notes": ' + "[" * 100 + "]" * 100 + ", "
BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    # kind: (what happens to the file, key, what the message holds)
    "empty": (raw(lambda old: b""), "", "not JSON: line 1"),
    "cut": (raw(lambda old: old[:-200]), "", "not JSON: line"),
    "not UTF-8": (raw(lambda old: old[:500] + b"\xff" + old[500:]), "", "not UTF-8 at byte 500"),
    "UTF-16": (raw(lambda old: old.decode().encode("utf-16")), "", "not UTF-8 at byte 0"),
    "with a mark of its order of bytes": (raw(lambda old: b"\xef\xbb\xbf" + old), "", "not JSON: line 1"),
    "of zeros": (raw(lambda old: bytes(len(old))), "", "not JSON: line 1"),
    "a list": (raw(lambda old: b"[]\n"), "", "[]"),
    "a number": (raw(lambda old: b"1" * 5000), "", "too large"),
    "NaN": (text('"seconds": ', '"seconds": NaN, "x": '), "cells[0].record.seconds", "nan"),
    "an infinity": (text('"seconds": ', '"seconds": -Infinity, "x": '), "cells[0].record.seconds", "-inf"),
    "too large a number": (text('"seconds": ', '"seconds": 1e999, "x": '), "cells[0].record.seconds", "inf"),
    "a number of many digits": (
        text('"empty": ', f'"empty": {"9" * 5000}, "x": '),
        "cells[0].record.counts.empty",
        "inf",
    ),
    "a number that is not exact": (
        text('"empty": ', f'"empty": {2**60}, "x": '),
        "cells[0].record.counts.empty",
        str(2**60),
    ),
    "nested deeply": (text('"command": ', DEEP + '"command": '), "cells[0].record.run_notes", "64 deep"),
    "nested without end": (raw(lambda old: b"[" * 200_000), "", "nested too deeply"),
    "a key twice": (text('"kind": ', '"kind": "train", "kind": '), "cells[0].record.kind", "appears twice"),
    "a cell edited by hand": (text('"empty": 0', '"empty": 1'), "cells[0].sha256", "was edited"),
    "in another order": (
        raw(lambda old: (json.dumps(dict(reversed(json.loads(old).items()))) + "\n").encode()),
        "",
        "not in the form",
    ),
    "with spaces": (raw(lambda old: old + b" \n"), "", "not in the form"),
    "with escapes that hide a name": (text('"tiny"', '"t\\u0069ny"'), "", "not in the form"),
    "of another name": (lambda path: path.rename(path.with_name("best.json")) and None, "", "'best.json'"),
    "a link": (link, "", "a link"),
    "a pipe": (pipe, "", "not a file"),
    "a folder": (folder, "", "not a file"),
    "too large": (sparse, "", f"{MOST_BYTES:,}"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_by_its_place(files: Path, kind: str) -> None:
    do, key, what = BROKEN[kind]
    before = {path.name for path in files.iterdir()}
    do(one_of(files, "base--probe-writing--"))
    (path,) = [one for one in files.glob("*.json") if one.name not in before] or [
        one_of(files, "base--probe-writing--")
    ]
    faults = [fault for file, fault in check([files]).faults if file == path]
    assert [one for one in faults if one.key.partition("[0][0]")[0] == key and what in one.what], faults
    with pytest.raises(DamagedRecord) as damage:
        read_published(path)
    assert damage.value.file == path
    assert what in str(damage.value)


def test_pages_leave_damaged_files_out_and_name_them(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = one_of(files, "tfidf")
    path.write_bytes(path.read_bytes()[:-9])
    assert cli.main(["leaderboard", "build", str(files), "--out", "site"]) == 2
    assert str(path) in capsys.readouterr().err
    page = Path("site/index.html").read_text("utf-8") + Path("site/records.html").read_text("utf-8")
    assert path.name in page
    assert str(path.parent) not in page


def test_only_damaged_files_or_none_are_an_error(files: Path) -> None:
    for path in files.iterdir():
        path.write_text("{")
    with pytest.raises(PerbenchError) as damage:
        load([files])
    assert str(damage.value).count("not JSON") == 10
    Path("empty").mkdir()
    for call in (lambda: load([Path("empty")]), lambda: check([Path("empty")])):
        with pytest.raises(PerbenchError, match="empty"):
            call()


def test_all_faults_of_all_files_are_named_at_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def worse(value: dict[str, Any]) -> None:
        value["cells"][0]["record"] |= {"seconds": -1.0, "started": "soon"}

    forged = [
        forge(one_of(files, words), worse) for words in ("base--probe-writing--", "tfidf", "base--probe-talk")
    ]
    assert cli.main(["leaderboard", "check", str(files), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["faults"]
    keys = ("cells[0].record.seconds", "cells[0].record.started")
    assert {(one["file"], one["key"]) for one in found} == {
        (str(path), key) for path in forged for key in keys
    }


def renamed(value: dict[str, Any]) -> None:
    value["cells"][0]["record"]["labels"]["model"] = "tiny2"


def test_a_cell_in_two_files_is_refused(files: Path) -> None:
    path = one_of(files, "base--probe-writing--")
    shutil.copy(path, "kept.json")
    forged = forge(path, renamed)
    shutil.copy("kept.json", path)
    ((file, fault),) = check([files]).faults
    assert (file, fault.key) == (forged, "cells[0].record.identity")
    assert path.name in fault.what
    assert not check([path]).faults
    assert not check([forged]).faults  # each alone is right


def test_two_records_of_one_training_are_refused(files: Path) -> None:
    def faster(value: dict[str, Any]) -> None:
        value["trainings"][0]["record"]["seconds"] = 0.5

    path = forge(one_of(files, "probe-writing-swapped--".join(["ce--probe-writing--", ""])), faster)
    ((file, fault),) = check([files]).faults
    assert (file, fault.key) == (path, "trainings[0].record")


def test_a_sample_of_two_users_is_refused(files: Path) -> None:
    """Pages could not compare the column's rows; the numbers of this file alone are right."""

    def other(value: dict[str, Any]) -> None:
        clusters = value["cells"][0]["scores"]["clusters"]
        value["cells"][0]["scores"]["clusters"] = [f"other {name}" for name in clusters]
        del value["cells"][0]["samples"], value["cells"][0]["digests"]

    path = forge(one_of(files, "ce--probe-writing--probe-writing--"), other)
    assert not check([path]).faults
    ((file, fault),) = check([files]).faults
    assert (file, fault.key) == (path, "cells[0].scores.clusters")
    assert "other" in fault.what


def test_files_of_add_pass_and_most_is_recomputed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = check([files])
    assert report.faults == []
    assert (report.files, report.cells) == (10, 14)
    values = [json.loads(path.read_bytes())["cells"][0]["record"]["metrics"] for path in files.iterdir()]
    unchecked = {
        (target, what.partition(" ")[0]): count for (target, what), count in report.unchecked.items()
    }
    # Judges' verdicts and the parts of F1 are in the samples, which these tasks' license keeps back.
    assert unchecked == {("probe/talk", "6"): 2, ("probe/marks", "40"): 2}
    assert report.metrics == sum(map(len, values)) - 2 * 6 - 2 * 40


def test_text_of_is_json_with_nothing_invisible(files: Path) -> None:
    value = {"b": "a\u202eb\ud800", "a": [1, None, 0.1], "c": [[1.0, 2.0]] * 40, "d": {}}
    found = text_of(value)
    assert json.loads(found) == value
    assert found.isascii()
    assert found.startswith('{\n "a": [1, null, 0.1],\n "b": "a\\u202eb\\ud800",\n "c": [\n  [1.0, 2.0],')


def test_judged_samples_are_recomputed_without_the_judge(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where results are reviewed: the weights of judges are not there."""
    paths = [one_of(kept / "whole", words) for words in ("base--probe-talk", "base--probe-wishes")]
    monkeypatch.setattr("perbench.matrix.submission.withheld", lambda record, matrices: None)

    def absent(model: object) -> None:
        raise PerbenchError("no such weights here")

    monkeypatch.setattr("perbench.matrix.rescore.helper_inputs", absent)
    for path in paths:
        report = check([path])
        assert not report.faults
        assert [what for _, what in report.unchecked] == ["the judges' verdicts"]
        assert report.metrics == len(json.loads(path.read_bytes())["cells"][0]["record"]["metrics"])
        path = Path(shutil.copy(path, path.name))

        def other(value: dict[str, Any]) -> None:
            sample = value["cells"][0]["samples"][0]
            if "rating" in sample:
                sample["turn"], sample["rating"] = 2, 1
            else:
                sample["checks"] = dict.fromkeys(sample["checks"], 1.0)

        assert check([forge(path, other)]).faults
