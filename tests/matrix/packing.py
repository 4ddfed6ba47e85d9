"""A small plugin root with a trainer and a metric, and how sites of its run are compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.conftest import Root

TRAINER = '''"""Cross-entropy, times a factor of another file."""

import os
from pathlib import Path

from perbench.api import Trainer

from .shared import FACTOR

if place := os.environ.get("IMPORTED"):
    Path(place).touch()


class Doubled(Trainer):
    def loss(self, batch):
        logp = batch.factual.logp
        return -FACTOR * logp, logp.new_ones(logp.shape)
'''
METRIC = '''"""The share of vowels."""

from perbench.contracts.metric import UNIT, Measured, TextMetric, mean_metric


class Vowels(TextMetric):
    scale = UNIT

    def measure(self, name, texts):
        values = [sum(c in "aeiou" for c in one) / max(1, len(one)) for one in texts.predictions]
        return Measured(mean_metric(values, texts.clusters, "vowels"), values)
'''


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def differing(one: Path, other: Path) -> set[str]:
    """The files in which two sites differ."""
    first, second = tree(one), tree(other)
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@dataclass
class Packed:
    """A finished run, its pages and its pack; `root`: tasks and a model, `extra`: a trainer and a metric."""

    root: Root
    extra: Root
    run: Path
    site: Path
    pack: Path


def fill(root: Root, extra: Root) -> None:
    extra.path.mkdir()
    extra.trainer("doubled", TRAINER)
    extra.trainer("shared", "FACTOR = 2.0\n")
    extra.trainer("unused", TRAINER.replace("Doubled", "Unused"))
    (extra.path / "metrics").mkdir()
    (extra.path / "metrics" / "vowels.py").write_text(METRIC)
    root.task("writing", license="CC-BY-4.0", redistributable=True)
    root.task("other", license="Not stated")
    root.matrix(
        trainers=["ce", "doubled"],
        targets=["tiny/writing", "tiny/other"],
        identifiers=[],
        tasks={name: {"metrics": ["rouge1", "vowels"]} for name in ("tiny/writing", "tiny/other")},
        training={"epochs": 1.0, "batch_size": 3, "learning_rate": 0.005, "precision": "fp32"},
    )


def not_shared(cell: Path) -> bool:
    return bool(json.loads((cell / "cell.json").read_text())["labels"]["target"] == "tiny/other")


def texts_of(cells: set[str]) -> set[str]:
    """The files of a site that hold or list samples of these cells, all on one target."""
    own = {file for name in cells for file in (f"cells/{name}.html", f"data/samples/{name}.js")}
    return {*own, "data/samples/target-1.js", "data/samples/cells.js", "files.json"}
