from pathlib import Path

from perbench.plugins import include
from perbench.specs.matrices import load_matrix

include(Path(__file__).parents[1])


def test_the_matrix_and_all_that_it_names_are_valid() -> None:
    assert load_matrix("my_matrix").spec.baseline == "ce"
