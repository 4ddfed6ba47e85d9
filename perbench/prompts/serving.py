"""What engines that read token ids share: chats as prompts, and the tokens that end an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.errors import PerbenchError
from perbench.prompts.chat import chat_text, encode, end_of_sequence, end_of_turn
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    from perbench.contracts.engine import Conversation, Engine, Generation, Seeds


def chat_by_tokens(
    engine: Engine, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: Seeds, skip: bool
) -> list[Generation]:
    """`Engine.chat` by `Engine.generate`."""
    from perbench.contracts.engine import LEFT_OUT, seed_of_each

    prompts = []
    for messages in conversations:
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        turns = [message["content"] for message in messages[system is not None :]]
        prompts.append(encode(engine.tokenizer, chat_text(engine.tokenizer, system, turns)))
    room = engine.context
    fitting = [
        i
        for i, prompt in enumerate(prompts)
        if not skip or room is None or len(prompt) + sampling.max_new_tokens <= room
    ]
    seeds = seed_of_each(seed, len(prompts))
    found = engine.generate([prompts[i] for i in fitting], sampling, seed=[seeds[i] for i in fitting])
    answers = dict(zip(fitting, found, strict=True))
    return [answers.get(i, LEFT_OUT) for i in range(len(prompts))]


def ends(engine: Engine, stops: frozenset[int], sampling: SamplingSpec) -> frozenset[int]:
    """The tokens that end an answer under `sampling.end`; `stops` are those of the end of a turn."""
    return stops if sampling.end == "turn" else frozenset({end_of_sequence(engine.tokenizer)})


def stop_tokens(folder: Path, tokenizer: Any, config: Any = None) -> frozenset[int]:
    """The tokens that end an answer: those of the model's generation config and of its chat template.

    Args:
        config: the generation config; default: as transformers would load it.

    Raises:
        PerbenchError: there are none.
    """
    named = (config if config is not None else _generation_config(folder)).eos_token_id
    stop = {named} if isinstance(named, int) else set(named or ())
    stop.update(end_of_turn(tokenizer)[-1:])
    if not stop:
        raise PerbenchError(f"{folder}: neither generation_config.json nor the chat template ends a turn")
    return frozenset(stop)


def _generation_config(folder: Path) -> Any:
    from transformers import AutoConfig, GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # without a file, from the model's config
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return GenerationConfig.from_model_config(config)
