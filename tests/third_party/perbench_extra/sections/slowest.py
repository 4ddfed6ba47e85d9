"""The cell that took longest."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.results import Loaded, Matrix
from perbench.contracts.section import ColumnHead, RowHead, Section, Table, Value


class Slowest(Section):
    title = "The slowest cell"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        if not loaded.entries:
            return []
        record = max((entry.record for entry in loaded.entries), key=lambda record: record.seconds)
        row = (RowHead(" ".join(record.labels.names)), (Value(record.seconds, digits=1, records=(record,)),))
        return [Table("slowest cell", "cell", (ColumnHead("seconds"),), (row,))]
