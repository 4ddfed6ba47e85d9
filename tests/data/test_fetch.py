"""Fetching: pinned, checked, resumed; the hosts are a stand-in on this machine."""

from __future__ import annotations

import select
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from perbench.api import Remote
from perbench.errors import PerbenchError
from perbench.prepare import fetch as fetch_module
from perbench.prepare.fetch import checksum, fetch

from .conftest import COMMIT, LATER, Host, git_blob

TEXT = bytes(range(256)) * 40


def github(content: bytes = TEXT, revision: str | None = COMMIT) -> Remote:
    return Remote("github", "o/n", {"data/a b.txt": f"git:{git_blob(content)}"}, revision)


def hub() -> Remote:
    return Remote("huggingface", "o/n", {"conf/*.parquet": None, "notes.txt": None})


def test_checksums_are_gits_and_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    # `printf 'hello\n' | git hash-object --stdin`, `printf 'hello\n' | sha256sum`
    assert checksum(tmp_path / "a", "git") == "git:ce013625030ba8dba906f756967f9e9ca394464a"
    assert checksum(tmp_path / "a", "sha256") == (
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )


def test_from_github_at_its_commit(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    commit, folder = fetch(github(), None)
    assert commit == COMMIT
    assert folder.name == COMMIT
    assert (folder / "data" / "a b.txt").read_bytes() == TEXT
    assert [path for path, _ in host.asked] == [f"/o/n/{COMMIT}/data/a b.txt"]
    fetch(github(), None)
    assert len(host.asked) == 1  # what is here is not asked for again


def test_from_the_hub_the_newest_commit_is_pinned(host: Host) -> None:
    host.files = {
        "o/n/conf/train-0.parquet": TEXT,
        "o/n/notes.txt": b"text",
        "o/n/other.txt": b"not asked for",
    }
    commit, folder = fetch(hub(), None)
    assert commit == COMMIT
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {".listing.json", ".lock", "conf/train-0.parquet", "notes.txt"}
    host.head = LATER
    before = len(host.asked)
    assert fetch(hub(), COMMIT) == (COMMIT, folder)
    assert len(host.asked) == before  # a commit that is here needs no network
    assert fetch(hub(), None)[0] == LATER


def web() -> Remote:
    return Remote("web", "web/downloads", {"a/b.json": None})


def test_from_a_web_server(host: Host) -> None:
    host.files["web/downloads/a/b.json"] = TEXT
    host.cut = [1000]
    commit, folder = fetch(web(), None)
    assert (folder / "a" / "b.json").read_bytes() == TEXT
    before = len(host.asked)
    assert fetch(web(), commit) == (commit, folder)
    assert len(host.asked) == before == 2  # resumed, then kept
    with pytest.raises(PerbenchError, match="web/downloads has no commits; remove --revision"):
        fetch(web(), COMMIT)


def test_a_page_about_an_error_is_no_file(host: Host) -> None:
    host.files["web/downloads/a/b.json"] = b"<html><body>Not found</body></html>"
    with pytest.raises(PerbenchError, match=r"a/b\.json is a web page.*--from PATH"):
        fetch(web(), None)
    host.files["web/downloads/a/b.json"] = TEXT
    assert (fetch(web(), None)[1] / "a" / "b.json").read_bytes() == TEXT


def test_a_fault_of_encryption_is_a_lost_connection(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.files["o/n/data/a b.txt"] = TEXT

    def broken(url: object, timeout: float) -> None:
        raise ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC]")

    monkeypatch.setattr("urllib.request.urlopen", broken)
    with pytest.raises(PerbenchError, match=r"a%20b.txt cannot be downloaded: .*DECRYPTION_FAILED"):
        fetch(github(), None)


def test_a_broken_connection_goes_on_where_it_broke(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    host.cut = [1000, 500]
    _, folder = fetch(github(), None)
    assert (folder / "data" / "a b.txt").read_bytes() == TEXT
    assert [wanted for _, wanted in host.asked] == [None, "bytes=1000-", "bytes=1500-"]


def test_what_a_failed_run_fetched_is_kept_for_the_next(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    host.cut = [1000, 10, 10]
    with pytest.raises(
        PerbenchError, match=r"broke off after 1020 of 10240 bytes.*run the same command again.*--from PATH"
    ):
        fetch(github(), None)
    _, folder = fetch(github(), None)
    assert (folder / "data" / "a b.txt").read_bytes() == TEXT
    assert host.asked[-1][1] == "bytes=1020-"
    assert not list(folder.rglob("*.part"))


def test_a_part_that_was_whole_already(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    _, folder = fetch(github(), None)
    file = folder / "data" / "a b.txt"
    file.rename(file.with_name("a b.txt.part"))
    fetch(github(), None)
    assert file.read_bytes() == TEXT


def test_a_server_error_is_tried_again(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    host.failing = 2
    fetch(github(), None)
    assert len(host.asked) == 3


def test_a_wrong_checksum_keeps_nothing(host: Host) -> None:
    host.files = {"o/n/conf/train-0.parquet": TEXT, "o/n/notes.txt": b"text"}
    host.wrong = {"o/n/conf/train-0.parquet"}
    with pytest.raises(
        PerbenchError, match=r"train-0\.parquet: the checksum is sha256:\w+, not sha256:\w+; the download was"
    ):
        fetch(hub(), None)
    host.wrong = set()
    _, folder = fetch(hub(), None)
    assert (folder / "conf" / "train-0.parquet").read_bytes() == TEXT


def test_a_file_changed_at_its_source(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT + b"more"
    with pytest.raises(PerbenchError, match="the file has changed at its source"):
        fetch(github(), None)


BESIDE = """
import sys
from perbench.api import Remote
from perbench.prepare import fetch

fetch.GITHUB, append = sys.argv[1], fetch._append

def slow(url, part, tick):
    print("begun", flush=True)
    sys.stdin.readline()
    append(url, part, tick)

fetch._append = slow
fetch.fetch(Remote("github", "o/n", {"data/a b.txt": None}, "c" * 40), None)
"""


def test_a_second_process_waits_and_fetches_nothing_again(host: Host) -> None:
    # Without a checksum: two that append to one part would make a file of more bytes than there are.
    host.files["o/n/data/a b.txt"] = TEXT
    host.cut = [1000]
    words = [sys.executable, "-c", BESIDE, fetch_module.GITHUB]
    first, second = (
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    streams = [job.stdout for job in (first, second)]
    if first.stdout not in select.select(streams, [], [])[0]:
        first, second = second, first
    assert first.stdout is not None
    assert second.stderr is not None
    assert first.stdout.readline() == "begun\n"
    assert "is being fetched by another process; waiting" in second.stderr.readline()
    assert first.communicate("\n\n")[0] == "begun\n"  # again, where the connection broke
    assert second.communicate()[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)
    _, folder = fetch(Remote("github", "o/n", {"data/a b.txt": None}, COMMIT), None)
    assert (folder / "data" / "a b.txt").read_bytes() == TEXT
    assert [wanted for _, wanted in host.asked] == [None, "bytes=1000-"]


def test_a_whole_cache_that_cannot_be_written_is_read(host: Host) -> None:
    host.files["o/n/data/a b.txt"] = TEXT
    _, folder = fetch(github(), None)
    (folder / ".lock").unlink()
    folder.chmod(0o500)
    try:
        assert fetch(github(), None) == (COMMIT, folder)
    finally:
        folder.chmod(0o700)
    assert not (folder / ".lock").exists()


def test_what_is_not_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PerbenchError, match=r"HTTP 404 .*--from PATH"):
        fetch(github(), None)
    host.files["o/n/notes.txt"] = b"text"
    with pytest.raises(PerbenchError, match=r"has no file conf/\*\.parquet, only notes\.txt"):
        fetch(hub(), None)
    with pytest.raises(PerbenchError, match="name a whole commit of 40 digits, not 'main'"):
        fetch(github(), "main")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PerbenchError, match=r"cannot be downloaded: .*refused.*--from PATH"):
        fetch(hub(), None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PerbenchError, match="HF_HUB_OFFLINE is set, so nothing is downloaded"):
        fetch(hub(), None)
