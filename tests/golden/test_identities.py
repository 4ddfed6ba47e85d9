"""No cell of any matrix gets another identity, token count or spend by accident."""

from __future__ import annotations

import subprocess
import sys

from tests.golden import planned

SHOWN = 20
WAY_OUT = """
Every line is a cell that people would compute again. If none should change, look for the cause:
`python tests/golden/planned.py --inputs FILE` at this commit and at an earlier one shows which input differs.
If they should, say why in the commit, and run `python tests/golden/planned.py --write`."""


def test_every_matrix_plans_the_same_cells() -> None:
    done = subprocess.run([sys.executable, planned.__file__], capture_output=True, text=True)
    changed = done.stdout.splitlines()
    told = "\n".join([f"{len(changed)} cells differ", *changed[:SHOWN], done.stderr])
    assert done.returncode == 0, told + WAY_OUT


def test_a_difference_is_named_by_matrix_and_cell() -> None:
    before = {"one": {"a": "1 5", "b": "2 5"}, "gone": {"a": "1 5"}}
    after = {"one": {"a": "1 5", "b": "3 5"}}
    assert planned.differences(before, after) == ["gone: a: 1 5 -> None", "one: b: 2 5 -> 3 5"]
