"""A server on the loopback interface that plays simulator, model and judge, and fails on demand."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.store import CellRecord, read_records
from tests.engines.standin import Reply, Server, completion

if TYPE_CHECKING:
    from tests.matrix.conftest import Root

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
