"""Runs dialogues turn by turn: the user's message, the model's reply, the judges' ratings and the PMI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perbench.contracts import missing
from perbench.contracts.engine import LEFT_OUT, Generation
from perbench.contracts.resume import Sample
from perbench.contracts.run import Engines, ask
from perbench.errors import PerbenchError
from perbench.judges import UNJUDGED, Judged
from perbench.judges import ask as judged
from perbench.lm.context import TooLong
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.seeds import derive_seed

from .samples import Overhead, Rated, Turn

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.contracts.engine import Conversation, Engine
    from perbench.shapes.sampling import SamplingSpec
    from perbench.shapes.task import TaskSpec

    from .section import DialogueSpec, JudgeSpec

PMI_SYSTEM = (
    "The person you are talking to is described here. Let your replies suit them.\n\n"
    "Profile: {profile}\n\nPersonality: {personality}"
)
"""The system prompt of the PMI's first term; the second has none."""


JUDGES = ("judge", "second judge")
ROLES = ("user", "subject", *JUDGES)
"""Each role has its own seeds."""


def check_persona(example: Example) -> None:
    """
    Raises:
        PerbenchError: the example has no profile or no personality.
    """
    absent = [name for name in ("profile", "personality") if name not in example.extra]
    if absent:
        raise PerbenchError(
            f"example {example.id}: no {' and no '.join(absent)}; add to the task's fields.extra"
        )


class PersonaDialogue:
    """One persona's dialogue; finished turns are read from the stored samples."""

    def __init__(self, example: Example, stored: Mapping[str, Sample]) -> None:
        self.user = example.user
        self.persona = {name: str(example.extra[name]) for name in ("profile", "personality")}
        self._id = example.id
        self._stored = stored

    def sample_id(self, turn: int) -> str:
        return f"{self._id}#{turn}"

    def ended(self, before: int) -> str | None:
        """Why turn `before` cannot take place because an earlier turn has no reply; None if all have one."""
        samples = (self._stored[self.sample_id(turn)] for turn in range(1, before))
        why = next((found for sample in samples if (found := missing.reason(sample)) is not None), None)
        return why if why in (None, missing.TOO_LONG) else ENDED

    def turns(self, before: int) -> list[str]:
        """The messages and replies before turn `before`, alternating."""
        samples = [self._stored[self.sample_id(turn)] for turn in range(1, before)]
        return [text for sample in samples for text in (sample["message"], sample["response"])]


def strip_actions(text: str) -> str:
    """Remove `*stage directions*`, which simulators add even when asked not to; as in ALOE's code, they do
    not span lines, and bold text stays. That code then turns all white space, line breaks included, into
    single spaces; here lines stay."""
    return re.sub(r"[^\S\n]{2,}", " ", re.sub(r"\*[^*\n]*\*", "", text)).strip()


def fit(
    tokenizer: Any, system: str | None, turns: Sequence[str], room: int, *, first: int = 0
) -> tuple[list[int], int]:
    """Build the prompt for the answer to the last turn in at most `room` tokens; the oldest exchanges
    (message and reply) are dropped to make it fit, except for the `first` turns and the last.

    Returns: token ids, and the number of exchanges dropped.

    Raises:
        TooLong: the last turn alone does not fit.
    """
    kept = list(turns)
    dropped = 0
    while len(ids := encode(tokenizer, chat_text(tokenizer, system, kept))) > room:
        if len(kept) < first + 3:
            raise TooLong(
                f"a turn of the dialogue takes {len(ids)} tokens but only {room} are left; raise max_length"
            )
        del kept[first : first + 2]
        dropped += 1
    return ids, dropped


def fitted(
    engine: Engine, system: str | None, turns: Sequence[str], room: int, *, first: int = 0
) -> tuple[Conversation, int]:
    """`fit` as messages. Nothing is dropped for an engine that does not expose tokens."""
    counted = "tokens" in engine.offers
    dropped = fit(engine.tokenizer, system, turns, room, first=first)[1] if counted else 0
    kept = [*turns[:first], *turns[first + 2 * dropped :]]
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(kept)]
    return messages, dropped


def _rated(ratings: Sequence[Judged]) -> Rated:
    first, *others = ratings
    found = Rated(rating=first.value, rating_raw=list(first.raw))  # type: ignore[typeddict-item]
    if first.why is not None:
        found["rating_missing"] = first.why
    for second in others:
        found["rating_second"], found["rating_second_raw"] = second.value, list(second.raw)  # type: ignore[typeddict-item]
        if second.why is not None:
            found["rating_second_missing"] = second.why
    return found


ENDED = "dialogue_ended"
"""Reason of a turn's sample after a turn without a reply, unless that one was too long."""
NO_REPLY = Generation("", "none", 0, 0)
"""Placeholder for a reply that was not requested."""


class Talk:
    """Runs one turn of a batch of dialogues. All randomness derives from (seed, turn, batch number)."""

    def __init__(self, task: TaskSpec, spec: DialogueSpec, engines: Engines, seed: int) -> None:
        self._task = task
        self._spec = spec
        self._subject = engines.subject
        self._simulator = engines.named(spec.simulator.model)
        self._judges = [(judge, engines.named(judge.model)) for judge in spec.judges()]
        self._seed = seed
        players = (self._subject, self._simulator, *(engine for _, engine in self._judges))
        self.batch = max(engine.batch for engine in players)
        """Dialogues that run side by side."""

    def turn(
        self, turn: int, number: int, examples: Sequence[Example], stored: Mapping[str, Sample]
    ) -> list[Turn]:
        """One sample per persona of batch `number`; earlier turns are read from `stored`."""
        batch = [PersonaDialogue(example, stored) for example in examples]
        players = (self._simulator, self._subject, *(engine for _, engine in self._judges))
        seeds = {
            role: derive_seed(role, self._seed, turn, 0 if engine.alone else number)
            for role, engine in zip(ROLES, players, strict=False)
        }
        simulator, task = self._spec.simulator, self._task
        absent = {i: why for i, one in enumerate(batch) if (why := one.ended(turn)) is not None}
        histories = {i: one.turns(turn) for i, one in enumerate(batch) if i not in absent}

        requests = {
            i: (simulator.instruction.format_map(batch[i].persona), [simulator.opening, *history])
            for i, history in histories.items()
        }
        spoken, _ = self._asked(self._simulator, requests, simulator.sampling, seed=seeds["user"], first=1)
        absent |= {
            i: one.missing if one.missing == missing.TOO_LONG else f"simulator_{one.missing}"
            for i, one in spoken.items()
            if one.missing is not None
        }
        messages = {i: strip_actions(one.text) for i, one in spoken.items() if i not in absent}

        chats = {i: (None, [*histories[i], message]) for i, message in messages.items()}
        replies, dropped = self._asked(self._subject, chats, task.sampling, seed=seeds["subject"])
        absent |= {i: one.missing for i, one in replies.items() if one.missing is not None}

        there = [i for i in range(len(batch)) if i not in absent]
        answered = [batch[i] for i in there], [messages[i] for i in there], [replies[i].text for i in there]
        ratings = [
            dict(zip(there, self._rate(judge, engine, *answered, seeds[role]), strict=True))
            for (judge, engine), role in zip(self._judges, JUDGES, strict=False)
        ]
        dialogues, *texts = answered
        pmis = dict(zip(there, self._pmi(dialogues, [histories[i] for i in there], *texts), strict=True))
        samples = []
        for i, dialogue in enumerate(batch):
            reply, message = replies.get(i, NO_REPLY), spoken.get(i, NO_REPLY)
            rated = [of.get(i, UNJUDGED) for of in ratings]
            sample = Turn(
                id=dialogue.sample_id(turn),
                user=dialogue.user,
                turn=turn,
                message=messages.get(i, ""),
                response=reply.text,
                finish_reason=reply.finish_reason,
                prompt_tokens=reply.prompt_tokens,
                new_tokens=reply.new_tokens,
                turns_dropped=dropped.get(i, 0),
                **_rated(rated),  # type: ignore[typeddict-item]  # `missing` is added below
                pmi=pmis.get(i),
                overhead=Overhead(
                    simulator_prompt=message.prompt_tokens,
                    simulator_generated=message.new_tokens,
                    judge_prompt=sum(one.prompt_tokens for one in rated),
                    judge_generated=sum(one.new_tokens for one in rated),
                ),
            )
            if i in absent:
                sample[missing.MISSING] = absent[i]
            samples.append(sample)
        return samples

    def _asked(
        self,
        engine: Engine,
        dialogues: Mapping[int, tuple[str | None, list[str]]],
        sampling: SamplingSpec,
        *,
        seed: int,
        first: int = 0,
    ) -> tuple[dict[int, Generation], dict[int, int]]:
        """The answers to the last turns of dialogues (system text, turns), and how many exchanges were
        dropped from each.

        Raises:
            TooLong: a dialogue does not fit, and the task does not skip it.
        """
        room = self._task.max_length - sampling.max_new_tokens
        answers: dict[int, Generation] = {}
        asked: dict[int, Conversation] = {}
        dropped: dict[int, int] = {}
        for i, (system, turns) in dialogues.items():
            try:
                asked[i], dropped[i] = fitted(engine, system, turns, room, first=first)
            except TooLong as error:
                if self._task.on_too_long == "fail":
                    raise TooLong(f"{error}, or set the task's on_too_long: skip") from None
                answers[i] = LEFT_OUT
        found = ask(self._task, engine, list(asked.values()), sampling, seed=seed)
        return answers | dict(zip(asked, found, strict=True)), dropped

    def _rate(
        self,
        judge: JudgeSpec,
        engine: Engine,
        batch: Sequence[PersonaDialogue],
        messages: Sequence[str],
        responses: Sequence[str],
        seed: int,
    ) -> list[Judged]:
        """A judge sees only the current message and reply, as in ALOE."""
        rows = [
            {**dialogue.persona, "message": message, "response": response}
            for dialogue, message, response in zip(batch, messages, responses, strict=True)
        ]
        room = self._task.max_length - judge.sampling.max_new_tokens
        found = judged(
            engine,
            judge.asked,
            rows,
            judge.sampling,
            method=judge.method,
            retries=judge.retries,
            seed=seed,
            room=room,
        )
        return [one["rating"] for one in found]

    def _pmi(
        self,
        batch: Sequence[PersonaDialogue],
        histories: Sequence[Sequence[str]],
        messages: Sequence[str],
        responses: Sequence[str],
    ) -> list[float | None]:
        """Mean over the reply's tokens of log P(token | persona, dialogue) - log P(token | dialogue), in
        nats; None for an empty reply. Both contexts hold the same turns."""
        values: list[float | None] = [None] * len(batch)
        if not self._spec.judge.pmi:
            return values
        judge = self._judges[0][1]
        tokenizer = judge.tokenizer
        ids = [encode_response(tokenizer, response, generated=True) for response in responses]
        scored = [i for i, response in enumerate(ids) if response]
        informed, uninformed = [], []
        for i in scored:
            turns = [*histories[i], messages[i]]
            system = PMI_SYSTEM.format_map(batch[i].persona)
            prompt, dropped = fit(tokenizer, system, turns, self._task.max_length - len(ids[i]))
            informed.append(prompt)
            uninformed.append(encode(tokenizer, chat_text(tokenizer, None, turns[2 * dropped :])))
        logp = judge.score([*informed, *uninformed], [ids[i] for i in scored] * 2)
        for place, i in enumerate(scored):
            values[i] = float((logp[place] - logp[place + len(scored)]).mean())
        return values
