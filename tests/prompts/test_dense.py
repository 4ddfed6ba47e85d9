"""The encoder against plain forward passes, one text at a time; its cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from perbench.errors import PerbenchError
from perbench.persona import dense
from perbench.persona.dense import Encoder

TEXTS = ["deer", "I like to hunt deer in the woods with my old dog every autumn.", "", "tea and bread"]


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 32 positions with the tiny model's tokenizer, between a start and an end token."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer, BertConfig, BertModel

    path = tmp_path_factory.mktemp("encoder")
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model_dir)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", tokenizer.bos_token_id), ("<|im_end|>", tokenizer.eos_token_id)],
    )
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def alone(folder: Path, text: str) -> np.ndarray[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"][:31]
    longest = AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=32)["input_ids"]
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(torch.tensor([longest])).last_hidden_state[0]
    assert ids[:20] == longest[:20]
    return states.mean(0).numpy()


def test_a_vector_is_the_mean_of_the_last_states_whatever_it_is_batched_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*TEXTS, "deer " * 100]
    monkeypatch.setattr(dense, "TOKEN_BUDGET", 70)
    monkeypatch.setattr(dense, "AT_ONCE", 3)
    found = Encoder(lambda: folder, "d")(texts)
    expected = np.stack([alone(folder, text) for text in texts])
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_vectors_are_kept_by_encoder_and_text_and_the_weights_then_not_loaded(folder: Path) -> None:
    loads: list[str] = []

    def load() -> Path:
        loads.append("")
        return folder

    first = Encoder(load, "one")(TEXTS)
    assert len(loads) == 1
    np.testing.assert_array_equal(Encoder(load, "one")([*TEXTS[::-1], TEXTS[0]]), first[[3, 2, 1, 0, 0]])
    assert len(loads) == 1
    Encoder(load, "two")(TEXTS[:1])
    assert len(loads) == 2


def test_vectors_that_are_no_numbers_are_refused_and_not_kept(folder: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    weights = load_file(spoilt / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"][0, 0] = torch.nan
    save_file(weights, spoilt / "model.safetensors", {"format": "pt"})
    for _ in range(2):
        with pytest.raises(PerbenchError, match="embeddings are not finite"):
            Encoder(lambda: spoilt, "spoilt")(TEXTS)


def test_a_damaged_cache_and_a_folder_without_an_encoder_name_the_way_out(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(PerbenchError, match="the encoder does not load"):
        Encoder(lambda: tmp_path, "d")(TEXTS)
    cache.mkdir(exist_ok=True)
    (cache / "embeddings.sqlite").write_bytes(b"torn " * 300)
    with pytest.raises(PerbenchError, match=r"embeddings\.sqlite is damaged: .*delete the file"):
        Encoder(lambda: folder, "d")(TEXTS)
