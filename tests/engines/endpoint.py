"""An endpoint behind the made-up server, and its engine."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from perbench.engines.openai.engine import OpenAIEngine
from perbench.engines.openai.retry import Retry
from perbench.engines.openai.section import Endpoint
from perbench.errors import PerbenchError
from perbench.shapes.sampling import SamplingSpec
from perbench.store import EndpointUse
from tests.engines.standin import Time

KEY = "sk-very-secret-123"
ENDPOINT = Endpoint(model="some-judge", base_url_env="TEST_ADDRESS", api_key_env="TEST_KEY", timeout=5.0)
GREEDY = SamplingSpec(max_new_tokens=9, temperature=0.0, top_p=0.5)


class Book(list[EndpointUse]):
    def sum(self, name: str) -> int:
        return sum(getattr(use, name) for use in self)


def engine(time: Time | None = None, endpoint: Endpoint = ENDPOINT, **options: Any) -> OpenAIEngine:
    """Waits by a clock of its own, which nobody sees unless given."""
    time = time or Time()
    retry = Retry(clock=time.clock, pause=time.pause, draw=lambda: 1.0)
    return OpenAIEngine(endpoint, retry=retry, **options)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def failure() -> str:
    with pytest.raises(PerbenchError) as caught:
        engine().chat([user("hi")], GREEDY, seed=0)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)
