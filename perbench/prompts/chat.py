"""A model's chat template: prompts as token ids, and responses as the dialogue holds them after a prompt.

ids(prompt) + ids(response) + ids(end) are the ids of the rendered dialogue. So a response is not tokenised by
itself, where it would be the start of a text ("▁A" for "A" under SentencePiece), but where it stands: after
the words that every prompt of the template ends with. What comes before those does not reach it, so its ids
are the same after every prompt. What a model generates is decoded where it stands, too.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from perbench.errors import PerbenchError
from perbench.lm.prefix import common_length
from perbench.lm.template import attempt, closes, is_thought, reads_clock, render, template_of
from perbench.prompts.following import BEFORE, Pieces, following, pieces, spelled
from perbench.text.words import Span

_SYSTEM, _USER, _ANSWER, _MORE = "a-system-text", "a-user-text", "an-answer", "one-more-question"
"""Probe texts: no template quotes them by itself."""


def chat_text(tokenizer: Any, system: str | None, turns: Sequence[str]) -> str:
    """The prompt that asks for the answer to the last of `turns` (user, assistant, user, ...), rendered.

    A template without a system role gets the system text as the first paragraph of the first user turn. A
    template that adds a system prompt of its own when none is given keeps it: that is the model's format.
    What a text spells like a special token ("<|im_end|>") gets a space ("< |im_end|>"): only the template
    opens and closes turns. All that a model writes is taken for its answer: a template that can ask for
    thoughts asks for none, a thought that it opens is closed at once, and what it writes between a prompt and
    every answer stands in the prompt.

    Raises:
        PerbenchError: the template refuses the dialogue; its prompts are no beginnings of its dialogues.
    """
    facts = _facts(tokenizer)
    turns = [_inert(facts, turn) for turn in turns]
    system = None if system is None else _inert(facts, system)
    if system is not None and not facts.system_role:
        turns, system = [folded(system, turns[0]), *turns[1:]], None
    return render(tokenizer, system, turns, ask=True) + facts.added


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered prompt, with no tokens added around it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode_answer(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a response and its end of turn where they follow a prompt. What the response spells like a
    special token stays text; what the template trims from its edges, white space, is not there.

    Where a token of the dialogue would span the prompt's end and the response's beginning ("\\n\\n"), the
    prompt keeps its own tokens, as when it asks for an answer, and the token's rest is the response's.
    """
    facts = _facts(tokenizer)
    body, _ = _body(tokenizer, facts, text)
    found = _pieces(tokenizer, facts, body, facts.end_text).ids
    return found if facts.end_text else [*found, *facts.end]


def encode_response(tokenizer: Any, text: str, *, generated: bool = False) -> list[int]:
    """As `encode_answer`, without the end of turn; none for a text that the template leaves nothing of. White
    space that dialogues have before every answer is not put twice before one that was `generated` with it."""
    facts = _facts(tokenizer)
    if generated and not facts.start:
        text = text.removeprefix(facts.lead)
    body, _ = _body(tokenizer, facts, text)
    return _pieces(tokenizer, facts, body, "").ids if body else []


def decode_response(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated ids: for it, as `generated`, `encode_response` gives these ids, or others that
    spell the same; what a template trims from the edges it trims there. Special tokens are not shown.

    By itself "▁A" would be the start of a text, "A", where a dialogue has " A". What SentencePiece-like
    tokenizers show before every answer of a dialogue (Llama 2's space) is no part of the text.
    """
    facts = _facts(tokenizer)
    return spelled(tokenizer, [i for i in ids if i not in facts.hidden]).removeprefix(facts.start)


def encode_with_spans(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """The ids that `encode_answer` begins with, up to the end of turn, and the [start, end) characters of
    `text` that each shows; see `perbench.prompts.spans`."""
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
    """The ids that the template writes after an answer, up to the first special token; the tokenizer's
    end-of-sequence token where the template writes no special token there."""
    return _facts(tokenizer).end


def opening(tokenizer: Any) -> str:
    """What prompts get beyond what the template renders; see `chat_text`."""
    return _facts(tokenizer).added


def has_system_role(tokenizer: Any) -> bool:
    """Whether the template shows a system turn; some refuse it, others leave it out without a word."""
    return _facts(tokenizer).system_role


def folded(system: str, turn: str) -> str:
    """The first user turn of a dialogue under a template without a system role."""
    return f"{system}\n\n{turn}"


def template_notes(tokenizer: Any) -> list[str]:
    """What a reader of results should know of the model's chat template."""
    notes = []
    if reads_clock(tokenizer):
        notes.append(f"the chat template reads the clock: every prompt holds the day {_today()}")
    if _facts(tokenizer).thought:
        notes.append("the chat template opens a thought before the answer: it is closed at once, empty")
    return notes


# ---------------------------------------------------------------- responses


def _body(tokenizer: Any, facts: _Facts, text: str) -> tuple[str, int]:
    """What the template makes of a response, and where in `text` that begins. A template that changes more
    than the edges (cuts what seems a thought) has no say: the response is the row's."""
    shown = render(tokenizer, None, [_USER, text], ask=False)
    start, stop = len(facts.before), len(shown) - len(facts.after)
    body = shown[start:stop]
    whole = shown.startswith(facts.before) and shown.endswith(facts.after) and start <= stop
    if not whole or body.strip() != text.strip() or body not in text:
        return text, 0
    return body, text.find(body)


def _pieces(tokenizer: Any, facts: _Facts, body: str, end: str, *, spans: bool = False) -> Pieces:
    """Of what stands between a prompt and the end of an answer; spans count from its beginning."""
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


# ---------------------------------------------------------------- what a template is like


class _Facts(NamedTuple):
    """What a tokenizer's chat template and special tokens are like."""

    system_role: bool
    special: re.Pattern[str]
    thought: bool
    """Whether prompts open a thought."""
    added: str
    """What prompts get beyond what the template renders."""
    anchor: str
    """What all prompts end with."""
    base: Pieces
    """Of `anchor`."""
    lead: str
    """White space that the dialogue has between prompt and answer."""
    before: str
    after: str
    """The dialogue of _USER around its answer."""
    end_text: str
    """What follows an answer, up to the first special token; empty where none follows."""
    end: tuple[int, ...]
    hidden: frozenset[int]
    """Special tokens."""
    start: str
    """What decoded answers of dialogues begin with, if the decoder heeds beginnings at all."""


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
    special_texts = [text for text in _specials(tokenizer) if len(text) > 1]  # others cannot be broken up
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
    """What is before _ANSWER in its decoded ids, those after a prompt; nothing where ids are decoded alike
    everywhere, as bytes are: a model's answer is stored as it is."""
    word = following(tokenizer, BEFORE, " " + BEFORE).ids
    alike = tokenizer.decode(word, clean_up_tokenization_spaces=False) == spelled(tokenizer, word)
    return "" if alike else spelled(tokenizer, answer).removesuffix(_ANSWER)


def _between(prompt: str, before: str) -> tuple[str, str]:
    """What the dialogue has between a prompt and the answer: what belongs to the prompt, and the white space
    that belongs to the answer.

    Raises:
        PerbenchError: the prompt is no beginning of the dialogue, and no thought makes the difference.
    """
    same = common_length(prompt, before)
    asked, told = prompt[same:], before[same:]
    if not asked:
        added = told.rstrip(" ") if told.strip() else ""
        return added, told[len(added) :]
    if (is_thought(asked) or not asked.strip()) and not told.strip():
        return "", ""
    raise PerbenchError(
        f"the model's chat template asks for an answer with {asked!r} where its dialogues have {told!r}: an "
        "answer in a dialogue is not what follows a prompt; mend chat_template.jinja in a copy of the "
        "model's folder"
    )


def _other_prompts(tokenizer: Any) -> tuple[bool, list[str]]:
    """Whether there is a system role; prompts with one, and of a longer dialogue, as far as there are any."""
    from jinja2.exceptions import TemplateError

    found = []
    for system, turns in ((_SYSTEM, [_USER]), (None, [_USER, _ANSWER, _MORE])):
        try:
            found.append(attempt(tokenizer, system, turns, ask=True))
        except TemplateError:
            found.append("")
    # Some templates refuse a system turn, others leave it out without a word.
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
