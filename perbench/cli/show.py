"""perbench show: one task, model, matrix, identifier, trainer or family of data in full."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.console.printing import columns
from perbench.errors import PerbenchError

SUMMARY = "show a spec with its defaults, or a plugin's hyperparameters and documentation"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=plugins.KINDS, metavar="KIND", help=", ".join(plugins.KINDS))
    parser.add_argument("name", metavar="NAME", help="a name that `perbench ls` lists")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    plugin = plugins.get(args.kind, args.name)
    about = _class(plugin) if plugins.KINDS[args.kind].base else _spec(plugin)
    if args.json:
        print(
            json.dumps(
                {"kind": plugin.kind, "name": plugin.name, "path": str(plugin.path), **about}, indent=1
            )
        )
        return 0
    print(f"{plugin.kind} {plugin.name}\n{plugin.path}\nsha256 {plugin.digest()}")
    if "weights" in about:
        print(f"weights {about['weights'] or about['weights_note']}")
    print()
    if "spec" in about:
        import yaml

        width = min(columns(sys.stdout), 100)
        print(yaml.safe_dump(about["spec"], sort_keys=False, allow_unicode=True, width=width), end="")
        return 0
    print(about["documentation"])
    if "remotes" in about:
        _print_family(about)
        return 0
    print("\nhyperparameters" if about["hyperparameters"] else "\nno hyperparameters")
    for row in about["hyperparameters"]:
        value = "required" if row["required"] else f"= {row['default']!r}"
        print(f"  {row['name']}: {row['type']} {value}")
    for name, value in about["needs"].items():
        print(f"{name}: {value}")
    return 0


def _print_family(about: dict[str, Any]) -> None:
    print(f"\ntables: {', '.join(about['tables'])}")
    for remote in about["remotes"]:
        commit = remote["revision"] or "the newest commit at the first fetch"
        print(f"files of {remote['host']}:{remote['repository']} at {commit}, or in a folder for --from")
        for path, checksum in remote["files"].items():
            print(f"  {path}  {checksum or 'no checksum known'}")


def _class(plugin: plugins.Plugin) -> dict[str, Any]:
    from perbench.api import Family
    from perbench.hyperparameters import Hyperparameters

    cls = plugin.load_class()
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    documentation = "\n\n".join(filter(None, [module, inspect.cleandoc(cls.__dict__.get("__doc__") or "")]))
    about = {"documentation": documentation, "sha256": plugin.digest()}
    if issubclass(cls, Family):
        return {**about, "tables": cls.tables, "remotes": [asdict(remote) for remote in cls.remotes]}
    if not issubclass(cls, Hyperparameters):
        keys = getattr(cls, "Keys", None)
        return {**about, "hyperparameters": _keys(keys) if keys is not None else [], "needs": {}}
    attribute = {"trainer": "counterfactual", "identifier": "needs_model"}[plugin.kind]
    needs = {attribute: getattr(cls, attribute)}
    return {**about, "hyperparameters": cls.describe(), "needs": needs}


def _keys(model: Any) -> list[dict[str, Any]]:
    """The keys of a task that an owner brings, as hyperparameters are told."""
    return [
        {
            "name": name,
            "type": getattr(info.annotation, "__name__", str(info.annotation)),
            "default": None if info.is_required() else str(info.default),
            "required": info.is_required(),
        }
        for name, info in model.model_fields.items()
    ]


def _spec(plugin: plugins.Plugin) -> dict[str, Any]:
    from perbench.specs.load import load_model, load_task
    from perbench.specs.matrices import load_matrix

    load: Any = {"task": load_task, "model": load_model, "matrix": load_matrix}[plugin.kind]
    named = load(plugin.name)
    about = {"spec": named.spec.model_dump(mode="json", by_alias=True), "sha256": plugin.digest()}
    return {**about, **_weights(named)} if plugin.kind == "model" else about


def _weights(model: Any) -> dict[str, str | None]:
    """The folder of a model's weights, None where it is not at hand, with the reason; asks no network."""
    from perbench.lm.models import at_hand

    spec = model.spec
    if spec.endpoint is not None:
        return {"weights": None, "weights_note": "an endpoint's, not on this machine"}
    try:
        folder = _in_hub_cache(spec) if spec.hub is not None else at_hand(model)
    except PerbenchError as error:
        return {"weights": None, "weights_note": f"not at hand: {error}"}
    if folder is not None:
        return {"weights": str(folder), "weights_note": None}
    first = "converted" if spec.gguf is not None else "downloaded"
    return {"weights": None, "weights_note": f"not at hand; {first} when a run first needs them"}


def _in_hub_cache(spec: Any) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.hub, "config.json", revision=spec.revision)
    return Path(found).parent if isinstance(found, str) else None
