"""The run directory: atomic records, samples appended as they finish, resume, locks."""

from perbench.store.cell import CellDir
from perbench.store.check import DamagedRecord
from perbench.store.leases import LostLock
from perbench.store.record import CellRecord, EndpointUse, Failure, Labels, Metric, Scores, TurnValue
from perbench.store.rundir import RunDir, read_records

__all__ = [
    "CellDir",
    "CellRecord",
    "DamagedRecord",
    "EndpointUse",
    "Failure",
    "Labels",
    "LostLock",
    "Metric",
    "RunDir",
    "Scores",
    "TurnValue",
    "read_records",
]
