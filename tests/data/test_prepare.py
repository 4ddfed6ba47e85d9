"""Preparing data: whole files or none, rerun only what is missing, every fault with its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench.errors import PerbenchError, SpecError
from perbench.prepare.prepare import Request, prepare

from .conftest import COMMIT, LATER, TABLES, Host, rows, write

pytestmark = pytest.mark.usefixtures("cache")


def test_tables_and_manifest(raw: Path, tmp_path: Path) -> None:
    write(raw / "short" / "test.jsonl", [{"user": "a", "text": "ü", "old": 1}, {"user": "b", "text": ""}] * 2)
    out, manifest = prepare(Request("diaries", raw, tmp_path / "out", command="perbench x"))
    assert out == tmp_path / "out"
    assert rows(out / "short" / "test.jsonl") == [{"user": "a", "text": "ü"}]
    table = manifest["tables"]["short/test"]
    assert table["rows"] == 1
    assert table["skipped"] == {"empty text": 2, "duplicate": 1}
    assert table["notes"] == {"old rows": 2}
    assert len(rows(out / "long" / "train.jsonl")) == 12
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert (manifest["complete"], manifest["origin"], manifest["command"]) == (
        True,
        {"local": "raw"},
        "perbench x",
    )
    assert manifest["official"] is False  # one file is not the published one
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    assert sorted(path.name for path in out.rglob("*.tmp")) == []


def test_without_out_it_goes_into_the_cache(raw: Path, cache: Path) -> None:
    out, manifest = prepare(Request("diaries", raw))
    assert out == cache / "data" / "diaries"
    assert manifest["official"] is True  # local copies of the published files


def test_fetched(raw: Path, host: Host) -> None:
    for name in TABLES:
        host.files[f"o/n/{name}.jsonl"] = (raw / f"{name}.jsonl").read_bytes()
    host.cut = [10, 10, 10]
    with pytest.raises(PerbenchError, match="again to resume"):
        prepare(Request("diaries"))
    out, manifest = prepare(Request("diaries"))
    assert manifest["origin"] == {"github:o/n": COMMIT}
    assert manifest["official"] is True
    assert len(rows(out / "long" / "train.jsonl")) == 12
    host.head = LATER
    with pytest.raises(
        PerbenchError, match=f"--revision {LATER}: this folder holds data of github:o/n at {COMMIT}"
    ):
        prepare(Request("diaries", revisions={"": LATER}))
    with pytest.raises(PerbenchError, match=r"no such repository\. Did you mean 'o/n'"):
        prepare(Request("diaries", revisions={"o/m": LATER}))


# ---------------------------------------------------------------- again


def times(out: Path) -> dict[str, int]:
    return {name: (out / f"{name}.jsonl").stat().st_mtime_ns for name in TABLES}


def test_a_rerun_makes_only_what_is_missing_damaged_or_outdated(raw: Path) -> None:
    out, first = prepare(Request("diaries", raw))
    before = times(out)
    again = prepare(Request("diaries", raw))[1]
    assert times(out) == before
    assert again == first

    (out / "short" / "train.jsonl").unlink()
    (out / "long" / "train.jsonl").write_text("{}\n")
    assert prepare(Request("diaries", raw))[1] == first
    after = times(out)
    assert [name for name in TABLES if after[name] != before[name]] == ["short/train", "long/train"]

    write(raw / "short" / "test.jsonl", [{"user": "a", "text": "new"}])
    changed = prepare(Request("diaries", raw))[1]
    assert rows(out / "short" / "test.jsonl") == [{"user": "a", "text": "new"}]
    assert changed["digest"] != first["digest"]
    assert times(out)["long/train"] == after["long/train"]


KILLED = """
import os, signal, sys
from pathlib import Path
from perbench.prepare import tables
from perbench.prepare.prepare import Request, prepare

name, after = sys.argv[2], int(sys.argv[3])
encoded, count = tables._encoded, 0

def dying(row):
    global count
    count += row["text"].startswith(name)
    if count > after:
        os.kill(os.getpid(), signal.SIGKILL)
    return encoded(row)

tables._encoded = dying
prepare(Request("diaries", Path(sys.argv[1])))
"""


def test_killed_in_the_middle_it_goes_on(raw: Path, cache: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(raw), "long/train", "5"]
    done = subprocess.run(words, env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    out = cache / "data" / "diaries"
    manifest = json.loads((out / "manifest.json").read_text())
    assert sorted(manifest["tables"]) == ["short/test", "short/train"]
    assert manifest["complete"] is False
    assert not (out / "long" / "train.jsonl").exists()
    before = (out / "short" / "train.jsonl").stat().st_mtime_ns
    manifest = prepare(Request("diaries", raw))[1]
    assert manifest["complete"] is True
    assert (out / "short" / "train.jsonl").stat().st_mtime_ns == before
    assert len(rows(out / "long" / "train.jsonl")) == 12
    assert not list(out.rglob(".*.tmp"))


# ---------------------------------------------------------------- drawing


def test_a_sample_is_drawn_by_the_seed(raw: Path, tmp_path: Path) -> None:
    def drawn(count: int, seed: int) -> list[Any]:
        request = Request("diaries", raw, tmp_path / f"{count}-{seed}", sample=count, seed=seed)
        out, manifest = prepare(request)
        assert manifest["sample"] == {"rows": count, "seed": seed}
        assert len(rows(out / "short" / "test.jsonl")) == min(4, max(1, count // 4))
        return rows(out / "long" / "train.jsonl")

    whole = [{"user": f"u{number}", "text": f"long/train {number}"} for number in range(12)]
    eight = drawn(8, 1)
    assert len(eight) == 8
    assert eight == [row for row in whole if row in eight]  # in the files' order
    assert drawn(8, 2) != eight
    four = drawn(4, 1)
    assert [row for row in eight if row in four] == four  # a larger sample holds a smaller one
    assert drawn(50, 1) == whole


def test_another_sample_in_the_same_folder_replaces_it(raw: Path) -> None:
    out, _ = prepare(Request("diaries", raw, sample=4))
    prepare(Request("diaries", raw, sample=8))
    assert len(rows(out / "long" / "train.jsonl")) == 8
    prepare(Request("diaries", raw))
    assert len(rows(out / "long" / "train.jsonl")) == 12


# ---------------------------------------------------------------- forms of files


def test_other_forms_of_files(raw: Path, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in TABLES:
        (raw / f"{name}.jsonl").unlink()
    (raw / "short" / "train.json").write_text('[{"user": "a", "text": "in an array"}]')
    (raw / "short" / "test.csv").write_text('user,text\na,"two\nlines"\n')
    for part in (0, 1):
        table = arrow.Table.from_pylist([{"user": f"u{part}", "text": "part"}] * 2)
        parquet.write_table(table, raw / "long" / f"train-0000{part}-of-00002.parquet")
    out, manifest = prepare(Request("diaries", raw))
    assert rows(out / "short" / "train.jsonl") == [{"user": "a", "text": "in an array"}]
    assert rows(out / "short" / "test.jsonl") == [{"user": "a", "text": "two\nlines"}]
    assert [row["user"] for row in rows(out / "long" / "train.jsonl")] == ["u0", "u1"]
    assert manifest["tables"]["long/train"]["skipped"] == {"duplicate": 2}
    (raw / "long" / "train-00001-of-00002.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(PerbenchError, match="not Parquet, or damaged after record 0"):
        prepare(Request("diaries", raw))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train.json", '[{"user": "a"', r"train\.json:1: not JSON"),
        (
            "train.json",
            '[{"user": "a",\n"text": "t"},\n{"user": "a"}]',
            r"json:3: record 2: the row has no key 'text'",
        ),
        ("train.json", '\ufeff[{"user": "a"}]', r"train\.json:1: record 1: the row has no key 'text'"),
        ("train.csv", 'user,text\na,"x', r"train\.csv:1: not CSV"),
        ("train.csv", "name,text\na,b\n", r"train\.csv:2: the row has no key 'user'"),
    ],
)
def test_damaged_files_of_other_forms(raw: Path, name: str, text: str, said: str) -> None:
    (raw / "short" / "train.jsonl").unlink()
    (raw / "short" / name).write_text(text)
    with pytest.raises(SpecError, match=said):
        prepare(Request("diaries", raw))
