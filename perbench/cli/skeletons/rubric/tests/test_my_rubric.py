from pathlib import Path

from perbench.plugins import include
from perbench.specs.load import load_rubric

include(Path(__file__).parents[1])


def test_an_answer_that_suits_and_preaches_is_not_welcome() -> None:
    rubric = load_rubric("my_rubric").spec
    assert rubric.values({"suits": True, "preaches": True})["welcome"] == 0
    assert rubric.values({"suits": True, "preaches": None})["welcome"] is None
    assert rubric.values({"suits": False, "preaches": None})["welcome"] == 0
