"""Identification: which tokens of a response are personal (PerCE paper, 2.2 and App. B.2).

An identifier scores the tokens of the dev examples, where the task has any, and of the test examples; what
the scores are worth, and under which threshold, is told from the stored samples (`identification_score`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from perbench.api import Identifier, PersonaText, TokenScores
from perbench.context import check_context
from perbench.errors import CellError
from perbench.plugins.faults import place_of
from perbench.prompts.pair import build_pair, build_pairs, build_prompt
from perbench.prompts.persona import render_items
from perbench.prompts.spans import encode_with_spans
from perbench.protocols import missing
from perbench.protocols.base import SampleStore, Scored, chunks
from perbench.protocols.gold import Gold, distractor_spans, gold_spans
from perbench.protocols.identification_score import score_samples

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.data import Dataset
    from perbench.engines.base import Engine, Tick
    from perbench.specs.load import Named
    from perbench.specs.task import TaskSpec

BATCH = 16
"""Examples per call of an identifier and per write. Fixed, so that a resumed run sees the same batches."""


def sample_ids(task: Named[TaskSpec], dataset: Dataset, dev: Dataset | None = None) -> list[str]:
    """The ids of a finished cell's samples, once each."""
    return [example.id for split in (dev, dataset) if split is not None for example in split.examples]


def run_identifier(
    task: Named[TaskSpec],
    dataset: Dataset,
    identifier: Identifier,
    engine: Engine | None,
    store: SampleStore,
    *,
    dev: Dataset | None = None,
    tick: Tick,
) -> dict[str, int]:
    """Score every example of `dev` and of `dataset`, the test split, that has no stored sample yet; see
    `_sample` for what is stored. Examples of one user stand together: methods may share work among them.

    Returns:
        `response`: tokens of all stored samples. Of what this call scored, for throughput: `timed_examples`,
        `timed_tokens` and `timed_ms`, the milliseconds spent on prompts and scores, loading not included.

    Raises:
        PerbenchError: an example too long for the model.
        CellError: the identifier's answer does not fit what it was given; more examples than the task allows
            are without one.
    """
    splits = {"dev": dev.examples if dev is not None else [], "test": dataset.examples}
    if engine is not None and identifier.needs_tokens:
        splits = {name: _fitting(task.spec, name, part, engine, store) for name, part in splits.items()}
    gold = {example.id: gold_spans(example) for examples in splits.values() for example in examples}
    finished = store.samples()
    done = {sample["id"] for sample in finished}
    planned = sum(map(len, splits.values()))
    missing.check(finished, planned, task.spec.max_missing)
    background = {split: personas(task.spec, examples) for split, examples in splits.items()}
    scored, tokens, seconds, passed = 0, 0, 0.0, 0
    batches = [
        (split, batch)
        for split, examples in splits.items()
        for batch in chunks(sorted(examples, key=lambda example: example.user), BATCH)
    ]
    for split, batch in batches:
        due = {example.id for example in batch} - done
        if due:
            started = perf_counter()
            reader = engine if identifier.needs_tokens else None
            texts = [persona_text(task.spec, example, reader, background[split]) for example in batch]
            found = checked(identifier, texts, identifier.score(texts, engine))
            seconds += perf_counter() - started
            new = [
                _sample(split, example, text, gold[example.id], scores, identifier.threshold)
                for example, text, scores in zip(batch, texts, found, strict=True)
                if example.id in due
            ]
            store.append(new)
            finished += new
            missing.check(finished, planned, task.spec.max_missing)
            scored += len(batch)
            tokens += sum(len(scores.spans) for scores in found)
        figures = {"ex/s": scored / seconds, "tok/s": tokens / seconds} if seconds else {}
        passed += len(batch)
        tick(passed, planned, figures)
    return {
        "response": sum(len(sample["spans"]) for sample in missing.answered(store.samples())),
        "timed_examples": scored,
        "timed_tokens": tokens,
        "timed_ms": round(1000 * seconds),
    }


def _fitting(
    spec: TaskSpec, split: str, examples: Sequence[Example], engine: Engine, store: SampleStore
) -> list[Example]:
    """The examples that the model can read, before any is scored; of those that the task skips, a sample is
    stored.

    Raises:
        PerbenchError: one is too long for the model or the task.
    """
    context = engine.context
    pairs = build_pairs(spec, examples, engine.tokenizer, with_response=True, context=context)
    stored = {sample["id"] for sample in store.samples()}
    skipped = []
    for example, pair in zip(examples, pairs, strict=True):
        if pair is not None:
            what = f"example {example.id}"
            check_context(context, len(pair.factual), len(pair.response), what=what)
        elif example.id not in stored:
            gone = {"id": example.id, "split": split, "user": example.user}
            skipped.append({**gone, missing.MISSING: missing.TOO_LONG})
    if skipped:
        store.append(skipped)
    return [example for example, pair in zip(examples, pairs, strict=True) if pair is not None]


def personas(spec: TaskSpec, examples: Sequence[Example]) -> tuple[tuple[str, ...], ...]:
    """The rendered personas of all examples, each once, in order."""
    assert spec.prompt is not None, "the spec of an identification task names its prompt"
    form = spec.prompts[spec.prompt]
    return tuple(dict.fromkeys(tuple(render_items(form.item, example.persona)) for example in examples))


def persona_text(
    spec: TaskSpec,
    example: Example,
    engine: Engine | None,
    background: tuple[tuple[str, ...], ...] = (),
) -> PersonaText:
    """What an identifier sees of an example; token ids only with an engine."""
    assert spec.prompt is not None, "the spec of an identification task names its prompt"
    persona = tuple(render_items(spec.prompts[spec.prompt].item, example.persona))
    if engine is None:
        return PersonaText(example.id, persona, example.question, example.reference, background=background)
    pair = build_pair(spec, example, engine.tokenizer, with_response=True)
    tokens, spans = encode_with_spans(engine.tokenizer, example.reference)
    return PersonaText(
        example.id,
        persona,
        example.question,
        example.reference,
        pair.factual,
        pair.counterfactual,
        pair.response[: len(tokens)],
        tuple(spans),
        partial(build_prompt, spec, example, engine.tokenizer),
        background,
    )


def _sample(
    split: str,
    example: Example,
    text: PersonaText,
    gold: Sequence[Gold],
    found: TokenScores,
    threshold: float,
) -> dict[str, Any]:
    return {
        "id": example.id,
        "split": split,
        "user": example.user,
        "persona": list(text.persona),
        "question": text.question,
        "response": text.response,
        "gold": [[span.start, span.end] for span in gold],
        "kinds": [span.kind for span in gold],
        "sentences": [span.sentence for span in gold],
        "distractors": [list(span) for span in distractor_spans(example, gold)],
        "spans": [list(span) for span in found.spans],
        "scores": list(found.scores),
        "threshold": threshold,
        "counts": dict(found.counts),
        **({"sources": list(found.sources)} if found.sources else {}),
        **({missing.MISSING: found.missing} if found.missing is not None else {}),
    }


def checked(identifier: Identifier, texts: Sequence[PersonaText], found: Any) -> list[TokenScores]:
    """What an identifier returned, if it keeps the contract.

    Raises:
        CellError: it does not; the message names the identifier's file and line.
    """
    name = type(identifier).__module__.rpartition(".")[2]
    at = f"{place_of(identifier, 'score')}: "
    if not isinstance(found, list) or len(found) != len(texts):
        given = f"{len(found)} results" if isinstance(found, list) else repr(found)[:80]
        raise CellError(
            f"{at}identifier {name}: score() must return a list of {len(texts)} TokenScores for the examples "
            f"{texts[0].id!r} to {texts[-1].id!r}, one each, and returned {given}"
        )
    for text, one in zip(texts, found, strict=True):
        place = f"{at}identifier {name}, example {text.id!r}"
        if not isinstance(one, TokenScores):
            raise CellError(f"{place}: score() must return TokenScores, not {type(one).__name__}")
        if len(one.scores) != len(one.spans):
            raise CellError(
                f"{place}: {len(one.scores)} scores for {len(one.spans)} spans; give one for each"
            )
        if one.sources and len(one.sources) != len(one.spans):
            raise CellError(
                f"{place}: {len(one.sources)} sources for {len(one.spans)} spans; give one for each, or none"
            )
        for source in one.sources:
            if source is not None and not 0 <= source < len(text.persona):
                raise CellError(f"{place}: source {source} is none of the {len(text.persona)} sentences")
        for span, score in zip(one.spans, one.scores, strict=True):
            if not 0 <= span[0] <= span[1] <= len(text.response):
                raise CellError(
                    f"{place}: span {list(span)} is outside the response's {len(text.response)} characters"
                )
            if not math.isfinite(score):
                raise CellError(f"{place}: score {score} of span {list(span)} is not finite")
    return found


def score(task: Named[TaskSpec], samples: list[dict[str, Any]]) -> Scored:
    """Metrics of stored samples; see `identification_score`."""
    return score_samples(samples)
