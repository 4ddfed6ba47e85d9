"""The README.txt of a pack, for whoever opens it by hand."""

from __future__ import annotations

from perbench.store.pack import PLUGIN_PART, Manifest


def readme(manifest: Manifest) -> str:
    lines = [
        f"The run {manifest.run}, packed by perbench {manifest.perbench}.",
        "",
        "Read it, without unpacking it; nothing in it is executed:",
        "  perbench leaderboard build PACK --out site",
        "",
        "Repeat it; finished cells are reused, and cells whose folder you delete run again:",
        "  pip install -c constraints.txt -e CHECKOUT   (of perbench, at the commit in constraints.txt)",
        "  perbench run --from PACK --out DIR",
    ]
    own = [one for one in manifest.plugins if (one.file or "").startswith(PLUGIN_PART)]
    if own:
        lines += ["", "Repeating it runs these files as programs. Read them first:"]
        lines += [f"  {one.file}  ({one.kind} {one.name})" for one in own]
    lines += ["", "Texts:"]
    lines += dict.fromkeys(f"  {one.task}: {one.get}" for one in manifest.data)
    for one in manifest.withheld:
        lines.append(f"  {one.task}: samples as digests only: {one.why}")
    lines += ["", "Commands that ran:", *(f"  {one.command}" for one in manifest.matrices)]
    return "\n".join([*lines, *(f"Note: {note}" for note in manifest.notes)]) + "\n"
