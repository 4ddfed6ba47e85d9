"""A page of docs that runs as written: its files and commands, in order, in an empty folder. Only the model
is another one than the page's, a tiny one, so that it takes seconds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from perbench import cli, plugins


class Walkthrough:
    """`files` are (name, text); `commands` are the words after `perbench`."""

    def __init__(self, page: str) -> None:
        self.text = (Path(__file__).parents[1] / "docs" / page).read_text("utf-8")
        self.files: list[tuple[str, str]] = re.findall(
            r"^`(mine/[\w/.]+)`\n\n```\w+\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE
        )
        self.commands = [
            shlex.split(line)[1:]
            for block in re.findall(r"^```sh\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
            for line in block.splitlines()
        ]

    def run(self, model: Path) -> None:
        """Write the files below the working directory and run every command; `model` replaces the page's."""
        for name, text in self.files:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text.replace("models: [smollm2-135m]", f"models: [{model}]"), "utf-8")
        for words in self.commands:
            assert cli.main(words) == 0, words
            plugins.discover()  # --include holds for one command
