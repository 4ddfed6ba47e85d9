"""Generates rows of identification data with a model: `perbench data build persona-qa` (PerCE, App. D.2)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.annotate.personas import Persona
from perbench.annotate.replies import PROMPT, Unusable, parse_reply
from perbench.data.spans import Names, row_faults, text_key
from perbench.disk.files import append_journal, cut_torn, read_journal
from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine, Generation
    from perbench.progress import Tick

BATCH = 16
"""Personas per engine call and write."""
MAX_NEW_TOKENS = 160
NAMES = Names("persona_id", "persona", "question", "answer")
OTHER_FILE = "or name another one: --out FILE"
CUT = f"cut off at {MAX_NEW_TOKENS} tokens"


@dataclass
class BuiltRows:
    """The content of the files: usable rows, and unusable replies by reason; `before` of them existed when
    this call began."""

    rows: int = 0
    before: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def replies(self) -> int:
        return self.rows + self.reasons.total()

    def report(self) -> str:
        reasons = "; ".join(f"{reason}, {count}" for reason, count in self.reasons.most_common())
        return f"{self.rows} of {self.replies} replies usable" + (f"; unusable: {reasons}" if reasons else "")


def unusable_file(out: Path) -> Path:
    """The file of replies without a row, with the reasons."""
    return out.with_name(f"{out.stem}.unusable.jsonl")


def build(
    personas: Sequence[Persona], engine: Engine, made_by: Mapping[str, Any], out: Path, *, tick: Tick
) -> BuiltRows:
    """Greedily generate one question, answer and keywords for each persona without a reply in `out` or its
    `unusable_file`, and append the result to one of the two.

    A row is {id, persona_id, persona, question, answer, gold, distractor, keywords, made_by}; its gold spans
    have neither kind nor sentence, which are annotated by a person (`perbench data review`).

    Raises:
        PerbenchError: the files hold rows that this call would not write (they stay unchanged), or a prompt
            exceeds the model's context.
    """
    from perbench.shapes.sampling import SamplingSpec

    files = out, unusable_file(out)
    for file in files:
        _refuse_foreign(file, personas, made_by)
    rows, unusable = (cut_torn(file).rows for file in files)
    answers = {text_key(row["answer"]) for row in rows}
    done = {row["id"] for row in (*rows, *unusable)}
    built = BuiltRows(len(rows), len(done), Counter(row["reason"] for row in unusable))
    sampling = SamplingSpec(max_new_tokens=MAX_NEW_TOKENS, temperature=0.0)
    passed = 0
    for batch in (personas[start : start + BATCH] for start in range(0, len(personas), BATCH)):
        missing = {_row_id(persona) for persona in batch} - done
        if missing:
            texts = [PROMPT.format(persona=" ".join(persona.sentences)) for persona in batch]
            replies = engine.chat([[{"role": "user", "content": text}] for text in texts], sampling, seed=0)
            for persona, reply in zip(batch, replies, strict=True):
                if _row_id(persona) in missing:
                    _keep(persona, reply, made_by, answers, files, built)
        passed += len(batch)
        tick(passed, len(personas), {"usable": float(built.rows)})
    return built


def _keep(
    persona: Persona,
    reply: Generation,
    made_by: Mapping[str, Any],
    answers: set[str | None],
    files: tuple[Path, Path],
    built: BuiltRows,
) -> None:
    common = _common(persona)
    try:
        row = {**common, **_row(reply, persona, answers), "made_by": dict(made_by)}
    except Unusable as error:
        refused = {**common, "reason": error.reason, "fault": str(error), "reply": reply.text}
        append_journal(files[1], [{**refused, "made_by": dict(made_by)}])
        built.reasons[error.reason] += 1
        return
    append_journal(files[0], [row])
    answers.add(text_key(row["answer"]))
    built.rows += 1


def _row(reply: Generation, persona: Persona, answers: Iterable[str | None]) -> dict[str, Any]:
    if reply.missing is not None:
        raise Unusable(f"no answer: {reply.missing.replace('_', ' ')}")
    if reply.finish_reason == "length":
        raise Unusable(CUT)
    found = parse_reply(reply.text)
    row = {
        "persona": list(persona.sentences),
        "question": found.question,
        "answer": found.answer,
        "gold": [{"start": start, "end": end, "text": found.answer[start:end]} for start, end in found.spans],
        "distractor": None,
        "keywords": list(found.keywords),
    }
    faults = list(row_faults(row, NAMES, annotated=False))
    if faults:
        raise Unusable("breaks a rule of the data", "; ".join(faults))
    if text_key(found.answer) in answers:
        raise Unusable("another persona has this answer", found.answer)
    return row


def _common(persona: Persona) -> dict[str, Any]:
    return {"id": _row_id(persona), "persona_id": persona.id, "persona": list(persona.sentences)}


def _row_id(persona: Persona) -> str:
    return f"{persona.id}-1"


def _refuse_foreign(file: Path, personas: Sequence[Persona], made_by: Mapping[str, Any]) -> None:
    """Check the whole file before it is changed."""
    journal = read_journal(file, OTHER_FILE)
    for number, row in enumerate(journal.rows, start=1):
        if row.get("made_by") != made_by or "id" not in row:
            raise PerbenchError(
                f"{file}:{number} was made by {row.get('made_by')}, not by {dict(made_by)}; "
                "name another file: --out FILE"
            )
    if journal.torn and not journal.rows and not _begins_a_row(file.read_bytes(), personas):
        raise PerbenchError(
            f"{file}: not a file of this command, so it is not changed; name another: --out FILE"
        )


def _begins_a_row(torn: bytes, personas: Sequence[Persona]) -> bool:
    heads = (json.dumps(_common(persona), ensure_ascii=False)[:-1].encode() for persona in personas)
    return any(torn.startswith(head) or head.startswith(torn) for head in heads)
