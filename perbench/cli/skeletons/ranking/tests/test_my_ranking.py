from pathlib import Path

import pytest

from perbench.contracts.data import Example
from perbench.plugins import include
from perbench.specs.compose import persona_spec, ranking_of

include(Path(__file__).parents[1])
ITEMS = ({"text": "A red tea."}, {"text": "Tall trees."}, {"text": "A tall red house."})


@pytest.mark.parametrize(("least", "ranking"), [(4, [2, 1, 0]), (3, [2, 0, 1])])
def test_items_with_more_words_of_the_request_come_first(least: int, ranking: list[int]) -> None:
    example = Example("1", "ann", "Which red house is tall?", "never read", ITEMS)
    spec = persona_spec()(retrieve="my_ranking", my_ranking={"min_letters": least})
    assert ranking_of(spec).rank("{text}", [example], None) == [ranking]
