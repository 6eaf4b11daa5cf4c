"""The transport over aiohttp, and what another transport has to do.

A transport moves bytes and knows nothing of images, retries or redirects. The parts that need aiohttp are in
`_aiohttp`, which is loaded with the first exchange, so that importing the package stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from aiai_async._exchange import Transport, TransportRequest, TransportResponse
from aiai_async._loops import PerLoop

if TYPE_CHECKING:
    import aiohttp

    from aiai_async._aiohttp import Pool

__all__ = ["AiohttpTransport", "Transport", "TransportRequest", "TransportResponse"]


class AiohttpTransport:
    """Carries requests over aiohttp: a pool of connections for each event loop, closed with it or by `aclose`.

    Args:
        connector_factory: makes the connector of a loop, for those who must tune it; None: one without a limit of its
            own (the client has one), with TCP keep-alive, dropping connections that were idle for 15 seconds. Links to
            images are always fetched over a connector of our own, which checks where it connects to.
        trace_configs: aiohttp's own tracing, for all requests. What they are shown includes the key.

    With either of them requests go through aiohttp's session, which takes 46 us more for each; without, only where
    somebody watches that session (tracing that is put into every one, or what replaces it in tests).

    Example:
        >>> transport = AiohttpTransport(trace_configs=[])
    """

    __slots__ = ("_connector_factory", "_pools", "_trace_configs")

    def __init__(
        self,
        *,
        connector_factory: Callable[[], aiohttp.BaseConnector] | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._connector_factory: Final = connector_factory
        self._trace_configs: Final = tuple(trace_configs)
        self._pools: Final[PerLoop[Pool]] = PerLoop(self._make_pool)

    async def send(self, request: TransportRequest) -> TransportResponse:
        """See `Transport.send`."""
        return await self._pools.get().send(request)

    async def aclose(self) -> None:
        """See `Transport.aclose`. Pools of other loops that still run are closed there."""
        for loop, pool in self._pools.take_all():
            await pool.aclose_from(loop)

    def _make_pool(self) -> Pool:
        from aiai_async._aiohttp import Pool

        return Pool(connector_factory=self._connector_factory, trace_configs=self._trace_configs)
