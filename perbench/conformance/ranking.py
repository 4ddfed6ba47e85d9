"""Tests a ranking's contract on short histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from perbench.conformance.persona import EXAMPLES, TEXT, CountingModels, made, named
from perbench.conformance.report import Fault, Report, tried
from perbench.contracts.data import Example
from perbench.contracts.persona import Ranking, Rankings
from perbench.progress import counted


class RankingTry:
    """The checked ranks of examples' items."""

    def __init__(self, ranking: Ranking[Any]) -> None:
        self.ranking = ranking

    def __call__(self, examples: Sequence[Example] = EXAMPLES) -> Rankings:
        models = CountingModels()
        found: object = self.ranking.rank(TEXT, examples, models)
        if not isinstance(found, list) or len(found) != len(examples):
            raise Fault(
                f"must return a list of {len(examples)}, one list of indices per example; got {found!r}"
            )
        for example, places in zip(examples, found, strict=True):
            items = range(len(example.persona))
            if not isinstance(places, list) or len({*places}) != len(places) or not {*places} <= {*items}:
                raise Fault(f"example {example.id}: {places!r} are not distinct, below {len(items)}")
        if strange := {*models.asked} - named(self.ranking):
            raise Fault(f"uses the model {min(strange)!r}, which roles() does not return")
        return found


def check(cls: type[Ranking[Any]], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: `given` are not keys of the ranking.
    """
    ranking = made(cls, "retrieve", given)
    run = RankingTry(ranking)
    return Report(ranking, "rank").run(
        {
            "places": partial(_places, run),
            "alone": partial(_alone, run),
            "reference": partial(_reference, run),
            "same again": partial(_again, run),
            "settings": partial(tried, cls.Keys, given, lambda keys: RankingTry(made(cls, "retrieve", keys))),
        }
    )


def _places(run: RankingTry) -> str:
    left_out = sum(len(one.persona) - len(places) for one, places in zip(EXAMPLES, run(), strict=True))
    return (
        "each item once" if not left_out else f"each item at most once, {counted(left_out, 'item')} left out"
    )


def _alone(run: RankingTry) -> str:
    together = run()
    for example, places in zip(EXAMPLES, together, strict=True):
        if run([example]) != [places]:
            raise Fault(
                f"example {example.id} is ranked differently alone than in a batch, so the result would "
                "depend on --limit; read only the example"
            )
    return "the same alone and among others"


def _reference(run: RankingTry) -> str:
    other = [replace(one, reference="river " + one.reference, extra={}, user="other") for one in EXAMPLES]
    if run(other) != run():
        raise Fault("reads the reference, the user or extra; read only id, question and persona")
    return "what is to be answered is not read"


def _again(run: RankingTry) -> str:
    if run() != run():
        raise Fault("the same examples are ranked differently the second time; use a seed and keep no state")
    return "the same examples, the same places"
