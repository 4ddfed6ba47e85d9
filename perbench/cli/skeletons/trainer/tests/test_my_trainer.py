from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from perbench.errors import PerbenchError
from perbench.plugins import include, load_trainer

include(Path(__file__).parents[1])


def test_a_token_that_the_persona_makes_likelier_counts_more() -> None:
    batch = SimpleNamespace(
        factual=SimpleNamespace(logp=torch.tensor([-1.0, -2.0])),
        counterfactual=SimpleNamespace(logp=torch.tensor([-1.5, -1.0])),
    )
    numerator, denominator = load_trainer("my_trainer", {"weight": 3.0}).loss(batch)
    assert numerator.tolist() == [3.0, 2.0]
    assert denominator.tolist() == [3.0, 1.0]


def test_the_weight_is_checked() -> None:
    with pytest.raises(PerbenchError, match="weight"):
        load_trainer("my_trainer", {"weight": -1.0})
