"""One request of a run, from its waiting to be let go until its answer: what only waits can be called back."""

from __future__ import annotations

from typing import Any, Final

import anyio

from aiai_async import AsyncImagesClient, ImageRequest, ImagesResponse
from aiai_async._shared import CALL_WATCH, CallWatch
from aiai_async._sinks import SinkFactory
from aiai_async.bulk.items import Item


class CalledBack(Exception):
    """The request was not under way when the run was stopped."""


class Call:
    """One request, sent once by `send`.

    Args:
        client: sends it.
    """

    __slots__ = ("_client", "_is_stopping", "_scope", "_watch")

    def __init__(self, client: AsyncImagesClient) -> None:
        self._client: Final = client
        self._scope: Final = anyio.CancelScope()
        self._watch: Final = CallWatch(on_begin=self._check, on_pause=self._note_pause)
        self._is_stopping = False

    @property
    def is_waiting(self) -> bool:
        """Whether it waits to be let go, or for another attempt."""
        return not self._watch.is_under_way

    @property
    def was_sent(self) -> bool:
        """Whether any attempt was let go."""
        return self._watch.was_under_way

    @property
    def may_have_been_billed(self) -> bool:
        """Whether an attempt that was followed by a wait for another one may have been.

        Only a policy that says so has what is ambiguous tried again; else all that is tried again was refused.
        """
        return self._watch.was_paused and self._client.retry.retry_ambiguous

    async def send(self, item: Item, *, key: str, sink: SinkFactory) -> ImagesResponse:
        """Send the request and wait for its answer.

        Raises:
            CalledBack: it was not under way when the run was stopped.
            Exception: what `generate` raises.
        """
        self._check()
        # Any: the fields were checked when the row was read.
        fields: dict[str, Any] = {**item.request}
        token = CALL_WATCH.set(self._watch)
        try:
            with self._scope:
                return await self._client.generate(ImageRequest(**fields), sink=sink, idempotency_key=key)
        finally:
            CALL_WATCH.reset(token)
        raise CalledBack

    def stop_waiting(self) -> None:
        """Call it back unless it is under way, now and whenever it would wait again."""
        self._is_stopping = True
        if not self._watch.is_under_way:
            self._scope.cancel()

    def _check(self) -> None:
        # Cancelling is not enough: up to the first byte there may be no point at which it is noticed.
        if self._is_stopping:
            raise CalledBack

    def _note_pause(self) -> None:
        if self._is_stopping:
            self._scope.cancel()
