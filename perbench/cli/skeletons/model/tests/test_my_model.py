from pathlib import Path

from perbench.plugins import include
from perbench.specs.load import load_model

include(Path(__file__).parents[1])


def test_the_file_is_valid() -> None:
    assert load_model("my_model").spec.hub is not None
