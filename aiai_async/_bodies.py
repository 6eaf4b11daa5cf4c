"""The body of a streamed answer as image events: of server-sent events, or of a plain answer given instead."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import anyio

from aiai_async._answers import AnswerReader, ReadingClock
from aiai_async._errors import APIConnectionError, APIError, APIResponseError, StreamError
from aiai_async._exchange import TransportResponse
from aiai_async._facts import Headers
from aiai_async._schemas import Image, ImageCompletedEvent, PartialImageEvent
from aiai_async._secret import Redactor
from aiai_async._sinks import MemoryReceiver, SinkFactory, SinkReceiver
from aiai_async.wire import codec, problems
from aiai_async.wire.events import EventFailed, EventReader, ImageEvent, events_of_answer, is_final
from aiai_async.wire.images import Found, ImageEnd, ImageStart
from aiai_async.wire.problems import AnswerHead
from aiai_async.wire.sse import EventImageStart, ServerSentEvent, SSEDecoder

# The end of a body comes with its last event or right behind it.
_GRACE_SECONDS: Final = 0.5


class Body(Protocol):
    """Gives image events as they come."""

    @property
    def has_begun(self) -> bool:
        """Whether there was an image event."""
        ...

    @property
    def partial_images(self) -> Sequence[PartialImageEvent]:
        """The partial images so far."""
        ...

    @property
    def completed(self) -> Sequence[ImageCompletedEvent]:
        """The final images so far."""
        ...

    @property
    def text(self) -> bytes:
        """What is known of the text, for errors."""
        ...

    async def read(self, ready: list[ImageEvent]) -> bool:
        """Read until there are events and add them, also where it raises; False at the end of the body.

        Raises:
            EventFailed: the server said an error.
            APIResponseError: it is no answer, or passes a bound.
            APIConnectionError: the connection broke.
            Exception: whatever the sink raises.
        """
        ...

    def give_up(self, ready: list[ImageEvent]) -> None:
        """Add what was held back: nothing more will come."""
        ...

    def explain_end(self, cause: APIError | None, *, asked_for: int) -> APIError | None:
        """Say what the end means; see `EventReader.explain_end`."""
        ...

    async def abort(self) -> None:
        """Have a sink that is not finished throw away what came."""
        ...


async def choose_body(
    response: TransportResponse,
    head: AnswerHead,
    *,
    redactor: Redactor,
    clock: ReadingClock,
    max_bytes: int,
    asked_for: int,
    sink: SinkFactory | None,
) -> Body:
    """Tell a stream from a plain answer by the first byte that isn't blank: labels can't be trusted.

    Raises:
        APIResponseError: it is neither.
        APIConnectionError: the connection broke.
    """
    beginning = b""
    while not codec.has_begun(beginning) and (piece := await response.read()):
        beginning += piece
        if len(beginning) > problems.MAX_ERROR_BYTES:
            break
    if beginning.lstrip().startswith(b'{"error"'):
        # It may be a line before a connection that is held: that isn't waited for.
        while b"\n" not in beginning.lstrip() and (piece := await response.read()):
            beginning += piece
            if len(beginning) > problems.MAX_ERROR_BYTES:
                break
        if b"\n" in beginning.lstrip() and (inside := codec.find_error_line(beginning.lstrip())) is not None:
            now = time.time()
            raise EventFailed(
                problems.read_error_inside(head, inside, redactor=redactor, now=now, otherwise=StreamError)
            )
    prefixed = _Prefixed(response, beginning)
    if codec.may_be_answer(beginning):
        reader = AnswerReader(prefixed, max_bytes=max_bytes, sink=sink, expects_one=asked_for == 1, clock=clock)
        return PlainBody(reader, head, redactor=redactor)
    if beginning.lstrip().startswith(b"<"):
        raise codec.refuse_text(beginning)
    return EventBody(prefixed, head, redactor=redactor, clock=clock, max_bytes=max_bytes, sink=sink)


class EventBody:
    """A body of server-sent events. Partial images stay in memory; final ones go to the sink, where there is one.

    Args:
        response: the answer.
        head: its status and header fields.
        redactor: knows what must not show.
        clock: is told of progress.
        max_bytes: bound of the whole body, after decompression.
        sink: where final images go; None: into memory.
    """

    def __init__(
        self,
        response: TransportResponse,
        head: AnswerHead,
        *,
        redactor: Redactor,
        clock: ReadingClock,
        max_bytes: int,
        sink: SinkFactory | None,
    ) -> None:
        self._response: Final = response
        self._clock: Final = clock
        self._max_bytes: Final = max_bytes
        self._decoder: Final = SSEDecoder()
        self._events: Final = EventReader(head, redactor=redactor)
        self._memory: Final = MemoryReceiver()
        self._sinks: Final = None if sink is None else SinkReceiver(sink)
        self._is_sinking = False
        """Whether the image that is being read goes to a sink."""
        self._sunk_count = 0
        self._images: list[Image] = []
        """The images of the event that is being read."""
        self._size_bytes = 0

    @property
    def has_begun(self) -> bool:
        """See `Body`."""
        return bool(self._events.partial_images or self._events.completed)

    @property
    def partial_images(self) -> Sequence[PartialImageEvent]:
        """See `Body`."""
        return self._events.partial_images

    @property
    def completed(self) -> Sequence[ImageCompletedEvent]:
        """See `Body`."""
        return self._events.completed

    @property
    def text(self) -> bytes:
        """See `Body`."""
        return self._decoder.text

    async def read(self, ready: list[ImageEvent]) -> bool:
        """See `Body`."""
        while not ready:
            if self._events.is_done and self._events.completed:
                # Nothing more is waited for; but where the end comes soon, the connection can be used again.
                with anyio.move_on_after(_GRACE_SECONDS), contextlib.suppress(APIConnectionError):
                    while await self._response.read():
                        pass
                self.give_up(ready)
                return False
            piece = await self._response.read()
            if not piece:
                await self._take(self._decoder.finish(), ready)
                ready.extend(self._events.finish())
                return False
            self._size_bytes += len(piece)
            if self._size_bytes > self._max_bytes:
                raise codec.refuse_length(self._max_bytes)
            before = self._decoder.data_bytes
            found = self._decoder.feed(piece)
            # It may have 256 KiB, which would stay in memory while a sink waits for its disk, and this for the server.
            piece = b""
            await self._take(found, ready)
            if self._decoder.data_bytes != before:
                self._clock.note_progress()
        return True

    def give_up(self, ready: list[ImageEvent]) -> None:
        """See `Body`."""
        ready.extend(self._events.finish())

    def explain_end(self, cause: APIError | None, *, asked_for: int) -> APIError | None:
        """See `Body`."""
        return self._events.explain_end(cause, asked_for=asked_for)

    async def abort(self) -> None:
        """See `Body`."""
        if self._sinks is not None:
            await self._sinks.abort()

    async def _take(self, found: Iterable[Found | ServerSentEvent], ready: list[ImageEvent]) -> None:
        for item in found:
            if isinstance(item, bytes) and not self._is_sinking:
                self._memory.take_nowait(item)
            elif not isinstance(item, ServerSentEvent):
                await self._take_image(item)
            elif item.is_bare:
                # It may stand between the lines of an event, whose images are not its own.
                ready.extend(self._events.read(item, [], now=time.time()))
            else:
                if self._sinks is not None and is_final(item.event, item.data):
                    self._images = [await self._sink_whole(image) for image in self._images]
                images, self._images = self._images, []
                ready.extend(self._events.read(item, images, now=time.time()))

    async def _take_image(self, item: Found) -> None:
        if isinstance(item, EventImageStart):
            # Where the type stands behind the image, it is read into memory and sunk at the event's end.
            self._is_sinking = self._sinks is not None and is_final(item.event, item.text) is True
            item = ImageStart(self._sunk_count if self._is_sinking else 0)
        if not self._is_sinking or self._sinks is None:
            self._memory.take_nowait(item)
            images = self._memory.images
        else:
            self._clock.pause()
            await self._sinks.take([item])
            self._clock.note_progress()
            images = self._sinks.images
        if isinstance(item, ImageEnd):
            self._images.append(images.pop())
            self._sunk_count += self._is_sinking

    async def _sink_whole(self, image: Image) -> Image:
        """Pass an image that was read into memory to a sink."""
        assert self._sinks is not None
        if image.content is None:
            return image
        self._clock.pause()
        await self._sinks.take([ImageStart(self._sunk_count), image.content, ImageEnd()])
        self._clock.note_progress()
        self._sunk_count += 1
        return self._sinks.images.pop()


class PlainBody:
    """A plain answer to a request for a stream: some servers ignore `stream`, and errors come so too."""

    def __init__(self, reader: AnswerReader, head: AnswerHead, *, redactor: Redactor) -> None:
        self._reader: Final = reader
        self._head: Final = head
        self._redactor: Final = redactor
        self.has_begun = False
        """See `Body`."""
        self.partial_images: Sequence[PartialImageEvent] = ()
        """See `Body`."""
        self.completed: Sequence[ImageCompletedEvent] = ()
        """See `Body`."""

    @property
    def text(self) -> bytes:
        """See `Body`."""
        return self._reader.text

    async def read(self, ready: list[ImageEvent]) -> bool:
        """See `Body`."""
        try:
            parsed = await self._reader.read()
        except APIResponseError:
            # A line with an error, before a stream that has nothing more to say.
            if (inside := codec.find_error_line(self._reader.text)) is not None:
                raise EventFailed(self._read_error(inside)) from None
            raise
        if inside := codec.find_error(parsed.tree):
            raise EventFailed(self._read_error(inside))
        self.completed = events_of_answer(codec.read_answer(parsed.tree, parsed.images, url=self._head.url))
        ready.extend(self.completed)
        self.has_begun = True
        return False

    def give_up(self, ready: list[ImageEvent]) -> None:
        """See `Body`."""

    def explain_end(self, cause: APIError | None, *, asked_for: int) -> APIError | None:
        """See `Body`."""
        return cause

    async def abort(self) -> None:
        """See `Body`."""

    def _read_error(self, tree: dict[str, object]) -> problems.Problem:
        return problems.read_error_inside(
            self._head, tree, redactor=self._redactor, now=time.time(), otherwise=StreamError
        )


class _Prefixed:
    """An answer of which the first piece was read already."""

    def __init__(self, response: TransportResponse, first: bytes) -> None:
        self._response: Final = response
        self._first = first
        self.status: int = response.status
        self.headers: Headers = response.headers

    async def read(self) -> bytes:
        first, self._first = self._first, b""
        return first or await self._response.read()

    def close(self) -> None:
        self._response.close()
