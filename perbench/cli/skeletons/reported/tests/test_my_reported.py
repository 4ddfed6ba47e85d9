from pathlib import Path

from perbench.plugins import include
from perbench.specs.load import load_reported

include(Path(__file__).parents[1])


def test_numbers_are_kept_as_printed() -> None:
    table = load_reported("my_reported").spec
    assert [row.printed for row in table.rows] == [["0.1230"], ["0.1450"]]
