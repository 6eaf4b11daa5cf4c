"""The connections that aiohttp makes for us: their sockets, where they may lead, and how long it took to make them."""

from __future__ import annotations

import os
import socket
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import aiohttp
import aiohttp.abc
import aiohttp.payload

from aiai_async._exchange import AddressForbidden, AddressRule, TransportRequest
from aiai_async.wire.addresses import is_literal, is_public
from aiai_async.wire.endpoint import Origin

if TYPE_CHECKING:
    import aiohttp.tracing
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey

_IDLE_SECONDS: Final = 15.0
# Image calls are silent for minutes, and middle boxes forget silent connections, some after a minute.
_KEEP_ALIVE_SECONDS: Final = 45

_SOCKETS_MADE: Final[ContextVar[list[tuple[float, socket.socket]] | None]] = ContextVar("sockets_made", default=None)
"""The sockets of the connection that is being made, each with the time when it was."""


class Target(aiohttp.ClientRequest):
    """A request that is never sent: the connector reads from it where to connect to."""

    asking: TransportRequest | None = None
    """What looks for a connection in this moment."""
    _key: ConnectionKey | None = None

    @property
    def connection_key(self) -> ConnectionKey:
        # It is made anew there whenever a connection is looked for.
        if self._key is None:
            self._key = super().connection_key
        return self._key


class RequestBody(aiohttp.payload.BytesPayload):
    """The body of a request, that tells it when it was written.

    Args:
        body: the bytes.
        request: what they belong to.
    """

    def __init__(self, body: bytes, request: TransportRequest) -> None:
        super().__init__(body, content_type="application/json")
        self._body: Final = body
        self.was_written = False
        self.request: Final = request

    async def write_with_length(self, writer: aiohttp.abc.AbstractStreamWriter, content_length: int | None) -> None:
        await writer.write(self._body)
        self.was_written = True
        self.request.on_sent()


class Connector(aiohttp.TCPConnector):
    """Makes connections, and tells each request that made one how long its TCP connect took.

    aiohttp's tracing could tell that too, and costs every request 20 us for it, also those that make none.

    Args:
        rule: where they may lead; None: anywhere.
    """

    def __init__(self, rule: AddressRule | None) -> None:
        super().__init__(
            limit=0,
            keepalive_timeout=_IDLE_SECONDS,
            socket_factory=_make_socket,
            resolver=None if rule is None else _GuardedResolver(rule),
        )

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # Before anything is waited for: a model is the next request's then.
        request = _find_asking(req)
        # Sockets are made in tasks of their own where a host has several addresses; they share this one list.
        made: list[tuple[float, socket.socket]] = []
        token = _SOCKETS_MADE.set(made)
        try:
            protocol = await super()._create_connection(req, traces, timeout)
        except BaseException:
            for _, each in made:
                _disown_if_gone(each)
            raise
        finally:
            _SOCKETS_MADE.reset(token)
        if made and request is not None:
            _tell_connect(request, time.perf_counter() - made[-1][0])
        return protocol


def _find_asking(req: aiohttp.ClientRequest) -> TransportRequest | None:
    if isinstance(req, Target):
        return req.asking
    return req.body.request if isinstance(req.body, RequestBody) else None


def _disown_if_gone(made: socket.socket) -> None:
    # uvloop closes the descriptor of a connect that is cancelled and leaves the socket, which would close whatever has
    # its number by then.
    try:
        os.fstat(made.fileno())
    except OSError:
        made.detach()


def _make_socket(info: tuple[object, ...]) -> socket.socket:
    family, kind, protocol, *_ = info
    made_at = time.perf_counter()
    made = socket.socket(family, kind, protocol)  # type: ignore[arg-type] # getaddrinfo's tuple, typed as Any parts
    if (sockets := _SOCKETS_MADE.get()) is not None:
        sockets.append((made_at, made))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEP_ALIVE_SECONDS),
        ("TCP_KEEPINTVL", _KEEP_ALIVE_SECONDS),
        ("TCP_KEEPCNT", 4),
    ):
        # Not every system has all three; macOS names the first TCP_KEEPALIVE.
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _tell_connect(request: TransportRequest, seconds: float) -> None:
    # TLS takes one more round trip.
    request.on_connected(seconds / 2 if request.url.startswith("https:") else seconds)


def trace_connects() -> aiohttp.TraceConfig:
    """Make what tells each request how long its TCP connect took, where a connector of the caller's made one."""

    async def begin(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.began_at = time.perf_counter()

    async def end(
        _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateEndParams
    ) -> None:
        _tell_connect(context.trace_request_ctx, time.perf_counter() - context.began_at)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(begin)
    # Looking the host up is no round trip to it.
    trace.on_dns_resolvehost_end.append(begin)
    trace.on_connection_create_end.append(end)
    return trace


class _GuardedResolver(aiohttp.abc.AbstractResolver):
    """Looks hosts up as usual and refuses addresses that the rule forbids: what is checked is what is connected to."""

    def __init__(self, rule: AddressRule) -> None:
        self._rule: Final = rule
        self._resolver: Final = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        if host != self._rule.trusted_host:
            for result in results:
                if not is_public(result["host"]):
                    raise AddressRefused(host, result["host"])
        return results

    async def close(self) -> None:
        await self._resolver.close()


class AddressRefused(OSError):
    """A host has an address that links must not lead to."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is at {address}, which is not a public address")


def check_literal(origin: Origin, rule: AddressRule) -> None:
    """Refuse a host that is a forbidden address itself: no resolver is asked about it.

    Raises:
        AddressForbidden: it is.
    """
    if origin.host != rule.trusted_host and is_literal(origin.host) and not is_public(origin.host):
        raise AddressForbidden(str(AddressRefused(origin.host, origin.host)), host=origin.host, port=origin.port)
