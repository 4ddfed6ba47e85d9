from pathlib import Path

from perbench.plugins import include
from perbench.specs.compose import persona_spec, summariser_of

include(Path(__file__).parents[1])


def test_the_first_words_of_each_item_are_kept() -> None:
    spec = persona_spec()(summarise="my_summariser", my_summariser={"words": 2})
    found = summariser_of(spec).rewrite([["I like tea.", "Rain"], []], None)
    assert found.texts == ["I like\nRain", ""]
    assert found.counts == {"summaries": 1}
