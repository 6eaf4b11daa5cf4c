"""The official SDK, with its defaults but for the base URL; images are decoded as its guide shows."""

from __future__ import annotations

import base64
import importlib
from collections.abc import AsyncIterator
from typing import Any, Final

from . import PROMPT, Client

openai: Any = importlib.import_module("openai")


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it on its default transport."""
    return Official(base_url, retries)


class Official:
    """The SDK; `http_client` is its other transport."""

    def __init__(self, base_url: str, retries: int | None, **options: Any) -> None:  # Any: handed on
        if retries is not None:
            options["max_retries"] = retries
        self._client: Final = openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, **options)

    async def generate(self, model: str) -> bytes:
        """Make one image."""
        response = await self._client.images.generate(prompt=PROMPT, model=model)
        return base64.b64decode(response.data[0].b64_json)

    async def stream(self, model: str) -> AsyncIterator[bytes]:
        """Give a stream's images."""
        stream = await self._client.images.generate(prompt=PROMPT, model=model, stream=True, partial_images=3)
        async for event in stream:
            yield base64.b64decode(event.b64_json)

    async def aclose(self) -> None:
        """Close it."""
        await self._client.close()
