"""A third pass over what two reviewers accepted: what it shows, keeps and leaves to be measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from perbench.annotate.agreement import describe
from perbench.annotate.build import NAMES
from perbench.annotate.review.server import Server
from perbench.annotate.review.state import Review, journal_file
from perbench.cli import main
from perbench.data.spans import row_faults
from perbench.errors import PerbenchError
from tests.review.conftest import DEER, ROWS, Rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STITCH = {"start": 10, "end": 16, "kind": "paraphrase", "sentence": 1}
CLOTHES = {"start": 17, "end": 24, "kind": "inference", "sentence": 1}
MARKS: dict[str, dict[str, Rows | None]] = {
    "ann": {"a": [DEER], "b": [STITCH], "c": []},
    "ben": {"a": [DEER], "b": [{**STITCH, "kind": "lexical"}, CLOTHES], "c": None},
}
"""What each accepts; None: rejects."""


def rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def both(file: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The files of two reviewers of `file`."""
    for name, marks in MARKS.items():
        with Review.open(file, tmp_path / f"{name}.jsonl") as review:
            for row, gold in marks.items():
                review.decide(row, "rejected" if gold is None else "accepted", gold or [])
    return tmp_path / "ann.jsonl", tmp_path / "ben.jsonl"


def test_only_what_differs_is_open(both: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "final.jsonl"
    with Review.open(both[0], out, both[1]) as review:
        assert {name: item.decision for name, item in review.items.items()} == {"a": "accepted", "b": "open"}
        assert review.left_out == ["c"]
        shown = review.items["b"].shown()
        assert (shown["first"], shown["second"]) == ([STITCH], [{**STITCH, "kind": "lexical"}, CLOTHES])
        assert shown["gold"] == []  # what both marked alike: a span with another kind is not
        (agreed,) = rows(out)
        assert (agreed["id"], agreed["review"], len(agreed["gold"])) == ("a", "agreed", 1)
        assert review.decide("b", "accepted", [STITCH, CLOTHES])["faults"] == []
        review.decide("a", "accepted", [DEER, {**DEER, "start": 13, "end": 17}])
    first, second = rows(out)
    assert (first["review"], second["review"]) == ("adjudicated", "adjudicated")
    assert [span["text"] for span in second["gold"]] == ["stitch", "clothes"]
    assert [span["kind"] for span in second["first"]] == ["paraphrase"]
    assert [span["kind"] for span in second["second"]] == ["lexical", "inference"]


def test_agreement_is_that_of_the_reviewers_whatever_was_decided(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    found = []
    for number, gold in enumerate(([STITCH], [CLOTHES], [])):
        out = tmp_path / f"{number}.jsonl"
        with Review.open(both[0], out, both[1]) as review:
            review.decide("b", "accepted", gold)
        found.append(describe(rows(out), NAMES))
    # Words: 6 and 6. Ann marks deer, stitch; Ben deer, stitch, clothes; both 2, one of them with one kind.
    assert {one["F1 of the words"] for one in found} == {4 / 5}
    assert {one["same kind where both mark"] for one in found} == {1 / 2}
    assert [one["adjudicated as first"] for one in found] == [1, 0, 0]
    assert [one["adjudicated as other"] for one in found] == [0, 1, 1]
    assert [one["spans checked by a person"] for one in found] == [2, 2, 1]


def test_a_decision_holds_only_between_the_marks_it_was_made_between(
    both: tuple[Path, Path], file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "final.jsonl"
    with Review.open(both[0], out, both[1]) as review:
        review.decide("b", "accepted", [STITCH])
    with Review.open(both[0], out, both[1]) as review:
        assert review.items["b"].decision == "accepted"
    entry = rows(journal_file(out))[-1]
    assert entry["between"] == [[STITCH], [{**STITCH, "kind": "lexical"}, CLOTHES]]
    with Review.open(file, both[1]) as review:  # Ben thinks again
        review.decide("b", "accepted", [CLOTHES])
    with Review.open(both[0], out, both[1]) as review:
        assert review.items["b"].decision == "open"
        assert [row["id"] for row in rows(out)] == ["a"]


def test_files_that_are_not_two_reviews_of_one(both: tuple[Path, Path], file: Path, tmp_path: Path) -> None:
    def refused(*given: Path) -> str:
        with pytest.raises(PerbenchError) as caught, Review.open(given[0], tmp_path / "x.jsonl", given[1]):
            pass
        return str(caught.value)

    assert "is the same file" in refused(both[0], both[0])
    assert f"{file}:1: is not a row that a reviewer accepted" in refused(both[0], file)
    other = tmp_path / "other.jsonl"
    changed = [{**row, "question": "Another?"} if row["id"] == "b" else row for row in rows(both[1])]
    other.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
    said = refused(both[0], other)
    assert f"{both[0]}:2: its question differs from that in {other}:2" in said
    other.write_text(json.dumps({**changed[0], "id": "z"}) + "\n", encoding="utf-8")
    assert "no row in common" in refused(both[0], other)
    with pytest.raises(PerbenchError, match="name another file"):
        Review.open(both[0], both[1], both[1]).__enter__()


def test_an_unknown_review_is_a_fault_of_annotated_rows() -> None:
    row = {**ROWS[0], "gold": [{**DEER, "text": "deer"}]}
    for review in ("accepted", "edited", "agreed", "adjudicated"):
        assert list(row_faults({**row, "review": review}, NAMES, annotated=True)) == []
    (fault,) = row_faults({**row, "review": "acepted"}, NAMES, annotated=True)
    assert fault.startswith("unknown review 'acepted'. Did you mean 'accepted'?")


def test_from_the_command_line(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupted(self: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupted)
    assert main(["data", "review", str(both[0]), "--second", str(both[1])]) == 0
    said = capsys.readouterr().err
    assert "1 row that only one reviewer accepted, left out: c" in said
    assert "1 accepted, 0 rejected, 1 open" in said
    assert [row["id"] for row in rows(tmp_path / "ann.adjudicated.jsonl")] == ["a"]


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def opened(browser: Browser, both: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple[Page, Review]]:
    with Review.open(both[0], tmp_path / "final.jsonl", both[1]) as review, Server(review) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        context = browser.new_context()
        page = context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.goto(server.url)
        yield page, review
        context.close()
        server.shutdown()
        thread.join()
    assert troubles == []


def test_both_are_shown_and_one_is_taken(opened: tuple[Page, Review]) -> None:
    page, review = opened
    page.get_by_text("Answer 2 of 2: 1 accepted, 0 rejected, 1 open.").wait_for()
    assert page.locator("#first mark").all_inner_texts() == ["stitch"]
    assert page.locator("#second mark").all_inner_texts() == ["stitch", "clothes"]
    listed = page.locator("#second-spans li").all_inner_texts()
    assert listed == [
        "stitch: lexical, 2 I sew. (only here)",
        "clothes: inference, 2 I sew. (only here)",
    ]
    page.keyboard.press("s")
    assert page.locator("#answer mark").all_inner_texts() == ["stitch", "clothes"]
    page.get_by_role("button", name="Take the first's").click()
    assert page.locator("#answer mark").all_inner_texts() == ["stitch"]
    page.keyboard.press("a")
    page.get_by_text("2 accepted, 0 rejected, 0 open").wait_for()
    assert rows(review.out)[1]["gold"][0]["kind"] == "paraphrase"
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
