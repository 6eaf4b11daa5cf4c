"""Fetches the images of an answer that are only links: nothing is generated, and what was fetched is made durable.

One that can't be fetched leaves the answer as it is, for a later run; the others are fetched all the same.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import attrs

from aiai_async import AsyncImagesClient, DownloadError, Image
from aiai_async._sinks import SinkFactory
from aiai_async.bulk.calls import CalledBack
from aiai_async.bulk.items import Item, State, WritingError
from aiai_async.bulk.outcomes import describe_error, to_row
from aiai_async.bulk.records import Ended, ImageRow
from aiai_async.bulk.sink import PartSink


class Links:
    """Fetches the links of the items of one run, many at once.

    Args:
        client: fetches them.
        run: its number.
        make_sink: gives the sink of an item's image, which writes it at once.
        embed: writes an item's request into an image file, where that is asked for.
        end: makes durable what became of an item, as it was answered.
        on_unwritable: is told where an image can't be written.
    """

    def __init__(
        self,
        client: AsyncImagesClient,
        *,
        run: int,
        make_sink: Callable[[Item, int], PartSink],
        embed: Callable[[Item, Image], Awaitable[Image]],
        end: Callable[[Item, Ended], Awaitable[None]],
        on_unwritable: Callable[[OSError], object],
    ) -> None:
        self._client: Final = client
        self._run: Final = run
        self._make_sink: Final = make_sink
        self._embed: Final = embed
        self._end: Final = end
        self._on_unwritable: Final = on_unwritable
        self._downloads: Final[set[anyio.CancelScope]] = set()
        self._is_cut = False
        self.fetching = 0
        """Items whose links are being fetched."""

    def cut_off(self) -> None:
        """End all downloads at once, and begin no others."""
        self._is_cut = True
        for download in self._downloads:
            download.cancel()

    async def fetch(self, item: Item, answer: Ended) -> bool:
        """Fetch the images of an answer that are only links yet; tell whether all are here.

        Raises:
            CalledBack: it was cut off; the answer is in the journal.
            NotWritten: what was fetched is not durable.
        """
        self.fetching += 1
        try:
            return await self._fetch_rows(item, answer)
        finally:
            self.fetching -= 1

    async def _fetch_rows(self, item: Item, answer: Ended) -> bool:
        fetched: list[ImageRow] = []
        error: Exception | None = None
        for row in answer.rows:
            if row.name is not None:
                continue
            try:
                fetched.append(await self._fetch_row(item, row))
            except CalledBack:
                raise
            except Exception as exc:
                # The others are fetched all the same: links expire.
                error = exc
        is_whole = error is None
        change = attrs.evolve(
            answer,
            state=State.DONE if is_whole else State.LINKED,
            at=time.time(),
            run=self._run,
            images=len(answer.rows),
            rows=tuple(fetched),
            is_answer=False,
            error=None if error is None else describe_error(error),
        )
        await self._end(attrs.evolve(item, state=State.LINKED, images=len(answer.rows), cost=answer.cost), change)
        if isinstance(error, WritingError):
            self._on_unwritable(error.cause)
        return is_whole

    async def _fetch_row(self, item: Item, row: ImageRow) -> ImageRow:
        if row.url is None:
            raise DownloadError("the image is neither here nor behind a link")
        received = await self._download(row.url, lambda _: self._make_sink(item, row.k))
        image = attrs.evolve(await self._embed(item, received), revised_prompt=row.revised_prompt)
        return to_row(item, row.k, image, received=received.sha256)

    async def _download(self, url: str, sink: SinkFactory) -> Image:
        if self._is_cut:
            # While its link was written or read, or an image before it.
            raise CalledBack
        with anyio.CancelScope() as scope:
            self._downloads.add(scope)
            try:
                return await self._client.download(url, sink=sink)
            finally:
                self._downloads.discard(scope)
        raise CalledBack
