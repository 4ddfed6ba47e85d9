"""Records and per-sample scores as DataFrames."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perbench import results
from perbench.errors import PerbenchError
from perbench.store import read_records
from perbench.store.check import read_scores

FINISHED = Path(__file__).parents[1] / "golden" / "finished"


def test_a_row_per_cell_with_every_metric() -> None:
    pytest.importorskip("pandas")
    found = results.load(FINISHED).records.set_index("identity")
    records = [record for record, _ in read_records(FINISHED)]
    assert sorted(found.index) == sorted(record.identity for record in records)
    for record in records:
        row = found.loc[record.identity]
        assert (row["kind"], row["status"], row["seconds"]) == (record.kind, "done", record.seconds)
        for name, metric in record.metrics.items():
            assert row[f"{name}.value"] == metric.value
            assert (row[f"{name}.n"], row[f"{name}.missing"]) == (metric.n, metric.missing)
            assert row[f"{name}.better"] == record.better_of(name)
            if metric.ci is not None:
                assert (row[f"{name}.ci_low"], row[f"{name}.ci_high"]) == metric.ci
        for name, count in record.counts.items():
            assert row[f"counts.{name}"] == count
    trained = found[found["kind"] == "train"].iloc[0]
    assert trained.filter(like=".value").isna().all()
    assert trained["target"] is None or trained.isna()["target"]


def test_a_row_per_sample_with_its_user() -> None:
    pytest.importorskip("pandas")
    samples = results.load(str(FINISHED)).samples
    size = 0
    for record, folder in read_records(FINISHED):
        scores = read_scores(folder)
        if scores is None:
            continue
        size += len(scores.ids)
        rows = samples[samples["identity"] == record.identity]
        assert (list(rows["id"]), list(rows["cluster"])) == (scores.ids, scores.clusters)
        assert set(rows["target"]) == {record.labels.target}
        for name, values in scores.scores.items():
            assert rows[name].dtype == "float64"
            assert [None if value != value else value for value in rows[name]] == values
    assert len(samples) == size > 0


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PerbenchError, match=r"perbench\[results\]"):
        results.load(FINISHED)
