"""Profiles of a matrix: one switch, and faults at the lines of their changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench import cli
from perbench.errors import PerbenchError, SpecError
from perbench.specs.matrices import every_profile, load_matrix
from tests.specs.diary import MATRIX

PROFILES = """\
profiles:
  as_paper: {}
  as_code:
    training.batch_size: 64
    training: {epochs: 1.0}
  sound:
    seeds: [0, 1, 2]
    tasks.diary/notes.persona.k: 2
"""


@pytest.fixture
def file(root: Path) -> Path:
    file = root / "leaderboard/matrices/small.yaml"
    file.write_text(MATRIX + PROFILES)
    return file


def test_the_first_is_in_force_unless_another_is_asked_for(file: Path) -> None:
    plain, sound = load_matrix("small"), load_matrix("small", profile="sound")
    assert (plain.name, plain.spec.profile, plain.spec.seeds) == ("small-as_paper", "as_paper", [0])
    assert (sound.name, sound.spec.profile, sound.spec.seeds) == ("small-sound", "sound", [0, 1, 2])
    assert sound.spec.tasks == {"diary/notes": {"persona.k": 2}}
    assert plain.spec.training == sound.spec.training
    assert [one.spec.profile for one in every_profile("small")] == ["as_paper", "as_code", "sound"]


def test_changes_are_made_in_their_order_and_a_section_is_replaced_whole(file: Path) -> None:
    assert load_matrix("small", profile="as_code").spec.training == {"epochs": 1.0}


def test_sets_come_after_the_profile(file: Path) -> None:
    assert load_matrix("small", ["seeds=[7]"], "sound").spec.seeds == [7]


@pytest.mark.parametrize("text", ["profile=sound", "profiles={}", "profiles.sound.seeds=[1]"])
def test_a_set_does_not_label_a_run_with_a_profile(file: Path, text: str) -> None:
    with pytest.raises(SpecError, match=r"--set profile.*--profile NAME"):
        load_matrix("small", [text])


def test_a_matrix_without_profiles_has_its_own_name(root: Path) -> None:
    assert (load_matrix("small").name, load_matrix("small").spec.profile) == ("small", None)
    assert [one.name for one in every_profile("small")] == ["small"]
    with pytest.raises(PerbenchError, match="--profile sound"):
        load_matrix("small", profile="sound")


def test_an_unknown_profile_is_suggested(file: Path) -> None:
    with pytest.raises(PerbenchError, match="as_code"):
        load_matrix("small", profile="as_cod")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("    sedes: [0]\n", ("profiles.sound", "'sedes'", "seeds")),
        ("    training.learning_rate: -1.0\n", ("learning_rate",)),
        ("    targets: [diary/nots]\n", ("diary/nots",)),
    ],
)
def test_faults_are_told_at_their_line_by_validate(
    file: Path, line: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(MATRIX + PROFILES + line)
    with pytest.raises(SpecError) as caught:
        load_matrix("small", profile="sound")
    (problem,) = caught.value.problems
    assert all(word in problem.message for word in words)
    assert problem.line == len(file.read_text().splitlines())
    assert cli.main(["validate", str(file)]) == 2
    errors = capsys.readouterr().err
    assert all(word in errors for word in words)


def test_a_profile_that_is_no_mapping(root: Path) -> None:
    file = root / "leaderboard/matrices/small.yaml"
    for text in ("profiles: [a]\n", "profiles: {a: 3}\n", "profiles: {}\n"):
        file.write_text(MATRIX + text)
        with pytest.raises(SpecError, match="profiles"):
            load_matrix("small")


def test_show_prints_the_profiles(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "matrix", "small"]) == 0
    shown = capsys.readouterr().out
    assert "profile: as_paper" in shown
    assert "\nprofiles:\n  as_paper: {}\n  as_code:\n" in shown
