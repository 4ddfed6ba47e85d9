from pathlib import Path

import pytest

from perbench.data import load_examples
from perbench.errors import SpecError
from perbench.plugins import include
from perbench.specs.load import load_task

include(Path(__file__).parents[1])


def test_a_row_is_of_the_split_that_its_column_names() -> None:
    (example,) = load_examples(load_task("my_source"), "test").examples
    assert example.user == "ben"
    assert [item["text"] for item in example.persona] == ["Milk is what I drink.", "I get up late."]


def test_another_file_is_refused() -> None:
    with pytest.raises(SpecError, match="must end on"):
        load_task("my_source", overrides={"data.my_source": "rows.txt"})
