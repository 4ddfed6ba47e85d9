from pathlib import Path

from perbench.contracts.metric import Texts
from perbench.metrics import text_metric
from perbench.plugins import include

include(Path(__file__).parents[1])


def test_the_share_of_words_that_the_answer_lacks() -> None:
    texts = Texts(
        ["Green tea", "no", ""], ["green tea please !", "No", " "], ["ann", "ann", "ben"], [False] * 3
    )
    found = text_metric("my_metric").measure("my_metric", texts)
    assert found.per_sample == [0.5, 0.0, None]
    assert (found.metric.value, found.metric.n, found.metric.missing) == (0.25, 2, 1)
