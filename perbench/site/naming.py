"""What plugins say of themselves: names of metrics and kinds of tasks for readers, defaults of trainers."""

from __future__ import annotations

from typing import Any

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.metrics import text_metric


def task_title(protocol: str) -> str:
    """ "writing"; the protocol's own name if it gives none or is not installed."""
    return str(getattr(_protocol(protocol), "title", "")) or protocol


def metric_title(protocol: str, metric: str) -> str:
    """ "ROUGE-L"; the metric's name if neither its protocol nor its own file gives another."""
    titles = getattr(_protocol(protocol), "titles", {})
    if metric and metric not in titles:
        try:
            titles = text_metric(metric).titles
        except PerbenchError:  # not a metric of answers, or its plugin is not installed
            titles = {}
    return str(titles.get(metric, metric))


def default_of(trainer: str, param: str) -> Any:
    """A hyperparameter's default; None if it has none or the trainer is not installed."""
    try:
        return getattr(plugins.get("trainer", trainer).load_class(), param, None)
    except PerbenchError:
        return None


def _protocol(name: str) -> Any:
    """The class of a protocol, None if it is not installed."""
    try:
        return plugins.get("protocol", name).load_class() if name else None
    except PerbenchError:
        return None
