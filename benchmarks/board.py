"""What pages of thousands of cells cost: to build, to open, to filter and to sort.

    python benchmarks/board.py                          # 5,070 evaluations, beside a page of 168
    python benchmarks/board.py --models 2 --seeds 3     # as many, of three seeds each

Runs are invented (tests/site/made.py). Both sites are built by `perbench leaderboard build` and opened in
headless Chromium, in turn, round after round; what is reported is the median, in brackets the slowest.
A page's weight is that of all files it requests. A filter's or a sort's time lasts until the page is drawn.

Targets at 5,000 cells: the first page under 3 MB, its first paint under 1 s.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from playwright.sync_api import sync_playwright

from tests.site.made import Shape, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PEER = Shape(models=1, trainers=4, sources=5, targets=4, seeds=2, users=12)
MEGABYTE = 1e6
PAINT = """() => new Promise(done => {
  const found = () => {
    const paints = performance.getEntriesByType("paint").map(one => [one.name, one.startTime]);
    const page = performance.getEntriesByType("navigation")[0];
    if (paints.length && page.loadEventEnd) done({...Object.fromEntries(paints), load: page.loadEventEnd});
    else setTimeout(found, 20);
  };
  found();
})"""
DRAWN = """([act, place, value]) => new Promise(done => {
  const start = performance.now();
  const one = document.querySelectorAll(place)[0];
  if (act === "click") one.click();
  else { one.value = value; one.dispatchEvent(new Event("input", {bubbles: true})); }
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
ACTS: dict[str, tuple[str, str, str]] = {
    "search": ("input", "form[data-filter] input[name=q]", "perce"),
    "filter by source": ("input", "form[data-filter] select[name=source]", "made/write_1"),
    "clear the filter": ("input", "form[data-filter] select[name=source]", ""),
    "sort by a column": ("click", "table[data-grid] thead tr:last-child th:nth-child(2) button", ""),
}


@dataclass
class Site:
    """Of one size: what was measured, by what it is; seconds, megabytes."""

    cells: int
    folder: Path
    measured: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        self.measured.setdefault(what, []).append(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, most in (("models", 6), ("trainers", 8), ("sources", 8), ("targets", 13), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=most)
    parser.add_argument("--rounds", type=int, default=5, help="times each page is opened")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write runs and pages here, and leave them")
    args = parser.parse_args()
    large = Shape(args.models, args.trainers, args.sources, args.targets, args.seeds, users=12)
    folder = args.keep or Path(tempfile.mkdtemp())
    try:
        sites = [_site(folder, shape) for shape in (PEER, large)]
        with sync_playwright() as driver:
            program = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            for _ in range(args.rounds):
                for site in sites:
                    _first_page(browser, site)
                    _largest_page(browser, site)
            browser.close()
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    _print(sites)
    return 0


def _site(folder: Path, shape: Shape) -> Site:
    run, out = folder / f"run-{shape.evaluations}", folder / f"site-{shape.evaluations}"
    if not run.exists():
        write_run(run, shape)
    site = Site(shape.evaluations, out)
    start = time.perf_counter()
    words = [sys.executable, "-m", "perbench", "leaderboard", "build", str(run), "--out", str(out)]
    child = os.posix_spawn(sys.executable, words, os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(words)}")
    site.add("build, s", time.perf_counter() - start)
    site.add("build, s of CPU", used.ru_utime + used.ru_stime)
    site.add("build, peak MB", used.ru_maxrss * 1024 / MEGABYTE)
    found = [path for path in out.rglob("*") if path.is_file()]
    site.add("site, files", len(found))
    site.add("site, MB", sum(path.stat().st_size for path in found) / MEGABYTE)
    site.add("index.html, MB", (out / "index.html").stat().st_size / MEGABYTE)
    return site


def _open(browser: Browser, path: Path, use: Callable[[Page], None]) -> tuple[float, dict[str, float]]:
    """Megabytes of what a page requests, and when it was painted and loaded, in ms."""
    page = browser.new_page(viewport={"width": 1240, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    times = page.evaluate(PAINT)
    weight = sum(Path(unquote(urlparse(url).path)).stat().st_size for url in asked if url.startswith("file:"))
    use(page)
    page.close()
    return weight / MEGABYTE, times


def _first_page(browser: Browser, site: Site) -> None:
    def act(page: Page) -> None:
        for what, how in ACTS.items():
            site.add(f"{what}, ms", page.evaluate(DRAWN, how))

    weight, times = _open(browser, site.folder / "index.html", lambda page: None)
    site.add("index.html and what it loads, MB", weight)
    site.add("first paint, ms", times["first-contentful-paint"])
    site.add("loaded, ms", times["load"])
    divided = site.folder / "transfer-1-1.html"
    _open(browser, divided if divided.exists() else site.folder / "index.html", act)


def _largest_page(browser: Browser, site: Site) -> None:
    """Of the other pages."""
    others = [path for path in site.folder.rglob("*.html") if path.name != "index.html"]
    largest = max(others, key=lambda path: path.stat().st_size)
    weight, times = _open(browser, largest, lambda page: None)
    site.add("largest other page and what it loads, MB", weight)
    site.add("its first paint, ms", times["first-contentful-paint"])


def _print(sites: list[Site]) -> None:
    small, large = sites
    print(f"| | {small.cells:,} cells | {large.cells:,} cells | ratio |\n|---|--:|--:|--:|")
    for (what, one), (_, other) in zip(small.measured.items(), large.measured.items(), strict=True):
        ratio = statistics.median(other) / statistics.median(one)
        print(f"| {what} | {_told(one)} | {_told(other)} | {ratio:.1f} |")


def _told(found: list[float]) -> str:
    middle = statistics.median(found)
    shown = f"{middle:,.0f}" if middle >= 100 or middle == int(middle) else f"{middle:.2f}"
    return shown if len(set(found)) == 1 else f"{shown} ({max(found):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
