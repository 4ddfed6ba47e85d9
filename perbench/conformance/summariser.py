"""Tests a summariser's contract on short histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from perbench.conformance.persona import EXAMPLES, HISTORIES, CountingModels, made, named, own_cache
from perbench.conformance.report import Fault, Report, tried
from perbench.contracts.persona import Rewritten, Summariser
from perbench.progress import counted


class SummariserTry:
    """The checked texts for histories."""

    def __init__(self, summariser: Summariser[Any]) -> None:
        self.summariser = summariser

    def __call__(self, histories: Sequence[Sequence[str]] = HISTORIES) -> Rewritten:
        models = CountingModels()
        with own_cache():
            found: object = self.summariser.rewrite(histories, models)
        if not isinstance(found, Rewritten) or len(found.texts) != len(histories):
            raise Fault(f"must return Rewritten with {len(histories)} texts, one per history; got {found!r}")
        for history, text in zip(histories, found.texts, strict=True):
            if not isinstance(text, str) or (text and not history):
                raise Fault(
                    f"{text!r} replaces a history of {counted(len(history), 'item')}; return a text, maybe ''"
                )
        if strange := {*models.asked} - named(self.summariser):
            raise Fault(f"uses the model {min(strange)!r}, which roles() does not return")
        planned = sum(asked.requests for asked in self.summariser.asks(EXAMPLES).values())
        if histories is HISTORIES and models.requests > planned:
            raise Fault(f"makes {counted(models.requests, 'request')}, but asks() returns at most {planned}")
        return found


def check(cls: type[Summariser[Any]], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: `given` are not keys of the summariser.
    """
    summariser = made(cls, "summarise", given)
    run = SummariserTry(summariser)
    return Report(summariser, "rewrite").run(
        {
            "texts": partial(_texts, run),
            "plan": partial(_plan, run),
            "alone": partial(_alone, run),
            "same again": partial(_again, run),
            "settings": partial(
                tried, cls.Keys, given, lambda keys: SummariserTry(made(cls, "summarise", keys))
            ),
        }
    )


def _texts(run: SummariserTry) -> str:
    counts = run().counts
    if not all(isinstance(count, int) for count in counts.values()):
        raise Fault(f"counts must be whole numbers: {counts!r}")
    return f"one per history, none where there are no items; counts {', '.join(counts) or 'nothing'}"


def _plan(run: SummariserTry) -> str:
    roles, asked = {role.name for role in run.summariser.roles()}, {*run.summariser.asks(EXAMPLES)}
    if not asked <= roles:
        raise Fault(f"asks() has {', '.join(sorted(asked - roles))}, which roles() does not return")
    longest = run.summariser.longest()
    if longest < 1:
        raise Fault(f"longest() is {longest}; return the tokens of the longest text it makes")
    return f"at most {longest} tokens each, asks {', '.join(sorted(roles)) or 'no model'}"


def _alone(run: SummariserTry) -> str:
    together = run().texts
    for place, history in enumerate(HISTORIES):
        if run([history]).texts != [together[place]]:
            raise Fault(f"history {place} gets another text alone than in a batch; read only its own items")
    return "the same alone and among others"


def _again(run: SummariserTry) -> str:
    if run() != run():
        raise Fault("the same histories get other texts the second time; use a seed and keep no state")
    return "the same histories, the same texts"
