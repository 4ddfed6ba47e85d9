"""Persona swap: how often the user's own persona explains a text better than another user's persona does.

For a text y to a request x by a user with persona p, against other users' personas q_1..q_m:
mean over j of [log P(y | p, x) > log P(y | q_j, x)], a tie counting 1/2. It estimates the probability that
the right persona wins over a random other one: 1 always, 1/2 by chance. The log-probs are stored with the
samples (`swap`), so that this reads samples only, as every metric does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.contracts.metric import UNIT, Measured, mean_metric
from perbench.progress import counted

from .section import SWAP_METRICS, PersonaSwapSpec

TEXTS = dict(zip(SWAP_METRICS, ("response", "reference"), strict=True))
"""Metric -> the text of a sample it is about."""


def win_rate(logp: Sequence[float]) -> float | None:
    """Share of `logp[1:]` that `logp[0]`, the own persona's, exceeds; ties count 1/2; None without any."""
    own, others = logp[:1], logp[1:]
    if not others:
        return None
    return sum(0.5 if own[0] == other else float(own[0] > other) for other in others) / len(others)


def measure(
    spec: PersonaSwapSpec, samples: Sequence[Mapping[str, Any]], max_tokens: int
) -> dict[str, Measured]:
    """Both metrics over stored samples; a text without tokens, or without other users whose personas fit, has
    no score, nor has a sample without an answer."""
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
    """Why a sample without a score has none."""
    if "persona_swap" not in sample:
        return str(sample["missing"])
    return "text without tokens" if sample["persona_swap"]["others"] else "no other user's persona to try"


def notes(spec: PersonaSwapSpec, samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """What readers must know: that there were fewer other users than asked for, or personas left out."""
    swaps = [sample["persona_swap"] for sample in samples]
    fewest = min((len(swap["others"]) + swap["left_out"] for swap in swaps), default=spec.others)
    told = []
    if fewest < spec.others:
        told.append(
            f"persona_swap: some answers had {counted(fewest, 'other persona')} to be tried with, not "
            f"{spec.others}"
        )
    if left_out(samples):
        alone = sum(bool(swap["left_out"] and not swap["others"]) for swap in swaps)
        told.append(
            f"persona_swap: {counted(left_out(samples), 'comparison')} left out, as no item of one "
            f"persona fits into the prompt; answers with none left: {alone}"
        )
    return told


def left_out(samples: Sequence[Mapping[str, Any]]) -> int:
    """Comparisons that were not made because no item of one of the two personas fits into the prompt."""
    return sum(sample["persona_swap"]["left_out"] for sample in samples)
