"""The short way of a request over aiohttp: its connections and its parser, without its session.

Knows one URL and what is sent to it each time. What it can't do, such as proxies and large bodies, goes through the
session; see `_aiohttp`.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from aiai_async._connector import Target
from aiai_async._exchange import TransportRequest
from aiai_async._secret import SecretText

if TYPE_CHECKING:
    import ssl as ssl_module

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

MAX_BODY_BYTES: Final = 1 << 15
"""A longer body goes through the session, which reads while it writes; event loops take 64 KiB without waiting."""

# asyncio asks the kernel for 256 KiB at once. For that much glibc maps memory anew each time and gives it back, however
# little came: 26 of the 141 us of a small answer, 64 at once. Long ones are read that way still: in shorter reads
# an image of 2 MB takes a quarter more CPU.
_SHORT_READ: Final = 1 << 16
_LONG_READ: Final = 1 << 18
_SHORT_DIGITS: Final = 4
"""The Content-Length of an answer that one short read may take has so many digits at most."""

_MOST_TOGETHER: Final = 16
"""So many requests go out together at most."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# Of what aiohttp would send by itself; the rest is in each request.
_OWN_FIELDS: Final = ("host", "accept-encoding")


class NothingSent(aiohttp.ClientConnectionError):
    """A connection was closed before the request was written to it."""


class DirectLine:
    """Carries requests to one URL over connections that are kept.

    aiohttp's session builds for each request six mappings, a payload, a writer, a task that writes and a timer: 46 of
    the 75 us that an exchange takes with 64 of them under way (aiohttp 3.14.5, CPython 3.11). What is left out here
    can't be seen by its tracing, nor by what replaces its `_request` in tests.

    Args:
        url: where requests go; http or https, without a proxy.
        session: the session whose connector makes and keeps the connections.
        ssl: how to check the server's certificate, as aiohttp understands it.
    """

    __slots__ = ("_connector", "_end_of_line", "_fields", "_outbox", "_target")

    def __init__(
        self,
        url: URL,
        *,
        session: aiohttp.ClientSession,
        ssl: ssl_module.SSLContext | bool,
    ) -> None:
        connector = session.connector
        assert connector is not None
        self._connector: Final = connector
        self._outbox: list[tuple[ResponseHandler, SecretText, TransportRequest]] = []
        """What is to be sent in this turn of the loop."""
        loop = asyncio.get_running_loop()
        self._target: Final = Target("POST", url, data=b"", ssl=ssl, loop=loop, session=session)
        sent = self._target.headers
        self._fields: Final[dict[str, str]] = {name: sent[name] for name in _OWN_FIELDS if name in sent}
        self._end_of_line: Final = f" {url.raw_path_qs} HTTP/1.1"

    async def connect(self, request: TransportRequest, timeout: aiohttp.ClientTimeout) -> Connection:
        """Take a connection that is open, or make one, of which the request is told; nothing is sent.

        Raises:
            aiohttp.ClientError: there is none.
        """
        self._target.asking = request
        try:
            return await self._connector.connect(self._target, traces=[], timeout=timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {self._target.url.host} in time") from error
        finally:
            # It holds the call, which is over some day.
            self._target.asking = None

    async def exchange(
        self, connection: Connection, request: TransportRequest, *, read_bufsize: int, is_one_of_many: bool
    ) -> DirectAnswer:
        """Send a request and wait for the head of the answer.

        Args:
            connection: as `connect` gave it; it is closed where this raises.
            request: what to send; its body has at most `MAX_BODY_BYTES`.
            read_bufsize: how much of the answer may wait in memory, as aiohttp counts it.
            is_one_of_many: whether others are likely to be sent in the same turn of the loop.

        Raises:
            NothingSent: the connection was closed before the request was written.
            aiohttp.ClientError: there was no answer.
            aiohttp.http.HttpProcessingError: what came is not HTTP.
        """
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None
            if transport is None or transport.is_closing():
                raise NothingSent
            head = self._write_head(request)
            protocol.set_response_params(read_until_eof=True, read_bufsize=read_bufsize)
            _set_read_size(transport, _SHORT_READ)
            if is_one_of_many:
                self._send_soon(protocol, head, request)
            else:
                _send(transport, head, request)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
                # It only says that the server goes on.
                message, content = await protocol.read()
            length = message.headers.get(aiohttp.hdrs.CONTENT_LENGTH)
            if length is None or len(length) > _SHORT_DIGITS:
                _set_read_size(transport, _LONG_READ)
        except BaseException:
            connection.close()
            raise
        return DirectAnswer(message.code, message.headers, content, connection)

    def _send_soon(self, protocol: ResponseHandler, head: SecretText, request: TransportRequest) -> None:
        # What goes out in one turn of the loop goes out together, as it does from aiohttp's writing tasks. One by one
        # in the midst of other work, each wakes a receiver that has gone to sleep on the same machine: 10 of the 113 us
        # of a request to a gateway there, 64 at once. Alone it would take a turn of the loop for nothing.
        self._outbox.append((protocol, head, request))
        if len(self._outbox) == 1:
            asyncio.get_running_loop().call_soon(self._flush)
        elif len(self._outbox) >= _MOST_TOGETHER:
            # Where thousands begin in one turn, that takes long enough for the first to be answered.
            self._flush()

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        for protocol, head, request in outbox:
            transport = protocol.transport
            if transport is None or transport.is_closing():
                protocol.set_exception(NothingSent())
                continue
            try:
                _send(transport, head, request)
            except Exception as error:
                # It is this request's; the others are to go all the same.
                protocol.set_exception(error)

    def _write_head(self, request: TransportRequest) -> SecretText:
        fields = {**self._fields, **request.headers, "content-length": str(len(request.body or b""))}
        head = SecretText("\r\n".join([request.method + self._end_of_line, *map(": ".join, fields.items()), "\r\n"]))
        breaks = len(fields) + 2
        if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
            raise ValueError("a header field holds a line break or a zero byte")
        if not head.isascii() and _SURROGATE.search(head):
            # Found here, and not where it is sent together with others.
            raise ValueError("a header field holds a lone surrogate, which can't be encoded")
        return head


def _send(transport: asyncio.Transport, head: SecretText, request: TransportRequest) -> None:
    # The bytes have no name here: their repr would show the key to tracebacks with local variables.
    transport.write(head.encode() + (request.body or b""))
    request.on_sent()


def _set_read_size(transport: asyncio.Transport, size_bytes: int) -> None:
    # Those of uvloop and of TLS read into buffers of their own.
    if hasattr(transport, "max_size"):
        transport.max_size = size_bytes  # pyright: ignore[reportAttributeAccessIssue]


class DirectAnswer:
    """An answer whose head has come; it has the names of aiohttp's own."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self, status: int, headers: CIMultiDictProxy[str], content: aiohttp.StreamReader, connection: Connection
    ) -> None:
        self.status: Final = status
        self.headers: Final = headers
        self.content: Final = content
        self._connection: Final = connection

    def close(self) -> None:
        """Give the connection back: for reuse where the body was read to its end, else it is cut."""
        if self.content.at_eof():
            self._connection.release()
        else:
            self._connection.close()
