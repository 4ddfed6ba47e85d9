"""Preparing data: whole files or none, rerun only what is missing, every fault with its place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.data.lengths import Words, lengths, readers
from perbench.data.prepare import Request, describe, prepare
from perbench.errors import PerbenchError, SpecError

from .conftest import COMMIT, LATER, Host, git_blob

PLUGIN = '''
"""Diaries, short and long."""

from perbench.api import Family, Remote, Skip


class Diaries(Family):
    remotes = (Remote("github", "o/n", {FILES}, COMMIT),)
    tables = ("short/train", "short/test", "long/train")

    def rows(self, table, raw):
        for row in raw.records(table, shape={"user": str, "text": str}):
            if not row["text"]:
                yield Skip("empty text")
            else:
                if "old" in row:
                    raw.note("old rows")
                yield {"user": row["user"], "text": row["text"]}
'''
TABLES = {"short/train": 8, "short/test": 4, "long/train": 12}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with the family `diaries`, whose files lie in the folder."""
    folder = tmp_path / "raw"
    for name, count in TABLES.items():
        rows = [{"user": f"u{number}", "text": f"{name} {number}"} for number in range(count)]
        write(folder / f"{name}.jsonl", rows)
    checksums = {
        f"{name}.jsonl": f"git:{git_blob((folder / f'{name}.jsonl').read_bytes())}" for name in TABLES
    }
    plugin = tmp_path / "root" / "tasks" / "families" / "diaries.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN.replace("{FILES}", repr(checksums)).replace("COMMIT", repr(COMMIT)))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path / "root"))
    return folder


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_tables_and_manifest(raw: Path, tmp_path: Path) -> None:
    write(raw / "short" / "test.jsonl", [{"user": "a", "text": "ü", "old": 1}, {"user": "b", "text": ""}] * 2)
    out, manifest = prepare(Request("diaries", raw, tmp_path / "out", command="perbench x"))
    assert out == tmp_path / "out"
    assert rows(out / "short" / "test.jsonl") == [{"user": "a", "text": "ü"}]
    table = manifest["tables"]["short/test"]
    assert table["rows"] == 1
    assert table["skipped"] == {"empty text": 2, "stands twice": 1}
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
    with pytest.raises(PerbenchError, match="goes on from it"):
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
from perbench.data import tables
from perbench.data.prepare import Request, prepare

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


# ---------------------------------------------------------------- faults


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
    (folder / "travel_hotel.json").unlink()  # the faults are told before what is missing
    with pytest.raises(SpecError) as error:
        prepare(Request("prefeval", folder))
    assert [
        str(problem).removeprefix(f"{folder}/").partition(". There")[0] for problem in error.value.problems
    ] == [
        "education_resources.json: record 1: the row has no key 'question'",
        "education_resources.json: record 2: the row has no key 'preference'",
        "entertain_games.json:1: not JSON: Expecting value",
        "pet_ownership.json: not UTF-8 (invalid start byte at byte 1)",
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
    with pytest.raises(PerbenchError, match=r"train\.jsonl: not UTF-8"):
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
    assert told.endswith(f". {raw / 'long' / 'train.jsonl.gz'} is not read; unpack it: gunzip")
    (tmp_path / "none").mkdir()
    with pytest.raises(
        PerbenchError, match=r"nothing of the family diaries is in .*none:\n  no file short/train"
    ):
        prepare(Request("diaries", tmp_path / "none", tmp_path / "out"))


def test_requests_that_cannot_be(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=r"unknown family 'diarie'\. Did you mean 'diaries'"):
        prepare(Request("diarie", raw))
    with pytest.raises(PerbenchError, match=r"--from .*absent: no such folder"):
        prepare(Request("diaries", tmp_path / "absent"))
    with pytest.raises(PerbenchError, match=r"--from .*test.jsonl: is a file; name the folder it lies in"):
        prepare(Request("diaries", raw / "short" / "test.jsonl"))
    (tmp_path / "taken").write_text("mine")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(PerbenchError, match=r"taken.* cannot be written as a folder \(.*--out DIR"):
            prepare(Request("diaries", raw, out))
    assert (tmp_path / "taken").read_text() == "mine"
    with pytest.raises(PerbenchError, match="leave it out beside --from"):
        prepare(Request("diaries", raw, revisions={"": COMMIT}))
    with pytest.raises(PerbenchError, match=r"say which: --revision SnowCharmQ/DPL-main=COMMIT or"):
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


# ---------------------------------------------------------------- forms of files, lengths


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
    assert manifest["tables"]["long/train"]["skipped"] == {"stands twice": 2}
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
            r"json: record 2: the row has no key 'text'",
        ),
        ("train.json", '\ufeff[{"user": "a"}]', r"train\.json: record 1: the row has no key 'text'"),
        ("train.csv", 'user,text\na,"x', r"train\.csv:1: not CSV"),
        ("train.csv", "name,text\na,b\n", r"train\.csv:2: the row has no key 'user'"),
    ],
)
def test_damaged_files_of_other_forms(raw: Path, name: str, text: str, said: str) -> None:
    (raw / "short" / "train.jsonl").unlink()
    (raw / "short" / name).write_text(text)
    with pytest.raises(SpecError, match=said):
        prepare(Request("diaries", raw))


TASK = """\
summary: Diaries
protocol: generation
license: CC0
data: {prepared: diaries, config: short}
fields: {user: user, question: user, reference: text, persona: past}
prompt: plain
prompts: {plain: {system: "I wrote: {persona}", item: "{text}"}}
metrics: [rougeL]
headline: rougeL
"""


def measured(family: str, folder: Path) -> dict[str, Any]:
    return dict(lengths(readers(family, folder), folder, Words(), lambda done, total, figures: None))


def test_lengths_with_persona_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks" / "diaries").mkdir(parents=True)
    (tmp_path / "tasks" / "diaries" / "short.yaml").write_text(TASK)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    past = [{"text": "one two three"}]
    write(
        tmp_path / "out" / "short" / "test.jsonl",
        [
            {"user": "a b", "text": "five words are in this", "past": past},
            {"user": "c", "text": "one", "past": past * 2},
        ],
    )
    # With persona: "I wrote:" and 3 or 6 words, and the request of 2 or 1 words.
    assert measured("diaries", tmp_path / "out") == {
        "diaries/short, test": {
            "examples": {"count": 2},
            "with persona": {"mean": 8.0, "max": 9},
            "without": {"mean": 1.5, "max": 2},
            "response": {"mean": 3.0, "max": 5},
        }
    }


def test_lengths_are_of_the_items_that_the_task_retrieves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tasks" / "diaries"
    folder.mkdir(parents=True)
    latest = TASK + "persona: {retrieve: latest, k: 1, time: at}\n"
    (folder / "short.yaml").write_text(latest)
    (folder / "dense.yaml").write_text(TASK + "persona: {retrieve: dense, k: 1}\n")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    past = [{"text": "one two three", "at": 2}, {"text": "one", "at": 1}]
    write(tmp_path / "out" / "short" / "test.jsonl", [{"user": "a", "text": "b", "past": past}])
    found = measured("diaries", tmp_path / "out")
    assert list(found) == ["diaries/short, test"]
    assert found["diaries/short, test"]["with persona"]["max"] == 6


def test_lengths_are_of_the_tasks_that_name_the_family_with_dashes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks" / "mine").mkdir(parents=True)
    (tmp_path / "tasks" / "mine" / "short.yaml").write_text(TASK.replace("diaries", "my-diaries"))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    write(tmp_path / "out" / "short" / "test.jsonl", [{"user": "a", "text": "b", "past": [{"text": "c"}]}])
    assert list(measured("my_diaries", tmp_path / "out")) == ["mine/short, test"]


def test_a_family_that_extends_another_is_of_the_code_of_both(raw: Path) -> None:
    folder = raw.parent / "root" / "tasks" / "families"
    (folder / "late_diaries.py").write_text(
        '"""Diaries, later."""\n\nfrom .diaries import Diaries\n\n\n'
        'class LateDiaries(Diaries):\n    tables = ("short/train",)\n'
    )

    def settings(family: str) -> str:
        return str(prepare(Request(family, raw))[1]["tables"]["short/train"]["settings"])

    both = {name: settings(name) for name in ("diaries", "late_diaries")}
    (folder / "diaries.py").write_text((folder / "diaries.py").read_text() + "\n# another version\n")
    assert all(settings(name) != before for name, before in both.items())
    after = {name: settings(name) for name in both}
    (folder / "late_diaries.py").write_text((folder / "late_diaries.py").read_text() + "# another\n")
    assert settings("diaries") == after["diaries"]
    assert settings("late_diaries") != after["late_diaries"]


def test_lengths_without_a_prompt_form_are_of_the_bare_texts(tmp_path: Path) -> None:
    row = {
        "user": "u",
        "topic": "t",
        "preference": "I like tea.",
        "question": "What is there?",
    }
    row |= {"persona": ["I like tea."]}  # type: ignore[dict-item]
    write(tmp_path / "explicit" / "test.jsonl", [row])
    write(tmp_path / "exchanges" / "test.jsonl", [{"turns": [["a b c d e", "f"]], "turns_from": "x"}])
    found = measured("prefeval", tmp_path)["prefeval/explicit, test"]
    assert found["with persona"] == {"mean": 6, "max": 6}
    assert found["without"] == {"mean": 3, "max": 3}


def test_the_manifest_holds_the_lengths(raw: Path) -> None:
    out, manifest = prepare(Request("diaries", raw))
    described = describe(out, manifest, Words(), "words")
    assert (described["lengths"], described["length_unit"]) == ({}, "words")
    assert json.loads((out / "manifest.json").read_text()) == described
    kept = prepare(Request("diaries", raw))[1]
    assert kept == described
    assert describe(out, kept, None, "words") == described  # measured before: no tokenizer is asked
    assert describe(out, kept, Words(), "tokens of x")["length_unit"] == "tokens of x"
    assert plugins.get("family", "diaries").summary == "Diaries, short and long."
