"""Reads the body of an answer as it arrives: small ones whole, others through the scanner.

Knows nothing of attempts; what it has to say about time goes to a `ReadingClock`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from aiai_async._exchange import TransportResponse
from aiai_async._frozen import frozen
from aiai_async._schemas import Image
from aiai_async._sinks import MemoryReceiver, SinkFactory, SinkReceiver
from aiai_async.wire import codec
from aiai_async.wire.images import MAX_IMAGE_BYTES, ImageEnd, ImageScanner, ImageStart
from aiai_async.wire.problems import MAX_ERROR_BYTES

# Below that the answer is read whole: one parse of it costs less than the page faults of decoding it in pieces.
_SMALL_BYTES: Final = 512_000
_SMALL_BYTES_AT_ONCE: Final = 1 << 16
# What tells, while a small answer comes, that an image does.
_IMAGE: Final = b'"b64_json"'


class ReadingClock(Protocol):
    """Is told what happens, so that the right deadline runs."""

    def note_progress(self) -> None:
        """A piece of an image came."""
        ...

    def pause(self) -> None:
        """The caller's own code is at work until the next progress."""
        ...

    def stop(self) -> None:
        """Reading is over, and clean-up follows, which has a bound of its own."""
        ...


@frozen(eq=False)
class ParsedAnswer:
    """An answer's JSON, with the number of an image in the place of its text, and those images."""

    tree: dict[str, object]
    images: list[Image]


class AnswerReader:
    """Reads the body of one answer, once, by `read`.

    Args:
        response: the answer, its head read.
        max_bytes: bound of the whole body, after decompression.
        sink: where images go; None: into memory.
        expects_one: whether one image was asked for.
        clock: is told of progress.
    """

    __slots__ = ("_clock", "_expects_one", "_length", "_max_bytes", "_response", "_sink", "text")

    def __init__(
        self,
        response: TransportResponse,
        *,
        max_bytes: int,
        sink: SinkFactory | None,
        expects_one: bool,
        clock: ReadingClock,
    ) -> None:
        self._response: Final = response
        self._max_bytes: Final = max_bytes
        self._sink: Final = sink
        self._expects_one: Final = expects_one
        self._clock: Final = clock
        self._length: Final = _read_length(response.headers.by_lower_name)
        self.text = b""
        """What is known of the body's text, for errors: without images where the scanner read it."""

    async def read(self) -> ParsedAnswer:
        """Read the body and parse it.

        Raises:
            APIResponseError: it is no answer, or passes a bound.
            APIConnectionError: the connection broke before the end.
            Exception: whatever the sink raises.
        """
        if self._length is not None and self._length > self._max_bytes:
            raise codec.refuse_length(self._max_bytes)
        if self._sink is None and self._length is not None and self._length < _SMALL_BYTES:
            self.text = await self._read_whole(self._length)
            return self._parse_whole()
        return await self._read_in_pieces()

    async def _read_whole(self, length: int) -> bytes:
        """Read a small body to its end."""
        pieces: list[bytes] = []
        size_bytes, has_image = 0, False
        piece = await self._response.read()
        # Its end is read in any case: that is what gives the connection back.
        while piece:
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > self._max_bytes:
                raise codec.refuse_length(self._max_bytes)
            if size_bytes < length and not has_image:
                # The text is short until an image begins.
                self.text = b"".join(pieces)
                await self._check_beginning(self.text)
                has_image = _IMAGE in self.text
            if has_image:
                self._clock.note_progress()
            piece = await self._response.read()
        return b"".join(pieces)

    def _parse_whole(self) -> ParsedAnswer:
        if not codec.may_be_answer(self.text):
            raise codec.refuse_text(self.text)
        tree = codec.parse_answer(self.text)
        return ParsedAnswer(tree, codec.take_images(tree))

    async def _read_in_pieces(self) -> ParsedAnswer:
        # No caller may hold on to a piece: it has up to 256 KiB, for as long as the answer is read.
        piece = await self._response.read()
        if self._sink is not None and len(piece) == self._length and len(piece) < _SMALL_BYTES_AT_ONCE:
            return await self._pass_on(piece, self._sink)
        scanner = ImageScanner()
        receiver = self._make_receiver()
        size_bytes = 0
        has_begun = False
        try:
            while piece:
                size_bytes += len(piece)
                if size_bytes > self._max_bytes:
                    raise codec.refuse_length(self._max_bytes)
                found = scanner.feed(piece)
                # Nor is it kept while a sink waits for its disk, or the server is waited for.
                piece = b""
                if found:
                    if self._sink is not None:
                        self._clock.pause()
                    await receiver.take(found)
                    self._clock.note_progress()
                if not has_begun:
                    has_begun = await self._check_beginning(scanner.text)
                piece = await self._response.read()
            self.text = scanner.finish()
        except BaseException:
            self.text = scanner.text
            self._clock.stop()
            await receiver.abort()
            raise
        if not has_begun:
            raise codec.refuse_text(self.text)
        return ParsedAnswer(codec.parse_answer(self.text), receiver.images)

    async def _pass_on(self, text: bytes, sink: SinkFactory) -> ParsedAnswer:
        """Give a small answer that came in one piece to sinks: to parse it takes a third of the scanner's steps."""
        self.text = text
        while await self._response.read():
            # Its end is read in any case.
            pass
        parsed = self._parse_whole()
        receiver = SinkReceiver(sink)
        self._clock.pause()
        try:
            for place, image in zip(codec.find_places(parsed.tree), parsed.images, strict=True):
                assert image.content is not None
                await receiver.take((ImageStart(place), image.content, ImageEnd()))
        except BaseException:
            self._clock.stop()
            await receiver.abort()
            raise
        self._clock.note_progress()
        return ParsedAnswer(parsed.tree, receiver.images)

    async def _check_beginning(self, text: bytes) -> bool:
        """Tell whether the body begins like an answer; False where nothing but white space has come.

        Raises:
            APIResponseError: it begins otherwise.
        """
        if codec.may_be_answer(text):
            return True
        if not text.strip():
            return False
        while len(text) < MAX_ERROR_BYTES and (piece := await self._response.read()):
            text += piece
        raise codec.refuse_text(text)

    def _make_receiver(self) -> MemoryReceiver | SinkReceiver:
        if self._sink is not None:
            return SinkReceiver(self._sink)
        if self._expects_one and self._length is not None:
            return MemoryReceiver(min(self._length * 3 // 4, MAX_IMAGE_BYTES))
        return MemoryReceiver()


def _read_length(headers: Mapping[str, str]) -> int | None:
    """Give the body's length where it is known: of a compressed one it isn't."""
    length, encoding = headers.get("content-length"), headers.get("content-encoding")
    if length is None or (encoding is not None and encoding.lower() != "identity") or not length.isascii():
        return None
    return int(length) if length.isdigit() else None
