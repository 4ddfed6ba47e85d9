"""Made-up rows in LaMP's schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WORDS = ["river", "lamp", "stone", "bread", "cloud", "garden", "violin", "paper", "engine", "market"]
TAGS = (
    "sci-fi, based on a book, comedy, action, twist ending, dystopia, dark comedy, classic, psychology, "
    "fantasy, romance, thought-provoking, social commentary, violence, true story"
)
NAMES = {
    "LaMP_1": "1_citation",
    "LaMP_2": "2_movie_tag",
    "LaMP_3": "3_product_rating",
    "LaMP_4": "4_news_headline",
    "LaMP_5": "5_scholarly_title",
    "LaMP_7": "7_tweet_paraphrase",
}
INPUTS: dict[str, Callable[[int], str]] = {
    "LaMP_1": lambda n: (
        f'For an author who has written the paper with the title "On the title of {said(n)}", which '
        "reference is related? Just answer with [1] or [2] without explanation. "
        f'[1]: "{said(n + 1)}" [2]: "{said(n + 2)}"'
    ),
    "LaMP_2": lambda n: (
        "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
        f"further explanation. tags: [{TAGS}] description: {said(n)}"
    ),
    "LaMP_3": lambda n: (
        "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
        f"without further explanation. review: {said(n)}"
    ),
    "LaMP_4": lambda n: f"Generate a headline for the following article: {said(n)}: more",
    "LaMP_5": lambda n: f"Generate a title for the following abstract of a paper: {said(n)}",
    "LaMP_7": lambda n: (
        f"Paraphrase the following tweet without any explanation before or after it: {said(n)}"
    ),
}
OUTPUTS: dict[str, Callable[[int], str]] = {
    "LaMP_1": lambda n: f"[{1 + n % 2}]",
    "LaMP_2": lambda n: TAGS.split(", ")[n % 15],
    "LaMP_3": lambda n: str(1 + n % 5),
    **dict.fromkeys(("LaMP_4", "LaMP_5", "LaMP_7"), lambda n: f"{said(n).title()} once more, and again"),
}


def said(number: int) -> str:
    """Words of which neighbours share some."""
    return " ".join(WORDS[(number + step) % len(WORDS)] for step in range(4))


def items(name: str, number: int, count: int) -> list[dict[str, Any]]:
    """A profile, oldest first except for its last item."""
    found = []
    for place in range(count):
        text = " ".join([said(number + 3 * place), *([WORDS[number % len(WORDS)]] * place)])
        day = f"2012-{1 + place % 12:02}-{1 + (7 * place) % 28:02}" if place < count - 1 else "2001-12-31"
        fields = {
            "LaMP_1": {"title": f"Title {text}", "abstract": f"We {text}"},
            "LaMP_2": {"tag": TAGS.split(", ")[place], "description": f"A {text}"},
            "LaMP_3": {"text": f"This {text}", "score": str(1 + place % 5)},
            "LaMP_4": {"title": f"Head {text}", "text": f"An {text}"},
            "LaMP_5": {"title": f"Title {text}", "abstract": f"We {text}"},
            "LaMP_7": {"text": f"My {text}"},
        }[name]
        found.append({"id": f"{number}{place}", **fields, "date": day})
    return found


def questions(name: str, count: int, profile: int = 5) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "input": INPUTS[name](n), "profile": items(name, n, profile), "user_id": n // 2}
        for n in range(count)
    ]


def golds(name: str, count: int) -> dict[str, Any]:
    return {"task": name, "golds": [{"id": str(n), "output": OUTPUTS[name](n)} for n in range(count)]}


def write(path: Path, value: Any, indent: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")


def write_raw(folder: Path, names: Sequence[str] = tuple(NAMES), count: int = 6) -> Path:
    """Both splits of the tasks, flat, outputs over several lines."""
    for name in names:
        for split in ("train", "dev"):
            rows = questions(name, count)
            if split == "dev":
                rows = [{**row, "user_id": f"other {row['user_id']}"} for row in rows]
            write(folder / name / f"{split}_questions.json", rows)
            write(folder / name / f"{split}_outputs.json", golds(name, count), indent=1)
    return folder
