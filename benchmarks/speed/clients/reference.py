"""What a careful person writes with aiohttp, orjson and pybase64: the reference.

No retries, no checks, no timeouts but one, no scheduler. Streams are split at line ends, and pieces joined once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import orjson
import pybase64

from . import PROMPT, Client


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it; it has no retries."""
    return _Reference(base_url)


class _Reference:
    def __init__(self, base_url: str) -> None:
        self._url: Final = f"{base_url}/images/generations/"
        self._session: Final = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": "Bearer sk-test", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=600),
        )

    async def generate(self, model: str) -> bytes:
        async with self._session.post(self._url, data=orjson.dumps({"prompt": PROMPT, "model": model})) as response:
            response.raise_for_status()
            answer = orjson.loads(await response.read())
        return pybase64.b64decode(answer["data"][0]["b64_json"], validate=True)

    async def stream(self, model: str) -> AsyncIterator[bytes]:
        body = orjson.dumps({"prompt": PROMPT, "model": model, "stream": True, "partial_images": 3})
        async with self._session.post(self._url, data=body) as response:
            response.raise_for_status()
            pending: list[bytes] = []
            async for chunk in response.content.iter_any():
                lines = chunk.split(b"\n")
                for line in lines[:-1]:
                    pending.append(line)
                    whole = b"".join(pending)
                    pending.clear()
                    if whole.startswith(b"data: "):
                        event = orjson.loads(memoryview(whole)[6:])
                        yield pybase64.b64decode(event["b64_json"], validate=True)
                pending.append(lines[-1])

    async def aclose(self) -> None:
        await self._session.close()
