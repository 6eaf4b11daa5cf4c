"""aiohttp as its tutorial shows it, with the standard library's json and base64."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from . import PROMPT, Client


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it; it has no retries."""
    return _Plain(base_url)


class _Plain:
    def __init__(self, base_url: str) -> None:
        self._url: Final = f"{base_url}/images/generations/"
        self._session: Final = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": "Bearer sk-test"},
            timeout=aiohttp.ClientTimeout(total=600),
            # Its own reading of lines raises above twice this, and an event here has megabytes.
            read_bufsize=1 << 23,
        )

    async def generate(self, model: str) -> bytes:
        async with self._session.post(self._url, json={"prompt": PROMPT, "model": model}) as response:
            response.raise_for_status()
            answer = await response.json()
        return base64.b64decode(answer["data"][0]["b64_json"])

    async def stream(self, model: str) -> AsyncIterator[bytes]:
        body = {"prompt": PROMPT, "model": model, "stream": True, "partial_images": 3}
        async with self._session.post(self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield base64.b64decode(json.loads(line[6:])["b64_json"])

    async def aclose(self) -> None:
        await self._session.close()
