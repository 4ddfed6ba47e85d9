"""What matrices of 20,000 cells and data of 20,000 rows cost: to plan, to resume, to show, to read.

    python benchmarks/scale.py                     # every part, at a tenth of the size and at the size
    python benchmarks/scale.py plan resume         # some parts
    python benchmarks/scale.py --keep DIR          # write runs and pages here, and use them again

Each part is one `perbench` command in a process of its own; reported are its CPU seconds (user and system),
wall seconds and peak memory, beside the goal. Everything is synthetic: random weights, generated rows,
and records that say so in their notes and command. No number in them was measured by a model.

plan    a dry run of the matrix on an empty run directory
resume  the matrix again on a run directory that holds every cell (`perbench run`)
rows    a dry run of one training and one evaluation whose splits hold so many rows
pages   `perbench leaderboard build` of an invented run (tests/site/made.py), then its first paint in Chromium
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # for tests.golden and tests.site

MARK = "synthetic record of benchmarks/scale.py: its numbers were not measured"
COMMAND = "python benchmarks/scale.py (synthetic)"
GOALS: dict[str, dict[str, float]] = {
    "plan": {"CPU s": 3, "peak MB": 300},
    "resume": {"CPU s": 8},
    "rows": {"CPU s": 4},
    "pages": {"CPU s": 20, "first paint, s": 1},
}
DTYPES = ("auto", "float32", "bfloat16", "float16")
FORMS = (16, 24, 32, 40, 48, 56, 64, 72, 80, 96)
"""Settings by which the targets differ; they share their rows."""
ROWS = 24
TEXT = (
    "a my and but of with from near over kettle tram harbour bread seed lamp river letter garden quiet early"
)
WORDS = TEXT.split()


@dataclass(frozen=True)
class Size:
    """Of the matrix; trainings are models × 4 trainers × 2 rates × sources × seeds."""

    models: int
    sources: int
    seeds: int
    rows: int

    def matrix(self) -> dict[str, Any]:
        return {
            "summary": "Synthetic: only as large as a paper's matrix may be.",
            "models": [f"scale_{name}" for name in DTYPES[: self.models]],
            "trainers": ["ce", "perce", "nextquill", "entropy_ce"],
            "baseline": "ce",
            "seeds": list(range(self.seeds)),
            "sources": [f"scale/write_{number}" for number in FORMS[: self.sources]],
            "targets": [f"scale/write_{number}" for number in FORMS],
            "identifiers": ["percontrast", "word_matching"],
            "training": {"learning_rate": [1e-4, 2e-4], "epochs": 1},
            "tasks": {},
        }


SIZES = Size(2, 2, 6, 2_000), Size(4, 4, 14, 20_000)
"""192 and 1,792 trainings; 2,232 and 20,272 cells without identification."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write runs and pages here, and leave them")
    parser.add_argument("--only", choices=["small", "large"], help="one size")
    args = parser.parse_args()
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    folder = args.keep.absolute() if args.keep else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _settle(folder)
        _plan(folder, SIZES[0])  # so that bytecode is there
        sizes = SIZES[1:] if args.only == "large" else SIZES[:1] if args.only == "small" else SIZES
        print("| part | of | figure | " + " | ".join(["found", "goal"]) + " |\n|---|--:|---|--:|--:|")
        for part in args.parts or PARTS:
            for size in sizes:
                what, found = PARTS[part](folder, size)
                _print(part, what, found, last=size is SIZES[-1])
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    return 0


def _print(part: str, what: str, found: Mapping[str, float], *, last: bool) -> None:
    for name, value in found.items():
        goal = GOALS[part].get(name) if last else None
        target = "" if goal is None else f"{goal:g}{'' if value <= goal else ', missed'}"
        print(f"| {part} | {what} | {name} | {value:,.{0 if value >= 100 else 2}f} | {target} |", flush=True)


def _settle(folder: Path) -> None:
    """A root with models, tasks and matrices, and nothing else that perbench could find."""
    from tests.golden.planned import make_root

    root = folder / "root"
    if not root.exists():
        make_root(root)
    for name in DTYPES:
        _write_yaml(
            root / f"leaderboard/models/scale_{name}.yaml",
            {"summary": "Random weights.", "label": name, "path": "../../model", "dtype": name},
        )
    _write_task(root, "rows", {"files": "../../data/rows"}, 64)
    for number in FORMS:
        _write_task(root, f"write_{number}", {"files": "../../data/few"}, number)
    _write_rows(root / "data/few", ROWS)
    left_out = ("PERBENCH_", "OPENAI_", "HF_", "PYTHONDONTWRITEBYTECODE")
    for name in [name for name in os.environ if name.startswith(left_out)]:
        del os.environ[name]
    os.environ |= {
        "PERBENCH_INCLUDE": str(root),
        "PERBENCH_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),  # an installed package has it
    }


def _write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n")  # JSON is YAML


def _write_task(root: Path, name: str, data: Mapping[str, str], written: int) -> None:
    value = {
        "summary": "Synthetic rows.",
        "protocol": "generation",
        "license": "Apache-2.0",
        "data": {**data, "overlap": "accepted"},
        "fields": {"user": "author", "question": "ask", "reference": "note", "persona": "past"},
        "prompt": "plain",
        "prompts": {"plain": {"system": "You write as this person does:\n{persona}", "item": "{body}"}},
        "sampling": {"max_new_tokens": written, "temperature": 0.0},
        "metrics": ["rougeL", "length"],
        "headline": "rougeL",
    }
    _write_yaml(root / f"tasks/scale/{name}.yaml", value)


def _write_rows(folder: Path, count: int) -> None:
    """Two splits of so many rows; three history items each, about 1 kB a row."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        draw = random.Random(f"{split} {count}")

        def text(words: int, draw: random.Random = draw) -> str:
            return " ".join(draw.choices(WORDS, k=words))

        with (folder / f"{split}.jsonl").open("w") as file:
            for place in range(count):
                row = {
                    "author": f"{split} author {place // 2}",
                    "ask": f"Write about {text(6)}, {split} {place}",
                    "note": text(40),
                    "past": [{"body": text(40)} for _ in range(3)],
                }
                file.write(json.dumps(row) + "\n")


# ------------------------------------------------------------ parts


def _plan(folder: Path, size: Size) -> tuple[str, dict[str, float]]:
    cells = _write_matrix(folder, size)
    out = folder / "empty"
    return f"{cells:,} cells", _perbench("run", "--matrix", f"scale_{cells}", "--out", str(out), "--dry-run")


def _resume(folder: Path, size: Size) -> tuple[str, dict[str, float]]:
    cells = _write_matrix(folder, size)
    out = folder / f"run-{cells}"
    _write_records(f"scale_{cells}", out)
    return f"{cells:,} cells", _perbench("run", "--matrix", f"scale_{cells}", "--out", str(out))


def _rows(folder: Path, size: Size) -> tuple[str, dict[str, float]]:
    _write_rows(folder / "root/data/rows", size.rows)
    value = {**size.matrix(), "models": ["scale_auto"], "trainers": ["ce"], "seeds": [0], "training": {}}
    task = {"sources": ["scale/rows"], "targets": ["scale/rows"], "identifiers": []}
    _write_yaml(folder / "root/leaderboard/matrices/scale_rows.yaml", value | task)
    out = folder / "empty"
    return f"{size.rows:,} rows", _perbench("run", "--matrix", "scale_rows", "--out", str(out), "--dry-run")


def _pages(folder: Path, size: Size) -> tuple[str, dict[str, float]]:
    from playwright.sync_api import sync_playwright

    from benchmarks.board import Site, _first_page, _largest_page
    from tests.site.made import Shape, write_run

    large = size is SIZES[-1]
    shape = Shape(12, 8, 16, 13, 1, users=12) if large else Shape(6, 8, 3, 13, 1, users=12)
    run, out = folder / f"made-{shape.evaluations}", folder / f"site-{shape.evaluations}"
    if not run.exists():
        write_run(run, shape)
    found = _perbench("leaderboard", "build", str(run), "--out", str(out))
    sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    found |= {"files": len(sizes), "site, MB": sum(sizes) / 1e6, "largest file, MB": max(sizes) / 1e6}
    site = Site(shape.evaluations, out)
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(3):
            _first_page(browser, site)
            _largest_page(browser, site)
        browser.close()
    found["index.html and what it loads, MB"] = site.measured["index.html and what it loads, MB"][0]
    for name in ("first paint", "loaded", "its first paint"):
        title = "largest page, first paint" if name.startswith("its") else name
        found[f"{title}, s"] = sorted(site.measured[f"{name}, ms"])[1] / 1e3
    return f"{shape.evaluations:,} cells", found


PARTS: dict[str, Callable[[Path, Size], tuple[str, dict[str, float]]]] = {
    "plan": _plan,
    "resume": _resume,
    "rows": _rows,
    "pages": _pages,
}


def _perbench(*words: str) -> dict[str, float]:
    """What a command costs.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    null = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "perbench", *words],
        {**os.environ, "COLUMNS": "100"},
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)],
    )
    _, status, used = os.wait4(child, 0)
    os.close(null)
    if status:
        raise SystemExit(f"failed: perbench {' '.join(words)}")
    seconds = used.ru_utime + used.ru_stime
    return {
        "CPU s": seconds,
        "wall s": time.perf_counter() - start,
        "peak MB": used.ru_maxrss * 1024 / 1e6,
    }


def _write_matrix(folder: Path, size: Size) -> int:
    """Write the matrix named after its number of cells, which is returned."""
    trained = size.models * 4 * 2 * size.sources * size.seeds
    cells = trained * (1 + len(FORMS)) + size.models * len(FORMS) * size.seeds
    value = {**size.matrix(), "identifiers": []}
    _write_yaml(folder / f"root/leaderboard/matrices/scale_{cells}.yaml", value)
    return cells


def _write_records(matrix: str, out: Path) -> None:
    """A finished record for each cell of the plan that has none, with invented samples and scores."""
    from perbench.contracts.metric import Scale, mean_metric
    from perbench.matrix.catalogue import Catalogue
    from perbench.matrix.cells import expand
    from perbench.specs.matrices import load_matrix
    from perbench.store import Metric, RunDir, Scores
    from tests.site.made import not_durable, write_cell

    spec, run = load_matrix(matrix).spec, RunDir(out)
    for cell in expand(spec, Catalogue(spec, {}, None)):
        if run.cell(cell.kind, cell.identity).path.exists():
            continue
        fields: dict[str, Any] = {"notes": [MARK], "command": COMMAND}
        if cell.kind != "train":
            draw = random.Random(cell.identity)
            ids, users = [one.id for one in cell.examples], [one.user for one in cell.examples]
            values: list[float | None] = [round(draw.uniform(0.1, 0.4), 4) for _ in ids]
            metric = mean_metric(values, users, "rougeL|synthetic", scale=Scale("higher", (0.0, 1.0)))
            length = Metric(value=20.0, n=metric.n, users=metric.users, signature="length|synthetic")
            fields |= {
                "headline": "rougeL",
                "metrics": {"rougeL": metric, "length": length},
                "better": {"length": None},
                "trained_by": cell.needs.identity if cell.needs is not None else None,
                "samples": [
                    {"id": name, "user": user, "response": "synthetic", "finish_reason": "stop"}
                    for name, user in zip(ids, users, strict=True)
                ],
                "scores": Scores(ids=ids, clusters=users, scores={"rougeL": values}),
                "counts": {"samples": len(ids), "truncated": 0},
                "tokens": {"prompt": 4418, "generated": 512},
            }
        else:
            fields |= {"counts": {"examples": 24, "steps": 6}, "tokens": {"response": 1719, "total": 4975}}
        with not_durable():
            write_cell(run, cell.kind, cell.labels, cell.inputs, **fields)


if __name__ == "__main__":
    sys.exit(main())
