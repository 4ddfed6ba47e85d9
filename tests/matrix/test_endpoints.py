"""Evaluations in which endpoints take part, against a server on the loopback interface that fails as told."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example
from perbench.cache import canonical_digest
from perbench.cli import main
from perbench.engines import retry
from perbench.matrix.spend import preference_parts
from perbench.specs.load import load_task
from perbench.store import CellRecord, RunDir, read_records
from tests.engines.standin import Reply, Server, completion, fault
from tests.lm_eval.conftest import write_tasks
from tests.matrix.conftest import Root, write_rows
from tests.matrix.runs import Runs

KEY = "sk-very-secret-123"
TURNS, PEOPLE = 10, 2
PRICES = {"input": 2.0, "output": 10.0, "currency": "EUR"}
PER_ANSWER = (7 * 2.0 + 3 * 10.0) / 1e6
SAMPLING = {"max_new_tokens": 5, "temperature": 1.0}


class Chat(Server):
    """Plays everybody. The K-th message of pI is "mK,pI", a question to a judge "judge pI mK,pI ..."."""

    def __init__(self) -> None:
        super().__init__(self.play)
        self.good = 0
        """Whole answers sent."""
        self.faults: dict[int, Any] = {}
        """What happens to the N-th request, from 1, instead of an answer."""
        self.ratings: dict[tuple[str, str], list[str]] = {}
        """Replies of the judge to (person, message), one after the other, before it rates."""
        self.hang = threading.Event()
        self._count = threading.Lock()

    def play(self, body: dict[str, Any]) -> Reply:
        with self._count:
            happens = self.faults.pop(len(self.requests), None)
        if happens is not None:
            return happens()  # type: ignore[no-any-return]
        with self._count:
            self.good += 1
            return Reply(200, completion(self.say(body)))

    def say(self, body: dict[str, Any]) -> str:
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if first.startswith("judge"):
            _, person, said = first.split()[:3]
            message = said.partition(",")[0]
            scripted = self.ratings.get((person, message), [])
            return scripted.pop(0) if scripted else str(1 + int(message[1:]) // 3)
        if first.startswith("play"):
            return f"m{len(body['messages']) // 2},{first.split()[1]}"
        return f"reply to {last}"

    def turns(self) -> list[int]:
        """The turn of each simulator's request, in order."""
        bodies = [body["messages"] for _, _, body in self.requests]
        return [len(one) // 2 for one in bodies if one[0]["content"].startswith("play")]

    def close(self) -> None:
        self.hang.set()
        super().close()


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Chat]:
    found = Chat()
    for name, value in {"TEST_KEY": KEY, "PERBENCH_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    yield found
    found.close()


@pytest.fixture
def talk(root: Root, chat: Chat) -> Root:
    """A matrix of one cell: ten turns of three people, everybody behind the endpoint."""
    endpoint = {"model": "m", "base_url": chat.address, "api_key_env": "TEST_KEY", "timeout": 3.0}
    model = {"summary": "behind the test's server", "endpoint": {**endpoint, "prices": PRICES}}
    root.write("leaderboard/models/far", model)
    people = [
        {"name": f"p{i}", "profile": f"p{i}", "personality": "calm", "id": f"p{i}"} for i in range(PEOPLE)
    ]
    write_rows(root.path / "data" / "talk" / "test.jsonl", people)
    far_task(root)
    root.matrix(
        models=["far"],
        trainers=[],
        sources=[],
        targets=["tiny/talk"],
        identifiers=[],
        baseline=None,
        training={},
    )
    return root


def far_task(root: Root, **dialogue: Any) -> None:
    simulator = {"model": "far", "instruction": "play {profile}", "opening": "Go."}
    judge = {"model": "far", "instruction": "judge {profile} {message} {response}"}
    simulator, judge = ({**part, "sampling": dict(SAMPLING)} for part in (simulator, judge))
    spec = {"turns": TURNS, "report_turns": [6, 7, 8, 9, 10], "simulator": simulator, **dialogue}
    changes = {"headline": "rating", "dialogue": {**spec, "judge": {**judge, "pmi": False}}}
    root.task("talk", **changes)


def the_record(out: Path) -> CellRecord:
    ((record, _),) = read_records(out)
    return record


def asked(chat: Chat) -> Counter[str]:
    return Counter(json.dumps(body, sort_keys=True) for _, _, body in chat.requests)


# ---------------------------------------------------------------- faults and kills


def test_ten_turns_through_every_fault(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def restarted() -> Reply:
        Server.close(chat)  # the server goes; this request's line stays open and breaks
        chat.restart()
        return Reply(200, completion("lost"), cut=True)

    def silence() -> Reply:
        chat.hang.wait(20)
        return fault(500)

    chat.faults = {
        2: lambda: fault(429, Retry_After="0"),
        3: lambda: fault(500),
        9: lambda: Reply(200, b'{"choices": [{"mess'),
        14: silence,
        20: lambda: Reply(200, completion("x"), cut=True),
        31: restarted,
        44: lambda: fault(503),
        60: lambda: Reply(200, {"choices": []}),
    }
    broken = len(chat.faults)
    chat.ratings = {("p0", "m3"): ["no number"] * 3, ("p1", "m7"): ["4 or 5", "4"]}
    out = tmp_path / "out"
    assert main(["run", "--matrix", "small", "--out", str(out)]) == 0
    record = the_record(out)
    requests = 3 * TURNS * PEOPLE + 2 + 1  # everything once; three times no number, once not
    use = record.endpoints["far"]
    assert (use.answers, chat.good) == (requests, requests)
    assert use.requests == len(chat.requests) == requests + broken
    assert (use.reused, use.unmetered) == (0, 0)
    assert (use.input_tokens, use.output_tokens) == (7 * requests, 3 * requests)
    assert use.cost == pytest.approx(requests * PER_ANSWER)
    assert (record.counts["samples"], record.counts["missing_scores"]) == (TURNS * PEOPLE, 1)
    assert record.counts["judge_retries"] == 3
    rating = record.metrics["rating"]
    assert [turn.value for turn in rating.by_turn] == [1 + k // 3 if k != 7 else 3.5 for k in range(1, 11)]
    assert (rating.n, rating.missing) == (5 * PEOPLE, 0)
    assert record.metrics["ir"].value == pytest.approx((169.5 - 55 * 2.55) / 82.5)
    assert "endpoint far: 71 requests, 63 answers paid for, 0 from the cache" in capsys.readouterr().err
    for file in [*out.rglob("*"), *(tmp_path / "cache").rglob("*")]:
        assert not file.is_file() or (KEY not in (text := file.read_text()) and chat.address not in text)

    # Somewhere else the same costs nothing, unless the cache is left out.
    chat.requests.clear()
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "again")]) == 0
    assert chat.requests == []
    again = the_record(tmp_path / "again")
    assert (again.endpoints["far"].reused, again.endpoints["far"].cost) == (requests, 0.0)
    assert again.metrics == record.metrics


@pytest.mark.parametrize(
    ("kill", "options", "twice"),
    [
        (("torn", 7), [], 0),  # while turn 7 is written
        (("chat", 20), [], 0),  # once the model's replies of turn 7 are there
        (("chat", 20), ["--no-cache"], 2 * PEOPLE),
    ],
)
def test_a_dialogue_cut_off_at_turn_7_goes_on_at_turn_7(
    runs: Runs,
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    kill: tuple[str, int],
    options: list[str],
    twice: int,
) -> None:
    out = tmp_path / "out"
    words = ["run", "--matrix", "small", "--out", str(out), *options]
    env = {"TEST_KEY": KEY, "PERBENCH_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    status, _, errors = runs(talk.path, *words, kill=kill, env=env)
    assert status == -9, errors
    assert max(chat.turns()) == 7
    before = len(chat.requests)
    status, _, errors = runs(talk.path, *words, env=env)
    assert status == 0, errors
    assert min(len(body["messages"]) for _, _, body in chat.requests[before:] if "play" in str(body)) >= 14
    assert sum(count - 1 for count in asked(chat).values()) == twice
    assert len(asked(chat)) == 3 * TURNS * PEOPLE
    record = the_record(out)
    use = record.endpoints["far"]
    assert use.requests == use.answers == chat.good == 3 * TURNS * PEOPLE + twice
    assert use.cost == pytest.approx(use.answers * PER_ANSWER)
    (cell,) = (out / "cells").iterdir()
    ids = [json.loads(line)["id"] for line in (cell / "samples.jsonl").read_text().splitlines()]
    assert len(ids) == len(set(ids)) == TURNS * PEOPLE


def test_a_refusal_fails_the_cell_and_keeps_what_was_paid(talk: Root, chat: Chat, tmp_path: Path) -> None:
    chat.faults = {40: lambda: fault(400, "no such thing")}
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    failed = the_record(tmp_path / "out")
    assert failed.error is not None
    assert "endpoint model 'm': Error code: 400" in failed.error.message
    assert failed.endpoints["far"].answers == chat.good
    assert main(words) == 0
    assert the_record(tmp_path / "out").endpoints["far"].answers == chat.good == 3 * TURNS * PEOPLE


# ---------------------------------------------------------------- before anything runs


def test_a_missing_key_is_told_before_anything_runs(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TEST_KEY")
    told = "set the environment variable TEST_KEY to the key"
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 0
    assert told in capsys.readouterr().err
    assert main(["validate", str(talk.path / "leaderboard/matrices/small.yaml")]) == 0
    assert told in capsys.readouterr().err
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()
    assert chat.requests == []


def test_a_missing_package_is_told_before_anything_runs(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    persona = {"retrieve": "bm25", "k": 2}
    matrix = talk.matrix(
        models=["tiny", "far"],
        trainers=["ce"],
        targets=["tiny/talk", {"task": "tiny/writing", "persona": persona}],
        identifiers=[],
    )
    for module in ("openai", "rank_bm25"):
        monkeypatch.setitem(sys.modules, module, None)
    commands = ("pip install 'perbench[openai]'", "pip install 'perbench[bm25]'")
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    for checked in ([*words, "--dry-run"], ["validate", str(matrix)]):
        assert main(checked) == 0
        told = capsys.readouterr().err
        assert [told.count(command) for command in commands] == [1, 1]
        assert told.count("before it runs: ") == 2
    assert main(words) == 2
    told = capsys.readouterr().err
    assert [told.count(command) for command in commands] == [1, 1]
    assert not (tmp_path / "out" / "cells").exists()


def test_a_dry_run_says_what_it_will_cost(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    # By hand, characters / 4 rounded up: profile 1, personality 1, simulator's texts 5, judge's 9. Turn k has
    # 10 (k - 1) tokens before it; the simulator reads 7 + those, the model 5 + those, the judge 11 + 10.
    read = PEOPLE * sum((7 + 10 * k) + (5 + 10 * k) + 21 for k in range(TURNS))
    assert (found["requests"], found["input"], found["output"]) == (60, read, 60 * 5)
    assert found["cost"] == pytest.approx((read * 2 + 300 * 10) / 1e6)
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"endpoint far: about 60 requests, {read:,} tokens read, at most 300 written; " in told
    assert f"at most about {found['cost']:.4f} EUR" in told
    one = ["eval", "--model", "far", "--target", "tiny/talk", "--out", str(tmp_path / "one"), "--dry-run"]
    assert main([*one, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"] == found
    assert not (tmp_path / "one").exists()
    assert chat.requests == []


def test_a_dry_run_of_an_identifier_says_what_it_will_cost(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"user": "u", "ask": "why?", "answer": "so it is", "past": [{"text": "a cook"}], "gold": ["so"]}
    ] * 3
    write_rows(talk.path / "data" / "qa" / "test.jsonl", rows)
    words = ["identify", "--task", "tiny/qa", "--identifier", "llm_judge", "--model", "far", "--dry-run"]
    assert main([*words, "--out", str(tmp_path / "out"), "--param", "max_new_tokens=9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    assert (found["requests"], found["input"], found["output"]) == (3, 3 * (2 + 1 + 2), 3 * 9)
    assert chat.requests == []


def test_what_cannot_be_counted_is_in_no_sum(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.matrix(
        targets=["tiny/talk", "longlamp/pag"], models=["far"], trainers=[], sources=[], identifiers=[]
    )
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--set", "baseline=null", "--set", "training={}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = {cell["labels"]["target"]: cell["tokens"] for cell in found["cells"]}
    assert counts == {"tiny/talk": found["total"]["tokens"], "longlamp/pag": None}
    assert found["total"]["uncounted"] == 1
    assert found["total"]["endpoints"]["far"]["requests"] == 60
    assert main([*words, "--set", "baseline=null", "--set", "training={}"]) == 0
    told = capsys.readouterr()
    assert "unknown" in next(line for line in told.out.splitlines() if "longlamp/pag" in line)
    assert "not in these sums: 1 cell whose data are not at hand" in told.out
    assert "before it runs: data of longlamp/pag, test: " in told.err


def test_a_check_may_write_more_than_its_word() -> None:
    example = Example("e", "u", "where?", "", (), {"preference": "I hate boats."})
    parts = preference_parts(load_task("prefeval/explicit").spec, [example])
    assert (parts["judge"].requests, parts["judge"].output) == (4, 4 * 8)
    assert (parts["subject"].requests, parts["subject"].output) == (2, 2 * 300)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainers": ["ce"], "sources": ["tiny/writing"]}, "far: an endpoint cannot be trained"),
        (
            {"models": ["tiny", "far"], "trainers": ["ce"], "sources": ["tiny/writing"], "base_rows": False},
            "Set base_rows: true, or remove it",
        ),
        (
            {"tasks": {"tiny/talk": {"dialogue.judge.pmi": True}}},
            "task tiny/talk: the model far of dialogue.judge is an endpoint, which gives no log-probs. "
            "Set dialogue.judge.pmi: false; or",
        ),
        (
            {"tasks": {"tiny/talk": {"dialogue.second_judge": {"model": "far", "method": "likeliest"}}}},
            "Set dialogue.second_judge.method: reply",
        ),
        (
            {
                "targets": ["prefeval/explicit"],
                "tasks": {"prefeval/explicit": {"preference.judge.method": "likeliest"}},
            },
            "of preference.judge is an endpoint, which gives no log-probs. Set preference.judge.method",
        ),
        (
            {"targets": [{"task": "tiny/writing", "decoding.method": "context_steering"}]},
            "task tiny/writing: decoding.method context_steering of far, an endpoint, which shows no logits",
        ),
        (
            {"targets": [{"task": "tiny/writing", "persona_swap": {"others": 1}}]},
            "task tiny/writing: persona_swap by far, an endpoint, which gives no log-probs of given texts",
        ),
        (
            {
                "models": ["tiny"],
                "targets": [{"task": "tiny/writing", "persona_swap": {"others": 1, "scorer": "far"}}],
            },
            "persona_swap by far, an endpoint, which gives no log-probs of given texts; name a local model",
        ),
        (
            {"targets": ["lm_eval:tiny_choice"]},
            "lm_eval:tiny_choice: lm-evaluation-harness reads tokens and log-probs, and far is an endpoint",
        ),
        (
            {"targets": [{"task": "tiny/writing", "persona": {"retrieve": "dense", "encoder": "far"}}]},
            "task tiny/writing: persona.encoder far is an endpoint, which can only chat",
        ),
        (
            {"targets": ["identification/persona_qa"], "identifiers": ["percontrast"], "base_rows": False},
            "identifier percontrast reads tokens and far is an endpoint, which shows none",
        ),
    ],
)
def test_what_endpoints_cannot_do_is_refused(
    talk: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    write_tasks(talk.path, [])
    plain = {"models": ["far"], "trainers": [], "sources": [], "targets": ["tiny/talk"]}
    talk.matrix(**{**plain, "identifiers": [], "baseline": None, "training": {}, **changes})
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_an_endpoint_summarises_histories(
    talk: Root, chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"model": "far", "block": 2, "max_new_tokens": 5}
    row = {"task": "tiny/writing", "persona": {"summarise": "recurrent", "summary": summary}}
    bare: dict[str, Any] = {"trainers": [], "sources": [], "identifiers": [], "baseline": None}
    talk.matrix(models=["far"], targets=[row], **bare)
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)["total"]["endpoints"]["far"]
    assert foreseen["requests"] == 5 * (2 + 1)  # two blocks of three items, and an answer
    assert main(words) == 0
    record = the_record(tmp_path / "out")
    assert record.counts["summaries"] == record.counts["persona_items_kept"] == 5
    assert record.endpoints["far"].requests == len(chat.requests) == 15
    first, last = (chat.requests[place][2]["messages"] for place in (0, -1))
    assert first[0]["content"].startswith("Here are texts that one person wrote:")
    assert "reply to This describes a person:" in last[0]["content"]


# ---------------------------------------------------------------- openai/<model> rows, two judges


def test_a_row_of_openai_beside_a_trained_one(
    talk: Root,
    chat: Chat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", chat.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    talk.matrix(models=["tiny", "openai/gpt-4o"], trainers=["ce"], targets=["tiny/writing"], identifiers=[])
    words = ["run", "--matrix", "small", "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["kind"], cell["labels"]["model"], cell["labels"]["trainer"]) for cell in cells] == [
        ("train", "tiny", "ce"),
        ("eval", "tiny", None),
        ("eval", "tiny", "ce"),
        ("eval", "openai/gpt-4o", None),
    ]
    assert cells[3]["endpoints"]["openai/gpt-4o"]["cost"] is None


def test_openai_answers_the_same_tasks(
    talk: Root, chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", chat.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    out = tmp_path / "out"
    assert main(["eval", "--model", "openai/gpt-4o", "--target", "tiny/writing", "--out", str(out)]) == 0
    record = the_record(out)
    assert (record.labels.model, record.inputs["engine"]) == ("openai/gpt-4o", "openai")
    assert record.inputs["model"].pop("address") == canonical_digest(chat.address)
    assert record.inputs["model"] == {"endpoint": "gpt-4o", "dtype": "auto"}
    assert record.notes == ["openai/gpt-4o: the server calls it some-judge"]
    assert record.counts["samples"] == record.endpoints["openai/gpt-4o"].answers == len(chat.requests) == 5
    assert record.counts["persona_items_kept"] == 15
    assert record.metrics["length"].value is not None
    _, key, body = chat.requests[0]
    assert (key, body["model"], body["max_tokens"], body["temperature"]) == (
        f"Bearer {KEY}",
        "gpt-4o",
        6,
        0.7,
    )
    assert body["messages"][0]["content"].startswith("Persona:\nOnce ")
    assert RunDir(out).cell("eval", record.identity).samples()[0]["response"].startswith("reply to What do")


def test_two_judges_and_how_far_they_agree(talk: Root, chat: Chat, tmp_path: Path) -> None:
    far_task(talk, second_judge={"model": "far"})
    chat.ratings = {("p0", "m1"): ["1", "3"]}  # else both rate alike
    assert main(["run", "--matrix", "small", "--out", str(tmp_path / "out")]) == 0
    record = the_record(tmp_path / "out")
    kappa, weighted = record.metrics["judge_kappa"], record.metrics["judge_weighted_kappa"]
    assert (kappa.n, kappa.missing, record.counts["missing_second_scores"]) == (TURNS * PEOPLE, 0, 0)
    # The first judge gave 4, 6, 6 and 4 times 1 to 4, the second 3, 6, 7 and 4; one pair is two apart.
    assert kappa.value == pytest.approx((19 * 20 - 106) / (20 * 20 - 106))
    assert weighted.value == pytest.approx(1 - 20 * 4 / 800)
    assert len(chat.requests) == 4 * TURNS * PEOPLE
