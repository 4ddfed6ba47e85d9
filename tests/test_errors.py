"""The tail of every unknown-name message."""

from __future__ import annotations

from perbench.errors import suggest


def test_few_names_are_listed_and_very_many_counted() -> None:
    assert suggest("helo", ["other", "hello"]) == " Did you mean 'hello'? There are: hello, other."
    assert suggest("x", []) == " There are: none."
    many = suggest("nam99", [f"name{number:03}" for number in range(5000)])
    assert many.startswith(" Did you mean 'name")
    assert many.endswith("name019 and 4980 more.")
    assert "name020," not in many
