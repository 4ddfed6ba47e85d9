"""Makes the samples of an identification: prompts, an identifier's scores, and the check of its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from perbench.api import Identifier, PersonaText, TokenScores
from perbench.contracts import missing
from perbench.contracts.identifier import checked
from perbench.contracts.resume import Batch, Sample
from perbench.contracts.run import chunks
from perbench.lm.context import check_context
from perbench.prompts.pair import build_pair, build_pairs, build_prompt
from perbench.prompts.persona import render_items
from perbench.prompts.spans import encode_with_spans
from perbench.text.marks import Gold

from .gold import distractor_spans, gold_spans
from .samples import Marked, Skipped

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.engine import Engine
    from perbench.shapes.task import TaskSpec

BATCH = 16
"""Examples per call of an identifier and per write; fixed, so that a resumed run has the same batches."""


def batches(
    spec: TaskSpec, splits: Mapping[str, Sequence[Example]], identifier: Identifier, engine: Engine | None
) -> list[Batch]:
    """Batches of the splits dev, if present, and test, sorted by user so that methods can share work within a
    user. Examples skipped as too long come first; no identifier sees them.

    Raises:
        PerbenchError: an example is too long for the model.
        CellError (when a batch is made): the identifier's scores do not match its input.
    """
    found, fitting = [], dict(splits)
    for split, examples in splits.items():
        if engine is not None and identifier.needs_tokens:
            fitting[split], left_out = _fitting(spec, examples, engine)
            skipped = [
                Skipped(id=one.id, split=split, user=one.user, missing=missing.TOO_LONG) for one in left_out
            ]
            if skipped:
                found.append(Batch([one["id"] for one in skipped], partial(_given, skipped)))
    gold = {example.id: gold_spans(example) for examples in fitting.values() for example in examples}
    for split, examples in fitting.items():
        background = personas(spec, examples)
        for batch in chunks(sorted(examples, key=lambda example: example.user), BATCH):
            make = partial(_identify, spec, split, batch, gold, background, identifier, engine)
            found.append(Batch([example.id for example in batch], make))
    return found


def _given(samples: Sequence[Skipped], stored: Mapping[str, Sample]) -> Sequence[Sample]:
    return samples


def _identify(
    spec: TaskSpec,
    split: str,
    batch: Sequence[Example],
    gold: Mapping[str, Sequence[Gold]],
    background: tuple[tuple[str, ...], ...],
    identifier: Identifier,
    engine: Engine | None,
    stored: Mapping[str, Sample],
) -> Sequence[Sample]:
    reader = engine if identifier.needs_tokens else None
    texts = [persona_text(spec, example, reader, background) for example in batch]
    found = checked(identifier, texts, identifier.score(texts, engine))
    return [
        marked(split, example, text, gold[example.id], scores, identifier.threshold)
        for example, text, scores in zip(batch, texts, found, strict=True)
    ]


def _fitting(
    spec: TaskSpec, examples: Sequence[Example], engine: Engine
) -> tuple[list[Example], list[Example]]:
    """The examples that fit the model, and those that the task skips.

    Raises:
        PerbenchError: an example is too long for the model or the task.
    """
    context = engine.context
    pairs = build_pairs(spec, examples, engine.tokenizer, with_response=True, context=context)
    fitting, skipped = [], []
    for example, pair in zip(examples, pairs, strict=True):
        if pair is None:
            skipped.append(example)
            continue
        check_context(context, len(pair.factual), len(pair.response), what=f"example {example.id}")
        fitting.append(example)
    return fitting, skipped


def personas(spec: TaskSpec, examples: Sequence[Example]) -> tuple[tuple[str, ...], ...]:
    """The rendered personas of all examples, in order and without duplicates."""
    assert spec.prompt is not None, "the spec of an identification task names its prompt"
    form = spec.prompts[spec.prompt]
    return tuple(dict.fromkeys(tuple(render_items(form.item, example.persona)) for example in examples))


def persona_text(
    spec: TaskSpec,
    example: Example,
    engine: Engine | None,
    background: tuple[tuple[str, ...], ...] = (),
) -> PersonaText:
    """The identifier's input for an example; it has token ids only with an engine."""
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


def marked(
    split: str,
    example: Example,
    text: PersonaText,
    gold: Sequence[Gold],
    found: TokenScores,
    threshold: float,
) -> Marked:
    sample = Marked(
        id=example.id,
        split=split,
        user=example.user,
        persona=list(text.persona),
        question=text.question,
        response=text.response,
        gold=[[span.start, span.end] for span in gold],
        kinds=[span.kind for span in gold],
        sentences=[span.sentence for span in gold],
        distractors=[list(span) for span in distractor_spans(example, gold)],
        spans=[list(span) for span in found.spans],
        scores=list(found.scores),
        threshold=threshold if found.threshold is None else found.threshold,
        counts=dict(found.counts),
    )
    if found.threshold is not None:
        sample["threshold_of"] = "response"
    if found.sources:
        sample["sources"] = list(found.sources)
    if found.missing is not None:
        sample[missing.MISSING] = found.missing
    return sample
