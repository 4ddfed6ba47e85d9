"""Applies a model's chat template: token ids of prompts, and of responses as they follow a prompt.

ids(prompt) + ids(response) + ids(end) are the ids of the rendered dialogue. A response is therefore not
tokenised alone, as the start of a text ("▁A" for "A" under SentencePiece), but after the text with which all
prompts of the template end; earlier text does not affect it, so its ids are the same after every prompt.
Generated ids are decoded in that position, too.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from perbench.errors import PerbenchError
from perbench.lm.prefix import common_length
from perbench.lm.template import attempt, closes, is_thought, reads_clock, render, template_of
from perbench.prompts.following import BEFORE, Pieces, following, pieces, spelled
from perbench.text.words import Span

_SYSTEM, _USER, _ANSWER, _MORE = "a-system-text", "a-user-text", "an-answer", "one-more-question"
"""Probe texts, which no template contains."""


def chat_text(tokenizer: Any, system: str | None, turns: Sequence[str]) -> str:
    """The rendered prompt that asks for the answer to the last of `turns` (user, assistant, user, ...).

    Without a system role in the template, the system text becomes the first paragraph of the first user turn.
    A default system prompt of the template is kept: it is the model's format. Text spelled like a special
    token ("<|im_end|>") gets a space ("< |im_end|>"): only the template opens and closes turns. Everything
    that a model generates counts as its answer: thinking is disabled if the template allows it, a thought
    that the template opens is closed at once, and text that it puts before every answer is part of the
    prompt.

    Raises:
        PerbenchError: the template refuses the dialogue, or its prompts are not prefixes of its dialogues.
    """
    system, turns = as_rendered(tokenizer, system, turns)
    return render(tokenizer, system, turns, ask=True) + _facts(tokenizer).added


def as_rendered(tokenizer: Any, system: str | None, turns: Sequence[str]) -> tuple[str | None, list[str]]:
    """System text and turns as `chat_text` passes them to the template."""
    facts = _facts(tokenizer)
    turns = [_inert(facts, turn) for turn in turns]
    system = None if system is None else _inert(facts, system)
    if system is not None and not facts.system_role:
        return None, [folded(system, turns[0]), *turns[1:]]
    return system, turns


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered prompt, without added tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode_answer(tokenizer: Any, text: str, *, end: Literal["turn", "eos"] = "turn") -> list[int]:
    """Token ids of a response and its end of turn, as they follow a prompt; with `end: eos`, the tokenizer's
    end-of-sequence token instead. Text spelled like a special token stays text; white space that the template
    trims at the edges is left out.

    If a token of the dialogue would span the boundary between prompt and response ("\\n\\n"), the prompt
    keeps its own tokens, as in generation, and the response gets the rest of that token.

    Raises:
        PerbenchError: as `end_of_sequence`.
    """
    if end == "eos":
        return [*encode_response(tokenizer, text), end_of_sequence(tokenizer)]
    facts = _facts(tokenizer)
    body, _ = _body(tokenizer, facts, text)
    found = _pieces(tokenizer, facts, body, facts.end_text).ids
    return found if facts.end_text else [*found, *facts.end]


def cut_answer(
    tokenizer: Any, answer: Sequence[int], room: int, *, end: Literal["turn", "eos"] = "turn"
) -> tuple[int, ...]:
    """The ids of `encode_answer` in at most `room` tokens: the last ones before the end are left out. Empty
    if only the end would fit."""
    last = end_of_turn(tokenizer) if end == "turn" else (end_of_sequence(tokenizer),)
    if len(answer) <= room:
        return tuple(answer)
    return (*answer[: room - len(last)], *last) if room > len(last) else ()


def encode_response(tokenizer: Any, text: str, *, generated: bool = False) -> list[int]:
    """`encode_answer` without the end of turn; empty if the template trims the text entirely. White space
    that dialogues have before every answer is not repeated for text that was `generated` with it."""
    facts = _facts(tokenizer)
    if generated and not facts.start:
        text = text.removeprefix(facts.lead)
    body, _ = _body(tokenizer, facts, text)
    return _pieces(tokenizer, facts, body, "").ids if body else []


def decode_response(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated ids; `encode_response` with `generated` returns these ids, or others with the
    same text, for it, except for edges that a template trims. Special tokens are omitted.

    Decoded alone, "▁A" would be the start of a text, "A", whereas a dialogue has " A". The space that
    SentencePiece-like tokenizers show before every answer of a dialogue (Llama 2) is not part of the text.
    """
    facts = _facts(tokenizer)
    return spelled(tokenizer, [i for i in ids if i not in facts.hidden]).removeprefix(facts.start)


def encode_with_spans(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """The ids of `encode_answer` up to the end of turn, and the [start, end) characters of `text` of each;
    see `perbench.prompts.spans`."""
    facts = _facts(tokenizer)
    body, cut = _body(tokenizer, facts, text)
    found = _pieces(tokenizer, facts, body, facts.end_text, spans=True)
    lead = len(facts.lead)
    places = [
        (max(start - lead, 0) + cut, min(max(end - lead, 0), len(body)) + cut)
        for start, end in found.spans
        if start < lead + len(body)
    ]
    return found.ids[: len(places)], places


def end_of_turn(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the template writes after an answer, up to the first special token; if there is none, the
    tokenizer's end-of-sequence token."""
    return _facts(tokenizer).end


def end_of_sequence(tokenizer: Any) -> int:
    """
    Raises:
        PerbenchError: the tokenizer has no end-of-sequence token.
    """
    found: int | None = tokenizer.eos_token_id
    if found is None:
        raise PerbenchError("the model's tokenizer has no end-of-sequence token; set sampling.end: turn")
    return found


def opening(tokenizer: Any) -> str:
    """The text that prompts get after what the template renders; see `chat_text`."""
    return _facts(tokenizer).added


def has_system_role(tokenizer: Any) -> bool:
    """Whether the template renders a system turn; some refuse it, others drop it silently."""
    return _facts(tokenizer).system_role


def folded(system: str, turn: str) -> str:
    """The first user turn for a template without a system role."""
    return f"{system}\n\n{turn}"


def template_notes(tokenizer: Any) -> list[str]:
    """Notes about the model's chat template for readers of results."""
    notes = []
    if reads_clock(tokenizer):
        notes.append(f"the chat template reads the clock: every prompt holds the day {_today()}")
    if _facts(tokenizer).thought:
        notes.append("the chat template opens a thought before the answer: it is closed at once, empty")
    return notes


# ---------------------------------------------------------------- responses


def _body(tokenizer: Any, facts: _Facts, text: str) -> tuple[str, int]:
    """The template's rendering of a response, and where in `text` it begins. If a template changes more than
    the edges (removes thoughts), the response is used unchanged."""
    shown = render(tokenizer, None, [_USER, text], ask=False)
    start, stop = len(facts.before), len(shown) - len(facts.after)
    body = shown[start:stop]
    whole = shown.startswith(facts.before) and shown.endswith(facts.after) and start <= stop
    if not whole or body.strip() != text.strip() or body not in text:
        return text, 0
    return body, text.find(body)


def _pieces(tokenizer: Any, facts: _Facts, body: str, end: str, *, spans: bool = False) -> Pieces:
    """The text between a prompt and the end of an answer; spans count from its start."""
    spelled = facts.special.search(body)
    if spelled is None:
        return following(tokenizer, facts.anchor, facts.lead + body + end, base=facts.base, spans=spans)
    head, rest = facts.lead + body[: spelled.start()], body[spelled.start() :]
    parts = [
        following(tokenizer, facts.anchor, head, base=facts.base, spans=spans),
        following(tokenizer, facts.anchor + head, rest, spans=spans, as_text=True).shifted(len(head)),
        following(tokenizer, facts.anchor + facts.lead + _ANSWER, end, spans=spans).shifted(
            len(head) + len(rest)
        ),
    ]
    return Pieces([i for part in parts for i in part.ids], [s for part in parts for s in part.spans])


# ---------------------------------------------------------------- facts about a template


class _Facts(NamedTuple):
    """Properties of a tokenizer's chat template and special tokens."""

    system_role: bool
    special: re.Pattern[str]
    thought: bool
    """Whether prompts open a thought."""
    added: str
    """Text that prompts get after what the template renders."""
    anchor: str
    """The text with which all prompts end."""
    base: Pieces
    """Pieces of `anchor`."""
    lead: str
    """White space between prompt and answer in a dialogue."""
    before: str
    after: str
    """The rendered dialogue of _USER, from its answer on."""
    end_text: str
    """The text after an answer, up to the first special token; may be empty."""
    end: tuple[int, ...]
    hidden: frozenset[int]
    """Special tokens."""
    start: str
    """The text with which decoded answers begin if the decoder treats beginnings differently."""


_known: weakref.WeakKeyDictionary[Any, tuple[str, _Facts]] = weakref.WeakKeyDictionary()


def _facts(tokenizer: Any) -> _Facts:
    template = str(template_of(tokenizer))
    known = _known.get(tokenizer)
    if known is None or known[0] != template:
        known = _known[tokenizer] = template, _probe(tokenizer)
    return known[1]


def _probe(tokenizer: Any) -> _Facts:
    prompt = render(tokenizer, None, [_USER], ask=True)
    before, answer, after = render(tokenizer, None, [_USER, _ANSWER], ask=False).rpartition(_ANSWER)
    if not answer:
        raise PerbenchError(
            "the model's chat template leaves the answer out of a dialogue: use another model"
        )
    added, lead = _between(prompt, before)
    closing = closes(prompt + added)
    if closing:
        lead = ""
    added += closing
    system_role, others = _other_prompts(tokenizer)
    shared = min(common_length(prompt[::-1], other[::-1]) for other in (prompt, *others))
    anchor = prompt[len(prompt) - shared :] + added
    base = pieces(tokenizer, anchor)
    special = re.search("|".join(map(re.escape, _specials(tokenizer))) or "(?!)", after)
    end_text = after[: special.end()] if special else ""
    end = following(tokenizer, anchor + lead + _ANSWER, end_text).ids
    if not special and tokenizer.eos_token_id is not None:
        end = [tokenizer.eos_token_id]
    special_texts = [text for text in _specials(tokenizer) if len(text) > 1]  # others cannot be split
    return _Facts(
        system_role,
        re.compile("|".join(map(re.escape, special_texts)) or "(?!)"),
        bool(closing) or bool(closes(prompt)),
        added,
        anchor,
        base,
        lead,
        before,
        after,
        end_text,
        tuple(end),
        frozenset(i for i, token in tokenizer.added_tokens_decoder.items() if token.special),
        _start(tokenizer, following(tokenizer, anchor, lead + _ANSWER, base=base).ids),
    )


def _start(tokenizer: Any, answer: Sequence[int]) -> str:
    """The text before _ANSWER in its decoded ids after a prompt; empty if the position does not affect
    decoding, as for bytes: a model's answer is stored as it is."""
    word = following(tokenizer, BEFORE, " " + BEFORE).ids
    alike = tokenizer.decode(word, clean_up_tokenization_spaces=False) == spelled(tokenizer, word)
    return "" if alike else spelled(tokenizer, answer).removesuffix(_ANSWER)


def _between(prompt: str, before: str) -> tuple[str, str]:
    """The text between a prompt and the answer in a dialogue: what belongs to the prompt, and the white space
    that belongs to the answer.

    Raises:
        PerbenchError: the prompt is not a prefix of the dialogue, and a thought does not explain the
            difference.
    """
    same = common_length(prompt, before)
    asked, held = prompt[same:], before[same:]
    if not asked:
        added = held.rstrip(" ") if held.strip() else ""
        return added, held[len(added) :]
    if (is_thought(asked) or not asked.strip()) and not held.strip():
        return "", ""
    raise PerbenchError(
        f"the model's chat template ends prompts with {asked!r} but its dialogues have {held!r} there, so "
        "prompts are not prefixes of dialogues; fix chat_template.jinja in a copy of the model's folder"
    )


def _other_prompts(tokenizer: Any) -> tuple[bool, list[str]]:
    """Whether there is a system role; prompts with a system turn and of a longer dialogue, if accepted."""
    from jinja2.exceptions import TemplateError

    found = []
    for system, turns in ((_SYSTEM, [_USER]), (None, [_USER, _ANSWER, _MORE])):
        try:
            found.append(attempt(tokenizer, system, turns, ask=True))
        except TemplateError:
            found.append("")
    # Some templates refuse a system turn, others drop it silently.
    return _SYSTEM in found[0], [prompt for prompt in found if prompt]


def _specials(tokenizer: Any) -> list[str]:
    """The text of every special token, longest first."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sorted({text for text in (*added, *tokenizer.all_special_tokens) if text}, key=len, reverse=True)


def _inert(facts: _Facts, text: str) -> str:
    return facts.special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def _today() -> str:
    from perbench.lm.template import CLOCK

    return CLOCK.date().isoformat()
