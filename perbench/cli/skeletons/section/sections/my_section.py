"""my_section: describe in this line what its tables show, for `perbench ls`."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.results import Loaded, Matrix
from perbench.contracts.section import ColumnHead, Section, Table
from perbench.site.rows import head_of
from perbench.site.values import value_of


class MySection(Section):
    """Every metric of every target, in one table per target; the matrix itself shows only headlines.

    It has a page of its own, named as this file; `page = "index"` would put it on the first one.
    """

    title = "All metrics"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        tables = []
        for place, column in enumerate(matrix.columns):
            cells = [outcomes[place].records for _, outcomes in matrix.rows]
            names = sorted({name for records in cells for record in records for name in record.metrics})
            rows = tuple(
                (head_of(row), tuple(value_of(records, name) for name in names))
                for (row, _), records in zip(matrix.rows, cells, strict=True)
            )
            heads = tuple(map(ColumnHead, names))
            tables.append(Table("all metrics", "trained", heads, rows, column.target, column.apart))
        return tables
