"""The client of a command, and the local server that `--local` starts for it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs

from aiai_async import AsyncImagesClient, ConfigurationError, ModelPrices, RateLimits
from aiai_async._transport import Transport


@attrs.frozen(kw_only=True)
class Connection:
    """Where requests go and how; the options of a command. None is the client's default.

    Raises:
        ConfigurationError: two options contradict each other.
    """

    local: bool = False
    local_latency: float = 0.0
    """Seconds that the local server takes for each request."""
    base_url: str | None = None
    timeout: float | None = None
    retries: int | None = None
    limits: RateLimits | None = None
    """What the key may do in a minute; None: that is learned."""
    prices: Mapping[str, ModelPrices] = attrs.field(factory=dict, hash=False)
    """Prices of the user's own, by model."""

    def __attrs_post_init__(self) -> None:
        if self.local and self.base_url is not None:
            raise ConfigurationError("--local starts a server of its own: leave out --base-url, or --local")

    def require_key(self) -> None:
        """Check that there is a key, before anything is done that takes long.

        Raises:
            ConfigurationError: there is none.
        """
        if not self.local and not has_key():
            raise ConfigurationError(
                "there is no API key: set AIAI_API_KEY (other users could read it on the command line), "
                "or try --local, which needs none"
            )

    @asynccontextmanager
    async def open(
        self, *, transport: Transport | None = None, fallback_key: str | None = None
    ) -> AsyncGenerator[AsyncImagesClient]:
        """Give a client, and close it at the end; the local server lives as long.

        Args:
            transport: what carries the requests; None: the network.
            fallback_key: the key to use where the environment has none; None: that is an error.

        Raises:
            ConfigurationError: the key is missing, an option can't be used, or Pillow is missing for the local server.
        """
        key, base_url = None if has_key() else fallback_key, self.base_url
        async with AsyncExitStack() as stack:
            if self.local:
                # Imported here: everything else goes without Pillow.
                from aiai_async.server import LocalServer

                server = await stack.enter_async_context(LocalServer(latency=self.local_latency))
                # The user's key is for another service, and this one takes any.
                key, base_url = "local", server.base_url
            elif key is None:
                self.require_key()
            # Any: they are what the client takes or left out, which no type can say of keyword arguments.
            bounds: dict[str, Any] = {"timeout": self.timeout, "retry": self.retries, "limits": self.limits}
            yield await stack.enter_async_context(
                AsyncImagesClient(
                    key,
                    base_url=base_url,
                    transport=transport,
                    # How many go at once is decided by who calls it.
                    max_connections=0,
                    prices=self.prices,
                    **{name: value for name, value in bounds.items() if value is not None},
                )
            )


def has_key() -> bool:
    """Tell whether the environment has a key; what is wrong with it the client will say."""
    return bool(os.environ.get("AIAI_API_KEY"))
