"""`Studio`: the page as a value to start and stop inside a program.

It owns the socket and the token; what is answered is `Service`'s.
"""

from __future__ import annotations

import logging
import math
import secrets
import socket
from typing import Any, Final, Self

import anyio
from aiohttp import web

from aiai_async import AsyncImagesClient, ConfigurationError
from aiai_async._log import LOGGER
from aiai_async.studio.app import Service
from aiai_async.studio.gallery import MOST_BYTES
from aiai_async.studio.guard import Guard

HOST: Final = "127.0.0.1"
"""Where it listens, and nowhere else: who reaches the page spends the user's money."""
DEFAULT_PORT: Final = 8766

# What is under way is cut off before; this is for connections that only have to be closed.
_SHUTDOWN_TIMEOUT: Final = 1.0


class Studio:
    """A page on this machine to try the API: pictures sharpen as they come.

    Use it as an async context manager, or call `start` and `aclose`; each may be called again. Stopping cuts off what
    runs. The page never gets the key. Other machines can't reach it, nor can other sites' pages; every user of this
    machine can, and spend the key's money. It runs on the event loop that starts it, and keeps its history in memory.

    Args:
        client: sends the requests; it is not closed.
        port: 0 takes a free one.
        grace: seconds that a closed tab may take to come back, as it does when it is reloaded, before what it began is
            cut off.
        most_bytes: bytes of pictures that are kept for the page; the oldest are dropped.
        server: what the page calls the server; None: by its address.

    Raises:
        ConfigurationError: an argument is wrong.

    Example:
        async with AsyncImagesClient() as client, Studio(client) as studio:
            print(studio.url)
            await anyio.sleep_forever()
    """

    def __init__(
        self,
        client: AsyncImagesClient,
        *,
        port: int = 0,
        grace: float = 3.0,
        most_bytes: int = MOST_BYTES,
        server: str | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"port: {port} is not from 0 to 65535")
        if not 0 <= grace < math.inf:
            raise ConfigurationError(f"grace: {grace} is no number of seconds")
        if most_bytes < 1:
            raise ConfigurationError(f"most_bytes: {most_bytes} is not above 0")
        self._client: Final = client
        self._wanted_port: Final = port
        self._grace: Final = grace
        self._most_bytes: Final = most_bytes
        self._server: Final = server
        self._runner: web.AppRunner | None = None
        self._service: Service | None = None
        self._port: int | None = None

    def __repr__(self) -> str:
        return "<Studio, not started>" if self._port is None else f"<Studio {self.url}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen; does nothing where it already does.

        Raises:
            OSError: the port is taken.
        """
        if self._runner is not None:
            return
        listener = _listen(self._wanted_port)
        port = listener.getsockname()[1]
        try:
            token = secrets.token_urlsafe(32)
            self._service = service = Service(
                self._client,
                guard=Guard(port=port, token=token),
                token=token,
                grace=self._grace,
                most_bytes=self._most_bytes,
                server=self._client.base_url if self._server is None else self._server,
            )
            # handler_cancellation: a tab that is gone is noticed at once.
            self._runner = web.AppRunner(
                service.make_application(),
                handler_cancellation=True,
                access_log=None,
                logger=_QuietLogger(LOGGER, {}),
                shutdown_timeout=_SHUTDOWN_TIMEOUT,
            )
            await self._runner.setup()
            await web.SockSite(self._runner, listener).start()
        except BaseException:
            listener.close()
            await self.aclose()
            raise
        self._port = port

    async def aclose(self) -> None:
        """Stop: cut off what runs, close all connections. The history is forgotten."""
        runner, self._runner = self._runner, None
        service, self._service = self._service, None
        self._port = None
        # Bounded: what is cut off gets some seconds, and aiohttp waits twice.
        with anyio.move_on_after(10 * _SHUTDOWN_TIMEOUT, shield=True):
            if runner is not None:
                for site in tuple(runner.sites):
                    await site.stop()
            if service is not None:
                await service.aclose()
            if runner is not None:
                await runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            ConfigurationError: it is not started.
        """
        if self._port is None:
            raise ConfigurationError("the studio is not started: use `async with Studio(client) as studio`")
        return self._port

    @property
    def url(self) -> str:
        """The page's address.

        Raises:
            ConfigurationError: it is not started.
        """
        return f"http://{HOST}:{self.port}/"


def _listen(port: int) -> socket.socket:
    # Made here and not by aiohttp: the guard has to know the port before anybody is answered.
    return socket.create_server((HOST, port))


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes aiohttp's word that a malformed request is an error with a trace for what it is: somebody's mistake."""

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)
