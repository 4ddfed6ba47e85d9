"""Answers that a harness generates: one request per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perbench.api import Example
from perbench.contracts.engine import LEFT_OUT, Generation
from perbench.contracts.independent import Asking, Independent, IndependentRequest, Reply
from perbench.contracts.run import Scored
from perbench.errors import PerbenchError
from perbench.prompts.chat import encode_response
from perbench.prompts.messages import ChatRequest, build_request, estimated
from perbench.prompts.pair import turns

from .answers import sample
from .samples import Answer
from .scores import score


class Answers(Independent):
    """Without the metrics of `persona_swap`, which ask about the answers."""

    output = "generate_until"

    @property
    def metrics(self) -> Sequence[str]:
        return self.spec.metrics

    def ask(self, example: Example, tokenizer: Any, context: int | None) -> Asking:
        assert self.spec.prompt is not None, "tasks with personas name their prompt"
        if self.spec.prompts[self.spec.prompt].messages:
            raise PerbenchError(
                f"prompts.{self.spec.prompt}.messages: a harness asks a single turn; use another form"
            )
        if tokenizer is None:
            found = build_request(self.spec, example)
            *system, user = (message["content"] for message in found.messages)
            request, tokens = IndependentRequest(system[0] if system else None, user), found.tokens
        else:
            pair = turns(self.spec, example, tokenizer, context=context)
            found = ChatRequest([], pair.kept, pair.trimmed)
            request, tokens = (
                IndependentRequest(pair.factual.system, pair.factual.user),
                len(pair.factual.ids),
            )
        return Asking([request], {"kept": found.kept, "trimmed": found.trimmed, "tokens": tokens})

    def sample(self, example: Example, asking: Asking, replies: Sequence[Reply], tokenizer: Any) -> Answer:
        text, facts, most = str(replies[0]), asking.facts, self.spec.sampling.max_new_tokens
        new = estimated(text) if tokenizer is None else len(encode_response(tokenizer, text, generated=True))
        new = min(new, most)  # broken characters take more tokens when read than when written
        # Harnesses do not say why an answer ended.
        reason = "length" if new == most else "stop"
        return sample(
            example,
            ChatRequest([], facts["kept"], facts["trimmed"]),
            Generation(text, reason, facts["tokens"], new),
        )

    def left_out(self, example: Example) -> Answer:
        return sample(example, ChatRequest([], 0, 0), LEFT_OUT)

    def score(self, samples: Sequence[Any]) -> Scored:
        return score(self.spec, None, samples)
