"""The client under test: the real one, its queue and its retries, over a transport that leads to a simulated server."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import orjson

from aiai_async import AsyncImagesClient, RateLimits, RetryPolicy
from aiai_async._errors import AIAIError
from aiai_async._exchange import TransportRequest, TransportResponse
from aiai_async._facts import Headers

from .headers import error_of
from .network import Network, Reply
from .servers import Request

# The first bytes of a PNG file; nothing here draws.
_IMAGE: Final = "iVBORw0KGgo="


async def run_client(network: Network, *, declared: RateLimits | None, retry: RetryPolicy) -> None:
    """Ask a client for all requests at once, and wait for the last.

    Args:
        network: where they go; what comes of it is in its record.
        declared: the limits that the client is told.
        retry: its policy.
    """
    # The client's own back-off has jitter.
    random.seed(1)
    transport = SimulatedTransport(network)
    async with AsyncImagesClient(
        "sk-benchmark", base_url="http://simulated.invalid/v1", transport=transport, limits=declared, retry=retry
    ) as client:
        await asyncio.gather(*(_generate(client, network, index) for index in range(len(network.requests))))


async def _generate(client: AsyncImagesClient, network: Network, index: int) -> None:
    request = network.requests[index]
    # Any: the fields of a request, as keywords.
    fields: dict[str, Any] = {} if request.quality is None else {"quality": request.quality, "size": "1024x1024"}
    try:
        await client.generate(str(index), model=request.model, n=request.images, **fields)
    except AIAIError:
        network.record.fail(asyncio.get_running_loop().time())


class SimulatedTransport:
    """Carries a client's requests over a simulated network; the prompt is the request's place in the order."""

    def __init__(self, network: Network) -> None:
        self._network: Final = network

    async def send(self, request: TransportRequest) -> TransportResponse:
        """See `Transport.send`."""
        index = int(orjson.loads(request.body or b"")["prompt"])
        reply = await self._network.exchange(index, on_connected=request.on_connected, on_sent=request.on_sent)
        return _Response(reply, self._network.requests[index])

    async def aclose(self) -> None:
        """See `Transport.aclose`."""


class _Response:
    """An answer whose body comes in one piece."""

    def __init__(self, reply: Reply, request: Request) -> None:
        self.status = reply.status
        content = _answer_to(request) if reply.status == 200 else error_of(reply.status, is_quota=reply.is_quota)
        self._body = orjson.dumps(content)
        self.headers = Headers(
            {"content-type": "application/json", "content-length": str(len(self._body)), **reply.headers}.items()
        )

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        pass


def _answer_to(request: Request) -> dict[str, object]:
    tokens = round(request.tokens)
    return {
        "created": 1,
        "data": [{"b64_json": _IMAGE}] * request.images,
        "usage": {"total_tokens": tokens, "input_tokens": 0, "output_tokens": tokens},
    }
