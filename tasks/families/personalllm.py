"""PersonalLLM (arXiv 2409.20296): simulated users with known tastes, and eight scored answers per prompt."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

REWARDS = {
    "beaver_7b": (6.233516894340515, 3.012641148973965),
    "gemma_2b": (4.3304170169830325, 2.038611338958803),
    "gemma_7b": (1.6259730467796325, 2.6096741570264976),
    "llama3_sfairx": (1.0637639780044557, 2.953017385451928),
    "mistral_raft": (8.309211883544922, 3.0728436748484533),
    "mistral_ray": (3.0136284782886507, 1.6902981149232585),
    "mistral_weqweasdas": (7.071075622558594, 2.578636650248985),
    "oasst_deberta_v3": (2.8976835689097644, 1.7207868789061331),
    "oasst_pythia_1b": (4.293944010734558, 2.3018268820938133),
    "oasst_pythia_7b": (4.706351243972779, 1.3659142113789966),
}
"""Reward models, with the mean and standard deviation by which the authors' code (eval/constants.py)
standardises their scores."""
ANSWERS = range(1, 9)
SHAPE = {
    "prompt": str,
    **{f"response_{i}": str for i in ANSWERS},
    **{f"response_{i}_{reward}": float for i in ANSWERS for reward in REWARDS},
}
ALPHAS = (0.001, 0.01, 0.1)
USERS = {"train": 200, "test": 100}
SEEDS = {"train": 100, "test": 42}
PROMPTS = {"train": 5, "test": 10}
"""Prompts answered per user."""
HISTORY = (25, 49)
"""Least and most pairs of answers in a user's history."""
Row = dict[str, Any]


class PersonalLLM(Family):
    """alpha_A/train and alpha_A/test for A = 0.001, 0.01, 0.1: {user, question, options, ratings, models,
    reference, rejected, persona: [{prompt, preferred, other}], weights}. A user is a vector of weights over
    ten reward models, drawn from a symmetric Dirichlet distribution with parameter A: the smaller, the
    further users are apart. A rating is the weighted sum of an answer's standardised rewards; the reference
    is the best of the eight answers, `rejected` the worst. The history is 25 to 49 pairs of different answers
    to prompts of the training file, of which the user prefers one; all eight answers occur (in the authors'
    code the eighth never does). 100 test users answer 10 prompts of the test file each, 200 training users 5
    prompts of the training file that are not in their history. Draws are by seed, with Python's generator:
    other users than the authors'. No commit of the dataset is known to us, so the first fetch pins the
    newest."""

    remotes = (Remote("huggingface", "namkoong-lab/PersonalLLM", {"data/*.parquet": None}),)
    tables = tuple(f"alpha_{alpha:g}/{split}" for alpha in ALPHAS for split in ("train", "test"))

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        config, _, split = table.partition("/")
        past = _read(raw, "train")
        asked = past if split == "train" else _read(raw, "test")
        for number in range(USERS[split]):
            draw = random.Random(f"{SEEDS[split]}/{number}")
            weights = dirichlet(float(config.removeprefix("alpha_")), len(REWARDS), draw)
            order = draw.sample(range(len(past)), min(len(past), draw.randint(*HISTORY) + PROMPTS["train"]))
            if split == "train":
                chosen, order = order[: PROMPTS["train"]], order[PROMPTS["train"] :]
            else:
                order = order[: max(1, len(order) - PROMPTS["train"])]
                chosen = draw.sample(range(len(asked)), min(len(asked), PROMPTS["test"]))
            history = [_preferred(past[place], weights, draw) for place in order]
            for place in chosen:
                yield _row(f"{split}-{number}", asked[place], weights, history)


def _read(raw: RawData, split: str) -> list[Row]:
    return list(raw.records(f"data/{split}", split, shape=SHAPE))


def dirichlet(alpha: float, count: int, draw: random.Random) -> list[float]:
    """A draw from a symmetric Dirichlet distribution. In logarithms, since for a small alpha nearly all
    weights are below the smallest float: gamma(alpha) is gamma(alpha + 1) * u^(1/alpha)."""
    logs = [
        math.log(draw.gammavariate(alpha + 1, 1)) + math.log(1 - draw.random()) / alpha for _ in range(count)
    ]
    sizes = [math.exp(value - max(logs)) for value in logs]
    return [size / sum(sizes) for size in sizes]


def ratings(row: Row, weights: Sequence[float]) -> list[float]:
    """w · z of each answer."""
    return [
        sum(
            weight * (row[f"response_{i}_{reward}"] - mean) / sd
            for weight, (reward, (mean, sd)) in zip(weights, REWARDS.items(), strict=True)
        )
        for i in ANSWERS
    ]


def _preferred(row: Row, weights: Sequence[float], draw: random.Random) -> dict[str, str]:
    """Two of the answers, the better first."""
    scores = ratings(row, weights)
    better, worse = sorted(draw.sample(range(len(scores)), 2), key=scores.__getitem__, reverse=True)
    texts = [row[f"response_{i}"] for i in ANSWERS]
    return {"prompt": row["prompt"], "preferred": texts[better], "other": texts[worse]}


def _row(user: str, row: Row, weights: Sequence[float], history: list[dict[str, str]]) -> Row | Skip:
    found: dict[str, tuple[float, str | None]] = {}
    for i, rating in zip(ANSWERS, ratings(row, weights), strict=True):
        text = row[f"response_{i}"]
        if text.strip() and text.strip() not in {known.strip() for known in found}:
            found[text] = rating, row.get(f"response_{i}_model")
    if len(found) < 2 or not row["prompt"].strip():
        return Skip("empty prompt, or fewer than two different answers")
    scores = {text: rating for text, (rating, _) in found.items()}
    models = [model for _, model in found.values()]
    return {
        "user": user,
        "question": row["prompt"],
        "options": list(found),
        "ratings": list(scores.values()),
        "models": models if None not in models else None,
        "reference": max(scores, key=scores.__getitem__),
        "rejected": min(scores, key=scores.__getitem__),
        "persona": history,
        "weights": dict(zip(REWARDS, weights, strict=True)),
    }
