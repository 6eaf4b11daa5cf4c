"""The only modules that touch aiohttp are this one, `_connector` and `_direct`.

Here are its sessions, which way a request goes over them, and its exceptions turned into ours.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import ssl as ssl_module
import types
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import aiohttp
import aiohttp.client
import aiohttp.http
import anyio
import attrs
from yarl import URL

from aiai_async._connector import AddressRefused, Connector, RequestBody, check_literal, trace_connects
from aiai_async._direct import MAX_BODY_BYTES, DirectAnswer, DirectLine, NothingSent
from aiai_async._errors import APIConnectionError, APITimeoutError, ConfigurationError
from aiai_async._exchange import AddressForbidden, AddressRule, TransportRequest
from aiai_async._facts import Headers
from aiai_async._secret import SecretText, strip_userinfo
from aiai_async.wire.endpoint import Origin

# Closing TLS connections says goodbye to the other side, which may not answer.
_CLOSE_SECONDS: Final = 5.0
# Four times that (aiohttp 3.14; twice before) and one read of the socket, 256 KiB, wait in memory. By how many requests
# are under way: with less an image of 2 MB takes a fifth more CPU, since reading is stopped and begun again so often;
# with more a turn of the event loop, which serves all of them, takes too long.
_BUFFERED_BYTES: Final = 1 << 17
_BUFFERED_BYTES_OF_MANY: Final = 1 << 16
_MANY: Final = 12
# With more under way, several are likely to be sent in one turn of the event loop.
_FEW: Final = 4
# For sinks however many: with half of it each read of the socket stops reading, and to begin again takes 0.1 ms. With
# twice this more than 1 MiB a request would wait for a slow disk, with what was decoded already.
_BUFFERED_FOR_SINKS: Final = 1 << 17
# A client has one or two; more come of redirects, and of views with another base URL or proxy.
_MOST_ROUTES: Final = 64
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class Pool:
    """The connections of one event loop. Made, used and closed on that loop."""

    def __init__(
        self,
        *,
        connector_factory: Callable[[], aiohttp.BaseConnector] | None,
        trace_configs: Sequence[aiohttp.TraceConfig],
    ) -> None:
        self._connector_factory: Final = connector_factory
        self._trace_configs: Final = list(trace_configs)
        self._sessions: Final[dict[AddressRule | None, aiohttp.ClientSession]] = {}
        self._proxies: Final[dict[Origin, str | None]] = {}
        self._routes: Final[dict[tuple[str, str | None, ssl_module.SSLContext | bool | None], _Route]] = {}
        """Those of the API's own URLs, which are few; links to images differ each time."""
        self.under_way = 0
        """Requests sent whose answers are not read to their end."""
        self._may_have_tls = connector_factory is not None
        self._closer: AsyncGenerator[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def send(self, request: TransportRequest) -> Response:
        """Send a request and wait for the head of the answer."""
        session = self._sessions.get(request.address_rule)
        if session is None or session.closed:
            session = await self._open(request.address_rule)
        route = self._routes.get((request.url, request.proxy, request.ssl)) or self._find_route(session, request)
        if request.address_rule is not None:
            check_literal(route.origin, request.address_rule)
        line = route.line if _is_short(request) and not _is_watched(session) else None
        body = RequestBody(request.body, request) if line is None and request.body is not None else None
        connection = None
        self.under_way += 1
        try:
            if line is not None:
                connection = await line.connect(request, _timeout(request.connect_timeout))
                answer: aiohttp.ClientResponse | DirectAnswer = await line.exchange(
                    connection,
                    request,
                    read_bufsize=self._choose_buffer(request),
                    is_one_of_many=self.under_way > _FEW,
                )
            else:
                answer = await session.request(
                    request.method,
                    route.url,
                    headers={**request.headers, **route.headers} if route.headers else request.headers,
                    data=body,
                    allow_redirects=False,
                    proxy=route.proxy,
                    proxy_headers=route.proxy_headers,
                    ssl=route.ssl,
                    timeout=_timeout(request.connect_timeout),
                    read_bufsize=self._choose_buffer(request),
                    trace_request_ctx=request,
                )
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, UnicodeError) as error:
            self.under_way -= 1
            is_written = (body is not None and body.was_written) if line is None else connection is not None
            if session.closed and (not is_written or isinstance(error, NothingSent)):
                raise _unsent(route.origin, "the client was closed") from error
            raise _translate(error, route.origin, request, proxy=route.proxy) from error
        except BaseException:
            self.under_way -= 1
            raise
        if request.body is None:
            request.on_sent()
        return Response(answer, route.origin, self)

    def _choose_buffer(self, request: TransportRequest) -> int:
        if request.is_taken_slowly:
            return _BUFFERED_FOR_SINKS
        return _BUFFERED_BYTES_OF_MANY if self.under_way > _MANY else _BUFFERED_BYTES

    async def aclose(self) -> None:
        """Close every connection."""
        if self._may_have_tls:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._close_sessions()
        else:
            # There is nothing to wait for; and loading anyio's scopes, which a script with one request needs for
            # nothing else, would be a tenth of what it takes.
            await self._close_sessions()
        closer, self._closer = self._closer, None
        if closer is not None:
            await closer.aclose()

    async def _close_sessions(self) -> None:
        # Short ways hold the loop, and with it this pool.
        self._routes.clear()
        while self._sessions:
            await self._sessions.popitem()[1].close()

    async def aclose_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close every connection, on `loop`, which the pool belongs to; nothing is left of a loop that has ended."""
        if loop is asyncio.get_running_loop():
            await self.aclose()
        else:
            # Not awaited: the loop may be stopped for now, or for good; where it has ended there is nothing to close.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._begin_to_close, loop)

    def _begin_to_close(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop keeps only a weak reference to its tasks.
        self._closing = loop.create_task(self.aclose())

    async def _open(self, rule: AddressRule | None) -> aiohttp.ClientSession:
        session = self._sessions.get(rule)
        if session is None or session.closed:
            self._routes.clear()
            session = self._sessions[rule] = aiohttp.ClientSession(
                connector=self._make_connector(rule),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_NO_TIMEOUT,
                trace_configs=[*self._trace_configs, *([trace_connects()] if self._is_foreign(rule) else [])],
                trust_env=False,
            )
            if self._closer is None:
                # A loop that ends closes its asynchronous generators: so it closes this pool too, without a warning.
                self._closer = self._close_with_loop()
                await anext(self._closer)
        return session

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._closer = None
            await self.aclose()

    def _make_connector(self, rule: AddressRule | None) -> aiohttp.BaseConnector:
        if self._is_foreign(rule):
            assert self._connector_factory is not None
            return self._connector_factory()
        return Connector(rule)

    def _is_foreign(self, rule: AddressRule | None) -> bool:
        """Tell whether connections are made by a connector of the caller's."""
        return rule is None and self._connector_factory is not None

    def _find_route(self, session: aiohttp.ClientSession, request: TransportRequest) -> _Route:
        origin = Origin.of(request.url)
        proxy, credentials = _split_proxy(request.proxy or self._find_proxy(origin, request.url))
        self._may_have_tls |= request.url.startswith("https:") or (proxy or "").startswith("https:")
        # Through a tunnel they go to the proxy alone; without one the request itself goes there.
        is_tunnel = origin.scheme == "https"
        url, ssl = _parse_url(request.url), True if request.ssl is None else request.ssl
        is_short = proxy is None and request.address_rule is None and self._connector_factory is None
        line = DirectLine(url, session=session, ssl=ssl) if is_short and isinstance(url, URL) else None
        route = _Route(
            origin=origin,
            url=url,
            proxy=proxy,
            headers={} if is_tunnel else credentials,
            proxy_headers=credentials if is_tunnel else None,
            ssl=ssl,
            line=line,
        )
        if request.address_rule is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[request.url, request.proxy, request.ssl] = route
        return route

    def _find_proxy(self, origin: Origin, url: str) -> str | None:
        if origin not in self._proxies:
            self._proxies[origin] = _read_environment(origin, url)
        return self._proxies[origin]


@attrs.frozen(kw_only=True, eq=False)
class _Route:
    """How a URL is reached. Kept, since finding that out takes 8 us, a tenth of a request."""

    origin: Origin
    url: str | URL
    """Parsed, or as it is where that can't be done."""
    proxy: str | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    """To be sent with the request, for the proxy."""
    proxy_headers: Mapping[str, str] | None = attrs.field(repr=False)
    """To be sent to the proxy when a tunnel is opened."""
    ssl: ssl_module.SSLContext | bool
    """How to check the server's certificate, as aiohttp understands it."""
    line: DirectLine | None
    """The short way; None: everything goes through the session."""


class Response:
    """An answer over aiohttp; see `TransportResponse`."""

    __slots__ = ("_answer", "_content", "_origin", "_pool", "headers", "status")

    def __init__(self, answer: aiohttp.ClientResponse | DirectAnswer, origin: Origin, pool: Pool) -> None:
        self._pool: Pool | None = pool
        self._answer: Final = answer
        self._content: Final = answer.content
        self._origin: Final = origin
        self.status: int = answer.status
        self.headers: Headers = Headers(answer.headers.items())

    async def read(self) -> bytes:
        """Give the next piece of the body; empty at its end."""
        try:
            return b"" if self._content.at_eof() else await self._content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error, self._origin, "broke before the answer was whole") from error

    def close(self) -> None:
        """Give the connection back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.under_way -= 1
            self._answer.close()


def _is_short(request: TransportRequest) -> bool:
    """Tell whether a request may go the short way."""
    return request.body is not None and len(request.body) <= MAX_BODY_BYTES and request.address_rule is None


def _is_watched(session: aiohttp.ClientSession) -> bool:
    """Tell whether somebody wants to see the session's requests: tracing does, and what stands in for it in tests.

    Both change every session of a process, whoever made it.
    """
    if session.trace_configs:
        return True
    request = type(session)._request  # pyright: ignore[reportPrivateUsage]
    return type(request) is not types.FunctionType or request.__code__.co_filename != aiohttp.client.__file__


@functools.lru_cache(maxsize=64)
def _timeout(connect: float | None) -> aiohttp.ClientTimeout:
    if connect is None:
        return _NO_TIMEOUT
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=None, sock_read=None)


def _parse_url(url: str) -> str | URL:
    try:
        return URL(url)
    except ValueError:
        # aiohttp is to say what is wrong with it, as with any other.
        return url


def _read_environment(origin: Origin, url: str) -> str | None:
    """Find the proxy that the environment names; aiohttp's `trust_env` would also look netrc up on every request."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(origin.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"the environment names the proxy {parts.scheme}://{parts.hostname}, and only http and https proxies work; "
            f"unset {origin.scheme.upper()}_PROXY and ALL_PROXY, or give proxy="
        )
    return SecretText(proxy)


def _split_proxy(proxy: str | None) -> tuple[str | None, dict[str, str]]:
    """Part a proxy's URL from its user and password, which then show in no frame of aiohttp's."""
    if proxy is None:
        return None, {}
    parts = urlsplit(proxy)
    if parts.username is None:
        return proxy, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return strip_userinfo(proxy), {"Proxy-Authorization": SecretText(f"Basic {base64.b64encode(login).decode()}")}


def _translate(error: Exception, origin: Origin, request: TransportRequest, *, proxy: str | None) -> APIConnectionError:
    """Turn what aiohttp raised instead of an answer into our exception."""
    place = f"{origin.host}:{origin.port}"
    if proxy:
        place += f" through the proxy {urlsplit(proxy).hostname}:{urlsplit(proxy).port}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return APITimeoutError(
            f"no connection to {place} within {request.connect_timeout:g} s",
            hint="raise Timeout.connect, or check the network and base_url",
            host=origin.host,
            port=origin.port,
            phase="connect",
            seconds=request.connect_timeout,
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError) and isinstance(error.os_error, AddressRefused):
        return AddressForbidden(str(error.os_error), host=origin.host, port=origin.port)
    if isinstance(error, NothingSent):
        return _unsent(origin, f"the connection to {place} was closed before the request was sent")
    if isinstance(error, UnicodeError):
        return _unsent(origin, f"could not connect to {place}: that is no name of a host")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.InvalidURL)):
        return _unsent(origin, f"could not connect to {place}: {_describe(error)}")
    if isinstance(error, TimeoutError) and error.errno is None:
        # None of our settings lets aiohttp time out here, but a connector or a trace of the user's can.
        return APITimeoutError(
            f"no answer from {place} in time",
            host=origin.host,
            port=origin.port,
            phase="first_byte",
            may_have_been_billed=True,
        )
    return _broken(error, origin, "broke before there was an answer")


def _unsent(origin: Origin, message: str) -> APIConnectionError:
    """Say that nothing was sent."""
    return APIConnectionError(message, hint="check base_url and the network", host=origin.host, port=origin.port)


def _broken(error: Exception, origin: Origin, what: str) -> APIConnectionError:
    """Say that a connection broke after it was made: the request may have arrived."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        reason = "the server closed it"
    elif isinstance(error, aiohttp.ClientPayloadError):
        reason = "the body ended early, or is not what its header fields say"
    elif isinstance(error, (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError)):
        reason = f"what the server sent is not HTTP: {error.message}"
    else:
        reason = _describe(error)
    return APIConnectionError(
        f"the connection to {origin.host}:{origin.port} {what}: {reason}",
        host=origin.host,
        port=origin.port,
        may_have_been_billed=True,
    )


def _describe(error: Exception) -> str:
    """Say in words why there is no connection; without URLs, which may hold passwords."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL can't be used"
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl_module.SSLCertVerificationError):
        return f"the certificate was not accepted: {cause.verify_message}"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
