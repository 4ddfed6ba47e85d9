"""What train_step.py measures against: the stock Trainer, and three others built on it."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

LENGTH = 2048
"""To which NextQuill's public code pads both contexts."""


class NaivePerCE(Trainer):
    """PerCE, Eq. 2, 4, 5, with both contexts' full logits."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        free = inputs.pop("free")
        with torch.no_grad():
            free_logp = token_logp(model, free)
        logp = token_logp(model, inputs)
        weight = (logp.detach() - free_logp).clamp(0.8, 5.0)
        return -(weight * logp).sum() / num_items_in_batch


def token_logp(model: Any, inputs: dict[str, Any]) -> Any:
    """Log-probs of the labelled tokens."""
    labels = inputs["labels"][:, 1:]
    logits = (
        model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1].float()
    )
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=-100)
    return -loss[labels.flatten() != -100]


class PublishedNextQuill(Trainer):
    """Two full-logit passes of one length with gradient, two softmaxes for the weights, cross-entropy of the
    logits and of their difference."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        free = inputs.pop("free")
        z_h, z_0 = (
            model(input_ids=each["input_ids"], attention_mask=each["attention_mask"])
            .logits[:, :-1]
            .flatten(0, 1)
            for each in (inputs, free)
        )
        target = inputs["labels"][:, 1:].flatten()
        known = target != -100
        index = target.clamp(min=0)[:, None]
        effect = z_h.softmax(-1).gather(-1, index) - z_0.softmax(-1).gather(-1, index)
        weight = torch.where(effect[:, 0] > 0.05, 0.9, 0.1) * known
        loss = F.cross_entropy(z_h.float(), target, reduction="none", ignore_index=-100)
        loss = loss + 0.05 * F.cross_entropy((z_h - z_0).float(), target, reduction="none", ignore_index=-100)
        return (weight * loss).sum() / num_items_in_batch


class Collator:
    """The library's own padding, for each context."""

    def __init__(self, tokenizer: Any, side: str = "right", length: int | None = None) -> None:
        tokenizer.padding_side = side
        padding: Any = {"padding": "max_length", "max_length": length} if length else {"padding": True}
        self._pad = DataCollatorForSeq2Seq(tokenizer, **padding)
        self._length = length

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        factual = self._context([row["factual"] for row in rows], rows)
        return {**factual, "free": self._context([row["counterfactual"] for row in rows], rows)}

    def _context(self, prompts: list[list[int]], rows: list[dict[str, Any]]) -> dict[str, Any]:
        features = []
        for prompt, row in zip(prompts, rows, strict=True):
            response = row["response"]
            kept = prompt if self._length is None else prompt[-(self._length - len(response)) :]
            features.append(
                {
                    "input_ids": [*kept, *response],
                    "attention_mask": [1] * (len(kept) + len(response)),
                    "labels": [-100] * len(kept) + response,
                }
            )
        return dict(self._pad(features))


def peer(setting: dict[str, Any], rows: list[dict[str, list[int]]], folder: str) -> Trainer:
    """The contender's Trainer over the rows, one epoch of which is one update."""
    name, cpu = setting["contender"], setting["device"] == "cpu"
    model = AutoModelForCausalLM.from_pretrained(setting["folder"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(setting["folder"])
    if setting.get("lora"):
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    common: dict[str, Any] = {
        "output_dir": folder,
        "per_device_train_batch_size": setting["per_device"],
        "gradient_accumulation_steps": len(rows) // setting["per_device"],
        "max_steps": 1000,
        "learning_rate": 1e-6,
        "use_cpu": cpu,
        "bf16": not cpu,
        "activation_checkpointing": bool(setting.get("checkpointing")),
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "no",
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    if name == "liger":
        common["use_liger_kernel"] = True
    if name == "trl":
        return sft(model, tokenizer, rows, common, cpu)
    if name == "published":
        return PublishedNextQuill(
            model=model,
            args=TrainingArguments(**common),
            train_dataset=rows,
            data_collator=Collator(tokenizer, "left", LENGTH),
        )
    args = TrainingArguments(**common)
    if name == "naive":
        return NaivePerCE(model=model, args=args, train_dataset=rows, data_collator=Collator(tokenizer))
    flat = [
        {
            "input_ids": row["factual"] + row["response"],
            "attention_mask": [1] * (len(row["factual"]) + len(row["response"])),
            "labels": [-100] * len(row["factual"]) + row["response"],
        }
        for row in rows
    ]
    collator = DataCollatorForSeq2Seq(tokenizer)
    return Trainer(model=model, args=args, train_dataset=flat, data_collator=collator)


def sft(model: Any, tokenizer: Any, rows: Any, common: dict[str, Any], cpu: bool) -> Trainer:
    """Its loss takes logits in chunks of labelled tokens; unpadded batches need flash attention, so on a
    CPU sequences of like length are put together."""
    from datasets import Dataset
    from transformers.utils import is_flash_attn_2_available
    from trl import SFTConfig, SFTTrainer

    free = not cpu and is_flash_attn_2_available()
    if free:
        model.set_attn_implementation("flash_attention_2")
    data = Dataset.from_list(
        [
            {
                "input_ids": row["factual"] + row["response"],
                "completion_mask": [0] * len(row["factual"]) + [1] * len(row["response"]),
            }
            for row in rows
        ]
    )
    config = SFTConfig(
        **common,
        max_length=None,
        padding_free=free,
        train_sampling_strategy="random" if free else "group_by_length",
    )
    return SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
