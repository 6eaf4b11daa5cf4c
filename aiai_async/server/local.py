"""`LocalServer`: the server as a value to start and stop inside a program.

It owns the socket and nothing else; what is answered is `Service`'s.
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections.abc import Iterable
from typing import Any, Final, Self

import anyio
from aiohttp import web

from aiai_async._errors import ConfigurationError
from aiai_async._facts import RateLimits
from aiai_async._log import LOGGER
from aiai_async._secret import Secret
from aiai_async.server.app import Service, Settings
from aiai_async.server.draw import require_pillow
from aiai_async.server.fault_table import named
from aiai_async.server.faults import Fault, FaultPlan
from aiai_async.server.limits import parse_limit_style
from aiai_async.server.received import ReceivedRequest

# What is under way is cancelled before; this is for connections that only have to be closed.
_SHUTDOWN_TIMEOUT: Final = 1.0


class LocalServer:
    """A stand-in for the API on this machine: it draws pictures from prompts and needs neither key nor network.

    Use it as an async context manager, or call `start` and `aclose`; each may be called again. Stopping cuts what is
    under way at once.

    Args:
        api_key: the only key that is accepted; None accepts any.
        host: the address to listen on. Any other than loopback lets the network in, and is logged as a warning.
        port: 0 takes a free one.
        limits: rate limits of each key; None is none.
        limit_style: `bucket` holds a minute's worth, `fixed` and `sliding` are windows of a minute; `hidden`,
            `hidden-fixed` and `hidden-sliding` are the same without a word in the headers.
        latency: seconds that every request takes, or a range to draw from. A stream spreads its partial images over it.
        faults: what goes wrong and when: records, or names of ready-made ones, which then befall every request.
        seed: changes the pictures, and the luck of latency and faults.
        url_lifetime: seconds that a picture given as a link can be fetched.
        keep_requests: how many of the latest requests are kept in `requests` and `downloads`.

    Raises:
        ConfigurationError: an argument is wrong, or Pillow is missing.

    Example:
        async with LocalServer() as server, AsyncImagesClient("any", base_url=server.base_url) as client:
            response = await client.generate("A lighthouse at dusk")
        assert server.requests[0].body["prompt"] == "A lighthouse at dusk"
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: RateLimits | None = None,
        limit_style: str = "bucket",
        latency: float | tuple[float, float] = 0.0,
        faults: Iterable[Fault | str] = (),
        seed: int = 0,
        url_lifetime: float = 3600.0,
        keep_requests: int = 10_000,
    ) -> None:
        require_pillow()
        try:
            style = parse_limit_style(limit_style)
        except ValueError as exc:
            raise ConfigurationError(str(exc)) from exc
        low, high = latency if isinstance(latency, tuple) else (latency, latency)
        if not 0 <= low <= high < math.inf:
            raise ConfigurationError(f"latency: {latency!r} is neither seconds nor a range of seconds, low to high")
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"port: {port} is not from 0 to 65535")
        self._seed: Final = seed
        self._host: Final = host
        self._wanted_port: Final = port
        self._service: Final = Service(
            Settings(
                api_key=None if api_key is None else Secret(api_key),
                limits=limits,
                limit_style=style,
                latency=(low, high),
                seed=seed,
                url_lifetime=url_lifetime,
                keep_requests=keep_requests,
            ),
            _to_records(faults),
        )
        self._runner: web.AppRunner | None = None
        self._port: int | None = None

    def __repr__(self) -> str:
        return f"<LocalServer {self.base_url}>" if self._port is not None else "<LocalServer, not started>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen; does nothing where it already does.

        Raises:
            OSError: the port is taken, or the host is not this machine's.
        """
        if self._runner is not None:
            return
        if not is_loopback(self._host):
            LOGGER.warning("the local server listens on %s: everyone who can reach this machine can use it", self._host)
        # handler_cancellation: who leaves frees its place at once, as the limits on concurrency expect.
        self._runner = runner = web.AppRunner(
            self._service.make_application(),
            handler_cancellation=True,
            access_log=None,
            logger=_QuietLogger(LOGGER, {}),
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        try:
            await runner.setup()
            await web.TCPSite(runner, self._host, self._wanted_port).start()
        except BaseException:
            await self.aclose()
            raise
        self._port = runner.addresses[0][1]

    async def aclose(self) -> None:
        """Stop: cut what is under way, close the socket. What was received can still be read."""
        runner, self._runner = self._runner, None
        self._port = None
        if runner is not None:
            # Bounded: aiohttp waits this long twice.
            with anyio.move_on_after(4 * _SHUTDOWN_TIMEOUT, shield=True):
                await runner.cleanup()

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            ConfigurationError: it is not started.
        """
        if self._port is None:
            raise ConfigurationError("the local server is not started: use `async with LocalServer() as server`")
        return self._port

    @property
    def base_url(self) -> str:
        """What to give to a client: `http://…/v1`.

        Raises:
            ConfigurationError: it is not started.
        """
        # The addresses that mean every interface can be listened on and not be called.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._host, self._host)
        return f"http://[{host}]:{self.port}/v1" if ":" in host else f"http://{host}:{self.port}/v1"

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """What came in, in order, but for downloads of pictures; those still being answered too."""
        return self._service.requests.all()

    @property
    def downloads(self) -> tuple[ReceivedRequest, ...]:
        """The requests for pictures that were given as links."""
        return self._service.downloads.all()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._service.in_flight

    def set_faults(self, *faults: Fault | str) -> None:
        """From now on let these faults happen instead of those before, counting requests anew."""
        self._service.faults = FaultPlan(_to_records(faults), seed=self._seed)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _to_records(faults: Iterable[Fault | str]) -> tuple[Fault, ...]:
    return tuple(named(fault) if isinstance(fault, str) else fault for fault in faults)


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes aiohttp's word that a malformed request is an error with a trace for what it is: a client's mistake."""

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.debug(msg, *args, **kwargs)
