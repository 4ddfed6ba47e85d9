"""Shows a user what the other workers of a run do: all of them, however they were started."""

from __future__ import annotations

from perbench.matrix.board import Board
from perbench.matrix.cells import Cell
from perbench.matrix.summary import in_short
from perbench.progress import Progress
from perbench.store import CellRecord, DamagedRecord, RunDir
from perbench.store.check import RECORD


class Watch:
    """Follows a board of cells of a run directory.

    Args:
        lines: whether to show a line for each cell that others finish; otherwise they are counted only.
    """

    def __init__(self, board: Board, run: RunDir, progress: Progress, *, lines: bool) -> None:
        self._board, self._run, self._progress, self._lines = board, run, progress, lines

    def look(self, own: str = "") -> bool:
        """Show what has happened on disk, except for the lease with the token `own`. Returns whether others
        have finished any cell."""
        found = self._board.look()
        for cell in found:
            self._progress.finished(str(cell), self._result(cell) if self._lines else None)
        others = [one for one in self._board.others() if one.token != own]
        self._progress.crew([(one.worker, one.what, one.done, one.total) for one in others])
        return bool(found)

    def _result(self, cell: Cell) -> str:
        folder = self._run.cell(cell.kind, cell.identity)
        try:
            record: CellRecord | None = folder.record()
        except DamagedRecord as damage:
            return str(damage)
        if record is None:
            return ""
        if record.error is not None:
            return f"FAILED: {record.error.message}\n  traceback: {folder.path / RECORD}"
        return in_short(record) or ""
