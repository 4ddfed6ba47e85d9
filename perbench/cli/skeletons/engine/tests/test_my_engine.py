from pathlib import Path

from perbench.contracts.engine_kind import Host
from perbench.plugins import include
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import engine_of
from perbench.specs.load import load_model

include(Path(__file__).parents[1])


def test_it_answers_in_order() -> None:
    engine = engine_of(load_model("my_engine")).open(Host(weights=Path))
    asked = [[{"role": "user", "content": text}] for text in ("Tea?", "Or milk in it?")]
    found = engine.chat(asked, SamplingSpec(), seed=0)
    assert [(answer.text, answer.prompt_tokens) for answer in found] == [("I agree.", 1), ("I agree.", 4)]
