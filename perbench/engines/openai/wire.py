"""One request to an endpoint, bounded: in time, in size, to the one server; its reply without the secrets."""

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
"""Of a reply, as it is sent and as it unpacks: an answer of 100,000 tokens takes less than one."""
WORDS = 200
"""Characters of a reply that a message repeats."""


@dataclass(frozen=True)
class Reply:
    """What came back, its texts masked. `value` is the JSON, None with the `fault` that it is "cut" (begins
    as an object and breaks off, or is empty), "no JSON" or "too deep"; `words` are its beginning, for
    messages; `wait` and `used_up` are seconds, as of `perbench.engines.openai.retry`."""

    status: int
    value: Any
    fault: Literal["cut", "no JSON", "too deep"] | None
    words: str
    wait: float | None = None
    used_up: float | None = None


class Wire:
    """Sends bodies to `<url>/chat/completions`, inside `async with`. `headers` hold the key, `place` sets the
    address."""

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

        encrypted = self._url.startswith("https:") or getproxies()  # a proxy may be; see _certificates
        try:
            self._client = httpx2.AsyncClient(
                verify=_certificates() if encrypted else False,
                headers={
                    **self._headers,
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip, deflate",  # what `_unpacked` stops in time
                },
                follow_redirects=False,  # the request holds a persona: it goes where the user sent it
                timeout=None,  # httpx would bound each read, and a byte a second never exceeds that
                limits=httpx2.Limits(max_connections=self._connections),
            )
        except (ValueError, ImportError, httpx2.InvalidURL):  # its words may hold the proxy's password
            raise PerbenchError(
                "the environment names a proxy that cannot be used (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): set "
                "one of http or https, or leave it out for this server: NO_PROXY"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def post(self, body: Mapping[str, Any]) -> Reply:
        """The reply, whatever its status but a redirect.

        Raises:
            Passing: no connection, a broken one, or no whole reply within the timeout.
            PerbenchError: a redirect; an address that is none; a reply that is too large or packed as nobody
                asked.
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
            raise PerbenchError(f"the address in {self._place} is none that a server can have") from None
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
                f"the server redirects (status {response.status_code}), which is not followed: the request "
                f"would go to an address that nobody named. Set {self._place} to the final address"
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
    """Read once, and only where something is encrypted: it takes longer than most requests."""
    import httpx2

    return httpx2.create_ssl_context()


def in_short(text: str) -> str:
    """A masked text on one line, cut to WORDS characters."""
    line = " ".join(text.split())
    return line if len(line) <= WORDS else f"{line[:WORDS]}…"


def read_json(text: str, mask: Mask) -> tuple[Any, Literal["cut", "no JSON", "too deep"] | None]:
    """The JSON of `text`, as in `Reply`, with every string masked but the `text` of a content's parts: they
    are joined first, or a key that is split between two would show its halves."""

    def masked(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        return [masked(one) for one in value] if isinstance(value, list) else value

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # objects inside are masked already
        return {mask(name): value if name == "text" else masked(value) for name, value in pairs}

    try:
        return masked(json.loads(text, object_pairs_hook=made, parse_int=_integer)), None
    except RecursionError:
        return None, "too deep"
    except ValueError:
        return None, "cut" if text.lstrip().startswith("{") or not text.strip() else "no JSON"


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 30 else float(digits)  # Python refuses to read thousands of digits


def _unpacked(data: bytes, packed: str) -> bytes:
    """The reply's bytes, unpacked no further than allowed.

    Raises:
        Passing: they break off, or are not what the header says.
        PerbenchError: too many, or packed in another way.
    """
    way = packed.strip().lower()
    if way in ("", "identity") or not data:
        return data
    if way not in ("gzip", "x-gzip", "deflate"):
        raise PerbenchError("the reply is packed in another way than gzip or deflate, which nobody asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out which of the two it is
    try:
        plain = unpack.decompress(data, MOST_BYTES + 1)
    except zlib.error:
        raise Passing("the reply is broken: it does not unpack", alive=True) from None
    if len(plain) > MOST_BYTES:
        raise _too_large()
    if not unpack.eof:
        raise Passing("the reply is broken: what is packed breaks off", alive=True)
    return plain


def _too_large() -> PerbenchError:
    return PerbenchError(
        f"the reply is larger than {MOST_BYTES >> 20} MB, which no answer is; it was given up"
    )
