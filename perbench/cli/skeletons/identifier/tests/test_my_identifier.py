from pathlib import Path

from perbench.api import PersonaText
from perbench.plugins import include, load_identifier

include(Path(__file__).parents[1])


def test_long_shared_words_score_one() -> None:
    text = PersonaText(
        id="1", persona=("I like green tea.",), question="What now?", response="I drink Green tea"
    )
    (scores,) = load_identifier("my_identifier").score([text], None)
    assert [text.response[start:end] for start, end in scores.spans] == ["I", "drink", "Green", "tea"]
    assert scores.scores == (0.0, 0.0, 1.0, 0.0)


def test_the_length_is_a_hyperparameter() -> None:
    text = PersonaText(id="1", persona=("tea",), question="", response="tea")
    (scores,) = load_identifier("my_identifier", {"min_letters": 3}).score([text], None)
    assert scores.scores == (1.0,)
