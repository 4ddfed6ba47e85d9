"""The workflow that checks submissions runs commands that exist, without rights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from perbench import cli

WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "leaderboard.yml"


def steps() -> list[tuple[str, dict[str, Any]]]:
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return [(name, step) for name, job in jobs.items() for step in job["steps"]]


def test_its_commands_can_be_given_as_written() -> None:
    lines = [line for _, step in steps() for line in step.get("run", "").splitlines()]
    commands = [
        shlex.split(found[1]) for line in lines if (found := re.search(r"perbench (leaderboard .*)$", line))
    ]
    assert [words[1] for words in commands] == ["check", "check", "build"]
    for words in commands:
        given = [*words, "FILE"] if words == ["leaderboard", "check"] else words
        assert cli._parser().parse_args(given).command == "leaderboard"


def test_a_pull_request_gets_no_rights_and_its_texts_reach_no_shell() -> None:
    text = WORKFLOW.read_text("utf-8")
    value = yaml.safe_load(text)
    assert "pull_request_target" not in text
    assert "secrets." not in text
    assert value["permissions"] == {"contents": "read"}
    assert [name for name, job in value["jobs"].items() if "permissions" in job] == ["pages"]
    assert "event_name != 'pull_request'" in value["jobs"]["pages"]["if"]
    assert not [step for _, step in steps() if "${{" in step.get("run", "")]
