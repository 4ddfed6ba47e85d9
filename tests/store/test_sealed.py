"""A sealed file is read as it was written for its place, or not at all."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perbench.disk.digests import canonical_object, canonical_text
from perbench.disk.sealed import SEAL, Unsealed, open_sealed, read_sealed, write_sealed
from tests.damage import DAMAGES


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(DAMAGES)), st.integers(0, 2**32))
def test_a_sealed_file_is_read_as_written_or_not_at_all(tmp_path: Path, damage: str, seed: int) -> None:
    value = {"text": "naïve \ud83d", "number": 1.5, "list": [None, True]}
    path = tmp_path / "value.json"
    write_sealed(path, value, "cell")
    assert read_sealed(path, "cell") == value
    path.read_bytes().decode()  # UTF-8 for any other reader, half a character escaped
    DAMAGES[damage](path, random.Random(seed))
    with contextlib.suppress(ValueError, FileNotFoundError):
        assert read_sealed(path, "cell") == value  # a flip that JSON does not see, as of a blank


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 0}', "remembered", "[" * 100_000, '{"a": NaN}'])
def test_what_is_no_sealed_object_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "value.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        read_sealed(tmp_path / "value.json")


@pytest.mark.parametrize("place", [(), ("two",), ("one", "two"), ("one", 0), (["one"],)])
def test_a_file_of_another_place_is_refused(tmp_path: Path, place: tuple[object, ...]) -> None:
    path = tmp_path / "value.json"
    write_sealed(path, {"a": 1}, "one")
    assert read_sealed(path, "one") == {"a": 1}
    with pytest.raises(ValueError, match="damaged"):
        read_sealed(path, *place)


def test_the_seal_names_one_content(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    seal = write_sealed(path, {"a": 1})
    assert open_sealed(path) == ({"a": 1}, seal)
    assert json.loads(path.read_text()) == {"a": 1, SEAL: seal}
    assert read_sealed(path, expected=seal) == {"a": 1}
    write_sealed(path, {"a": 2})
    with pytest.raises(ValueError, match="its seal differs"):
        read_sealed(path, expected=seal)


def test_an_object_without_a_seal_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text('{"a": 1}')
    with pytest.raises(Unsealed) as caught:
        read_sealed(path)
    assert caught.value.value == {"a": 1}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_sealed(tmp_path / "value.json", {"a": number})
    assert not [*tmp_path.iterdir()]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=6), st.data())
def test_known_parts_give_the_text_of_the_whole(value: dict[str, object], data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(value)))) if value else set()
    known = {name: canonical_text(value[name]) for name in names}
    assert canonical_object(value, known) == canonical_text(value)
