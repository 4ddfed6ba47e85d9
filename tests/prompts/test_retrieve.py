"""Rankings by hand, against rank_bm25's own formula, and what holds for all of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.api import Example
from perbench.contracts.persona import Compared
from perbench.errors import PerbenchError
from perbench.persona.build import build_personas, standing
from perbench.persona.rankings.bm25 import bm25
from perbench.persona.rankings.latest import latest
from perbench.persona.rankings.random import shuffled
from perbench.persona.retrieve import by_score, query_of
from perbench.prompts.persona import render_items
from perbench.shapes.task import FieldSpec, PromptSpec, TaskSpec
from perbench.specs.compose import persona_spec, ranked_text, task_spec

PAG = 'Generate an abstract for the title "On deer" using the following items: deer, woods; items: dogs'
KINDS = ("latest", "random", "bm25", "dense")


def task(**persona: Any) -> TaskSpec:
    return task_spec()(
        summary="test",
        protocol="generation",
        license="none",
        data={"files": "unread"},
        fields=FieldSpec(user="user", question="question", reference="answer", persona="persona"),
        prompt="plain",
        prompts={"plain": PromptSpec(system="{persona}", item="{text}")},
        persona=persona_spec().model_validate(persona),
        metrics=["rouge1"],
        headline="rouge1",
    )


def example(question: str, *texts: str, **fields: Any) -> Example:
    persona = tuple({"text": text, "place": place} for place, text in enumerate(texts))
    return Example("e", "u", question, "the reference", persona, **fields)


class Words:
    """An encoder of known vectors: how often each of three words occurs. `seen` holds all it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encoder(self, name: str) -> Any:
        def encode(texts: Any) -> np.ndarray[Any, Any]:
            self.seen += texts
            return np.array([[text.split().count(word) for word in ("deer", "dog", "tea")] for text in texts])

        return encode

    def summariser(self, name: str) -> Any:
        raise AssertionError("nothing is summarised here")


def places(spec: TaskSpec, one: Example) -> list[int]:
    (built,) = build_personas(spec, [one], Words()).examples
    return [item["place"] for item in built.persona]


@pytest.mark.parametrize(
    ("question", "after", "expected"),
    [
        (PAG, "items:", "deer, woods; items: dogs"),
        (PAG, None, PAG),
        ("Write about deer", "items:", "Write about deer"),
        ("items:", "items:", ""),
    ],
)
def test_the_query_is_what_follows_the_marker(question: str, after: str | None, expected: str) -> None:
    assert query_of(question, Compared(query_after=after)) == expected


TITLES = 'An author of the title "One", which reference? [1]: "Two" [2]: "Three"'
STRINGS = '^[^"]*"[^"]*"[^"]*"([^"]*)"[^"]*"([^"]*)"'


@pytest.mark.parametrize(
    ("pattern", "question", "expected"),
    [
        (STRINGS, TITLES, "Two Three"),
        (STRINGS, 'Only "One": and "Two', 'and "Two'),
        ("(?s)about (.*)|of (.*)", "tell me of deer\nand dogs", "deer\nand dogs"),
    ],
)
def test_the_query_is_what_groups_match(pattern: str, question: str, expected: str) -> None:
    assert query_of(question, Compared(query_match=pattern, query_after=":")) == expected


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_pattern_without_parts_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="query_match"):
        task(retrieve="bm25", query_match=pattern)


def okapi(query: list[str], documents: list[list[str]]) -> list[float]:
    """BM25Okapi by its formula: k1 1.5, b 0.75, and a quarter of the mean idf where an idf is negative."""
    frequent = Counter(word for words in documents for word in set(words))
    idf = {word: math.log(len(documents) - n + 0.5) - math.log(n + 0.5) for word, n in frequent.items()}
    floor = 0.25 * sum(idf.values()) / len(idf)
    idf = {word: value if value >= 0 else floor for word, value in idf.items()}
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        count = Counter(words)
        norm = 1.5 * (0.25 + 0.75 * len(words) / mean)
        scores.append(sum(idf.get(w, 0) * count[w] * 2.5 / (count[w] + norm) for w in query))
    return scores


def test_bm25_is_okapi_over_white_space_tokens() -> None:
    texts = ["deer in the woods", "the Deer, the dog", "tea", "the deer deer deer", "dog and tea"]
    found = bm25("the deer dog dog", texts)
    assert found == pytest.approx(okapi(["the", "deer", "dog", "dog"], [text.split() for text in texts]))
    assert by_score(found) == [1, 4, 3, 0, 2]
    assert bm25("deer", []) == []
    assert bm25("deer", ["", " "]) == [0.0, 0.0]


def test_bm25_ranks_by_the_query_rule() -> None:
    one = example(
        "Use items about tea. items: deer dog", "tea tea", "dog", "a deer and a dog", "bees", "red", "blue"
    )
    assert places(task(retrieve="bm25", k=2, query_after="items:"), one) == [2, 1]
    assert places(task(retrieve="bm25", k=2, query_after="items:", order="best_last"), one) == [1, 2]
    assert places(task(retrieve="bm25", k=1), example("tea bees", "dog", "tea", "tea bees")) == [2]


def test_texts_that_are_ranked_need_not_be_those_of_the_prompt() -> None:
    items = [("dog", "deer"), ("deer deer", "tea"), ("tea", "dog")]
    persona = tuple({"text": text, "title": title, "place": n} for n, (text, title) in enumerate(items))
    one = replace(example("deer"), persona=persona)
    titled = FieldSpec(user="u", question="q", reference="r", persona="p", item_text="{title}")
    for retrieve in ("bm25", "dense"):
        plain = task(retrieve=retrieve, k=1)
        assert places(plain, one) == [1]
        assert places(plain.model_copy(update={"fields": titled}), one) == [0]
    absent = titled.model_copy(update={"item_text": "{titel}"})
    with pytest.raises(PerbenchError, match=r"example e: persona item 0 has no field 'titel'"):
        places(task(retrieve="bm25").model_copy(update={"fields": absent}), one)


def test_dense_ranks_by_dot_product_or_cosine_all_texts_encoded_once() -> None:
    one = example("deer tea", "deer deer deer dog dog dog", "deer tea", "dog", "deer")
    assert places(task(retrieve="dense"), one) == [0, 1, 3, 2]
    assert places(task(retrieve="dense", similarity="cosine"), one) == [1, 3, 0, 2]
    words = Words()
    build_personas(task(retrieve="dense", k=1), [one, replace(one, id="f"), example("deer", "tea")], words)
    assert sorted(words.seen) == sorted(["deer tea", "deer deer deer dog dog dog", "dog", "deer", "tea"])


def test_latest_is_by_time_or_what_stands_last() -> None:
    items = [{"year": year} for year in (2001, 2003, 1999, "2003")]
    assert latest(items, "year") == [3, 1, 0, 2]
    assert latest(items, None) == [3, 2, 1, 0]
    assert latest([{"day": f"20{day}"} for day in ("12-05-31", "09-12-01", "12-06-01")], "day") == [2, 0, 1]
    one = example("q", "a", "b", "c")
    assert places(task(retrieve="latest", k=2), one) == [2, 1]
    assert places(task(retrieve="latest", k=2, order="best_last"), one) == [1, 2]
    with pytest.raises(PerbenchError, match=r"example e: persona item 0 has no field 'when'"):
        places(task(retrieve="latest", time="when"), one)
    with pytest.raises(PerbenchError, match=r"text is 'a', neither a number nor a date.* set persona\.time"):
        places(task(retrieve="latest", time="text"), one)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (["2012-05-31", 20120601], r"day is the number 20120601 in persona item 1 .*'2012-05-31' in item 0"),
        (["2012", "2011-05-31"], r"day is the number '2012' in persona item 0 .*'2011-05-31' in item 1"),
        ([2012, "nan"], "persona item 1: day is 'nan'"),
        ([float("inf"), 1], "persona item 0: day is inf"),
    ],
)
def test_times_without_an_order_are_refused(given: list[object], place: str) -> None:
    with pytest.raises(PerbenchError, match=place + r".*set persona\.time"):
        latest([{"day": day} for day in given], "day")


def test_random_is_drawn_by_the_examples_id_and_the_tasks_seed() -> None:
    orders = {tuple(shuffled(6, f"example {number}", seed)) for number in range(20) for seed in (0, 1)}
    assert len(orders) > 30
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert shuffled(6, "example 3", 0) == shuffled(6, "example 3", 0)


def test_without_retrieval_the_examples_are_left_alone() -> None:
    one = example("q", "a", "b", "c")
    assert build_personas(task(k=2), [one], Words()).examples == [one]


HISTORY = st.lists(st.text("ab ", max_size=6), max_size=7)


@settings(deadline=None)  # a busy machine is no fault
@given(HISTORY, st.text("ab ", max_size=8), st.sampled_from(KINDS), st.integers(1, 5), st.booleans())
def test_at_most_k_of_the_users_own_items_best_first_or_last(
    texts: list[str], question: str, kind: str, k: int, last: bool
) -> None:
    one = example(question, *texts)
    found = {}
    for order in ("best_first", "best_last"):
        spec = task(retrieve=kind, k=k, order=order)
        found[order] = places(spec, one)
        assert places(spec, replace(one, reference="another", user="v", extra={"x": 1})) == found[order]
    assert places(task(retrieve=kind, k=k + 1), one)[:k] == found["best_first"]
    first = found["best_first"]
    assert len(first) == len(set(first)) == min(k, len(texts))
    assert found["best_last"] == first[::-1]
    assert set(first) <= set(range(len(texts)))


@given(st.permutations(range(6)), st.integers(1, 8))
def test_the_best_are_kept_longest(ranking: list[int], k: int) -> None:
    from perbench.prompts.persona import by_priority

    for order in ("best_first", "best_last"):
        spec = persona_spec().model_validate({"retrieve": "bm25", "k": k, "order": order})
        stands = standing(ranking, spec)
        assert [stands[place] for place in by_priority(len(stands), spec)] == ranking[:k]


@pytest.mark.parametrize("name", ["books", "cds", "movies_tv"])
def test_reviews_are_ranked_by_the_text_of_nextquills_contriever(name: str) -> None:
    from perbench.specs.load import load_task

    item = {"item_title": "A", "item_description": "B", "rating": 4.0, "title": "C", "text": "D", "asin": "7"}
    published = (
        f"{item['item_title']} {item['item_description']} {item['rating']} {item['title']} {item['text']}"
    )
    for retrieve in ("bm25", "dense"):
        text = ranked_text(load_task(f"reviews/{name}", overrides={"persona.retrieve": retrieve}).spec)
        assert render_items(text or "", [item]) == [published]
