"""Replies of endpoints: paid once, told apart by all that was asked, booked under the name they came with."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perbench.contracts.engine import Generation
from perbench.disk.cache import DiskCache
from perbench.disk.sealed import SealedJournal, write_sealed
from perbench.engines.openai.replies import ReplyCache
from perbench.engines.openai.section import OPENAI_URL
from perbench.errors import PerbenchError
from perbench.specs.compose import engine_of
from perbench.specs.load import load_model
from perbench.store import EndpointUse
from perbench.store.ledger import Ledger, added, caveats
from tests.damage import DAMAGES, flip_entries
from tests.engines.endpoint import ENDPOINT, GREEDY, KEY, Book, engine, user
from tests.engines.standin import Reply, Server, completion, fault, yes
from tests.processes import ROOT


def keys(folder: Path) -> list[str]:
    with closing(sqlite3.connect(DiskCache("replies", folder).path)) as table:
        return [key for (key,) in table.execute("SELECT key FROM sealed")]


def test_what_was_answered_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: Reply(200, completion(f"answer to {body['messages'][0]['content']}"))
    questions = [user(f"{i % 5}") for i in range(10)]
    book, cache = Book(), ReplyCache(tmp_path)
    first = engine(cache=cache, book=book.append).chat(questions, GREEDY, seed=1)
    assert len(server.requests) == book.sum("answers") == 5  # each distinct question once
    assert engine(cache=cache, book=book.append).chat(questions, GREEDY, seed=1) == first
    assert len(server.requests) == 5
    assert (book.sum("requests"), book.sum("answers"), book.sum("reused")) == (5, 5, 5)
    assert KEY.encode() not in (tmp_path / "replies.sqlite").read_bytes()


def test_the_name_that_a_model_answers_under_is_booked_also_from_the_cache(
    server: Server, tmp_path: Path
) -> None:
    named = {**completion("yes"), "model": "small-2026"}
    server.answer = lambda body: Reply(200, named)
    book, cache = Book(), ReplyCache(tmp_path)
    for _ in range(2):
        engine(cache=cache, book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert [use.served for use in book if use.answers or use.reused] == [["small-2026"]] * 2
    uses = {"judge": added(book), "other": EndpointUse(requests=1)}
    assert caveats(uses) == ["judge: the server calls it small-2026"]


def test_a_model_under_its_own_name_needs_no_note(server: Server) -> None:
    book = Book()
    engine(book=book.append).chat([user("hi")], GREEDY, seed=0)
    assert added(book).answers == 1
    assert added(book).served == []


def test_openais_models_at_another_address_are_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = load_model("openai/gpt-4o")
    assert engine_of(model).identify() == {"endpoint": "gpt-4o"}
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    elsewhere = engine_of(model).identify()
    assert elsewhere.keys() == {"endpoint", "address"}
    assert "127.0.0.1" not in str(elsewhere)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1/")
    assert engine_of(model).identify() == elsewhere
    monkeypatch.setenv("OPENAI_BASE_URL", f"{OPENAI_URL}/")
    assert engine_of(model).identify() == {"endpoint": "gpt-4o"}


def test_another_question_is_another_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ReplyCache(tmp_path)
    warm = GREEDY.model_copy(update={"temperature": 1.0})
    other = ENDPOINT.model_copy(update={"model": "other"})
    for endpoint, text, sampling, seed in (
        (ENDPOINT, "hi", GREEDY, 0),
        (ENDPOINT, "ho", GREEDY, 0),
        (ENDPOINT, "hi", warm, 0),
        (ENDPOINT, "hi", GREEDY, 1),
        (other, "hi", GREEDY, 0),
    ):
        engine(endpoint=endpoint, cache=cache).chat([user(text)], sampling, seed=seed)
    monkeypatch.setenv("TEST_ADDRESS", server.address.replace("127.0.0.1", "localhost"))
    engine(cache=cache).chat([user("hi")], GREEDY, seed=0)
    assert len(server.requests) == 6
    monkeypatch.setenv("TEST_KEY", "another-key")
    engine(cache=cache).chat([user("hi")], GREEDY, seed=0)
    assert len(server.requests) == 6


def test_answers_before_a_failure_are_kept(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: fault(400) if body["messages"][0]["content"] == "bad" else yes(body)
    asked = engine(cache=ReplyCache(tmp_path), endpoint=ENDPOINT.model_copy(update={"concurrency": 1}))
    with pytest.raises(PerbenchError, match="400"):
        asked.chat([user("good"), user("bad"), user("never")], GREEDY, seed=0)
    server.answer = yes
    asked.chat([user("good"), user("bad"), user("never")], GREEDY, seed=0)
    assert [body["messages"][0]["content"] for _, _, body in server.requests] == [
        *("good", "bad"),
        *("bad", "never"),
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from perbench.disk.cache import DiskCache
from perbench.store.ledger import Ledger
from perbench.engines.openai.engine import OpenAIEngine
from perbench.engines.openai.replies import ReplyCache
from perbench.disk.sealed import SealedJournal
from tests.engines.endpoint import ENDPOINT, GREEDY, user

ReplyCache.put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
ledger = Ledger(SealedJournal(folder / "endpoints.jsonl", "cell"))
engine = OpenAIEngine(ENDPOINT, cache=ReplyCache(folder), book=lambda use: ledger.add("m", use))
engine.chat([user("hi")], GREEDY, seed=0)
"""


def test_an_answer_paid_and_lost_to_a_kill_is_paid_again_and_both_are_counted(
    server: Server, tmp_path: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    ledger = Ledger(SealedJournal(tmp_path / "endpoints.jsonl", "cell"))
    again = engine(cache=ReplyCache(tmp_path), book=lambda use: ledger.add("m", use))
    for _ in range(2):
        again.chat([user("hi")], GREEDY, seed=0)
    assert len(server.requests) == 2
    found = ledger.totals(lambda *_: None)["m"]
    assert (found.requests, found.answers, found.reused) == (2, 2, 1)


def test_a_damaged_reply_is_asked_for_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ReplyCache(tmp_path)
    whole = engine(cache=cache).chat([user("hi")], GREEDY, seed=0)
    assert flip_entries(DiskCache("replies", tmp_path)) == 1
    assert engine(cache=cache).chat([user("hi")], GREEDY, seed=0) == whole
    assert len(server.requests) == 2
    assert "replies.sqlite" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [None, *DAMAGES])
def test_a_reply_of_version_0_1_is_found(server: Server, tmp_path: Path, damage: str | None) -> None:
    cache = ReplyCache(tmp_path)
    (first,) = engine(cache=cache).chat([user("hi")], GREEDY, seed=0)
    ((key, kept),) = DiskCache("replies", tmp_path).get(keys(tmp_path)).items()
    file = tmp_path / "replies" / key[:2] / f"{key}.json"
    file.parent.mkdir(parents=True)
    write_sealed(file, {**json.loads(kept), "text": "of then"}, key)
    DiskCache("replies", tmp_path).drop([key])
    if damage is not None:
        DAMAGES[damage](file, random.Random(damage))
    (again,) = engine(cache=cache).chat([user("hi")], GREEDY, seed=0)
    assert again.text == ("of then" if damage is None else first.text)
    assert len(server.requests) == (1 if damage is None else 2)


def test_half_a_surrogate_pair_is_kept(server: Server, tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    key = cache.key("http://x", {"a": 1})
    cache.put(key, Generation("\ud83d", "stop", 1, 1), [])
    found = cache.get(key)
    assert found is not None
    assert found[0].text == "\ud83d"
