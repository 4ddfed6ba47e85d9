"""Tests a metric's contract on a few answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import getfile
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.conformance.report import Fault, Report
from perbench.contracts.metric import Measured, MetricAbsent, TextMetric, Texts
from perbench.errors import PerbenchError, SpecError
from perbench.metrics import check_measured
from perbench.specs.faults import check as validated
from perbench.specs.yaml import Place

ROWS = (
    ("ann", "I walked my dog along the river.", "I walked my dog Pip by the river.", False),
    ("ann", "Tea.", "Tea", False),
    ("ann", "", "An answer may be empty.", False),
    ("ben", "  Soup\nwith beans,\tand no meat ", "Soup with beans and no meat.", True),
    ("ben", "I'll paint the red door \u2014 na\u00efve \U0001f600", "I will paint the red door.", False),
    ("cleo", "\u6211\u559c\u6b22\u8336", "\u6211\u559c\u6b22\u7eff\u8336\u3002", False),
    ("cleo", "\u05e9\u05dc\u05d5\u05dd word " * 60, "Peace \u05e9\u05dc\u05d5\u05dd", True),
    ("cleo", "Nothing to compare with.", " ", False),
)
"""User, answer, reference, whether it was truncated."""
ALL = range(len(ROWS))


def texts(chosen: Sequence[int] = ALL) -> Texts:
    users, predictions, references, cut = ([ROWS[place][column] for place in chosen] for column in range(4))
    return Texts(predictions, references, users, cut)  # type: ignore[arg-type]


class MetricTry:
    """A metric's values of some of the answers, under each of its names."""

    def __init__(self, metric: TextMetric, names: Sequence[str]) -> None:
        self.metric, self.names = metric, names

    def __call__(self, chosen: Sequence[int] = ALL) -> dict[str, Measured]:
        found = {}
        for name in self.names:
            try:
                found[name] = measured = self.metric.measure(name, texts(chosen))
            except MetricAbsent as absent:
                raise Fault(f"cannot be tested on this machine: {absent}") from None
            if not isinstance(measured, Measured):
                raise Fault(f"measure({name!r}) returned {type(measured).__name__}; return Measured")
            check_measured(name, self.metric.scale, measured, len(chosen))
            n, missing = measured.metric.n, measured.metric.missing
            if n + missing != len(chosen):
                raise Fault(f"{name}: n {n} and missing {missing} do not add up to the {len(chosen)} samples")
        return found


def check(cls: type[TextMetric], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: `given` lacks a key that the metric requires, or holds others than its keys.
        SpecError: they are not valid.
    """
    names = cls.names or (cls.__module__.rpartition(".")[2],)
    for key, info in cls.Keys.model_fields.items():
        if info.is_required() and key not in given:
            raise PerbenchError(f"metric {names[0]} reads a key without default: give --param {key}=VALUE")
    spec, problems = validated(cls.Keys, given, lambda path: Place("--param"))
    if spec is None:
        raise SpecError(problems)
    metric = cls(spec)
    run = MetricTry(metric, names)
    checks: dict[str, Callable[[], str]] = {
        "values": partial(_values, run),
        "names": partial(_names, cls, names),
        "mean": partial(_mean, run),
        "sums": partial(_sums, run),
        "odd texts": partial(_odd, run),
        "nothing": partial(_nothing, run),
        "order": partial(_order, run),
        "same again": partial(_again, run),
    }
    return Report(metric, "measure").run(checks)


def _values(run: MetricTry) -> str:
    for name, measured in run().items():
        if not measured.metric.signature:
            raise Fault(
                f"{name}: the signature is empty; give what determines the value: library, version, options"
            )
    scale = run.metric.scale
    better = f"{scale.better} is better" if scale.better else "neither end is better"
    return f"one per sample or of the corpus, from {scale.bounds[0]:g} to {scale.bounds[1]:g}, {better}"


def _names(cls: type[TextMetric], names: Sequence[str]) -> str:
    file = Path(getfile(cls)).resolve()
    found = [
        name for (_, name), plugin in plugins.discover("metric").items() if plugin.path.resolve() == file
    ]
    if sorted(found) != sorted(names):
        raise Fault(
            f"names is {names!r}, but {found!r} when read without import; write `names` as a literal tuple "
            "in the class"
        )
    return ", ".join(names)


def _mean(run: MetricTry) -> str:
    for name, measured in run().items():
        if measured.per_sample is None:
            continue
        scored = [value for value in measured.per_sample if value is not None]
        mean = sum(scored) / len(scored) if scored else None
        if not _close(mean, measured.metric.value) or measured.metric.n != len(scored):
            raise Fault(
                f"{name} is {measured.metric.value}, n {measured.metric.n}, but the mean of per_sample is "
                f"{mean}, n {len(scored)}; use mean_metric, or give no per_sample"
            )
    return "the value is the mean of the scored samples, where there are values per sample"


def _sums(run: MetricTry) -> str:
    """Gains of corpus-level metrics are computed from the samples' sums."""
    held = 0
    for name, measured in run().items():
        if measured.sums is None:
            continue
        import numpy as np

        rows = np.array([row for row in measured.sums if row is not None], dtype=np.float64)
        if not len(rows):
            continue
        held += 1
        found = float(run.metric.of_sums(name, rows.sum(axis=0, keepdims=True))[0])
        if not _close(found, measured.metric.value):
            raise Fault(f"{name} is {measured.metric.value}, but of_sums() of its sums is {found}")
    return (
        "of_sums() of the samples' sums is the value"
        if held
        else "none here: needed for gains of corpus-level metrics only"
    )


def _odd(run: MetricTry) -> str:
    for place in ALL:
        try:
            run([place])
        except Exception as error:
            error.add_note(f"the answer was {ROWS[place][1]!r}, the reference {ROWS[place][2]!r}")
            raise
    return "empty, white space, long and beyond ASCII, each alone"


def _nothing(run: MetricTry) -> str:
    """A cell may have no answers at all, since metrics never get missing ones."""
    for name, measured in run([]).items():
        if measured.metric.value is not None or measured.per_sample:
            raise Fault(f"{name} is {measured.metric.value} of no samples; return the value None")
    return "no samples, no value"


def _order(run: MetricTry) -> str:
    order = [*reversed(ALL)]
    for name, (there, back) in _both(run(), run(order)).items():
        moved = None if there.per_sample is None else [there.per_sample[place] for place in order]
        if not _close(there.metric.value, back.metric.value) or (
            moved is not None and not all(map(_close, moved, back.per_sample or ()))
        ):
            raise Fault(f"{name} depends on the order of the samples; score each by itself")
    return "the same in any order of the samples"


def _again(run: MetricTry) -> str:
    for name, (one, other) in _both(run(), run()).items():
        if one != other:
            raise Fault(f"{name} differs the second time; use no randomness and keep no state")
    given = texts()
    for name in run.names:
        run.metric.measure(name, given)
    if given != texts():
        raise Fault("changes its texts, which other metrics read, too; copy them first")
    return "the same texts, the same values; nothing given is changed"


def _both(one: dict[str, Measured], other: dict[str, Measured]) -> dict[str, tuple[Measured, Measured]]:
    return {name: (one[name], other[name]) for name in one}


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
