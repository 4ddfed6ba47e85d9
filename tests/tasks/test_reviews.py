"""The review tasks: NextQuill's prompt form, letter by letter, and what is dropped to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example
from perbench.lm.models import load_tokenizer
from perbench.prompts.pair import build_pair
from perbench.specs.load import load_task

SYSTEM = (
    "<|im_start|>system\nGiven the title and description of an item, along with the user's past reviews and "
    "the output review rating and review title, generate a personalized item review for the user.<|im_end|>\n"
)
REVIEW = """\
[Review {0}]:
- [Item Title]: Lamp {0}
- [Item Description]:\u0020
- [Review Rating]: 4.0
- [Review Title]: Bright {0}
- [Review Text]: I like lamp {0}.
"""
USER = """\
[Item Title]: A Chair
[Item Description]: It is red.
[User's Past Reviews]:
{0}
[Output Review Rating]: 5.0
[Output Review Title]: Soft
"""
END = "<|im_end|>\n<|im_start|>assistant\n"


def example(count: int) -> Example:
    items = tuple(
        {
            "item_title": f"Lamp {number}",
            "item_description": "",
            "rating": 4.0,
            "title": f"Bright {number}",
            "text": f"I like lamp {number}.",
        }
        for number in range(1, count + 1)
    )
    extra = {"item_title": "A Chair", "item_description": "It is red.", "rating": 5.0, "title": "Soft"}
    return Example("test/u/0", "u", "not read", "So soft.", items, extra)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(tiny_model_dir)


@pytest.mark.parametrize("name", ["books", "cds", "movies_tv"])
def test_the_prompt_is_nextquills(name: str, tokenizer: Any) -> None:
    task = load_task(f"reviews/{name}").spec
    assert task.data.config == name
    pair = build_pair(task, example(2), tokenizer, with_response=False)
    past = REVIEW.format(1) + REVIEW.format(2)
    turn = "<|im_start|>user\n"
    assert tokenizer.decode(pair.factual) == SYSTEM + turn + USER.format(past) + END
    assert tokenizer.decode(pair.counterfactual) == SYSTEM + turn + USER.format("None") + END


def test_the_latest_eight_stand_and_the_oldest_go_first(tokenizer: Any) -> None:
    task = load_task("reviews/books").spec
    whole = build_pair(task, example(12), tokenizer, with_response=True)
    assert (whole.kept, whole.trimmed) == (8, 0)
    assert "[Review 8]" in tokenizer.decode(whole.factual)
    assert "[Review 9]" not in tokenizer.decode(whole.factual)
    tight = load_task("reviews/books", overrides={"max_length": len(whole.factual) - 1}).spec
    pair = build_pair(tight, example(12), tokenizer, with_response=True)
    assert pair.kept + pair.trimmed == 8
    assert 0 < pair.kept < 8
    text = tokenizer.decode(pair.factual)
    assert "[Review 1]" in text
    assert f"[Review {pair.kept + 1}]" not in text


def test_retrieving_the_latest_goes_by_the_time_of_a_review() -> None:
    from perbench.persona.build import build_personas

    task = load_task("reviews/books", overrides={"persona.retrieve": "latest", "persona.k": 2}).spec
    items = tuple({**item, "timestamp": 100 - place} for place, item in enumerate(example(4).persona))
    told = Example("test/u/0", "u", "q", "r", items, example(4).extra)
    models: Any = None
    (built,) = build_personas(task, [told], models).examples
    assert [item["title"] for item in built.persona] == ["Bright 1", "Bright 2"]
