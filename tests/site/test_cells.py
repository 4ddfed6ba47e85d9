"""Pages of single cells: what a reader needs at the top, samples in order and divided, all of it text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.contracts.shown import Shown, StoredCell
from perbench.matrix.reading import SampleReader
from perbench.site import build
from perbench.site.cells import SampleTexts
from perbench.site.cells.samples import EDGE, PIR, WHOLE, Card, folded, in_order, marked
from perbench.store import CellRecord, Labels
from perbench.text.pieces import Piece

if TYPE_CHECKING:
    from tests.site.conftest import Bench

EVIL = "<script>alert('x')</script>&\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e"


def answers(values: Sequence[float | None], **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"s{place}",
            "user": f"u{place}",
            "question": f"Question {place}?",
            "reference": f"Gold {place}.",
            "response": f"Answer {place}.",
            "finish_reason": "stop",
            **fields,
        }
        for place in range(len(values))
    ]


def built(bench: Bench, out: Path, left_out: list[str] | None = None) -> Path:
    """The folder of the cells' pages."""
    said = left_out if left_out is not None else []
    build([bench.path], out, texts=SampleTexts(SampleReader({})), left_out=said.append)
    return out / "cells"


def page(folder: Path, record: CellRecord, number: int = 1) -> str:
    return (folder / f"{record.identity[:16]}{f'-{number}' if number > 1 else ''}.html").read_text("utf-8")


def text(html: str) -> str:
    """The words of a page, without markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def facts(html: str) -> dict[str, str]:
    found = re.findall(r"<dt>([^<]*)</dt><dd>(.*?)</dd></div>", html)
    return {unescape(name): text(value) for name, value in found}


def order(html: str) -> list[str]:
    return [answer for answer in re.findall(r"Answer \d+\.", html) if answer]


@pytest.fixture
def trained(bench: Bench) -> dict[str, CellRecord]:
    """ce and perce on one target with samples, two seeds of perce, their trainings."""
    bench.describe(baseline="ce")
    found: dict[str, CellRecord] = {}
    values = {"ce": [0.5, 0.2, 0.4, 0.3], "perce": [0.1, 0.3, 0.4, None]}
    for trainer, seed in (("ce", 0), ("perce", 0), ("perce", 1)):
        train = bench.cell(
            "train",
            Labels(model="tiny", trainer=trainer, source="fam/read", seed=seed),
            inputs={"trainer": {"name": trainer, "params": {"alpha": 2}}, "data": "d", "training": {"lr": 1}},
            seconds=10.0 if trainer == "ce" else 25.0,
            tokens={"total": 100} if trainer == "ce" else {"total": 110, "counterfactual": 40},
            counts={"steps": 2, "examples": 8},
            training_log=[{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}],
            weights={"final": "f" * 64},
        )
        found[f"train {trainer} {seed}"] = train
        found[f"{trainer} {seed}"] = bench.evaluate(
            values[trainer],
            trainer=trainer,
            source="fam/read",
            seed=seed,
            trained_by=train.identity,
            samples=answers(values[trainer]),
            inputs={"data": "d" * 64, "target": {"name": "fam/write", "sampling": {"max_new_tokens": 32}}},
            counts={"samples": 4, "truncated": 3, "empty": 1, "missing_refused": 1},
            tokens={"generated": 77},
            environment={"commit": "abc", "cpus": 2, "device": "cpu"},
        )
    return found


def test_the_top_of_a_page_says_what_was_measured_and_what_it_cost(
    bench: Bench, trained: Mapping[str, CellRecord], tmp_path: Path
) -> None:
    folder = built(bench, tmp_path / "site")
    html = page(folder, trained["perce 0"])
    assert "<h1>perce, trained on fam/read, evaluated on fam/write</h1>" in html
    found = facts(html)
    assert found["ROUGE-L"].startswith("0.267")
    assert found["Gain over ce"].startswith("−0.100")
    assert "over 2 seeds" in found["Gain over ce"]
    assert found["From"] == "4 answers 4 users, 1 without an answer: 1 refused, 1 empty"
    assert found["Training"] == "25 s 2.50 times ce’s; 150 tokens read, 1.50 times; CPU"
    assert found["Evaluation"] == "12 s 77 tokens written; 2 CPU cores"
    words = text(html)
    assert "3 of 3 answers cut at 32 tokens" in words
    assert "git checkout abc perbench run --matrix m" in words
    assert f'href="{trained["perce 1"].identity[:16]}.html">seed 1<' in html
    assert f'href="{trained["train perce 0"].identity[:16]}.html"' in html
    assert "Gain over ce" not in facts(page(folder, trained["ce 0"]))


def test_times_of_other_machines_are_not_compared(bench: Bench, tmp_path: Path) -> None:
    bench.describe(baseline="ce")
    for trainer, device in (("ce", "H200"), ("perce", "A100")):
        train = bench.cell(
            "train",
            Labels(model="tiny", trainer=trainer, source="fam/read", seed=0),
            inputs={"trainer": {"name": trainer}, "data": "d"},
            seconds=10.0,
            tokens={"total": 100},
            environment={"device": device},
        )
    found = facts(page(built(bench, tmp_path / "site"), train))
    assert found["Training"] == "10 s 100 tokens read, 1.00 times ce’s; A100"


def test_a_training_has_its_loss_settings_weights_and_what_came_of_it(
    bench: Bench, trained: Mapping[str, CellRecord], tmp_path: Path
) -> None:
    html = page(built(bench, tmp_path / "site"), trained["train perce 0"])
    found = facts(html)
    assert found["Last loss"] == "2.25 2.5 at step 1"
    assert found["Steps"] == "2 8 examples"
    assert "2.50 times ce’s" in found["Training"]
    assert re.search(r'<svg[^>]*>.*class="[^"]*method', html, re.DOTALL)
    assert "alpha 2" in text(html)
    assert "f" * 64 in html
    assert f'href="{trained["perce 0"].identity[:16]}.html">fam/write</a>' in html


def test_samples_are_in_order_with_their_difference_to_the_baseline(
    bench: Bench, trained: Mapping[str, CellRecord], tmp_path: Path
) -> None:
    folder = built(bench, tmp_path / "site")
    html = page(folder, trained["perce 0"])
    assert order(html) == ["Answer 0.", "Answer 1.", "Answer 2.", "Answer 3."]
    assert order(page(folder, trained["ce 0"]))[0] == "Answer 1."
    articles = re.findall(r"<article.*?</article>", html, re.DOTALL)
    first = text(articles[0])
    assert "−0.400 against ce" in first
    assert "Question 0?" in first
    assert "Gold 0." in first
    assert "no score" in text(articles[3])
    ids = re.findall(r'<article class="ex" id="(s-[0-9a-f]{12})"', html)
    assert len(set(ids)) == 4
    assert ids == re.findall(r'href="#(s-[0-9a-f]{12})"', html)
    pair = f"a={trained['perce 0'].identity[:16]}&amp;b={trained['ce 0'].identity[:16]}&amp;s={ids[0][2:]}"
    assert f'href="../compare.html#{pair}"' in html
    assert "persona and prompt cannot be shown" in text(html[: html.index("<article")]), "once, above all"
    assert "cannot be shown" not in "".join(articles)


def test_a_failed_cell_shows_its_error_and_how_to_try_again(bench: Bench, tmp_path: Path) -> None:
    record = bench.evaluate(None, trainer="perce", source="fam/read", samples=answers([0.0, 0.0]))
    bench.evaluate([0.1, 0.2], trainer="ce", source="fam/read")
    html = page(built(bench, tmp_path / "site"), record)
    words = text(html)
    assert "evaluated on fam/write: failed" in words
    assert "CellError : loss is nan at step 3" in words
    assert "Traceback: here" in words
    assert "perbench run --matrix m" in words
    assert "2 were written before the error" in words
    assert "<article" not in html
    assert 'class="facts"' not in html


def test_many_samples_are_divided_and_each_is_on_one_page(bench: Bench, tmp_path: Path) -> None:
    values = [place / 1000 for place in range(550)]
    record = bench.evaluate(values, samples=answers(values))
    folder = built(bench, tmp_path / "site")
    first, second, third = (order(page(folder, record, number)) for number in (1, 2, 3))
    assert [len(first), len(second), len(third)] == [100, 200, 200]
    numbers = [int(answer.split()[1][:-1]) for answer in first]
    assert numbers == [*range(50), *range(500, 550)]
    rest = [int(answer.split()[1][:-1]) for answer in (*second, *third, *order(page(folder, record, 4)))]
    assert rest == [*range(50, 500)]
    assert f'href="{record.identity[:16]}-4.html">4<' in page(folder, record)
    assert not (folder / f"{record.identity[:16]}-5.html").exists()


scores = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=3 * WHOLE)


@given(scores, st.sampled_from(["higher", "lower", None]))
def test_every_sample_is_shown_once_whatever_its_score(values: list[float | None], better: Any) -> None:
    cards = [Card(Shown(id=str(place)), value, None) for place, value in enumerate(values)]
    pages = in_order(cards, better)
    assert sorted(card.shown.id for page in pages for card in page) == sorted(card.shown.id for card in cards)
    known = [card.score for card in pages[0] if card.score is not None]
    assert known == sorted(known, reverse=better == "lower")
    assert all(len(page) <= WHOLE for page in pages)
    if len(cards) > WHOLE:
        assert len(pages[0]) == 2 * EDGE


def test_damaged_samples_of_a_failed_cell_are_left_out_and_said(bench: Bench, tmp_path: Path) -> None:
    record = bench.evaluate(None, samples=answers([0.1, 0.2]))
    file = bench.path / "cells" / f"eval-{record.identity[:16]}" / "samples.jsonl"
    file.write_text(file.read_text("utf-8").replace("Answer 0", "Forged 0"), encoding="utf-8")
    said: list[str] = []
    html = page(built(bench, tmp_path / "site", said), record)
    assert len(said) == 1
    assert "samples.jsonl:1" in said[0]
    assert "samples.jsonl:1" in text(html)
    assert str(bench.path) not in html


def test_texts_of_models_and_data_are_text(bench: Bench, tmp_path: Path) -> None:
    odd = [
        {
            "id": EVIL, "user": EVIL, "question": EVIL, "reference": EVIL, "response": EVIL, "missing": EVIL,
            "finish_reason": "length", "new_tokens": EVIL,
        }
    ]  # fmt: skip
    record = bench.evaluate([0.5], samples=odd, labels={"trainer_params": {EVIL: EVIL}}, notes=[EVIL])

    def shades(cell: StoredCell, shown: Sequence[Shown]) -> list[Shown]:
        pieces = (Piece(EVIL, 2.0, title=EVIL),)
        return [replace(one, pieces=pieces, reference_pieces=pieces) for one in shown]

    build([bench.path], tmp_path / "site", texts=SampleTexts(SampleReader({}), 1, shades))
    html = page(tmp_path / "site" / "cells", record)
    assert html.count("<mark") == 2 + len(PIR)
    assert "<img" not in html
    assert html.count("<script") == 1
    assert "\u202e" not in html
    data = (tmp_path / "site" / "data" / "samples" / f"{record.identity[:16]}.js").read_text("utf-8")
    assert "\u202e" not in data
    assert "{{ 7 * 7 }}" in data


def test_shaded_tokens_are_marked_and_listed(bench: Bench, tmp_path: Path) -> None:
    values = [0.4, 0.1, 0.3, 0.2, 0.5]
    record = bench.evaluate(values, samples=answers(values))
    asked: list[str] = []

    def shades(cell: StoredCell, shown: Sequence[Shown]) -> list[Shown]:
        asked.extend(one.id for one in shown)
        pieces = (Piece("An", 0.2), Piece("swer ", 1.25), Piece("x", -3.0), Piece("y", 2.0))
        return [replace(one, answer="Answer xy", pieces=pieces) for one in shown]

    build([bench.path], tmp_path / "site", texts=SampleTexts(SampleReader({}), 3, shades))
    html = page(tmp_path / "site" / "cells", record)
    assert asked == ["s1", "s3", "s4"], "the worst, the best and the second worst, as they stand on the page"
    assert html.count('<mark class="p2" title="PIR 1.2">swer </mark>x<mark class="p3" title="PIR 2.0">y') == 3
    assert text(html).count("2 personal tokens swer 1.2 , y 2.0") == 3
    assert "3 of 5 samples are shaded" in text(html)


@given(st.text("ab c", max_size=2000), st.integers(1, 40))
def test_a_long_text_is_folded_and_complete(whole: str, size: int) -> None:
    drawn = [(whole[at : at + size], "p1", "t") for at in range(0, len(whole), size)]
    head, rest = folded(whole, drawn)
    assert "".join(part for part, _, _ in (*head, *rest)) == whole
    assert bool(rest) == (len(whole) > 900)
    assert sum(len(part) for part, _, _ in head) <= 900


def test_marks_of_tokens() -> None:
    pieces = [Piece("a", 0.4), Piece("b", 0.5), Piece("c", 1.0), Piece("d", 2.5), Piece("e", gold=True)]
    assert [classes for _, classes, _ in marked(pieces, 0)] == ["", "p1", "p2", "p3", "goldt"]
    scaled = marked([Piece("a", 5.0, state="hit"), Piece("b", 1.0), Piece("c", -1.0)], full=10.0)
    assert [classes for _, classes, _ in scaled] == ["p2 hit", "", ""]
