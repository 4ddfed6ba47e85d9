"""The cell that took longest, and a chart of how long all took."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.results import Loaded, Matrix
from perbench.contracts.section import Block, ColumnHead, RowHead, Section, Table, Value


class Slowest(Section):
    title = "The slowest cell"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        if not loaded.entries:
            return []
        record = max((entry.record for entry in loaded.entries), key=lambda record: record.seconds)
        row = (RowHead(" ".join(record.labels.names)), (Value(record.seconds, digits=1, records=(record,)),))
        seconds = sorted((entry.record.seconds for entry in loaded.entries), reverse=True)
        points = tuple(Point(place, value) for place, value in enumerate(seconds, 1))
        return [
            Table("slowest cell", "cell", (ColumnHead("seconds"),), (row,)),
            Chart(
                "time of cells",
                Axis("cell"),
                Axis("seconds", low=0),
                (Panel("all cells", (Series("cells", points, "method", "steps"),)),),
            ),
        ]
