"""Makes single items: a key, a request, an answer or an error, its links; each step is durable before the next.

Nothing is sent under a key that is not in the journal. Between an answer and its row not even a cancellation comes:
those who run `make` shield it, and `cut_off` ends what may be cut off, requests and downloads. Which item goes when is
`runner`'s, what becomes of it is decided in `items`.
"""

from __future__ import annotations

import time
import uuid
from typing import Final, Protocol

import anyio
import anyio.to_thread
import attrs

from aiai_async import AsyncImagesClient, DownloadError, Image, ImagesResponse
from aiai_async._loops import running_loop
from aiai_async._sinks import SinkFactory
from aiai_async.bulk.books import Books
from aiai_async.bulk.calls import Call, CalledBack
from aiai_async.bulk.folder import OpenJob
from aiai_async.bulk.items import Item, Reason, Retry, State, WritingError, judge, keeps_key
from aiai_async.bulk.outcomes import answer_of, answered, describe, describe_error, failed, put_back, to_row
from aiai_async.bulk.provenance import embed_in
from aiai_async.bulk.records import Ended, ImageRow, Record, Started
from aiai_async.bulk.sink import PartSink
from aiai_async.bulk.waits import Waits
from aiai_async.bulk.writer import Writer


class Watcher(Protocol):
    """Is told what becomes of items; it is the run."""

    def stop(self, reason: Reason, message: str | None = None) -> None:
        """Nothing more may be sent."""
        ...

    def started(self, item: Item) -> None:
        """An item has its key, durably, and is sent next."""
        ...

    def ended(self, item: Item, change: Ended, *, before: State, is_put_back: bool) -> None:
        """An item ended, durably.

        Args:
            item: as it was sent, or as it was answered where its links were fetched.
            change: what became of it.
            before: how it is counted until now.
            is_put_back: whether it was not sent after all, which is no news.
        """
        ...

    def follow(self) -> Item | None:
        """Give an item that nothing was known of, to take the place of one that is about to end.

        None: there is none, or it is to be decided after that end whether it may be sent.
        """
        ...

    def unfollow(self, following: Item) -> None:
        """It did not take the place, since the end could not be written."""
        ...


class Maker:
    """Makes the items of one run, each by a call of `make`, many at once.

    Args:
        client: sends the requests.
        job: open.
        run: its number.
        retry: which of the items that had ended are taken up again.
        embeds: whether requests are written into the image files.
        books: of the budgets; an item's share is taken before it comes here.
        writer: makes changes durable.
        waits: is told when requests wait.
        limiter: bounds the threads of the job.
        watcher: is told what becomes of the items.
    """

    def __init__(
        self,
        client: AsyncImagesClient,
        job: OpenJob,
        *,
        run: int,
        retry: Retry | None,
        embeds: bool,
        books: Books,
        writer: Writer,
        waits: Waits,
        limiter: anyio.CapacityLimiter,
        watcher: Watcher,
    ) -> None:
        self._client: Final = client
        self._job: Final = job
        self._now: Final = running_loop().time
        self._base: Final = job.images / "new"
        self._run: Final = run
        self._retry: Final[Retry | None] = retry
        self._embeds: Final = embeds
        self._books: Final = books
        self._writer: Final = writer
        self._waits: Final = waits
        self._limiter: Final = limiter
        self._watcher: Final = watcher
        self._calls: Final[dict[int, Call]] = {}
        """The requests that are sent or wait to be, by their items' indexes."""
        self._begun: Final[dict[int, _Begun]] = {}
        """Items whose keys were written with the end of another one, by their indexes."""
        # A run gives an item one key at most; a random number for each would take 3 us.
        self._keys: Final = uuid.uuid4()
        self._downloads: Final[set[anyio.CancelScope]] = set()
        self.fetching = 0
        """Items whose links are being fetched."""
        self.has_sent = False
        """Whether anything was sent or fetched."""
        self.is_stopping = False
        """Whether nothing more may be sent."""

    def call_back(self) -> None:
        """Send nothing more, also of what is here and waits to be let go."""
        self.is_stopping = True
        for call in list(self._calls.values()):
            call.stop_waiting()

    def cut_off(self) -> None:
        """End all requests and downloads at once, and send nothing more; what was answered is still made durable."""
        self.is_stopping = True
        for call in list(self._calls.values()):
            call.cut_off()
        for download in self._downloads:
            download.cancel()

    def count_waiting(self) -> int:
        """Count the requests that wait to be let go, or for another attempt."""
        return sum(call.is_waiting for call in self._calls.values())

    async def make(self, item: Item) -> Item | None:
        """Send an item and make durable what becomes of it. To be shielded from cancelling; see `cut_off`.

        Returns:
            The item that took its place and is to be made next, since its key is in the journal; None: there is none.

        Raises:
            NotWritten, sqlite3.Error: the journal or the folder can't be written or read.
        """
        begun = self._begun.pop(item.index, None)
        if begun is None and self.is_stopping:
            # After it took its place.
            self._books.give_back(item)
            return None
        self.has_sent = True
        try:
            if begun is None and (begun := await self._begin(item)) is None:
                return None
            return await self._request(begun)
        except CalledBack:
            # Of a download: its answer is in the journal.
            return None

    async def _begin(self, item: Item) -> _Begun | None:
        """Write an item's key; None: it needs no request."""
        if item.state is State.LINKED:
            answer = answer_of(await self._record_of(item.index), at=time.time())
            is_fetched = await self._fetch_links(item, answer)
            again = attrs.evolve(item, state=State.UNKNOWN)
            if is_fetched or self._retry not in ("unknown", "all") or self.is_stopping or not self._books.take(again):
                return None
        is_new = item.state in (State.PENDING, State.UNFINISHED)
        begun = self._give_key(item, earlier=None if is_new else await self._record_of(item.index))
        await self._writer.write(begun.change)
        self._watcher.started(item)
        return begun

    def _give_key(self, item: Item, *, earlier: Record | None) -> _Begun:
        is_same = keeps_key(item.state) and item.key is not None
        key = item.key if is_same and item.key is not None else f"{self._keys}-{item.index}"
        sent = self._books.send(item, is_same=is_same)
        change = Started(
            index=item.index,
            key=key,
            run=self._run,
            spent=sent.spent,
            at=time.time(),
            estimate=sent.estimate,
            spent_cost=sent.spent_cost,
        )
        return _Begun(sent, change, earlier)

    # -- its request

    async def _request(self, begun: _Begun) -> Item | None:
        item = begun.item
        sinks: list[PartSink] = []

        def make_sink(k: int) -> PartSink:
            sinks.append(self._make_sink(item, k, is_left=not self._embeds))
            return sinks[-1]

        started_at = self._now()
        error: Exception | None = None
        response: ImagesResponse | None = None
        call = self._calls[item.index] = Call(self._client, self._waits)
        if self.is_stopping:
            # While its key was written.
            call.stop_waiting()
        try:
            response = await call.send(item, key=begun.change.key, sink=make_sink)
        except CalledBack:
            if item.state is not State.UNFINISHED and not call.is_cut and not call.may_have_been_billed:
                await self._end(item, put_back(item, begun.earlier, at=time.time()), is_put_back=True)
            return None
        except Exception as exc:
            # Whatever it is: let out, it would cut off the others, which are paid for.
            error = exc
        finally:
            del self._calls[item.index]
        if response is not None:
            try:
                return await self._take_answer(item, response, call, sinks)
            except WritingError as exc:
                error = exc
        assert error is not None
        change = failed(
            item,
            error,
            run=self._run,
            at=time.time(),
            elapsed=self._now() - started_at,
            sent_at=call.sent_at,
            was_sent=call.was_sent,
            may_have_been_billed=call.may_have_been_billed,
        )
        await _abort(sinks)
        await self._end(item, change)
        stops = judge(error, was_sent=call.was_sent).stops
        if stops is not None:
            # It concerns all items.
            self._watcher.stop(stops, describe(error))
        return None

    async def _take_answer(
        self, item: Item, response: ImagesResponse, call: Call, sinks: list[PartSink]
    ) -> Item | None:
        received: list[str | None] = []
        if self._embeds:
            received = [image.sha256 for image in response.data]
            images = [await self._embed(item, image) for image in response.data]
            response = attrs.evolve(response, data=tuple(images))
        change = answered(item, response, run=self._run, at=time.time(), sent_at=call.sent_at, received=received)
        kept = {row.part for row in change.rows}
        # Of attempts that failed after some of their images were whole.
        rest = [sink for sink in sinks if sink.path.name not in kept]
        await _abort(rest)
        whole = [sink for sink in sinks if sink not in rest]
        if change.state is State.LINKED:
            await self._end(item, change, sinks=whole)
            linked = attrs.evolve(item, state=State.LINKED, images=change.images, cost=change.cost)
            await self._fetch_links(linked, change)
            return None
        return await self._end_and_follow(item, change, whole)

    async def _end_and_follow(self, item: Item, change: Ended, sinks: list[PartSink]) -> Item | None:
        """Make an end durable, and with it the key of the item that takes the place: one wait for both.

        That is sent only after this one's files have their names. With waits of its own an item takes 15 us more.
        """
        following = self._watcher.follow()
        if following is None:
            await self._end(item, change, sinks=sinks)
            return None
        begun = self._give_key(following, earlier=None)
        try:
            await self._writer.write(change, sinks, following=begun.change)
        except BaseException:
            self._watcher.unfollow(following)
            raise
        self._watcher.ended(item, change, before=State.UNFINISHED, is_put_back=False)
        self._watcher.started(following)
        self._begun[following.index] = begun
        return following

    def _make_sink(self, item: Item, k: int, *, is_left: bool) -> PartSink:
        return PartSink(self._base, f"{item.index:06d}-{k}", limiter=self._limiter, is_left=is_left)

    async def _embed(self, item: Item, image: Image) -> Image:
        """Write an item's request into an image file, where that is asked for; without it, the image is kept."""
        if not self._embeds:
            return image
        try:
            image = await anyio.to_thread.run_sync(embed_in, image, item.request, limiter=self._limiter)
        except OSError as error:
            self._watcher.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")
        except Exception as error:
            # Let out, it would cut off the others, and this one would be lost; all are paid for.
            words = f"{describe(error)}: a request could not be written into an image"
            self._watcher.stop(Reason.CONFIGURATION, words)
        return image

    # -- its links

    async def _fetch_links(self, item: Item, answer: Ended) -> bool:
        """Fetch the images of an answer that are only links yet; tell whether all are here."""
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
                fetched.append(await self._fetch(item, row))
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
        linked = attrs.evolve(item, state=State.LINKED, images=len(answer.rows), cost=answer.cost)
        await self._end(linked, change, before=State.LINKED)
        if isinstance(error, WritingError):
            self._watcher.stop(Reason.DISK, f"{self._job.folder} can't be written: {error.cause}")
        return is_whole

    async def _fetch(self, item: Item, row: ImageRow) -> ImageRow:
        if row.url is None:
            raise DownloadError("the image is neither here nor behind a link")
        # Each is written at once: of several that are written together none would stay where one can't be.
        received = await self._download(row.url, lambda _: self._make_sink(item, row.k, is_left=False))
        image = attrs.evolve(await self._embed(item, received), revised_prompt=row.revised_prompt)
        return to_row(item, row.k, image, received=received.sha256)

    async def _download(self, url: str, sink: SinkFactory) -> Image:
        with anyio.CancelScope() as scope:
            self._downloads.add(scope)
            try:
                return await self._client.download(url, sink=sink)
            finally:
                self._downloads.discard(scope)
        raise CalledBack

    # -- the journal

    async def _end(
        self,
        item: Item,
        change: Ended,
        *,
        sinks: list[PartSink] | None = None,
        before: State = State.UNFINISHED,
        is_put_back: bool = False,
    ) -> None:
        await self._writer.write(change, sinks or ())
        self._watcher.ended(item, change, before=before, is_put_back=is_put_back)

    async def _record_of(self, index: int) -> Record:
        return await anyio.to_thread.run_sync(self._job.journal.record_of, index, limiter=self._limiter)


class _Begun:
    """An item whose key is in the journal, or goes there."""

    __slots__ = ("change", "earlier", "item")

    def __init__(self, item: Item, change: Started, earlier: Record | None) -> None:
        self.item: Final = item
        """As it is sent."""
        self.change: Final = change
        self.earlier: Final = earlier
        """What was known of it, where it had ended before."""


async def _abort(sinks: list[PartSink]) -> None:
    for sink in sinks:
        await sink.abort()
