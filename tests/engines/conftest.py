"""The made-up server, at an address and with a key that the environment holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.endpoint import KEY
from tests.engines.standin import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    monkeypatch.setenv("TEST_ADDRESS", found.address)
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield found
    found.close()
