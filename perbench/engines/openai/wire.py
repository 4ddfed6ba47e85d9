"""Sends one request to an endpoint, with limits on time and size, and masks secrets in the reply."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import getproxies

from perbench.disk.masking import Mask
from perbench.errors import PerbenchError

from .retry import Passing, asked_to_wait, used_up

if TYPE_CHECKING:
    import ssl

    import httpx2

MOST_BYTES = 8 * 1024**2
"""Maximum size of a reply, compressed or not; an answer of 100,000 tokens takes less than 1 MB."""
WORDS = 200
"""Maximum characters of a reply in a message."""


@dataclass(frozen=True)
class Reply:
    """A reply with masked texts. `value` is its JSON; None with `fault` "cut" (an object that breaks off, or
    nothing), "no JSON" or "too deep"; `words` is its beginning, for messages; `wait` and `used_up` are
    seconds, as in `perbench.engines.openai.retry`."""

    status: int
    value: Any
    fault: Literal["cut", "no JSON", "too deep"] | None
    words: str
    wait: float | None = None
    used_up: float | None = None


class Wire:
    """Sends bodies to `<url>/chat/completions`, inside `async with`. `headers` hold the key; `place` is the
    setting that holds the address."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float,
        connections: int,
        mask: Mask,
        place: str,
    ) -> None:
        self._url = f"{url}/chat/completions"
        self._headers = headers
        self._timeout = timeout
        self._mask = mask
        self._place = place
        self._connections = connections
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Wire:
        import httpx2

        encrypted = self._url.startswith("https:") or getproxies()  # a proxy may be
        try:
            self._client = httpx2.AsyncClient(
                verify=_certificates() if encrypted else False,
                headers={
                    **self._headers,
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip, deflate",  # what `_unpacked` can bound
                },
                follow_redirects=False,  # the request holds a persona: send it nowhere else
                timeout=None,  # httpx bounds only each read
                limits=httpx2.Limits(max_connections=self._connections),
            )
        except (ValueError, ImportError, httpx2.InvalidURL):  # its message may hold the proxy's password
            raise PerbenchError(
                "the environment names an unusable proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): set "
                "one of http or https, or exclude this server with NO_PROXY"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def post(self, body: Mapping[str, Any]) -> Reply:
        """The reply, of any status but a redirect.

        Raises:
            Passing: no connection, a broken one, or no whole reply within the timeout.
            PerbenchError: a redirect, an invalid address, or a reply that is too large or in an encoding that
                was not requested.
        """
        import httpx2

        assert self._client is not None, "post() belongs inside `async with`"
        data = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=json.dumps(body)) as response,
            ):
                async for part in response.aiter_raw():
                    data += part
                    if len(data) > MOST_BYTES:
                        raise _too_large()
        except (httpx2.InvalidURL, UnicodeError):
            raise PerbenchError(f"the address in {self._place} is not a valid server address") from None
        except TimeoutError:
            raise Passing(
                f"no whole answer within {self._timeout:g} s from the address in {self._place}"
            ) from None
        except httpx2.TransportError:
            raise Passing(
                f"no connection, or a broken one, to the address in {self._place}: is the server running?"
            ) from None
        if 300 <= response.status_code < 400:
            raise PerbenchError(
                f"the server redirects (status {response.status_code}), which is not followed; set "
                f"{self._place} to the final address"
            )
        text = _unpacked(bytes(data), response.headers.get("content-encoding", "")).decode(
            "utf-8-sig", "replace"
        )
        value, fault = read_json(text, self._mask)
        return Reply(
            response.status_code,
            value,
            fault,
            in_short(self._mask(text[: 20 * WORDS])),
            wait=asked_to_wait(response.headers),
            used_up=used_up(response.headers),
        )


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once and only for encrypted connections: it takes longer than most requests."""
    import httpx2

    return httpx2.create_ssl_context()


def in_short(text: str) -> str:
    """A masked text on one line, truncated to WORDS characters."""
    line = " ".join(text.split())
    return line if len(line) <= WORDS else f"{line[:WORDS]}…"


def read_json(text: str, mask: Mask) -> tuple[Any, Literal["cut", "no JSON", "too deep"] | None]:
    """The JSON of `text`, as in `Reply`, with every string masked except the `text` of content parts: these
    are joined first, since a key may be split between two."""

    def masked(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        return [masked(one) for one in value] if isinstance(value, list) else value

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # inner objects are already masked
        return {mask(name): value if name == "text" else masked(value) for name, value in pairs}

    try:
        return masked(json.loads(text, object_pairs_hook=made, parse_int=_integer)), None
    except RecursionError:
        return None, "too deep"
    except ValueError:
        return None, "cut" if text.lstrip().startswith("{") or not text.strip() else "no JSON"


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 30 else float(digits)  # Python limits the digits of an int


def _unpacked(data: bytes, packed: str) -> bytes:
    """The decompressed reply, bounded by MOST_BYTES.

    Raises:
        Passing: the data are truncated or do not match the header.
        PerbenchError: too large, or another encoding.
    """
    way = packed.strip().lower()
    if way in ("", "identity") or not data:
        return data
    if way not in ("gzip", "x-gzip", "deflate"):
        raise PerbenchError("the reply has another encoding than gzip or deflate, which was not requested")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # detects gzip or zlib
    try:
        plain = unpack.decompress(data, MOST_BYTES + 1)
    except zlib.error:
        raise Passing("the reply is broken: it does not decompress", alive=True) from None
    if len(plain) > MOST_BYTES:
        raise _too_large()
    if not unpack.eof:
        raise Passing("the reply is broken: its compressed data break off", alive=True)
    return plain


def _too_large() -> PerbenchError:
    return PerbenchError(f"the reply is larger than {MOST_BYTES >> 20} MB and was dropped")
