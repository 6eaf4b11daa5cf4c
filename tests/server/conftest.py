"""Fixtures for the local server: started servers, the official client, and a bare HTTP client beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from aiai_async.server import LocalServer

Connect = Callable[..., AsyncOpenAI]


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    """A server with nothing special about it."""
    async with LocalServer() as server:
        yield server


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make official clients that never try again, and close them at the end."""
    async with AsyncExitStack() as stack:

        def make(server: LocalServer, api_key: str = "sk-any") -> AsyncOpenAI:
            client = AsyncOpenAI(
                api_key=api_key,
                base_url=server.base_url,
                max_retries=0,
                http_client=DefaultAsyncHttpxClient(trust_env=False),
            )
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows nothing of the API."""
    async with aiohttp.ClientSession() as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something has become true; five seconds of that is a failure."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def talk(server: LocalServer, data: bytes) -> bytes:
    """Send bytes over a bare socket and give all that comes back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


def raw_request(body: bytes = b'{"prompt": "A cat", "size": "256x256"}', *, path: str = "/images/generations") -> bytes:
    """Write a whole request for an image as it goes over the socket, after which the connection is closed."""
    head = (
        f"POST /v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
