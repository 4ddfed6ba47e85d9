"""Packs that somebody damaged, or made to harm, are refused by name, and nothing of them is written."""

from __future__ import annotations

import json
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench import cli
from perbench.disk import archive
from perbench.disk.archive import MANIFEST, BadArchive, name_fault, write_archive
from perbench.errors import PerbenchError
from perbench.pack.unpack import unpack
from perbench.store.pack import Manifest, OpenedRun, Pack, PackedMatrix, PackedPlugin, open_run
from tests.damage import DAMAGES

LEDGER = "run/cells/eval-0123456789abcdef/scores.json"
MATRIX = "resolved/matrices/1.yaml"
MEMBERS: dict[str, bytes | Path] = {"run/run.json": b"{}", LEDGER: b"[1, 2]\n" * 500, MATRIX: b"{}"}
DESCRIBED = Manifest(
    run="mine",
    perbench="0.1.0",
    weights=False,
    matrices=[PackedMatrix(name="m", file=MATRIX, command="")],
    plugins=[],
    data=[],
)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return made(tmp_path / "mine.zip")


def made(path: Path, members: dict[str, bytes | Path] = MEMBERS) -> Path:
    write_archive(path, members, DESCRIBED.model_dump(mode="json"))
    return path


def rewrite(pack: Path, change: Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]) -> None:
    """Write a pack again with other members; the manifest stays, unless it is changed, too."""
    with zipfile.ZipFile(pack) as old:
        found = [(info, old.read(info)) for info in old.infolist()]
    change(found)
    with zipfile.ZipFile(pack, "w") as new:
        for info, content in found:
            new.writestr(info, content)


def told(pack: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest's values."""
    with zipfile.ZipFile(pack) as old:
        value = json.loads(old.read(MANIFEST))
    change(value)
    as_text(pack, json.dumps(value))


def as_text(pack: Path, text: str) -> None:
    def change(found: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        found[-1] = (found[-1][0], text.encode())

    rewrite(pack, change)


def with_member(name: str, mode: int = stat.S_IFREG | 0o644) -> Callable[[Path], None]:
    """Another member, which the manifest lists, too."""

    def change(pack: Path) -> None:
        content = b"evil"
        digest = archive.hashlib.sha256(content).hexdigest()
        told(pack, lambda value: value["members"].update({name: {"size": 4, "sha256": digest}}))
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.external_attr = mode << 16
        rewrite(pack, lambda found: found.insert(0, (info, content)))

    return change


def twice(pack: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        rewrite(pack, lambda found: found.append(found[0]))


def cut(pack: Path, keep: float) -> None:
    content = pack.read_bytes()
    pack.write_bytes(content[: int(len(content) * keep)])


def other_bytes(pack: Path) -> None:
    def change(found: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        at = next(at for at, (info, _) in enumerate(found) if info.filename == LEDGER)
        found[at] = (found[at][0], found[at][1].replace(b"1", b"9"))

    rewrite(pack, change)


def shorter(pack: Path) -> None:
    def change(found: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        found[0] = (found[0][0], found[0][1][:-1])

    rewrite(pack, change)


def lacking(pack: Path) -> None:
    rewrite(pack, lambda found: found.remove(found[0]))


def unlisted(pack: Path) -> None:
    rewrite(pack, lambda found: found.insert(0, (zipfile.ZipInfo("README.txt"), b"x")))


def bomb(pack: Path) -> None:
    made(pack, {**MEMBERS, "README.txt": bytes(archive.ALWAYS + 1)})


def lying_bomb(pack: Path) -> None:
    """Its directory and manifest say 7 bytes."""
    made(pack, {**MEMBERS, LEDGER: bytes(50_000)})
    told(pack, lambda value: value["members"][LEDGER].update(size=7))
    content = bytearray(pack.read_bytes())
    for start in range(len(content)):
        for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
            size = slice(start + place, start + place + 4)
            if content[start : start + 4] == mark and content[size] == (50_000).to_bytes(4, "little"):
                content[size] = (7).to_bytes(4, "little")
    pack.write_bytes(content)


def flagged(pack: Path, place: int, value: int) -> None:
    """Change a field of a member's entry in the directory."""
    content = bytearray(pack.read_bytes())
    start = content.find(b"PK\x01\x02")
    content[start + place : start + place + 2] = value.to_bytes(2, "little")
    pack.write_bytes(content)


def nested(pack: Path) -> None:
    as_text(pack, "[" * 40_000)


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda pack: told(pack, change)


GHOST = {"kind": "trainer", "name": "x", "sha256": "0", "file": "y"}
Change = Callable[[Path], Any]
HOSTILE: dict[str, tuple[Change, str]] = {
    "empty": (lambda pack: pack.write_bytes(b""), "not an archive"),
    "not an archive": (lambda pack: pack.write_text("results"), "not an archive"),
    "cut in half": (lambda pack: cut(pack, 0.5), "cut off"),
    "cut at its end": (lambda pack: cut(pack, 0.98), "cut off"),
    "a path that leads out": (with_member("../evil"), "'../evil'"),
    "a path that leads out from inside": (with_member("run/cells/../../../evil"), "evil"),
    "an absolute path": (with_member("/evil"), "absolute"),
    "a path of Windows": (with_member("C:evil"), "'C:evil'"),
    "backslashes": (with_member("run\\..\\evil"), "backslashes"),
    "a name with a line end": (with_member("README.txt\nevil"), "control"),
    "an empty part": (with_member("run//evil"), "plain path"),
    "a link": (with_member("README.txt", stat.S_IFLNK | 0o777), "'README.txt' is a link"),
    "a device": (with_member("README.txt", stat.S_IFCHR | 0o666), "'README.txt' is not a plain file"),
    "a pipe": (with_member("README.txt", stat.S_IFIFO | 0o666), "'README.txt' is not a plain file"),
    "a folder": (with_member("plugins/"), "'plugins/'"),
    "a member twice": (twice, "twice"),
    "a member twice but for case": (with_member("RUN/run.json"), "twice"),
    "a member outside of every part": (with_member("pack/manifest.json"), "no part of a pack"),
    "a marker of its own": (with_member("run/pack/manifest.json"), "no part of a pack"),
    "a lock of its own": (with_member("run/.lock"), "no part of a pack"),
    "compiled code": (with_member("plugins/1/trainers/__pycache__/ce.cpython-311.pyc"), "compiled code"),
    "a library": (with_member("plugins/1/trainers/fast.so"), "compiled code"),
    "other bytes": (other_bytes, f"'{LEDGER}' is not what was packed"),
    "fewer bytes": (shorter, "bytes, not"),
    "a member is missing": (lacking, "is missing"),
    "a member that is not listed": (unlisted, "'README.txt' is not listed"),
    "a bomb": (bomb, "unpacks to"),
    "a bomb that lies": (lying_bomb, LEDGER),
    "encrypted": (lambda pack: flagged(pack, 8, 1), "encrypted"),
    "another compression": (lambda pack: flagged(pack, 10, 12), "compressed by a method"),
    "no manifest": (lambda pack: rewrite(pack, lambda found: found.pop()), f"no {MANIFEST}"),
    "a huge manifest": (lambda pack: as_text(pack, " " * (archive.MOST_MANIFEST + 1)), MANIFEST),
    "a manifest that is no JSON": (lambda pack: as_text(pack, "{"), MANIFEST),
    "a manifest nested deep": (nested, MANIFEST),
    "a manifest that is a list": (lambda pack: as_text(pack, "[]"), "not a JSON object"),
    "a key twice": (lambda pack: as_text(pack, '{"run": "a", "run": "b"}'), "twice"),
    "no schema": (changed(lambda value: value.pop("schema_version")), "schema_version"),
    "a later schema": (changed(lambda value: value.update(schema_version=2)), "schema_version 2"),
    "a schema that is true": (changed(lambda value: value.update(schema_version=True)), "True"),
    "an unknown key": (changed(lambda value: value.update(extra=1)), "extra"),
    "a wrong type": (changed(lambda value: value.update(weights="no")), "weights"),
    "members that are no mapping": (changed(lambda value: value.update(members=[])), "members"),
    "a digest that is none": (changed(lambda value: value["members"][LEDGER].update(sha256="x")), "members"),
    "a run that leads out": (changed(lambda value: value.update(run="..")), "'..'"),
    "a run in a folder": (changed(lambda value: value.update(run="a/b")), "'a/b'"),
    "a file that is not there": (
        changed(lambda value: value.update(plugins=[GHOST])),
        "'y', which is missing",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_damaged_pack_is_refused_by_name(
    pack: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "ALWAYS", 100_000)
    monkeypatch.setattr(archive, "MOST_MANIFEST", 50_000)
    monkeypatch.setattr(archive, "RATIO", 2)
    monkeypatch.chdir(tmp_path)
    change, words = HOSTILE[kind]
    change(pack)
    before = sorted(tmp_path.iterdir())
    for command in (["leaderboard", "build", str(pack), "--out", "site"], ["run", "--from", str(pack)]):
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert f"{pack}: " in error
        assert words in error
        assert "nothing of it was used" in error
        assert ("Use the perbench that wrote it" if "schema" in kind else "Get it again") in error
    assert sorted(tmp_path.iterdir()) == before
    assert not list(tmp_path.parent.rglob("evil*"))


@pytest.mark.parametrize("damage", ["flip", "zero", "cut", "append"])
def test_no_damage_of_a_pack_changes_what_is_read(damage: str, tmp_path: Path) -> None:
    pack, chance = made(tmp_path / "mine.zip"), random.Random(7)
    content = pack.read_bytes()
    refused = 0
    for _ in range(200):
        pack.write_bytes(content)
        DAMAGES[damage](pack, chance)
        with suppress(BadArchive):
            found = Pack(pack)
            assert {name: found.archive.read(name) for name in found.archive.members} == MEMBERS
            continue
        refused += 1
    assert refused > 100 or damage == "append"  # what follows an archive is not read


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.dictionaries(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=4).map(
            "/".join
        ),
        st.binary(max_size=200),
        max_size=5,
    )
)
def test_what_is_written_is_read_and_unpacked_inside_the_folder(
    members: dict[str, bytes | Path], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "there", ignore_errors=True)
    path, out = tmp_path / "a.zip", tmp_path / "there" / "out"
    try:
        write_archive(path, members, {"schema_version": 1})
    except PerbenchError:
        assert any(name_fault(name) for name in members)
        return
    first = path.read_bytes()
    write_archive(path, dict(reversed(members.items())), {"schema_version": 1})
    assert path.read_bytes() == first
    if len({name.casefold() for name in members}) < len(members):
        with pytest.raises(BadArchive, match="twice"):
            archive.Archive(path, 1)
        return
    found = archive.Archive(path, 1)
    names = {name.split("/")[0] for name in members}
    if any(other.startswith(f"{name}/") for name in members for other in members):
        return  # a file and a folder of one name
    found.extract(out, found.members)
    assert {name: (out / name).read_bytes() for name in members} == members
    assert {entry.name for entry in out.iterdir()} == names
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_pack_without_room_names_the_way_out(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 0, 9))
    with pytest.raises(PerbenchError, match="room for 9"):
        Pack(pack).archive.extract(tmp_path / "out", MEMBERS)


def test_a_run_directory_is_read_as_it_is_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert open_run(path) == OpenedRun(path)


def test_a_pack_to_be_read_has_its_run_s_name_no_weights_and_the_text_of_methods(tmp_path: Path) -> None:
    weights = "run/cells/train-0123456789abcdef/checkpoint/final/adapter_model.safetensors"
    files = {"trainer": "plugins/1/trainers/x/__init__.py", "metric": "plugins/1/metrics/y.py"}
    code: dict[str, bytes | Path] = dict.fromkeys(files.values(), b"2")
    code["plugins/1/trainers/x/helper.py"] = b"3"
    plugins = [
        PackedPlugin(kind=kind, name=name.split("/")[3][:1], sha256="0", file=name)
        for kind, name in files.items()
    ]
    manifest = DESCRIBED.model_copy(update={"plugins": plugins})
    path = tmp_path / "mine.zip"
    write_archive(path, {**MEMBERS, weights: b"1", **code}, manifest.model_dump(mode="json"))
    opened = open_run(path)
    assert opened.path.name == "mine"
    folder = opened.path.parents[1]
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    trainer = {f"code/plugins/1/trainers/x/{name}.py" for name in ("__init__", "helper")}
    assert found == {"run/mine/run.json", f"run/mine/{LEDGER.removeprefix('run/')}", *trainer}
    (plugin,) = opened.plugins
    assert (plugin.kind, plugin.name, plugin.path.read_bytes()) == ("trainer", "x", b"2")


def test_unpacking_goes_on_where_it_was_killed_and_then_leaves_the_folder_alone(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = tmp_path / "out", Pack(pack)

    def dies(*_: Any) -> None:
        (out / "run.json").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive.Archive, "extract", dies)
        with pytest.raises(KeyboardInterrupt):
            unpack(found, out)
    assert unpack(found, out)
    assert (out / "run.json").read_bytes() == MEMBERS["run/run.json"]
    assert (out / "pack" / MATRIX).read_bytes() == MEMBERS[MATRIX]
    (out / LEDGER.removeprefix("run/")).unlink()
    assert not unpack(found, out)
    assert not (out / LEDGER.removeprefix("run/")).exists()
    with pytest.raises(PerbenchError, match="holds something else than this pack"):
        unpack(Pack(made(tmp_path / "other.zip", {**MEMBERS, "README.txt": b"2"})), out)
