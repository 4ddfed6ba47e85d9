"""What is sent and read, beside OpenAI's own client on the same server: the same request, the same answer."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from perbench.shapes.sampling import SamplingSpec
from tests.engines.endpoint import ENDPOINT, KEY, engine, user
from tests.engines.standin import Reply, Server, completion

ASKED = {
    "greedy": (
        SamplingSpec(max_new_tokens=9, temperature=0.0, top_p=0.5),
        {},
        {"max_tokens": 9, "top_p": 0.5},
    ),
    "whole top_p": (SamplingSpec(max_new_tokens=3, temperature=0.7, top_p=1.0), {}, {"max_tokens": 3}),
    "another name": (
        SamplingSpec(max_new_tokens=5, temperature=0.0, top_p=1.0),
        {"send_as": {"max_tokens": "max_completion_tokens"}, "extra": {"reasoning_effort": "low"}},
        {"max_completion_tokens": 5, "reasoning_effort": "low"},
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_sends_what_the_official_client_sends(server: Server, name: str) -> None:
    sampling, keys, official = ASKED[name]
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *user("Was für ein Hund? 🐕")]
    engine(endpoint=ENDPOINT.model_copy(update=keys)).chat([messages], sampling, seed=4)
    client = openai.OpenAI(api_key=KEY, base_url=server.address, max_retries=0)
    client.chat.completions.create(
        model="some-judge", messages=messages, temperature=sampling.temperature, seed=4, **official
    )
    ours, theirs = server.requests
    assert ours == theirs
    sent = ("content-type", "accept")
    assert [server.headers[0][header] for header in sent] == [server.headers[1][header] for header in sent]


@pytest.mark.parametrize("text", ["A bean stew", "", "ünïcode 🎉\n\n  two lines  "])
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_reads_what_the_official_client_reads(server: Server, text: str, finish: str) -> None:
    server.answer = lambda body: Reply(200, completion(text, finish))
    found = engine().chat([user("hi")], SamplingSpec(max_new_tokens=9), seed=0)[0]
    client = openai.OpenAI(api_key=KEY, base_url=server.address, max_retries=0)
    theirs = client.chat.completions.create(model="some-judge", messages=[{"role": "user", "content": "hi"}])
    choice, usage = theirs.choices[0], theirs.usage
    assert usage is not None
    assert (found.text, found.finish_reason) == (choice.message.content, choice.finish_reason)
    assert (found.prompt_tokens, found.new_tokens) == (usage.prompt_tokens, usage.completion_tokens)
