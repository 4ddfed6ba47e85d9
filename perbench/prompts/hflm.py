"""lm-eval's view of the weights that an engine of this process serves."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from perbench.errors import PerbenchError
from perbench.lm.finite import Finite, check_finite
from perbench.prompts.chat import folded, has_system_role, opening

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine


def served(engine: Engine, batch_size: int) -> Any:
    """An lm-eval HFLM over the served weights, adapter included; `batch_size` sequences per forward pass.

    Raises:
        PerbenchError: the model is not in this process.
    """
    if getattr(engine, "model", None) is None:
        raise PerbenchError(
            f"lm_eval targets need a model in this process, but engine {engine.name} has none; leave them "
            "out of this matrix, or evaluate the model with the transformers engine"
        )
    return hflm()(engine, batch_size)


@cache
def hflm() -> type[Any]:
    """The subclass of lm-eval's HFLM for engines. Its numbers and texts are those of plain lm-eval."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import LogitsProcessorList

    finite = LogitsProcessorList([Finite()])

    class EngineLM(HFLM):  # type: ignore[misc]
        def __init__(self, engine: Any, batch_size: int | str | None) -> None:
            # lm-eval sets a pad token where there is none.
            tokenizer = copy.deepcopy(engine.tokenizer)
            # Plain lm-eval generates with the checkpoint's own options. They may not name the token that ends
            # a turn: in a batch, the text of an answer that is done would go on.
            own = copy.deepcopy(engine.own_generation)
            own.eos_token_id = sorted({*engine.stop_tokens, tokenizer.eos_token_id} - {None})
            if (tokenizer.pad_token_id or 0) >= engine.model.get_input_embeddings().num_embeddings:
                tokenizer.pad_token_id = own.eos_token_id[0]  # masked in prompts, left out of answers
            self._own_generation = own
            # HFLM's softmax defaults to the weights' dtype; in bfloat16 close choices would tie.
            super().__init__(
                pretrained=engine.model,
                backend="causal",
                tokenizer=tokenizer,
                batch_size=batch_size,
                softmax_dtype=torch.float32,
                enable_thinking=False,
            )

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            """Without a system role in the template, HFLM drops the system turn: the task's description."""
            first = chat_history[0] if chat_history else {}
            if first.get("role") == "system" and not has_system_role(self.tokenizer):
                turn, *others = chat_history[1:] or [{"role": "user", "content": ""}]
                chat_history = [{**turn, "content": folded(first["content"], turn["content"])}, *others]
            text: str = super().apply_chat_template(chat_history, add_generation_prompt)
            return text + opening(self.tokenizer) if add_generation_prompt else text

        def _model_call(self, *args: Any, **options: Any) -> Any:
            logits = super()._model_call(*args, **options)
            check_finite(logits.amax(-1), "logits")
            return logits

        def _model_generate(self, *args: Any, **options: Any) -> Any:
            model = self.model
            kept, model.generation_config = model.generation_config, self._own_generation
            try:
                return super()._model_generate(*args, **options, logits_processor=finite)
            finally:
                model.generation_config = kept

    return EngineLM
