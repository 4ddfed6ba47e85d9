"""Small real models and tokenizers that every test may use. Nothing here needs a network."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spin barriers cost up to 30x on shared machines
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from typing import TYPE_CHECKING

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from perbench.lm.models import ResolvedModel


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from perbench.conformance.tiny import write_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real texts, which never enter the repository; tests are skipped without it."""
    folder = Path(os.environ.get("PERBENCH_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"real texts not found at {folder}; set PERBENCH_REAL_DATA")
    return folder


@pytest.fixture(scope="module")  # while it is open, no test of its process can run an event loop
def browser() -> Iterator[Browser]:
    """A real browser, which may talk to this machine only; tests are skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("needs the package playwright and the program chromium")
    from playwright.sync_api import sync_playwright

    quiet = [
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", *quiet]
        found = driver.chromium.launch(executable_path=program, args=options)
        yield found
        found.close()


@pytest.fixture(scope="session")
def smollm2() -> ResolvedModel:
    """The embedded model, from the user cache (about 20 s once per machine)."""
    from perbench.lm.models import resolve
    from perbench.specs.load import load_model

    return resolve(load_model("smollm2-135m"))


@pytest.fixture(scope="session")
def third_party_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine where tests/third_party is pip-installed: identifier long_words, trainer
    halved_ce. For subprocesses."""
    target = tmp_path_factory.mktemp("site-packages")
    package = Path(__file__).parent / "third_party"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    return {**os.environ, "PYTHONPATH": str(target)}
