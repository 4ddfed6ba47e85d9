"""How often intervals miss the truth, and how often marks are false: perbench's method beside the one before.

    python benchmarks/coverage.py                    # all parts
    python benchmarks/coverage.py --quick ranks      # a fifth of the repetitions, one part

Scores are simulated, so that the truth is known; perbench.stats computes the intervals as it does for a page.
The method before was the percentile bootstrap over users, with seeds averaged. Users of one task are alike in
part: the intraclass correlation is .3. "4 each" are 4 samples per user, "1-30" are log-uniform numbers.
Tables are Markdown; docs/statistics.md has those of a full run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from perbench.stats.across import Part, mean_gain
from perbench.stats.paired import Aligned, Method, Sampled
from perbench.stats.spread import (
    Floats,
    Spread,
    added,
    holm,
    jackknife,
    left_out,
    mean_spread,
    rank_ranges,
    ratio,
    share_interval,
)

USERS = (2, 3, 5, 8, 20, 45, 200)
SIZES = ("4 each", "1-30")
ICC = 0.3
DRAWS = 999
CUTS = np.array([0.03, 0.08, 0.20, 0.55])
"""How often a rating is at most 1, 2, 3, 4: most are 4 and 5."""
TRUE = {
    "normal": 0.0,
    "skewed": float(np.exp(0.5)),
    "rating": float(5 - CUTS.sum()),
    "ROUGE-like": float(0.8 * ndtr(-1.2 / np.sqrt(1 + 0.64))),
}
Interval = tuple[float, float] | None
Rng = np.random.Generator


def sizes_of(rng: Rng, how: str, shape: tuple[int, ...]) -> np.ndarray:
    if how == "4 each":
        return np.full(shape, 4)
    return np.floor(np.exp(rng.random(shape) * np.log(31))).astype(int).clip(1, 30)


def scores(rng: Rng, kind: str, sizes: np.ndarray) -> tuple[Floats, np.ndarray]:
    """Scores [..., G, most] of users with so many samples [..., G], and which of them there are."""
    shape = (*sizes.shape, int(sizes.max()))
    z = np.sqrt(ICC) * rng.standard_normal((*sizes.shape, 1)) + np.sqrt(1 - ICC) * rng.standard_normal(shape)
    if kind == "skewed":
        z = np.exp(z)
    elif kind == "ROUGE-like":  # in 0..1, skewed, one in five is 0
        z = ndtr(-1.2 + 0.8 * z) * (rng.random(shape) > 0.2)
    elif kind == "rating":
        z = 1.0 + sum((z > cut).astype(float) for cut in ndtri(CUTS))
    return z, np.arange(shape[-1]) < sizes[..., None]


def sums_of(rng: Rng, kind: str, sizes: np.ndarray) -> Floats:
    """Each user's sum of scores [..., G]; a kind "right .1" is of answers that are right so often."""
    if kind.startswith("right"):
        p, k = float(kind.split()[1]), 1 / ICC - 1
        return rng.binomial(sizes, rng.beta(p * k, (1 - p) * k, size=sizes.shape)).astype(float)
    z, there = scores(rng, kind, sizes)
    return (z * there).sum(-1)


@lru_cache(maxsize=1)
def drawn_times(users: int) -> Floats:
    """How often each user is drawn, [DRAWS, users]; the same for all repetitions of a point."""
    return (
        np.random.default_rng(users).multinomial(users, np.full(users, 1 / users), size=DRAWS).astype(float)
    )


def percentile(statistic: Callable[[Floats], Floats], sums: Floats) -> Interval:
    """The method before: quantiles of the statistic under users drawn with replacement. sums: [G, K]."""
    values = statistic(drawn_times(len(sums)) @ sums)
    values = values[~np.isnan(values)]
    lo, hi = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return float(lo), float(hi)


class Tally:
    """How often intervals of two methods miss, and how wide they are."""

    def __init__(self) -> None:
        self.missed: tuple[list[bool], list[bool]] = ([], [])
        self.widths: tuple[list[float], list[float]] = ([], [])
        self.none = 0

    def add(self, truth: float, now: Interval, before: Interval) -> None:
        self.none += now is None
        for place, found in enumerate((now, before)):
            if found is not None:
                self.missed[place].append(not found[0] - 1e-12 <= truth <= found[1] + 1e-12)
                self.widths[place].append(found[1] - found[0])

    def __str__(self) -> str:
        """Percent missed, now and before (how much wider); how often no interval is shown, where it is."""
        if not self.missed[0]:
            return f"none / {100 * np.mean(self.missed[1]):.0f}"
        now, before = (100 * np.mean(missed) for missed in self.missed)
        wide, narrow = (float(np.median(widths)) for widths in self.widths)
        wider = f"{wide / narrow:.2g}" if narrow > 1e-9 else "∞"
        share = self.none / (self.none + len(self.missed[0]))
        return f"{now:.0f} / {before:.0f} ({wider})" + (f" -{100 * share:.0f}%" if share > 0.01 else "")


def table(head: Sequence[str], rows: Iterator[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


# ------------------------------------------------------------------------------------- parts


def means(rng: Rng, reps: int) -> None:
    """Means and proportions of one evaluation: % missed now / before (width now / before); "-9%": no interval
    in so many cases"""

    def point(kind: str, how: str, users: int) -> str:
        tally = Tally()
        every = sizes_of(rng, how, (reps, users))
        for sums, sizes in zip(sums_of(rng, kind, every), every.astype(float), strict=True):
            rows = np.stack([sums, sizes], axis=1)
            value, spread = float(sums.sum() / sizes.sum()), mean_spread(sums, sizes)
            found: Interval = None
            if spread is not None and kind.startswith("right"):
                found = share_interval(value, spread, int(sizes.sum()), users)
            elif spread is not None:
                found = spread.interval(value)
            truth = float(kind.split()[1]) if kind.startswith("right") else TRUE[kind]
            tally.add(truth, found, percentile(ratio, rows))
        return str(tally)

    kinds = [*TRUE, "right .02", "right .1", "right .5"]
    table(
        ["scores", "samples", *(f"{users} users" for users in USERS)],
        ([kind, how, *(point(kind, how, users) for users in USERS)] for kind in kinds for how in SIZES),
    )


def corpora(rng: Rng, reps: int) -> None:
    """Corpus scores: as above"""

    def bleu(sums: Floats) -> Floats:
        return 100 * np.exp(np.log(np.maximum(sums[:, :4], 1e-9) / sums[:, 4:]).mean(axis=-1))

    def f1(sums: Floats) -> Floats:
        return 2 * sums[:, 0] / np.maximum(2 * sums[:, 0] + sums[:, 1] + sums[:, 2], 1e-9)

    def drawn(name: str, sizes: np.ndarray) -> tuple[Floats, Floats]:
        units = sizes * 20
        if name == "F1":
            found = rng.beta(2, 3, size=sizes.shape)
            gold = rng.binomial(units, 0.15)
            right = rng.binomial(gold, found)
            wrong = rng.binomial(units - gold, 0.1 * (1 - found))
            counts = np.stack([right, wrong, gold - right], axis=-1).astype(float)
            return counts, counts.sum(-1)
        level = rng.standard_normal(sizes.shape)
        orders = [rng.binomial(units, ndtr(ndtri(p) + 0.25 * level)) for p in (0.3, 0.12, 0.05, 0.02)]
        return np.stack([*orders, units], axis=-1).astype(float), units.astype(float)

    def point(name: str, how: str, users: int) -> str:
        statistic, tally = {"BLEU-like": bleu, "F1": f1}[name], Tally()
        truth = float(statistic(drawn(name, sizes_of(rng, how, (200_000,)))[0].sum(axis=0)[None])[0])
        for counts, weights in zip(*drawn(name, sizes_of(rng, how, (reps, users))), strict=True):
            value, left = left_out(statistic, counts)
            spread = jackknife(value, left, weights)
            tally.add(truth, spread and spread.interval(value), percentile(statistic, counts))
        return str(tally)

    table(
        ["score", "samples", *(f"{users} users" for users in USERS[1:])],
        (
            [name, how, *(point(name, how, users) for users in USERS[1:])]
            for name in ("BLEU-like", "F1")
            for how in SIZES
        ),
    )


def gains(rng: Rng, reps: int) -> None:
    """Gains, paired by sample: as above. k: the variance that one training of each method adds, over that of
    the users; under 1 seed the interval does not cover it, and says so"""

    def point(kind: str, how: str, seeds: int, k: float, users: int) -> str:
        tally, seen = Tally(), min(reps, 40_000 // users)
        many = sizes_of(rng, how, (2000, users))
        apart = sums_of(rng, kind, many) - sums_of(rng, kind, many)
        by_training = np.sqrt(k / 2) * float((apart.sum(1) / many.sum(1)).std())
        for sizes in sizes_of(rng, how, (seen, users)):
            owner = np.repeat(np.arange(users), sizes)
            ids, names = [str(number) for number in range(len(owner))], [str(number) for number in owner]
            sides = []
            for _ in "ab":
                held, there = scores(rng, kind, sizes)
                rows = held[there] + by_training * rng.standard_normal((seeds, 1))
                sides.append(rows)
            a, b = (Method([Sampled(ids, names, row[:, None]) for row in side]) for side in sides)
            difference = np.bincount(owner, sides[0].mean(0) - sides[1].mean(0))
            before = percentile(ratio, np.stack([difference, sizes.astype(float)], axis=1))
            tally.add(0.0, Aligned([a, b]).gain(0, 1).ci, before)
        return str(tally)

    shapes = [(1, 0.0), (1, 0.5), (3, 0.0), (3, 0.5), (3, 2.0)]
    table(
        ["scores", "samples", "seeds", "k", *(f"{users} users" for users in USERS[1:])],
        (
            [kind, how, str(seeds), f"{k:g}", *(point(kind, how, seeds, k, users) for users in USERS[1:])]
            for kind in ("normal", "rating", "skewed")
            for how in SIZES
            for seeds, k in shapes
            if how == "1-30" or (seeds, k) == (1, 0.0)
        ),
    )


def mean_gains(rng: Rng, reps: int) -> None:
    """Means of 12 gains, of one method from 3 sources on 4 targets with users of their own: % missed, and in
    brackets if the 12 were taken as independent. A user is alike in part on all sources (.5); each training
    adds the same to its 4 targets, with k times the variance that users give to a gain"""

    def point(how: str, seeds: int, k: float, users: int) -> str:
        missed: tuple[list[bool], list[bool]] = ([], [])
        for _ in range(min(reps, 20_000 // users)):
            by_training = np.sqrt(k * 0.14 / users) * rng.standard_normal((2, 3, seeds))
            parts = []
            for target in range(4):
                owner = np.repeat(np.arange(users), sizes_of(rng, how, (users,)))
                ids, names = list(map(str, range(len(owner)))), [f"{target}/{user}" for user in owner]
                alike = rng.standard_normal(users)
                for source in range(3):
                    own = 0.4 * (np.sqrt(0.5) * alike + np.sqrt(0.5) * rng.standard_normal(users))
                    methods = [
                        Method(
                            [
                                Sampled(ids, names, (level + shift + noise)[:, None])
                                for shift, noise in zip(
                                    shifts, 0.5 * rng.standard_normal((seeds, len(owner))), strict=True
                                )
                            ],
                            names=range(seeds),
                        )
                        for level, shifts in (
                            (own[owner], by_training[0, source]),
                            (0.0, by_training[1, source]),
                        )
                    ]
                    sides, seed_names = (("a", source), ("b", source)), (range(seeds), range(seeds))
                    effect = Aligned(methods).effect(0, 1)
                    parts.append(Part(effect, target, sides, seed_names))
            found = mean_gain(parts)
            apart = added([one.spread for part in parts if (one := mean_gain([part])).spread])
            alone = Spread(apart.variance / 144, apart.df)
            for place, ci in enumerate((found.ci, alone.interval(found.value or 0.0))):
                if ci is not None:
                    missed[place].append(not ci[0] <= 0 <= ci[1])
        return "{:.0f} ({:.0f})".format(*(100 * np.mean(held) for held in missed))

    table(
        ["samples", "seeds", "k", *(f"{users} users" for users in USERS[1:])],
        (
            [how, str(seeds), f"{k:g}", *(point(how, seeds, k, users) for users in USERS[1:])]
            for how in SIZES
            for seeds, k in ((1, 0.0), (3, 0.5), (3, 2.0))
        ),
    )


def families(rng: Rng, reps: int) -> None:
    """28 gains in a table (7 methods, 4 columns of the same users; 7 are true, of .8 standard deviations): %
    of tables with a false mark / % of true gains marked"""

    def point(users: int) -> list[str]:
        real = np.arange(28) < 7
        marks: dict[str, list[np.ndarray]] = {"Holm": [], "p <= .05": [], "percentile": []}
        ones = np.ones(users)
        for _ in range(reps):
            base, own = rng.standard_normal((users, 1, 4)), rng.standard_normal((users, 7, 4))
            own = np.sqrt(0.5) * own + np.sqrt(0.5) * rng.standard_normal((users, 7, 1))
            d = ((own - base) / np.sqrt(2)).reshape(users, 28) + 0.8 * real
            p = np.array([_p(mean_spread(column, ones), column) for column in d.T])
            marks["Holm"].append(holm(p) <= 0.05)
            marks["p <= .05"].append(p <= 0.05)
            lo, hi = np.quantile(drawn_times(users) @ d / users, [0.025, 0.975], axis=0)
            marks["percentile"].append((lo > 0) | (hi < 0))
        found = [np.array(held) for held in marks.values()]
        return [
            f"{100 * held[:, ~real].any(axis=1).mean():.0f} / {100 * held[:, real].mean():.0f}"
            for held in found
        ]

    table(
        ["users", "Holm (false / found)", "each interval that excludes 0", "before"],
        ([str(users), *point(users)] for users in (3, 5, 8, 20, 45)),
    )


def _p(spread: Spread | None, values: Floats) -> float:
    found = spread.p(float(values.mean())) if spread else None
    return 1.0 if found is None else found


def ranks(rng: Rng, reps: int) -> None:
    """Ranks of 8 methods: % of tables in which every range holds all ranks that its method may claim (ranks
    in a range)"""
    settings = {
        "all equal": np.zeros(8),
        "two groups": np.repeat([0.0, 0.8], 4),
        "spaced .15": 0.15 * np.arange(8),
        "one best": np.array([0.8] + [0.0] * 7),
    }

    def point(users: int, level: Floats) -> str:
        right, wide = [], []
        best = 1 + (level[None, :] > level[:, None]).sum(axis=1)
        worst = 8 - (level[None, :] < level[:, None]).sum(axis=1)
        ones = np.ones(users)
        for _ in range(reps // 2):
            y = 0.7 * (rng.standard_normal((users, 1)) + rng.standard_normal((users, 8))) + level
            pairs = []
            for i in range(8):
                for j in range(i):
                    d = y[:, i] - y[:, j]
                    pairs.append((i, j, float(d.mean()), _p(mean_spread(d, ones), d)))
            found = np.array(rank_ranges(pairs, 8))
            right.append(bool(((found[:, 0] <= best) & (worst <= found[:, 1])).all()))
            wide.append(float((found[:, 1] - found[:, 0] + 1).mean()))
        return f"{100 * np.mean(right):.0f} ({np.mean(wide):.1f})"

    table(
        ["methods", *(f"{users} users" for users in (5, 8, 20, 45))],
        ([name, *(point(users, level) for users in (5, 8, 20, 45))] for name, level in settings.items()),
    )


PARTS = {
    "means": means,
    "corpora": corpora,
    "gains": gains,
    "mean_gains": mean_gains,
    "families": families,
    "ranks": ranks,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--reps", type=int, default=1000, help="tables per point")
    parser.add_argument("--quick", action="store_true", help="a fifth of them")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    reps = args.reps // 5 if args.quick else args.reps
    for name in args.parts or PARTS:
        start = time.perf_counter()
        print(f"{' '.join((PARTS[name].__doc__ or '').split())}.\n")
        PARTS[name](np.random.default_rng(args.seed), reps)
        print(f"{reps} repetitions, {time.perf_counter() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
