"""The transfer table: intervals of gains, seeds, ranks, and where nothing is concluded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perbench import plugins
from perbench.contracts.metric import mean_metric, summed_metric
from perbench.errors import PerbenchError
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.stats.spread import jackknife, ratio
from perbench.store import CellRecord, Labels, Metric, Scores

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def view(*benches: Bench, baseline: str | None = None) -> SiteView:
    return build_view(load([bench.path for bench in benches], baseline))


RATE = """
from perbench.contracts.metric import TextMetric
from perbench.stats.spread import ratio


class Rate(TextMetric):
    def measure(self, name, texts):
        raise NotImplementedError

    def of_sums(self, name, sums):
        return ratio(sums)
"""
CE = [0.1, 0.2, 0.3, 0.4]
PERCE = [0.3, 0.35, 0.5, 0.65]


def test_a_corpus_level_headline_has_a_difference_without_interval(bench: Bench) -> None:
    def bleu(trainer: str, value: float) -> CellRecord:
        labels = Labels(model="tiny", trainer=trainer, source="s", target="fam/write", seed=0)
        metric = Metric(value=value, n=4, signature="bleu")
        return bench.cell("eval", labels, None, headline="bleu", metrics={"bleu": metric})

    bleu("ce", 20.0)
    bleu("perce", 23.5)
    shown = view(bench)
    gain = shown.matrix.rows[1][1][0].gain
    assert gain is not None
    assert (gain.value, gain.ci) == (3.5, None)
    assert shown.matrix.gains == []


def test_sums_of_samples_give_corpus_scores_intervals(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "root" / "metrics"
    folder.mkdir(parents=True)
    (folder / "rate.py").write_text(RATE, encoding="utf-8")
    users = ["a", "b", "c", "d"]
    counts = {"ce": [[1.0, 4.0], [2.0, 9.0], [0.0, 3.0], [3.0, 4.0]], "perce": [[2, 4], [6, 9], [1, 3], None]}
    for trainer, rows in counts.items():
        kept = [row for row in rows if row is not None]
        metric = summed_metric(ratio, kept, users[: len(kept)], n=len(kept), signature="rate")
        scores = Scores(ids=users, clusters=users, scores={}, sums={"rate": rows})
        labels = Labels(model="tiny", trainer=trainer, source="s", target="fam/write", seed=0)
        bench.cell("eval", labels, scores, headline="rate", metrics={"rate": metric})
    bare = view(bench).matrix.rows[1][1][0].gain
    assert bare is not None
    assert (bare.value, bare.ci) == (pytest.approx(9 / 16 - 6 / 20), None)  # whose metric is not here
    monkeypatch.setenv("PERBENCH_INCLUDE", str(folder.parent))
    gain = view(bench).matrix.rows[1][1][0].gain
    monkeypatch.undo()
    plugins.discover()
    assert gain is not None
    assert (gain.value, gain.n, gain.missing) == (pytest.approx(9 / 16 - 3 / 16), 3, 1)
    # Without a: 7/12 - 2/12; without b: 3/7 - 1/7; without c: 8/13 - 3/13.
    spread = jackknife(6 / 16, np.array([5 / 12, 2 / 7, 5 / 13]), np.ones(3))
    assert spread is not None
    assert gain.ci == pytest.approx(spread.interval(6 / 16))


def test_seeds_widen_a_gain_and_a_single_one_does_not(bench: Bench) -> None:
    bench.evaluate([0.1, 0.2, 0.3, 0.4, 0.5], trainer="ce", source="s")
    for seed, add in enumerate((0.0, 0.3)):
        bench.evaluate([0.2 + add, 0.3, 0.5, 0.5 + add, 0.7], trainer="perce", source="s", seed=seed)
    bench.evaluate([0.1, 0.3, 0.2, 0.4, 0.4])
    base, _, perce = (cells[0] for _, cells in view(bench).matrix.rows)
    assert perce.gain is not None
    assert perce.gain.seeds == 1  # of the baseline
    assert perce.mean is not None
    assert perce.mean.ci is not None
    alone = mean_metric([0.35, 0.3, 0.5, 0.65, 0.7], list("abcde"), "s").ci
    assert alone is not None
    assert perce.mean.ci[1] - perce.mean.ci[0] > 1.1 * (alone[1] - alone[0])
    assert base.mean is not None
    assert base.mean.aside == ""


def test_ranks_leave_room_for_what_is_not_told_apart(bench: Bench) -> None:
    low = [0.1, 0.2, 0.3, 0.2, 0.1, 0.3, 0.2, 0.2]
    noise = [0.01, -0.02, 0.02, -0.01, 0.0, 0.01, -0.01, 0.01]
    other = [0.02, -0.01, -0.02, 0.0, 0.01, 0.0, 0.01, -0.02]
    bench.evaluate(low, trainer="ce", source="s")
    bench.evaluate([a + b for a, b in zip(low, noise, strict=True)], trainer="mid", source="s")
    bench.evaluate([a + 0.5 + b for a, b in zip(low, other, strict=True)], trainer="top", source="s")
    shown = view(bench)
    assert {row.trainer: cells[0].rank for row, cells in shown.matrix.rows} == {
        "ce": (2, 3),
        "mid": (2, 3),
        "top": (1, 1),
    }
    assert shown.matrix.columns[0].ranked == 3
    assert shown.matrix.columns[0].detectable is not None
    assert [cells[0].gain and cells[0].gain.remains for _, cells in shown.matrix.rows] == [None, False, True]


def test_of_two_users_nothing_is_concluded(bench: Bench) -> None:
    for trainer, level in (("ce", 0.1), ("mid", 0.2), ("top", 0.6)):
        bench.evaluate([level, level + 0.1], trainer=trainer, source="s")
    shown = view(bench)
    for _, (cell,) in shown.matrix.rows:
        assert cell.mean is not None
        assert (cell.rank, cell.mean.ci) == (None, None)
        assert cell.mean.aside.startswith("2 users")
    assert shown.matrix.gains == []


def test_an_interval_of_an_older_perbench_says_so(bench: Bench) -> None:
    old = Metric(value=0.2, ci=(0.1, 0.3), n=4, signature="rougeL|test")
    bench.evaluate(CE, trainer="ce", source="s", metrics={"rougeL": old})
    bench.evaluate(PERCE, trainer="perce", source="s")
    ce, perce = (cells[0].mean for _, cells in view(bench).matrix.rows)
    assert ce is not None
    assert perce is not None
    assert [flag.short for flag in ce.flags] == ["old interval"]
    assert perce.flags == ()


def test_one_sample_under_two_users_is_refused(bench: Bench) -> None:
    bench.evaluate(CE, trainer="ce", source="s", users=["a", "b", "c", "d"])
    bench.evaluate(PERCE, trainer="perce", source="s", users=["a", "b", "c", "x"])
    with pytest.raises(PerbenchError, match="fam/write: sample 's3' belongs to two users"):
        view(bench)
