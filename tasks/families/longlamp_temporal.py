"""LongLaMP (arXiv 2407.11016), temporal setting: as the user setting, but split by time, not by user."""

from __future__ import annotations

from .longlamp import LongLaMP, remotes_of, tables_of


class LongLaMPTemporal(LongLaMP):
    """As longlamp, of the configurations TASK_temporal; a family of its own, so that each setting is fetched
    without the other. No commit of the dataset is known to us, so the first fetch pins the newest."""

    remotes = remotes_of("temporal")
    tables = tables_of("temporal")
