"""What every matrix plans, to be compared with identities.json: the identity, tokens and spend of each cell.

    python tests/golden/planned.py                 print what differs
    python tests/golden/planned.py --write         write identities.json anew
    python tests/golden/planned.py --inputs FILE   write the inputs behind the identities, to compare commits

An identity is the sha256 of a cell's inputs, and finished cells are found by it: after it changes, whoever
has some computes them again. So a commit that changes an identity needs a reason, which its message gives;
where perbench computes something else, it raises the version, too. A new matrix, or one that was meant to
change, is only written anew.

The matrices are those of perbench and of root/; the rows, in root/data and cache/data, are invented. The
identities of lm-eval's tasks hold its version, which constraints.txt pins.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
GOLDENS = HERE / "identities.json"
SEED = 8
"""Of the tiny model's weights; under many others its judge says no to everything."""
LIMIT = 4
"""Examples of a split: the tasks that perbench carries hold hundreds."""
HUB = [
    "Qwen/Qwen2.5-3B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-4B",
    "facebook/contriever",
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
]
"""Models of the matrices: the tiny one stands in for each."""
Plans = dict[str, dict[str, str]]
"""Matrix -> cell -> "identity tokens spends"."""


def make_root(folder: Path) -> Path:
    """A copy of root/ with the weights of its model, the same bytes everywhere and under any torch."""
    shutil.copytree(HERE / "root", folder)
    model = folder / "model"
    config = json.loads((model / "config.json").read_text())
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    shapes: dict[str, list[int]] = {"embed_tokens": [config["vocab_size"], hidden], "norm": [hidden]}
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "self_attn.q_proj": [queries, hidden],
            "self_attn.k_proj": [keys, hidden],
            "self_attn.v_proj": [keys, hidden],
            "self_attn.o_proj": [hidden, queries],
            "mlp.gate_proj": [inner, hidden],
            "mlp.up_proj": [inner, hidden],
            "mlp.down_proj": [hidden, inner],
            "input_layernorm": [hidden],
            "post_attention_layernorm": [hidden],
        }
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in parts.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    draw, body = random.Random(SEED), bytearray()
    for name, shape in shapes.items():
        count, start = shape[0] * (shape[1] if len(shape) > 1 else 1), len(body)
        values = [1.0] * count if len(shape) == 1 else [draw.random() - 0.5 for _ in range(count)]
        body += struct.pack(f"<{count}f", *values)
        header[f"model.{name}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(body)]}
    told = json.dumps(header).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(told)) + told + body)
    return folder


def settle(folder: Path) -> None:
    """Make root, user cache and hub cache in `folder` all that perbench finds. Call it before importing
    perbench: the hub's client reads its variables once."""
    root = make_root(folder / "root")
    shutil.copytree(HERE / "cache", folder / "cache")
    for number, name in enumerate(HUB):
        kept, commit = folder / "hub" / f"models--{name.replace('/', '--')}", f"{number + 1:040x}"
        shutil.copytree(root / "model", kept / "snapshots" / commit)
        (kept / "refs").mkdir()
        (kept / "refs" / "main").write_text(commit)
    for name in [name for name in os.environ if name.startswith(("PERBENCH_", "OPENAI_", "HF_", "XDG_"))]:
        del os.environ[name]
    os.environ |= {
        "PERBENCH_INCLUDE": str(root),
        "PERBENCH_CACHE": str(folder / "cache"),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
    }
    os.chdir(folder)
    from perbench.lm import native

    native.native = lambda: native.USUAL  # type: ignore[assignment]  # on every machine the same


def perbench(*words: str) -> Any:
    """What a command prints as JSON."""
    from perbench import cli

    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = cli.main([*words, "--json"])
    if code not in (0, 2) or not out.getvalue():  # 2: a run would miss keys of endpoints
        raise SystemExit(f"perbench {' '.join(words)}: exit code {code}\n{err.getvalue()}")
    return json.loads(out.getvalue())


def matrices() -> list[str]:
    return sorted(found["name"] for found in perbench("ls", "matrices"))


def planned() -> Plans:
    """The plan of every matrix."""
    return {name: dict(sorted(_cells(name))) for name in matrices()}


def _cells(matrix: str) -> Iterator[tuple[str, str]]:
    plan = perbench("run", "--matrix", matrix, "--limit", str(LIMIT), "--dry-run")
    for cell in plan["cells"]:
        tokens = f"{'' if cell['tokens_exact'] else '~'}{cell['tokens']}"
        asked = [
            f"{name}:{one['requests']}/{one['input']}/{one['output']}={one['cost']} {one['currency']}"
            for name, one in sorted(cell["endpoints"].items())
        ]
        yield _name(cell["kind"], cell["labels"]), " ".join([cell["identity"][:16], tokens, *asked])


def _name(kind: str, labels: dict[str, Any]) -> str:
    params = {**labels["trainer_params"], **labels["identifier_params"], **labels["training"]}
    told = f"({', '.join(f'{key}={json.dumps(value)}' for key, value in params.items())})" if params else ""
    made = (labels["trainer"] or labels["identifier"] or "base") + told
    way = " -> ".join(name for name in (labels["source"], labels["target"]) if name)
    return f"{kind} {labels['model']} {made} {way} seed {labels['seed']}"


def written(plans: Plans) -> str:
    """The text of identities.json: a line per cell, so that a diff shows which changed."""
    blocks = []
    for matrix, cells in plans.items():
        lines = [f"{json.dumps(cell)}: {json.dumps(value)}" for cell, value in cells.items()]
        blocks.append(f"{json.dumps(matrix)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def differences(before: Plans, after: Plans) -> list[str]:
    """A line for each cell that is not in both plans alike."""
    found = []
    for matrix in sorted(before.keys() | after.keys()):
        old, new = before.get(matrix, {}), after.get(matrix, {})
        for cell in sorted(old.keys() | new.keys()):
            if old.get(cell) != new.get(cell):
                found.append(f"{matrix}: {cell}: {old.get(cell)} -> {new.get(cell)}")
    return found


def inputs() -> dict[str, dict[str, Any]]:
    """Matrix -> cell -> the inputs that its identity is the digest of."""
    from perbench.matrix.catalogue import Catalogue
    from perbench.matrix.cells import expand
    from perbench.specs.matrices import load_matrix

    found = {}
    for matrix in matrices():
        spec = load_matrix(matrix).spec
        cells = expand(spec, Catalogue(spec, {}, LIMIT, draft=True))
        found[matrix] = {_name(one.kind, one.labels.model_dump(mode="json")): one.inputs for one in cells}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write identities.json anew")
    parser.add_argument("--inputs", type=Path, metavar="FILE", help="write every cell's inputs as JSON")
    args = parser.parse_args()
    target = args.inputs.absolute() if args.inputs else None
    with tempfile.TemporaryDirectory() as folder:
        settle(Path(folder))
        if target is not None:
            target.write_text(json.dumps(inputs(), indent=1, sort_keys=True) + "\n")
            return 0
        plans = planned()
    changed = differences(json.loads(GOLDENS.read_text()) if GOLDENS.exists() else {}, plans)
    if args.write:
        GOLDENS.write_text(written(plans))
    print("\n".join(changed))
    return 1 if changed and not args.write else 0


if __name__ == "__main__":
    sys.exit(main())
