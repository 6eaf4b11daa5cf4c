"""What is read of a request before it is known what it asks for: its key, its body within bounds, its Host.

What is wrong with one of them is refused here, in the API's words.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

import anyio
from aiohttp import web

from aiai_async._secret import Secret
from aiai_async.server import refusals
from aiai_async.server.refusals import Refusal

# A prompt of 32,000 characters written as \uXXXX\uXXXX pairs is 384 kB; nothing else in a request is long.
MOST_BODY_BYTES: Final = 2**20

# A slow client sends a megabyte in less. Without a bound one that stops in the middle would stay for good; and so would
# one whose chunks are malformed: aiohttp tells the handler nothing of those that come after the head.
BODY_TIMEOUT: Final = 30.0

_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]+")


async def read_body(request: web.Request) -> bytes:
    """Read a body to its end.

    Raises:
        Refusal: it is too large, too slow, or not well-formed.
    """
    length = request.content_length
    if length is not None and length > MOST_BODY_BYTES:
        raise refusals.body_too_large(MOST_BODY_BYTES)
    try:
        with anyio.fail_after(BODY_TIMEOUT):
            body = await request.read()
    except TimeoutError:
        raise refusals.body_too_slow(BODY_TIMEOUT) from None
    except web.HTTPRequestEntityTooLarge:
        raise refusals.body_too_large(MOST_BODY_BYTES) from None
    except web.RequestPayloadError:
        raise Refusal(400, "The body of your request could not be read to its end.") from None
    if len(body) > MOST_BODY_BYTES:
        raise refusals.body_too_large(MOST_BODY_BYTES)
    return body


def read_key(request: web.Request, right: Secret | None) -> str:
    """Give the key of a request.

    Args:
        request: what came in.
        right: the only key that is accepted; None accepts any.

    Raises:
        Refusal: there is none, or it is not the right one.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise refusals.no_key()
    if right is not None and not hmac.compare_digest(_to_bytes(key), _to_bytes(right.reveal())):
        raise refusals.wrong_key(key)
    return key


def origin_of(request: web.Request) -> str:
    """Give scheme, host and port as the client knows them; a Host that is none is not put into a link."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        assert request.transport is not None
        address, port = request.transport.get_extra_info("sockname")[:2]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"http://{host}"


def _to_bytes(key: str) -> bytes:
    # Header bytes that are no UTF-8 come as surrogates, which compare_digest doesn't take in text.
    return key.encode("utf-8", "surrogateescape")
