"""Requests as lm-eval's models read them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perbench.contracts.independent import IndependentRequest, Reply
from perbench.errors import PerbenchError
from perbench.harness.rows import AskedExample
from perbench.lm.template import pin, template_of
from perbench.prompts.chat import as_rendered, chat_text, encode, end_of_sequence, end_of_turn, opening
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec

log = logging.getLogger("lm_eval.perbench")
Arguments = tuple[Any, Any]
"""Of an lm-eval Instance: the prompt, and generation options or a continuation."""
PLAIN = {"repetition_penalty": 1.0}
"""Options that transformers and vLLM would otherwise take from the model's generation_config.json."""
LEAST = {"until": [], "max_gen_toks": 1, "do_sample": False}


class Asker:
    """One of lm-eval's models. `tokenizer` is None only if prompts need none; `context` is the context size
    of a model in this process."""

    def __init__(
        self, chat_template: Callable[..., Any], tokenizer: str | None, task: Named[TaskSpec], *, needed: bool
    ) -> None:
        """
        Args:
            chat_template: the model's own method.
            tokenizer: name or folder of the model whose tokenizer stands in for one that lm-eval has not.
            needed: whether prompts are still to be built.
        """
        self.lm: Any = getattr(chat_template, "__self__", None)
        self.task = task
        self._render = chat_template
        self._compared = False
        self.local = hasattr(self.lm, "_model_generate")
        self.context: int | None = getattr(self.lm, "max_length", None) if self.local else None
        found = getattr(self.lm, "tokenizer", None)
        usable = hasattr(found, "chat_template") and hasattr(found, "added_tokens_decoder")
        self.tokenizer = found if usable else _named(tokenizer)
        if self.tokenizer is None:
            if needed:
                raise PerbenchError(
                    f"{task.name}: histories are trimmed by the model's tokens, but lm-eval has no tokenizer "
                    'of it; name one: --metadata \'{"tokenizer": "MODEL or FOLDER"}\''
                )
            return
        if template_of(self.tokenizer) is None:
            raise PerbenchError(
                f"{task.name}: the model's tokenizer has no chat template; use the model's instruction-tuned "
                "version"
            )
        pin(self.tokenizer)

    def rendered(self, system: str | None, turns: Sequence[str]) -> Any:
        """A dialogue as the model's prompt: a text, or lm-eval's own type for servers of chats."""
        asked, given = (system, list(turns)), turns
        if self.tokenizer is not None:
            asked = as_rendered(self.tokenizer, system, turns)
        messages = [] if asked[0] is None else [{"role": "system", "content": asked[0]}]
        messages += [
            {"role": ("user", "assistant")[number % 2], "content": turn}
            for number, turn in enumerate(asked[1])
        ]
        prompt = self._render(messages)
        if not isinstance(prompt, str) or self.tokenizer is None:
            return prompt
        whole = prompt if prompt.endswith(opening(self.tokenizer)) else prompt + opening(self.tokenizer)
        if not self._compared:
            self._compared = True
            if whole != chat_text(self.tokenizer, system, given):
                log.warning(
                    "%s: lm-eval renders the model's chat template otherwise than perbench does, so numbers "
                    "may differ; models that think need enable_thinking=False in --model_args",
                    self.task.name,
                )
        return whole

    def check_length(self, prompt: Any, answer: int) -> None:
        """lm-eval would cut the beginning of a prompt, where the persona is.

        Raises:
            PerbenchError: prompt and answer exceed the model's context.
        """
        if self.context is None or self.tokenizer is None or not isinstance(prompt, str):
            return
        read = len(encode(self.tokenizer, prompt))
        if read + answer > self.context:
            raise PerbenchError(
                f"{self.task.name}: a prompt of {read} tokens and its answer of {answer} exceed the model's "
                f"context of {self.context}; lower the task's max_length: --metadata "
                f'\'{{"set": {{"max_length": {self.context}}}}}\''
            )


def options(asker: Asker, given: Mapping[str, Any], sampling: SamplingSpec) -> dict[str, Any]:
    """lm-eval's generation options, completed for models in this process so that only they decide.

    Raises:
        PerbenchError: lm-eval cannot tell the model where answers end.
    """
    by_transformers = any(cls.__name__ == "HFLM" for cls in type(asker.lm).__mro__)
    if sampling.end != "turn" and not by_transformers:
        raise PerbenchError(
            f"{asker.task.name}: sampling.end: {sampling.end} needs --model hf or perbench; or set turn: "
            '--metadata \'{"set": {"sampling.end": "turn"}}\''
        )
    if not asker.local:
        return {**given}
    plain: dict[str, Any] = {**PLAIN, **({"top_k": 0} if given.get("do_sample") else {})}
    if by_transformers:
        # In a batch, the text of an answer that is done would go on unless a stop token ends it.
        plain["eos_token_id"] = _stops(asker, sampling)
    return {**plain, **given}


def _stops(asker: Asker, sampling: SamplingSpec) -> list[int]:
    if sampling.end == "eos":
        return [end_of_sequence(asker.tokenizer)]
    if (stops := getattr(asker.lm, "stop_tokens", None)) is not None:  # perbench's own model
        return list(stops)
    named = asker.lm.model.generation_config.eos_token_id
    own = {named} if isinstance(named, int) else set(named or ())
    return sorted({*own, *end_of_turn(asker.tokenizer)[-1:]})


class AskedDocument:
    """One document: what is asked, and its samples as soon as they are known."""

    def __init__(self, asker: Asker, asked: AskedExample) -> None:
        self.asker, self.asked = asker, asked
        self.samples: list[dict[str, Any]] = []
        self._blanks: list[int | None] = []

    def arguments(self, output: str, given: Mapping[str, Any] | None) -> list[tuple[str, Arguments]]:
        """Kind and arguments of each of lm-eval's requests: at least one, as lm-eval demands.

        Raises:
            PerbenchError: the model gives no log-probs; a prompt is too long.
        """
        asking = self.asked.asking
        if asking is None:
            prompt = self.asker.rendered(None, ["a"])
            if output == "generate_until":
                return [("generate_until", (prompt, {**LEAST}))]
            return [("loglikelihood", (prompt, "b"))]
        found = [self._one(request, given or {}) for request in asking.requests]
        # lm-eval moves white space from a prompt's end to the text after it: it is asked alone, too.
        blanks: dict[str, int] = {}
        for kind, (prompt, _) in list(found):
            bare = prompt.rstrip() if kind == "loglikelihood" else prompt
            if bare == prompt:
                self._blanks.append(None)
                continue
            if prompt not in blanks:
                blanks[prompt] = len(found)
                found.append((kind, (bare, prompt[len(bare) :])))
            self._blanks.append(blanks[prompt])
        return found

    def _one(self, request: IndependentRequest, given: Mapping[str, Any]) -> tuple[str, Arguments]:
        prompt = self.asker.rendered(request.system, [request.user])
        if request.answer is None:
            self.asker.check_length(prompt, given["max_gen_toks"])
            return "generate_until", (prompt, options(self.asker, given, self.asker.task.spec.sampling))
        if not isinstance(prompt, str):
            raise PerbenchError(
                f"{self.asker.task.name}: it asks for log-probs, which a server of chats does not give; use "
                "--model hf, vllm, perbench or local-completions"
            )
        self.asker.check_length(prompt + request.begun + request.answer, 0)
        return "loglikelihood", (prompt + request.begun, request.answer)

    def replies(self, results: Sequence[Any]) -> list[Reply]:
        """The reply to each request, from lm-eval's results in order."""
        return [
            result if isinstance(result, str) else result[0] - (0.0 if blank is None else results[blank][0])
            for result, blank in zip(results, self._blanks, strict=False)
        ]


def _named(tokenizer: str | None) -> Any:
    from perbench.lm.models import load_tokenizer, resolve
    from perbench.specs.load import load_model

    if tokenizer is None:
        return None
    folder = Path(tokenizer)
    return load_tokenizer(folder if folder.is_dir() else resolve(load_model(tokenizer)).folder)
