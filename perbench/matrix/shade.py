"""Shades the personal tokens of samples by their PIR: how much the persona raises a token's log-probability
under the untrained model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from perbench import plugins
from perbench.api import Example
from perbench.contracts.engine import Engine
from perbench.contracts.shown import Shown, StoredCell
from perbench.disk.cache import DiskCache
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.lm.context import TooLong
from perbench.matrix.catalogue import model_inputs
from perbench.matrix.engines import open_model
from perbench.matrix.reading import SampleReader
from perbench.prompts.pair import PromptPair, build_pair
from perbench.prompts.spans import encode_with_spans
from perbench.shapes.task import TaskSpec
from perbench.specs.load import load_model
from perbench.store import CellRecord
from perbench.text.pieces import Piece
from perbench.text.words import Span

VERSION = 1
"""Raised when the same texts get other values."""
Values = list[tuple[int, int, float]]
"""[start, end) characters and PIR in nats of each token."""


@dataclass(frozen=True)
class _Text:
    """A text of a sample, and the key of its values in the cache."""

    key: str
    example: Example
    text: str


@dataclass
class Shader:
    """Gives the answers and references of prompted tasks the PIR of their tokens; implements `Shades`. One
    model is in memory at a time, and only if values are not in the cache. `say` is called with each model
    that is not available, whose samples stay as they are."""

    reads: SampleReader
    say: Callable[[str], None]
    cache: DiskCache = field(default_factory=lambda: DiskCache("pir"))
    _loaded: tuple[str, Engine] | None = None
    _refused: set[str] = field(default_factory=set)

    def __call__(self, cell: StoredCell, shown: Sequence[Shown]) -> list[Shown]:
        spec, examples = self.reads.prompted(cell)
        if spec is None:
            return list(shown)
        texts = {
            (one.id, text): _Text(_key(cell.record, one.id, text), examples[one.id], text)
            for one in shown
            if one.id in examples and not one.turns
            for text in _texts(one)
        }
        values = self._values(cell.record, spec, list(texts.values()))
        return [
            _shaded(
                one, {text: values.get(found.key) for (name, text), found in texts.items() if name == one.id}
            )
            for one in shown
        ]

    def _values(self, record: CellRecord, spec: TaskSpec, texts: Sequence[_Text]) -> dict[str, Values]:
        stored = self.cache.get([one.key for one in texts])
        found: dict[str, Values] = {key: json.loads(value) for key, value in stored.items()}
        due = {one.key: one for one in texts if one.key not in found}
        engine = self._engine(record) if due else None
        if engine is not None:
            made = dict(_pir(engine, spec, [*due.values()]))
            self.cache.put({key: json.dumps(values).encode() for key, values in made.items()})
            found |= made
        return found

    def _engine(self, record: CellRecord) -> Engine | None:
        name = record.labels.model
        if name in self._refused:
            return None
        if self._loaded is not None and self._loaded[0] == name:
            return self._loaded[1]
        try:
            if name not in plugins.names("model"):  # records may be a stranger's: nothing else is loaded
                raise PerbenchError("it is not in the registry (leaderboard/models/NAME.yaml)")
            model = load_model(name)
            if model_inputs(model) != record.inputs["model"]:
                raise PerbenchError("its files have changed since")
            self._loaded = None  # frees the one before
            engine = open_model(model)
            if not {"tokens", "score"} <= engine.offers:
                raise PerbenchError("it gives no log-probs of given texts")
        except PerbenchError as error:
            self._refused.add(name)
            self.say(f"not shaded, model {name}: {error}")
            return None
        self._loaded = name, engine
        return engine


def _texts(one: Shown) -> Iterator[str]:
    if one.answer.strip() and not one.pieces and one.missing is None:
        yield one.answer
    if one.reference is not None and one.reference.strip():
        yield one.reference


def _key(record: CellRecord, example: str, text: str) -> str:
    """The inputs of a cell decide prompts and model; those of its training do not matter."""
    shared = [record.inputs.get(name) for name in ("model", "target", "data")]
    return canonical_digest([VERSION, shared, example, text])


def _pir(engine: Engine, spec: TaskSpec, texts: Sequence[_Text]) -> Iterator[tuple[str, Values]]:
    """The values by key; those of a text whose prompt is too long are empty."""
    chosen = list[_Text]()
    pairs = list[PromptPair]()
    encoded = list[tuple[list[int], list[Span]]]()
    for one in texts:
        try:
            pair = build_pair(
                spec, one.example, engine.tokenizer, with_response=False, context=engine.context
            )
        except TooLong:
            yield one.key, []
            continue
        ids, spans = encode_with_spans(engine.tokenizer, one.text)
        room = len(ids) if engine.context is None else engine.context - len(pair.factual)
        if not (ids := ids[: max(0, room)]):
            yield one.key, []
            continue
        chosen.append(one)
        pairs.append(pair)
        encoded.append((ids, spans[: len(ids)]))
    with_, without = _logp(engine, pairs, [ids for ids, _ in encoded])
    for one, (_, spans), high, low in zip(chosen, encoded, with_, without, strict=True):
        yield one.key, [(*span, round(float(a - b), 3)) for span, a, b in zip(spans, high, low, strict=True)]


def _logp(
    engine: Engine, pairs: Sequence[PromptPair], ids: Sequence[Sequence[int]]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Log-probs of each text with the persona and without it."""
    prompts = [pair.factual for pair in pairs] + [pair.counterfactual for pair in pairs]
    found = engine.score(prompts, [*ids, *ids]) if pairs else []
    return found[: len(pairs)], found[len(pairs) :]


def _shaded(one: Shown, values: Mapping[str, Values | None]) -> Shown:
    answer = values.get(one.answer) if not one.pieces else None
    reference = values.get(one.reference) if one.reference is not None else None
    return replace(
        one,
        pieces=cut(one.answer, answer) if answer else one.pieces,
        reference_pieces=cut(one.reference or "", reference) if reference else (),
    )


def cut(text: str, values: Values) -> tuple[Piece, ...]:
    """The text in pieces, one for each token that has characters, and what is between them. Of tokens that
    share a character (parts of its bytes), the first has it."""
    found, at = list[Piece](), 0
    for start, end, value in values:
        start = max(start, at)
        if start >= end:
            continue
        if start > at:
            found.append(Piece(text[at:start]))
        found.append(Piece(text[start:end], value))
        at = end
    return (*found, Piece(text[at:])) if at < len(text) else tuple(found)
