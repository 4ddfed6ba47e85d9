from pathlib import Path

import pytest
import torch

from perbench.plugins import include
from perbench.specs.compose import decoding_of, decoding_spec

include(Path(__file__).parents[1])


@pytest.mark.parametrize(("share", "logits"), [(0.0, [2.0, 0.0]), (0.5, [1.0, 2.0]), (1.0, [0.0, 4.0])])
def test_logits_are_weighed(share: float, logits: list[float]) -> None:
    decoding = decoding_of(decoding_spec()(method="my_decoding", my_decoding={"share": share}))
    found = decoding.combine(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    assert found.tolist() == [logits]
