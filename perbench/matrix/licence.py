"""Whether texts of a task may be given to others, with results or in packs."""

from __future__ import annotations

from perbench.shapes.task import TaskSpec


def withheld_texts(task: TaskSpec | None, *, elsewhere: bool) -> str | None:
    """Why the texts must not be shared, or None.

    Args:
        task: None if it is not known here.
        elsewhere: whether a matrix takes the rows from elsewhere than the task's file.
    """
    if task is None:
        return "its task is not known here, so neither is its license"
    if elsewhere:
        return "the matrix takes other data than the task's, of unknown license"
    return None if task.redistributable else f"not redistributable (license: {task.license})"
