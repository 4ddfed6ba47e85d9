"""Persona swap: how often the user's own persona explains a text better than another user's persona.

For a text y to a request x by a user with persona p, against other users' personas q_1..q_m:
mean over j of [log P(y | p, x) > log P(y | q_j, x)], a tie counting 1/2. It estimates the probability that
the right persona wins against a random other one: 1 is perfect, 1/2 is chance. The log-probs are read from
the samples (`swap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.contracts.metric import UNIT, Measured, mean_metric
from perbench.progress import counted

from .section import SWAP_METRICS, PersonaSwapSpec

TEXTS = dict(zip(SWAP_METRICS, ("response", "reference"), strict=True))
"""The text that each metric scores."""


def win_rate(logp: Sequence[float]) -> float | None:
    """Share of `logp[1:]` below `logp[0]`, the own persona's; ties count 1/2; None if there are none."""
    own, others = logp[:1], logp[1:]
    if not others:
        return None
    return sum(0.5 if own[0] == other else float(own[0] > other) for other in others) / len(others)


def measure(
    spec: PersonaSwapSpec, samples: Sequence[Mapping[str, Any]], max_tokens: int
) -> dict[str, Measured]:
    """Both metrics over stored samples. A text without tokens or without other users whose personas fit has
    no score; neither has a sample without an answer."""
    scorer = spec.scorer or "base"
    clusters = [sample["user"] for sample in samples]
    found = {}
    for name, text in TEXTS.items():
        values = [
            win_rate(sample["persona_swap"][text]) if "persona_swap" in sample else None for sample in samples
        ]
        signature = f"{name}|ties:1/2|unfit:left-out|others:{spec.others}|scorer:{scorer}|tokens:{max_tokens}"
        why = [_why(sample) for sample in samples]
        found[name] = Measured(mean_metric(values, clusters, signature, why, scale=UNIT), values)
    return found


def _why(sample: Mapping[str, Any]) -> str:
    """Why a sample has no score."""
    if "persona_swap" not in sample:
        return str(sample["missing"])
    return "text without tokens" if sample["persona_swap"]["others"] else "no other user's persona to try"


def notes(spec: PersonaSwapSpec, samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warns of fewer other users than requested and of personas left out."""
    swaps = [sample["persona_swap"] for sample in samples]
    fewest = min((len(swap["others"]) + swap["left_out"] for swap in swaps), default=spec.others)
    found = []
    if fewest < spec.others:
        found.append(
            f"persona_swap: some answers had {counted(fewest, 'other persona')} to be tried with, not "
            f"{spec.others}"
        )
    if left_out(samples):
        alone = sum(bool(swap["left_out"] and not swap["others"]) for swap in swaps)
        found.append(
            f"persona_swap: {counted(left_out(samples), 'comparison')} left out, as no item of one "
            f"persona fits into the prompt; answers with none left: {alone}"
        )
    return found


def left_out(samples: Sequence[Mapping[str, Any]]) -> int:
    """Comparisons left out because no item of one of the two personas fits into the prompt."""
    return sum(sample["persona_swap"]["left_out"] for sample in samples)
