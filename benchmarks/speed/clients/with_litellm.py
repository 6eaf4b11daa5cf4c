"""litellm's image generation; it has no streams of images."""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import AsyncIterator
from typing import Any, Final

from . import PROMPT, Client

# Else it fetches a table of prices from the network when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm: Any = importlib.import_module("litellm")


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it."""
    return _LiteLLM(base_url, retries)


class _LiteLLM:
    def __init__(self, base_url: str, retries: int | None) -> None:
        self._options: Final[dict[str, Any]] = {"api_base": base_url, "api_key": "sk-test"}  # Any: handed on
        if retries is not None:
            self._options["max_retries"] = retries

    async def generate(self, model: str) -> bytes:
        response = await litellm.aimage_generation(prompt=PROMPT, model=f"openai/{model}", **self._options)
        return base64.b64decode(response.data[0].b64_json)

    def stream(self, model: str) -> AsyncIterator[bytes]:
        raise NotImplementedError("litellm does not stream images")

    async def aclose(self) -> None:
        """Its connections are kept in a cache of its own."""
