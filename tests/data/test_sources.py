"""Rows from files, Python functions and the hub; every way they can be missing or malformed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perbench.contracts.source import Rows
from perbench.errors import PerbenchError, SpecError
from perbench.shapes.task import DataSpec, FieldSpec
from perbench.specs.compose import data_spec, source_of


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(data: DataSpec, split: str, folder: Path = Path()) -> Rows:
    return source_of(data).read(split, folder, FieldSpec())


def fields(source: Rows) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in source.rows]


# ---------------------------------------------------------------- files


def test_one_file_serves_every_split(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", '{"a": 1}', "", '{"a": "ü"}')
    for split in ("train", "test"):
        source = read(data_spec()(files="rows.jsonl"), split, tmp_path)
        assert fields(source) == [{"a": 1}, {"a": "ü"}]
        assert [row.line for row in source.rows] == [1, 3]
        assert source.described == {"files": "rows.jsonl"}


def test_folder_holds_a_file_for_each_split(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "train.jsonl", '{"a": 1}')
    assert read(data_spec()(files="rows"), "train", tmp_path).described == {"files": "rows/train.jsonl"}
    with pytest.raises(PerbenchError, match=r"rows has no split 'trian'\. Did you mean 'train'\?"):
        read(data_spec()(files="rows"), "trian", tmp_path)


def test_data_dir_stands_in_for_the_hub(tmp_path: Path) -> None:
    write(tmp_path / "conf" / "test.jsonl", '{"a": 1}')
    data = data_spec()(hub="o/n", config="conf", data_dir=str(tmp_path))
    source = read(data, "test", Path("/nowhere"))
    assert fields(source) == [{"a": 1}]
    assert source.described == {"data_dir": "conf/test.jsonl"}  # no machine's path


def test_a_folder_that_is_not_there_and_a_packed_file(tmp_path: Path) -> None:
    data = data_spec()(prepared="longlamp", config="conf", data_dir=str(tmp_path / "gone"))
    with pytest.raises(PerbenchError, match=r"gone: no such folder; check the path, .*--data FAMILY=DIR"):
        read(data, "test")
    write(tmp_path / "conf" / "test.jsonl.gz", "packed")
    packed = r"test\.jsonl\.gz is not read; decompress it with gunzip$"
    with pytest.raises(PerbenchError, match=packed):
        read(data.model_copy(update={"data_dir": str(tmp_path)}), "test")
    with pytest.raises(PerbenchError, match=packed):
        read(data_spec()(files="conf"), "test", tmp_path)
    with pytest.raises(PerbenchError, match=packed):
        read(data_spec()(files="conf/test.jsonl"), "test", tmp_path)


def test_what_all_rows_share_is_read_from_a_folder_beside(tmp_path: Path) -> None:
    write(tmp_path / "conf" / "test.jsonl", '{"a": 1}', '{"a": 2}')
    path = write(tmp_path / "all" / "test.jsonl", '{"turns": [["hi", "ho"]]}')
    data = data_spec()(hub="o/n", config="conf", shared="all", data_dir=str(tmp_path))
    source = read(data, "test")
    assert fields(source) == [{"a": n, "turns": [["hi", "ho"]]} for n in (1, 2)]
    assert source.rows[0].fields["turns"] is source.rows[1].fields["turns"]  # held once, too
    assert source.shared == {"turns": [["hi", "ho"]]}
    assert source.described == {"data_dir": "conf/test.jsonl", "shared": "all"}
    write(path, '{"a": 3}')
    with pytest.raises(
        SpecError, match=r"conf/test\.jsonl:1: the row has a field 'a', which .* gives to all"
    ):
        read(data, "test")
    for lines, count in (([""], 0), (["{}", "{}"], 2)):
        write(path, *lines)
        with pytest.raises(PerbenchError, match=rf"data\.shared needs a file of one row.*found {count} rows"):
            read(data, "test")
    path.unlink()
    with pytest.raises(PerbenchError, match=r"all has no split 'test'"):
        read(data, "test")
    with pytest.raises(ValueError, match=r"shared: is not used by data\.files"):
        data_spec()(files="rows.jsonl", shared="all")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match=r"no data file .*/absent\.jsonl"):
        read(data_spec()(files="absent.jsonl"), "test", tmp_path)


def test_every_malformed_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"a": 1}', '{"a": ', "[1]", '{"a": 2}', "nonsense")
    with pytest.raises(SpecError) as error:
        read(data_spec()(files="rows.jsonl"), "test", tmp_path)
    first, second, third = str(error.value).splitlines()
    assert first == f"{path}:2: not JSON: Expecting value, at character 6"
    assert second == f"{path}:3: a row is a JSON object, not list"
    assert third == f"{path}:5: not JSON: Expecting value, at character 1"


def test_a_line_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"a": 1}', '{"a": ' + "[" * 100_000)
    with pytest.raises(SpecError) as error:
        read(data_spec()(files="rows.jsonl"), "test", tmp_path)
    assert str(error.value) == f"{path}:2: not JSON: nested too deeply"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert fields(read(data_spec()(files="rows.jsonl"), "test", tmp_path)) == [{"a": 1}]


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(PerbenchError, match=r"rows\.jsonl:1: not UTF-8 .*byte 1?[18] .*iconv"):
        read(data_spec()(files="rows.jsonl"), "test", tmp_path)


# ---------------------------------------------------------------- prepared data


def test_prepared_data_are_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path))
    data = data_spec()(prepared="diaries", config="short")
    with pytest.raises(PerbenchError, match=r"has no short/test\.jsonl; run `perbench data prepare diaries`"):
        read(data, "test")
    assert not source_of(data).has_train(Path())
    write(tmp_path / "data" / "diaries" / "short" / "test.jsonl", '{"a": 1}')
    write(tmp_path / "data" / "diaries" / "short" / "train.jsonl", '{"a": 2}')
    assert fields(read(data, "test")) == [{"a": 1}]
    assert source_of(data).has_train(Path())


def test_the_record_says_where_prepared_data_come_from(tmp_path: Path) -> None:
    write(tmp_path / "short" / "test.jsonl", '{"a": 1}')
    manifest = {"family": "diaries", "origin": {"hub": "o/n"}, "official": True, "tables": {}}
    write(tmp_path / "manifest.json", json.dumps(manifest))
    source = read(data_spec()(prepared="diaries", config="short", data_dir=str(tmp_path)), "test")
    assert source.described == {
        "data_dir": "short/test.jsonl",
        "family": "diaries",
        "origin": {"hub": "o/n"},
        "official": True,
    }
    write(tmp_path / "manifest.json", '{"family": ')
    with pytest.raises(PerbenchError, match=r"manifest\.json is damaged .*; delete it and prepare"):
        read(data_spec()(prepared="diaries", config="short", data_dir=str(tmp_path)), "test")


# ---------------------------------------------------------------- Python functions


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = ModuleType("some_rows")
    monkeypatch.setitem(sys.modules, "some_rows", found)
    return found


def test_function_is_called_with_the_split(module: ModuleType) -> None:
    def rows(split: str) -> Iterator[dict[str, Any]]:
        yield {"split": split}

    module.rows = rows  # type: ignore[attr-defined]
    source = read(data_spec()(python="some_rows:rows", requires="numpy>=1"), "train")
    assert fields(source) == [{"split": "train"}]
    assert source.described["python"] == "some_rows:rows"


def test_package_version_is_described(module: ModuleType) -> None:
    import numpy

    module.rows = lambda split: [{}]  # type: ignore[attr-defined]
    source = read(data_spec()(python="some_rows:rows", requires=f"numpy=={numpy.__version__}"), "train")
    assert source.described["package"] == f"numpy=={numpy.__version__}"


def test_function_faults(module: ModuleType) -> None:
    module.rows = lambda split: [{}, "text"]  # type: ignore[attr-defined]
    with pytest.raises(PerbenchError, match=r"some_rows:rows, row 2: a row is a mapping, not str"):
        read(data_spec()(python="some_rows:rows"), "train")
    with pytest.raises(PerbenchError, match="module some_rows has no function 'absent'"):
        read(data_spec()(python="some_rows:absent"), "train")
    module.rows = lambda split: [{}[split]]  # type: ignore[attr-defined]
    with pytest.raises(PerbenchError, match=rf"some_rows:rows raised KeyError: 'train' \({__file__}:\d+\)"):
        read(data_spec()(python="some_rows:rows"), "train")


def test_a_file_beside_the_task_comes_before_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(
        "import json\n\ndef rows(split):\n    yield {'here': json.dumps(split)}\n"
    )
    assert fields(read(data_spec()(python="json:rows"), "train", tmp_path)) == [{"here": '"train"'}]
    (tmp_path / "broken.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(PerbenchError, match=r"broken:rows raised ZeroDivisionError.*broken\.py:1"):
            read(data_spec()(python="broken:rows"), "train", tmp_path)


@pytest.mark.parametrize("python", ["no_such_package.rows:f", "sotu_writing:rows"])
def test_missing_package_gives_the_command(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    embedded = Path(__file__).parents[2] / "tasks" / "embedded"
    with pytest.raises(PerbenchError, match=r"needs the module \w+; run: pip install some-rows==1$"):
        read(data_spec()(python=python, requires="some-rows==1"), "train", embedded)


# ---------------------------------------------------------------- the hub (its client is remote: a stand-in)


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    client = ModuleType("datasets")

    def load_dataset(path: str, name: str, *, split: str, revision: str | None) -> list[dict[str, Any]]:
        asked.append((path, name, split, revision))
        if split == "absent":
            raise ConnectionError("no route")
        return [{"a": 1}]

    client.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", client)
    data = data_spec()(hub="o/n", config="conf", revision="abc")
    source = read(data, "test")
    assert asked == [("o/n", "conf", "test", "abc")]
    assert fields(source) == [{"a": 1}]
    assert json.loads(json.dumps(source.described))["revision"] == "abc"
    with pytest.raises(PerbenchError, match=r"o/n \(conf, absent\) .*no route.*--data FAMILY=DIR"):
        read(data, "absent")


def test_hub_client_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PerbenchError, match=r"pip install 'perbench\[hub\]'.*--data FAMILY=DIR"):
        read(data_spec()(hub="o/n", config="conf"), "test")
