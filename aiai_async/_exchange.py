"""One HTTP exchange as values, and the protocol of what carries it out."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from aiai_async._errors import APIConnectionError
from aiai_async._facts import Headers
from aiai_async._frozen import frozen


@attrs.frozen
class AddressRule:
    """Connections go to public addresses only, and to one host that is trusted whatever its address."""

    trusted_host: str


class AddressForbidden(APIConnectionError):
    """A connection was not made since the rule forbids the address."""


def _do_nothing() -> None:
    pass


def _ignore(_: float) -> None:
    pass


@frozen(kw_only=True, eq=False)
class TransportRequest:
    """One HTTP exchange to carry out."""

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    """To be sent as they are; the key is among them."""
    body: bytes | None = attrs.field(default=None, repr=False)
    connect_timeout: float | None = None
    """Seconds for looking up the host, connecting and TLS; None is no bound."""
    proxy: str | None = attrs.field(default=None, repr=False)
    """The proxy to use; None: whichever the environment names."""
    ssl: ssl_module.SSLContext | bool | None = None
    """How to check the server's certificate; None: as usual, False: not at all."""
    is_taken_slowly: bool = False
    """Whether the body is taken as fast as a disk takes it: little of it is to wait in memory."""
    address_rule: AddressRule | None = None
    """Where connections may go; None: anywhere."""
    on_sent: Callable[[], None] = attrs.field(default=_do_nothing, repr=False)
    """To be called once, when the whole request was written: from then on it may be billed, and `first_byte` runs. A
    transport that can't tell calls it before it sends."""
    on_connected: Callable[[float], None] = attrs.field(default=_ignore, repr=False)
    """To be called where a connection was made, with the seconds that the TCP connect took: about one round trip, by
    which the client tells how soon a refusal would have come. A transport that can't tell doesn't call it."""

    def __deepcopy__(self, _: object) -> TransportRequest:
        # What records requests, as tests do, would copy the call that the two functions belong to, and its event loop.
        return self


class TransportResponse(Protocol):
    """An answer whose head has come. Content codings (gzip, deflate) are undone by the transport."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """Give the next piece of the body, of any length; empty at its end.

        Raises:
            APIConnectionError: the connection broke before the end.
        """
        ...

    def close(self) -> None:
        """Give the connection back: for reuse where the body was read to its end, else it is cut at once."""
        ...


class Transport(Protocol):
    """What a client needs of the network. Give your own as `transport=`, for instance in tests that need no socket.

    Example:
        >>> class Canned:
        ...     async def send(self, request: TransportRequest) -> TransportResponse:
        ...         return CannedResponse(200, b'{"data": [{"url": "https://example.com/a.png"}]}')
        ...
        ...     async def aclose(self) -> None:
        ...         pass
    """

    async def send(self, request: TransportRequest) -> TransportResponse:
        """Send a request and wait for the head of the answer, whatever its status; redirects are not followed.

        Raises:
            APIConnectionError: there was no answer; `may_have_been_billed` says whether the request may have arrived.
            APITimeoutError: `connect_timeout` ran out.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open; requests under way fail. A later `send` may open it anew."""
        ...
