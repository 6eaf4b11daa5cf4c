"""httpx, with httpx-sse for streams."""

from __future__ import annotations

import base64
import importlib
from collections.abc import AsyncIterator
from typing import Any, Final

from . import PROMPT, Client

# Any, here and in the other clients' modules: they are in the environment of the benchmarks, not in the developers'.
httpx: Any = importlib.import_module("httpx")
httpx_sse: Any = importlib.import_module("httpx_sse")


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it; its retries are for connecting only."""
    return _Httpx(base_url)


class _Httpx:
    def __init__(self, base_url: str) -> None:
        self._url: Final = f"{base_url}/images/generations/"
        self._client: Final = httpx.AsyncClient(
            headers={"Authorization": "Bearer sk-test"},
            timeout=600,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def generate(self, model: str) -> bytes:
        response = await self._client.post(self._url, json={"prompt": PROMPT, "model": model})
        response.raise_for_status()
        return base64.b64decode(response.json()["data"][0]["b64_json"])

    async def stream(self, model: str) -> AsyncIterator[bytes]:
        body = {"prompt": PROMPT, "model": model, "stream": True, "partial_images": 3}
        async with httpx_sse.aconnect_sse(self._client, "POST", self._url, json=body) as source:
            async for event in source.aiter_sse():
                yield base64.b64decode(event.json()["b64_json"])

    async def aclose(self) -> None:
        await self._client.aclose()
