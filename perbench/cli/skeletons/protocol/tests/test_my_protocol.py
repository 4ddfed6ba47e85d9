from pathlib import Path

from perbench.plugins import include
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task

include(Path(__file__).parents[1])


def test_an_answer_that_holds_the_reference_scores_1() -> None:
    answers = {"a": "Green Tea.", "b": "Water.", "c": ""}
    samples = [
        {"id": name, "user": name, "reference": "tea", "response": text} for name, text in answers.items()
    ]
    samples[2]["missing"] = "refused"
    found = owner_of(load_task("my_protocol").spec).score(samples)
    assert found.scores.scores == {"holds": [1.0, 0.0, None]}
    assert found.metrics["holds"].value == 0.5
    assert found.counts == {"samples": 3, "missing_refused": 1}
