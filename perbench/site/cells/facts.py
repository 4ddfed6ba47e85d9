"""The top of a cell's page: its name in a sentence, and the few facts a reader needs first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from perbench.contracts.missing import MISSING, in_words
from perbench.contracts.results import Entry, interval_aside
from perbench.disk.digests import canonical_digest
from perbench.progress import counted, duration
from perbench.site.cells.places import CellPlace
from perbench.site.cost import machine, tokens_read
from perbench.site.format import between, digits_for, measured, number
from perbench.site.naming import metric_title
from perbench.store import CellRecord

OTHER = ("missing_scores", "missing_second_scores")
"""Counts of verdicts, not of answers."""


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    detail: str = ""


def sentence(record: CellRecord) -> str:
    """ "perce, trained on fam/read, evaluated on fam/write"."""
    labels = record.labels
    who = labels.identifier or labels.trainer or labels.model
    trained = f", trained on {labels.source}" if labels.source else ", not trained" * (not labels.identifier)
    on = f", evaluated on {labels.target}" if labels.target else ""
    return f"{who}{trained}{on}" + (": failed" if record.status == "failed" else "")


def cut(record: CellRecord) -> str:
    """ "7 of 8 answers cut at 32 tokens"; "" without any."""
    number_ = record.counts.get("truncated", 0)
    if not number_:
        return ""
    target = record.inputs.get("target")
    sampling = target.get("sampling") if isinstance(target, Mapping) else None
    limit = sampling.get("max_new_tokens") if isinstance(sampling, Mapping) else None
    at = f"at {limit} tokens" if isinstance(limit, int) else "at the token limit"
    answers = record.counts.get("samples", number_) - sum(without_answer(record).values())
    return f"{number_} of {counted(answers, 'answer')} cut {at}"


def without_answer(record: CellRecord) -> dict[str, int]:
    """Numbers of samples without an answer, by reason."""
    return {
        name.removeprefix(f"{MISSING}_"): count
        for name, count in record.counts.items()
        if name.startswith(f"{MISSING}_") and name not in OTHER and count
    }


def facts(
    entry: Entry,
    place: CellPlace | None,
    training: CellRecord | None,
    base: CellRecord | None,
    over: str | None,
) -> list[Fact]:
    """`training` made the model, `base` is the training of the baseline `over` in the same setting."""
    record = entry.record
    if record.kind == "train":
        return [*_training_facts(record, base, over)]
    found = [*_scores(record, place), *_gain(place, over), *_sizes(entry), *_judge(record)]
    if training is not None:
        found.append(_training(training, base, over))
    found.append(_evaluation(record))
    return [*found, *_requests(record)]


def _scores(record: CellRecord, place: CellPlace | None) -> Iterator[Fact]:
    names = [record.headline] if record.headline else []
    if record.kind == "identify":
        names += [name for name in ("precision", "recall") if name != record.headline]
    for name in names:
        metric = record.metrics.get(name)
        if metric is None:
            continue
        digits = place.column.digits if place is not None else digits_for([metric.value])
        ci = f"95% interval {between(metric.ci, digits)}" if metric.ci else ""
        detail = ", ".join(filter(None, (ci, interval_aside(metric.ci, metric.users))))
        value = "no score" if metric.value is None else number(metric.value, digits)
        yield Fact(title_of(record, name), value, detail)


def title_of(record: CellRecord, metric: str) -> str:
    """The metric's name as readers know it."""
    target = record.inputs.get("target")
    protocol = target.get("protocol", "") if isinstance(target, Mapping) else ""
    title = _title(str(protocol), metric)
    return title[:1].upper() + title[1:] if title.islower() else title


@cache
def _title(protocol: str, metric: str) -> str:
    return metric_title(protocol, metric)


def _gain(place: CellPlace | None, baseline: str | None) -> Iterator[Fact]:
    found = place.gain(baseline) if place is not None else None
    if found is not None:
        yield Fact(f"Gain over {baseline}", *found)


def _sizes(entry: Entry) -> Iterator[Fact]:
    record = entry.record
    if (size := record.counts.get("samples", entry.size)) is None:
        return
    absent = without_answer(record)
    users = [counted(entry.users, "user")] if entry.users else []
    failed = f"{sum(absent.values())} without an answer: {in_words(absent)}" if absent else "none missing"
    empty = record.counts.get("empty")
    words = [*users, failed, *([] if empty is None else [f"{empty} empty" if empty else "none empty"])]
    yield Fact("From", counted(size, "example" if record.kind == "identify" else "answer"), ", ".join(words))


def _judge(record: CellRecord) -> Iterator[Fact]:
    parts = [part for metric in record.metrics.values() for part in metric.signature.split("|")]
    judges = dict.fromkeys(part.removeprefix("judge:") for part in parts if part.startswith("judge:"))
    if judges:
        silent = record.counts.get("missing_scores", 0)
        words = [f"{counted(silent, 'verdict')} missing" if silent else "no verdict missing"]
        if any("uncalibrated" in note for note in record.notes):
            words.insert(0, "uncalibrated: no measure of quality")
        yield Fact("Judge", ", ".join(judges), "; ".join(words))


def _training(record: CellRecord, base: CellRecord | None, baseline: str | None) -> Fact:
    """Time and tokens, also as multiples of the baseline's: of time on the same kind of machine only."""
    if not baseline or base is None or base.identity == record.identity:
        base = None
    words = []
    if base is not None and base.seconds and machine(base) == machine(record):
        words.append(f"{record.seconds / base.seconds:.2f} times {baseline}’s")
    if tokens := tokens_read(record):
        others = tokens_read(base) if base is not None else 0
        times = f", {tokens / others:.2f} times{'' if words else f' {baseline}’s'}" if others else ""
        words.append(f"{counted(tokens, 'token')} read{times}")
    return Fact("Training", duration(record.seconds), "; ".join([*words, device(record)]))


def _evaluation(record: CellRecord) -> Fact:
    tokens = record.tokens.get("generated")
    words = [f"{counted(tokens, 'token')} written"] if tokens else []
    return Fact("Evaluation", duration(record.seconds), "; ".join([*words, device(record)]))


def device(record: CellRecord) -> str:
    """ "2 CPU cores" or the GPU's name."""
    name, cores = record.environment.get("device"), record.environment.get("cpus")
    if isinstance(name, str) and name != "cpu":
        return name
    return counted(cores, "CPU core") if isinstance(cores, int) else "CPU"


def _requests(record: CellRecord) -> Iterator[Fact]:
    for name, use in record.endpoints.items():
        cost = f"; {use.cost:g} {use.currency}" if use.cost is not None else ""
        detail = (
            f"{counted(use.answers, 'answer')}, {use.reused} from the cache; "
            f"{use.input_tokens:,} tokens read, {use.output_tokens:,} written"
        )
        yield Fact(f"Requests to {name}", f"{use.requests:,}", detail + cost)


def _training_facts(record: CellRecord, base: CellRecord | None, over: str | None) -> Iterator[Fact]:
    log = record.training_log
    if log and "loss" in log[-1]:
        first = f"{measured(log[0]['loss'])} at step {log[0].get('step', 0):g}" if "loss" in log[0] else ""
        yield Fact("Last loss", measured(log[-1]["loss"]), first)
    if steps := record.counts.get("steps"):
        examples = record.counts.get("examples")
        yield Fact("Steps", f"{steps:,}", counted(examples, "example") if examples is not None else "")
    yield _training(record, base, over)
    if record.peak_memory_mb is not None:
        yield Fact("Peak memory", f"{record.peak_memory_mb:,} MB", device(record))


def baseline_trainings(records: Iterable[CellRecord], baseline: str | None) -> dict[str, CellRecord]:
    """The baseline's trainings by `setting_of`."""
    chosen = (one for one in records if one.kind == "train" and one.labels.trainer == baseline)
    return {setting_of(one): one for one in chosen if one.status == "done"}


def setting_of(record: CellRecord) -> str:
    """A digest of all inputs of a training but the trainer."""
    shared = {key: value for key, value in record.inputs.items() if key not in ("trainer", "seed")}
    return canonical_digest([shared, record.labels.seed])
