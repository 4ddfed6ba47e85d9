from pathlib import Path
from typing import Any

from perbench.contracts.executor import Job
from perbench.plugins import get, include
from perbench.store import CellRecord

include(Path(__file__).parents[1])
RECORD: dict[str, Any] = {
    "kind": "eval",
    "inputs": {},
    "status": "done",
    "labels": {"model": "tiny", "target": "notes", "seed": 0},
    "seconds": 1.0,
    "started": "2026-01-01T10:00:00Z",
    "finished": "2026-01-01T10:00:01Z",
    "environment": {},
    "command": "perbench run",
}


def work(job: Job) -> CellRecord | None:
    """Replaces the work of a run: nothing is evaluated, and the cell "lost" cannot be written."""
    return None if job.name == "lost" else CellRecord.model_validate({**RECORD, "identity": job.identity})


def test_there_is_a_record_of_every_job_that_could_be_written() -> None:
    jobs = [Job("{}", "eval", name * 64, name, "tiny") for name in "ab"] + [
        Job("{}", "eval", "c" * 64, "lost", "tiny")
    ]
    shown: list[str] = []
    executor = get("executor", "my_executor").load_class()(None)
    records = list(executor.execute(jobs, work, shown.append))
    assert [record.identity[0] for record in records] == ["a", "b"]
    assert shown == ["a", "b", "lost"]
