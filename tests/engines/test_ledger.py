"""What endpoints cost: counts of all threads and starts, and money by hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perbench.contracts.base import Asked
from perbench.disk.sealed import SealedJournal
from perbench.engines.openai.section import Prices
from perbench.store import EndpointUse
from perbench.store.ledger import Ledger, added, caveats

PRICES = Prices(input=2.0, cached_input=0.5, output=10.0, currency="EUR")


def test_money_by_hand() -> None:
    asked = Asked(2, input=1_000_000, output=30_000, cached=400_000)
    assert PRICES.cost(asked) == pytest.approx(1.2 + 0.2 + 0.3)
    assert PRICES.model_copy(update={"cached_input": None}).cost(asked) == pytest.approx(2.0 + 0.3)


def test_without_prices_or_counts_there_is_no_money() -> None:
    ledger = Ledger()
    ledger.add("judge", EndpointUse(answers=1, output_tokens=100_000))
    found = ledger.totals(lambda model, use: (use.output_tokens / 1e5, "EUR"))["judge"]
    assert (found.cost, found.currency) == (1.0, "EUR")
    assert ledger.totals(lambda model, use: None)["judge"].cost is None
    ledger.add("judge", EndpointUse(answers=1, unmetered=1))
    assert ledger.totals(lambda model, use: (1.0, "EUR"))["judge"].cost is None


def test_entries_of_all_threads_and_starts_add_up(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.jsonl"
    ledger = Ledger(SealedJournal(file, "cell"))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(ledger.add, "judge", EndpointUse(requests=1))
            pool.submit(ledger.add, "judge", EndpointUse(answers=1, input_tokens=5, output_tokens=2))
    with file.open("ab") as lines:
        lines.write(b'{"model": "judge", "requ')  # torn by a kill
    again = Ledger(SealedJournal(file, "cell"))
    again.add("other", EndpointUse(reused=1))
    expected = EndpointUse(requests=40, answers=40, input_tokens=200, output_tokens=80)
    assert again.totals(lambda *_: None) == {"judge": expected, "other": EndpointUse(reused=1)}
    assert Ledger(SealedJournal(file, "cell")).totals(lambda *_: None) == again.totals(lambda *_: None)
    last = json.loads(file.read_text().splitlines()[-1])
    assert {key: last[key] for key in last if key != "sha256"} == {"model": "other", "reused": 1}


def test_sums_hold_no_cost_of_their_own() -> None:
    one = EndpointUse(answers=2, cost=3.0, currency="EUR")
    assert added([one, one]) == EndpointUse(answers=4)


def test_what_readers_have_to_know_is_added_up_and_said() -> None:
    one = EndpointUse(answers=1, thoughts=1, replaced=1, unsent=["seed"], served=["m-1"])
    other = EndpointUse(reused=1, thoughts=1, unsent=["seed", "temperature"])
    lines = caveats({"judge": added([one, other]), "quiet": EndpointUse(answers=1)})
    assert [line.partition(": ")[0] for line in lines] == ["judge"] * 4
    for line, words in zip(lines, ("m-1", "2 answers", "1 answer", "seed, temperature"), strict=True):
        assert words in line
