"""perbench show: show one plugin in full."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench import plugins
from perbench.console.printing import columns
from perbench.errors import PerbenchError

if TYPE_CHECKING:
    from perbench.contracts.base import Owner

SUMMARY = "show a spec with its defaults, or a plugin's documentation, keys and what it declares"


WIDEST = 100
"""Columns of texts on wide terminals."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=plugins.KINDS, metavar="KIND", help=", ".join(plugins.KINDS))
    parser.add_argument("name", metavar="NAME", help="a name that `perbench ls` lists")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from perbench.shapes.describe import SECTION, declared

    plugin = plugins.get(args.kind, args.name)
    about = _class(plugin) if plugins.KINDS[args.kind].base else _spec(plugin)
    if args.json:
        head = {"kind": plugin.kind, "name": plugin.name, "path": str(plugin.path), "sha256": plugin.digest()}
        print(json.dumps({**head, **about}, indent=1))
        return 0
    print(f"{plugin.kind} {plugin.name}\n{plugin.path}\nsha256 {plugin.digest()}")
    if "weights_note" in about:
        print(f"weights {about['weights'] or about['weights_note']}")
    print()
    if "spec" in about:
        print(_yaml(about["spec"]), end="")
        if "profiles" in about:
            print(f"\n{_yaml({'profiles': about['profiles']})}", end="")
        return 0
    contract = plugins.named(plugins.KINDS[args.kind].base or "")
    preset = declared(contract, contract)
    width = min(columns(sys.stdout), WIDEST)
    print(refilled(about.pop("documentation"), width), end="")
    for title in ("hyperparameters", "keys"):
        for place, row in enumerate(about.pop(title, ())):
            value = ", required" if row["required"] else f", default {row['default']!r}"
            print("" if place else f"\n{title}\n", end="")
            print(f"  {row['name']}: {row['type']}{'' if row['type'] == SECTION else value}")
            print(refilled(row["text"], width - 4, "    "), end="")
    print()
    for name, value in about.items():  # lists of names fit on a line
        if value in (None, [], {}, preset.get(name)):
            continue  # what the class does not say itself
        print(_yaml({name: value}, flow=None if isinstance(value, list | dict) else False), end="")
    return 0


def refilled(text: str, width: int, indent: str = "") -> str:
    """Paragraphs filled anew where a line is wider than `width`; indented lines and lists are kept."""
    found = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        flowing = not any(re.match(r"\s|[-*|] |\d+\. |[=-]{3}", line) for line in lines)
        if flowing and any(len(line) > width for line in lines):
            lines = textwrap.wrap(" ".join(lines), width, break_long_words=False, break_on_hyphens=False)
        found.append("".join(f"{indent}{line}\n" for line in lines))
    return "\n".join(found)


def _yaml(values: dict[str, Any], *, flow: bool | None = False) -> str:
    import yaml

    width = min(columns(sys.stdout), WIDEST)
    return str(
        yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow)
    )


def _class(plugin: plugins.Plugin) -> dict[str, Any]:
    """The documentation, the keys or hyperparameters, and what the class declares under its contract."""
    from perbench.contracts.base import Owner
    from perbench.hyperparameters import Hyperparameters, model_of
    from perbench.shapes.describe import declared, described

    cls = plugin.load_class()
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    texts = filter(None, [module, inspect.cleandoc(cls.__dict__.get("__doc__") or "")])
    about: dict[str, Any] = {"documentation": "\n\n".join(texts)}
    if issubclass(cls, Hyperparameters):
        about["hyperparameters"] = described(model_of(cls), cls)
    if issubclass(cls, Owner):
        about |= {"keys": described(cls.Keys), "roles": _roles(plugin.kind, cls)}
    return about | declared(cls, plugins.named(plugins.KINDS[plugin.kind].base or ""))


def _roles(kind: str, owner: type[Owner[Any]]) -> list[dict[str, Any]]:
    """The models that take part if every section is set, each named by the key that names it."""
    from perbench.contracts.base import Owner
    from perbench.shapes.describe import filled
    from perbench.specs.compose import SPECS

    if owner.roles is Owner.roles:
        return []
    spec = SPECS[kind]()
    values = {**filled(spec, optional=False), **filled(owner.Keys, optional=True)}
    return [
        {
            "name": role.name,
            "model": role.model or "the model under evaluation",
            "needs": list(role.needs),
        }
        for role in owner(spec.model_construct(None, **values)).roles()
    ]


def _spec(plugin: plugins.Plugin) -> dict[str, Any]:
    if plugin.kind == "matrix":
        return _matrix(plugin)
    named = plugins.loader(plugin.kind)(plugin.name)
    about = {"spec": named.spec.model_dump(mode="json", by_alias=True)}
    return {**about, **_weights(named)} if plugin.kind == "model" else about


def _matrix(plugin: plugins.Plugin) -> dict[str, Any]:
    """A matrix under its first profile, and what the others change."""
    from perbench.specs.matrices import load_matrix
    from perbench.specs.profiles import KEY
    from perbench.specs.yaml import read

    about = {"spec": load_matrix(plugin.name).spec.model_dump(mode="json", by_alias=True)}
    profiles = read(plugin.path).data.get(KEY)
    return {**about, KEY: profiles} if profiles else about


def _weights(model: Any) -> dict[str, str | None]:
    """The folder of a model's weights, or None with the reason; does not access the network."""
    from perbench.lm.models import at_hand
    from perbench.specs.compose import engine_of

    spec, engine = model.spec, engine_of(model)
    if not engine.weights:
        return {"weights": None, "weights_note": f"{engine.what}'s, not on this machine"}
    try:
        folder = _in_hub_cache(spec) if spec.hub is not None else at_hand(model)
    except PerbenchError as error:
        return {"weights": None, "weights_note": f"unavailable: {error}"}
    if folder is not None:
        return {"weights": str(folder), "weights_note": None}
    first = "converted" if spec.gguf is not None else "downloaded"
    return {"weights": None, "weights_note": f"not yet {first}; a run does so when it needs them"}


def _in_hub_cache(spec: Any) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.hub, "config.json", revision=spec.revision)
    return Path(found).parent if isinstance(found, str) else None
