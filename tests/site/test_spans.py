"""Answers with scores, gold and errors: what is shown of a stored sample, on the page and in the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perbench.console.printing import console
from perbench.errors import PerbenchError
from perbench.site.reading import reading_of, write_page
from perbench.site.sections.identification.spans import read_answer, spans_view
from tests.site.pages import Tree, check_isolated

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from perbench.store import CellRecord
    from tests.site.conftest import Bench

EVIL = "<script>alert('x')</script>&\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}[bold red]"


def sample(name: str = "test/1", **fields: Any) -> dict[str, Any]:
    """'deer' and 'last season' are gold; Got and deer are predicted; white space shows nothing."""
    return {
        "id": name,
        "split": "test",
        "user": "u",
        "persona": ["I am thin.", "I like to hunt."],
        "question": "Ever catch anything?",
        "response": "Got a deer last season.",
        "gold": [[6, 10], [11, 22]],
        "kinds": ["inference", None],
        "sentences": [1, None],
        "distractors": [],
        "spans": [[0, 3], [3, 5], [5, 10], [10, 15], [15, 22], [22, 23], [23, 23]],
        "scores": [1.5, -2.0, 3.0, 0.2, 0.9, 0.0, 9.0],
        "threshold": 1.0,
        "counts": {},
        "sources": [0, None, 1, None, 1, None, None],
        **fields,
    }


def test_pieces_by_hand() -> None:
    answer = read_answer(sample(), full=3.0)
    assert "".join(piece.text for piece in answer.pieces) == "Got a deer last season."
    assert [(p.text, p.level, p.gold, p.state, p.source) for p in answer.pieces] == [
        ("Got", 3, False, "wrong", 1),  # 5 * 1.5 / 3 is 2.5
        (" ", 0, False, "", None),
        ("a", 0, False, "", None),
        (" ", 0, False, "", None),
        ("deer", 5, True, "hit", 2),
        (" ", 0, False, "", None),
        ("last", 0, True, "missed", None),
        (" ", 0, True, "", None),
        ("season", 2, True, "missed", None),  # not predicted: its source is shown in the title only
        (".", 0, False, "", None),
    ]
    assert answer.wrong == (("Got", 1.5),)
    assert answer.missed == (("last", 0.2), ("season", 0.9))
    assert (answer.highest_wrong, answer.lowest_missed) == (1.5, 0.2)
    titles = {piece.text: piece.title for piece in answer.pieces}
    assert titles["deer"] == (
        "score 3.000, above the threshold 1 · gold, inference · supported by “I like to hunt.” · "
        "the identifier names “I like to hunt.”"
    )
    assert titles["a"] == "score −2.000, not above the threshold 1"


def test_a_token_that_leaves_the_gold_span_is_wrong_and_its_gold_missed() -> None:
    one = sample(gold=[[6, 9]], kinds=[None], sentences=[None])
    answer = read_answer(one, full=3.0)
    assert ("deer", 3.0) in answer.wrong
    assert answer.missed == (("deer", 3.0),)


def test_byte_pieces_of_one_character_show_once() -> None:
    one = sample(response="🦌", gold=[], kinds=[], sentences=[], sources=[])
    one |= {"spans": [[0, 1], [0, 1]], "scores": [0.5, 2.0]}
    answer = read_answer(one, full=2.0)
    assert [(piece.text, piece.state) for piece in answer.pieces] == [("🦌", "wrong")]
    assert len(answer.wrong) == 1


def cells(bench: Bench) -> list[tuple[CellRecord, list[dict[str, Any]]]]:
    quiet = sample("test/2", scores=[0.1, 0.0, 3.0, 2.0, 2.0, 0.0, 0.0])
    dev = sample("dev/9", split="dev")
    loud = sample("test/2", scores=[5.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0])
    return [
        (bench.identify("one", 0.5), [dev, sample(), quiet]),
        (bench.identify("two", 0.4), [loud, sample(scores=[0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0])]),
    ]


def test_a_view_holds_test_examples_with_most_errors_first(bench: Bench) -> None:
    view = spans_view(cells(bench))
    assert [column.title for column in view.columns] == ["one", "two"]
    assert [(example.id, example.errors) for example in view.examples] == [("test/2", 5), ("test/1", 3)]
    assert [a.errors if a else None for a in view.examples[0].answers] == [0, 5]
    assert view.examples[1].gold == ("deer", "last season")


def test_few_scores_above_0_are_shaded(bench: Bench) -> None:
    quiet = [sample(f"test/{n}", scores=[0.0] * 7) for n in range(30)]
    rare = sample("test/x", scores=[0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0])
    view = spans_view([(bench.identify("one", 0.5), [*quiet, rare])])
    assert view.columns[0].full == 2.0
    levels = {
        piece.level
        for example in view.examples
        for answer in example.answers
        if answer is not None
        for piece in answer.pieces
    }
    assert levels == {0, 5}


def test_everything_is_escaped_and_nothing_loaded(bench: Bench) -> None:
    one = sample(EVIL, persona=[EVIL, EVIL], question=EVIL, response=EVIL, gold=[[0, 8]], kinds=[EVIL])
    one |= {"sentences": [0], "spans": [[0, 8]], "scores": [2.0], "sources": [1]}
    record = bench.identify(EVIL, 0.5, target=EVIL, model=EVIL)
    page = reading_of([(record, [one])]).page()
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page, "data are text, never a template"
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_foreign_file_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    found = cells(bench)
    write_page(reading_of(found), out)
    first = out.read_bytes()
    write_page(reading_of(found), out)
    assert out.read_bytes() == first
    out.write_text("my own page", encoding="utf-8")
    with pytest.raises(PerbenchError, match="not overwritten"):
        write_page(reading_of(found), out)
    with pytest.raises(PerbenchError, match="folder that exists"):
        write_page(reading_of(found), tmp_path / "no" / "page.html")
    assert out.read_text(encoding="utf-8") == "my own page"


def printed(found: Any, count: int, **options: Any) -> str:
    file = io.StringIO()
    reading_of(found).show(count, console(file, width=120, **options))
    return file.getvalue()


def test_in_a_pipe_marks_stand_for_colours(bench: Bench) -> None:
    out = printed(cells(bench), 1)
    assert "*Got*(1) a [*deer*(2)] [last season]." in out
    assert "wrong: Got 1.50" in out
    assert "*Got*(1) a [deer] [last season]*.*" in out
    assert out.count("test/") == 2
    assert "\x1b" not in out


def test_in_a_terminal_gold_is_underlined(bench: Bench) -> None:
    out = printed(cells(bench)[:1], 1, force_terminal=True, color_system="truecolor", no_color=False)
    assert "\x1b[1;4;37;48;2;32;115;181mdeer" in out  # bold, underlined, white on the deepest shade


def test_data_can_neither_style_nor_drive_the_terminal(bench: Bench) -> None:
    text = "[red]Got\x1b[2J a\u202e deer"
    one = sample("x", response=text, question="[blink]", persona=["[/]", "\x1b]0;t\x07"], gold=[], sources=[])
    one |= {"kinds": [], "sentences": [], "spans": [[0, 5]], "scores": [2.0]}
    out = printed([(bench.identify("[bold]", 0.5), [one])], 3)
    assert "[bold], threshold 1" in out
    assert r"*[red]*Got\u001b[2J a\u202e deer" in out
    assert "[blink]" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(browser: Browser, bench: Bench, tmp_path: Path) -> Page:
    out = tmp_path / "page.html"
    write_page(reading_of(cells(bench)), out)
    found = browser.new_page()
    found.goto(out.as_uri())
    return found


def order(page: Page) -> list[str | None]:
    return [article.get_attribute("data-id") for article in page.query_selector_all("article")]


def test_it_sorts_from_disk(page: Page) -> None:
    assert order(page) == ["test/2", "test/1"]
    page.get_by_label("Identifier").select_option("one")
    assert order(page) == ["test/1", "test/2"]
    assert page.locator("[data-column='1']").first.is_hidden()
    page.get_by_label("Sort by").select_option("highest score of a wrong token")
    page.get_by_label("Identifier").select_option("two")
    assert order(page) == ["test/2", "test/1"]
    page.get_by_label("Identifier").select_option("all")
    assert page.get_by_label("Sort by").input_value() == "errors", "scores of two identifiers do not compare"
    page.get_by_label("Sort by").select_option("id")
    assert order(page) == ["test/1", "test/2"]
    page.close()


def test_it_reads_without_javascript(browser: Browser, page: Page) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(page.url)
    assert plain.locator("article").count() == 2
    assert plain.get_by_text("Got a deer last season.").count() == 0, "the answer is cut into tokens"
    assert "1 wrong: Got 1.50" in plain.locator("article").nth(1).inner_text()
    assert plain.locator("#tools").is_hidden()
    context.close()
    page.close()


def test_answers_keep_their_direction_to_themselves(bench: Bench) -> None:
    text = "\u05d0\u05d1 \u202e\u2067\x1b[2J\x9b"
    one = sample(text, user=text, response=text, question=text, persona=[text], gold=[], sources=[], kinds=[])
    one |= {"sentences": [], "spans": [[0, 2]], "scores": [2.0]}
    source = reading_of([(bench.identify(text, 0.5), [one])]).page()
    assert not {"\u202e", "\u2067", "\x1b", "\x9b"} & set(source)
    assert check_isolated(Tree(source).root, "\u05d0") >= 6
    assert source.count(r"\u202e\u2067\u001b[2J\u009b") >= 6
