"""Short names that distinguish records of the same name by what differs: "8 examples", "max_length 300"."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from perbench.progress import counted
from perbench.specs.grid import leaves

Path = tuple[str, ...]
DATA = ("data",)
SIGNATURE = ("signature",)
SHOWN = 3
"""Maximum differences in a name."""
LONGEST = 28
"""Maximum characters of a value shown unchanged."""
CONTENT = {
    *(
        "weights_sha256",
        "gguf_sha256",
        "pre_tokenizer",
        "conversion",
        "hub",
        "revision",
        "address",
        "wording",
    ),
    *("endpoint", "dtype", "max_position_embeddings"),
}
"""Keys below a model's or a prompt's name that say what it is made of."""


@dataclass(frozen=True)
class Namesake:
    """One of several variants that share a name. `size`: number of examples, if known; `runs`: names of the
    runs that hold it; `named`: paths of inputs that its name already shows."""

    inputs: Mapping[str, Any]
    size: int | None = None
    runs: tuple[str, ...] = ()
    named: Collection[Path] = ()
    found: Mapping[Path, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", leaves(self.inputs))

    @property
    def key(self) -> str:
        return key(self.inputs)


def key(inputs: Mapping[str, Any]) -> str:
    """Equal for equal inputs."""
    return _SORTED.encode(inputs)


_SORTED = json.JSONEncoder(sort_keys=True)
"""`json.dumps` makes one for each call."""


def tell_apart(variants: Sequence[Namesake]) -> list[str]:
    """A short name for each variant; "" if nothing differs."""
    paths = sorted({path for variant in variants for path in variant.found})
    differing = [path for path in paths if len({_text(variant.found.get(path)) for variant in variants}) > 1]
    names = []
    for variant in variants:
        parts = [_part(path, variant, variants, differing) for path in differing if path not in variant.named]
        parts = list(dict.fromkeys(filter(None, parts)))
        more = len(parts) - SHOWN
        names.append(", ".join([*parts[:SHOWN], *([f"{more} more"] if more > 0 else [])]))
    keys_of = defaultdict(set)
    wholes = [
        (name, *((path, _text(variant.found.get(path))) for path in sorted(variant.named)))
        for name, variant in zip(names, variants, strict=True)
    ]
    for whole, variant in zip(wholes, variants, strict=True):
        keys_of[whole].add(variant.key)
    return [
        ", ".join(filter(None, (name, f"variant {_short(variant.key)}"))) if len(keys_of[whole]) > 1 else name
        for name, whole, variant in zip(names, wholes, variants, strict=True)
    ]


def _part(path: Path, variant: Namesake, others: Sequence[Namesake], differing: Sequence[Path]) -> str:
    value, values = variant.found.get(path), [other.found.get(path) for other in others]
    if path == DATA and (size := _size(variant, others)):
        return size
    if path == SIGNATURE:
        parts = [set(str(value).split("|")) for value in values]
        return " ".join(p for p in str(value).split("|") if p not in set.intersection(*parts))[:LONGEST]
    if path not in variant.found:
        while len(path) > 1 and not any(found[: len(path) - 1] == path[:-1] for found in variant.found):
            path = path[:-1]
        return f"no {_topic(path)}"
    if all(map(_plain, values)):
        alike = any(other != path and other[-1] == path[-1] for other in differing)
        name = "results version" if path == ("version",) else " ".join(path[-2:] if alike else path[-1:])
        return f"{name} {_value(value)}"
    return f"{_topic(path)} {_origin(path, variant, others)}"


def _size(variant: Namesake, others: Sequence[Namesake]) -> str | None:
    """The number of examples, if it distinguishes the data."""
    sizes: dict[str, set[int | None]] = defaultdict(set)
    for other in others:
        sizes[_text(other.found.get(DATA))].add(other.size)
    known = [next(iter(found)) for found in sizes.values() if len(found) == 1]
    if variant.size is None or len(known) < len(sizes) or len(set(known)) < len(known):
        return None
    return counted(variant.size, "example")


def _origin(path: Path, variant: Namesake, others: Sequence[Namesake]) -> str:
    """Names the run of a value if each value comes from runs of its own."""
    runs: dict[str, set[str]] = defaultdict(set)
    for other in others:
        runs[_text(other.found.get(path))] |= set(other.runs)
    mine = runs.pop(_text(variant.found.get(path)))
    if len(mine) == 1 and not any(mine & theirs for theirs in runs.values()):
        return f"as in run {next(iter(mine))}"
    return _short(_text(variant.found.get(path)))


def _topic(path: Path) -> str:
    """What a value describes: a prompt, judge or model, rather than the key of its digest."""
    if path == DATA:
        return "data"
    if "prompt" in path[:-1]:
        return "prompt"
    if path[-1] == "plugin":
        return f"code of the {path[0]}"
    while len(path) > 1 and path[-1] in CONTENT:
        path = path[:-1]
    return path[-2] if len(path) > 2 and path[-1] == "model" else path[-1].replace("_", " ")


def _plain(value: Any) -> bool:
    """Whether a value is readable at a glance."""
    if isinstance(value, str):
        return len(value) <= LONGEST and "\n" not in value and not re.fullmatch(r"[0-9a-f]{12,}", value)
    return value is None or isinstance(value, bool | int | float)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def _text(value: Any) -> str:
    return _SORTED.encode(value)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:6]
