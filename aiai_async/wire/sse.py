"""Bytes to server-sent events, linear and in pieces.

The algorithm is WHATWG's; what real servers do besides is taken too: an end of the body without the last blank line,
and bare JSON lines, which no field name precedes. An event's data goes through the image scanner as it arrives, since
one line of it may have 30 MB: so an event holds its text, a few hundred bytes, and its images come piece by piece.

Lines are split by searches for one byte: a search for two is seventy times slower; and none are made where an image
goes on. It knows nothing of what events mean.

Source: WHATWG HTML, 9.2.6, "Interpreting an event stream".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from aiai_async._errors import APIResponseError
from aiai_async.wire.images import MAX_TEXT_BYTES, Found, ImageScanner, ImageStart

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D
_LF: Final = 0x0A
_KEPT_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_LONGEST_NAME: Final = max(map(len, _KEPT_FIELDS))
# Instead of the name of a field: what comes in this line is passed over, or is bare JSON.
_PASSED_OVER: Final = b":"
_BARE: Final = b"{"
# More of them between the lines of one event are no error that a server says, and each may have 1 MiB.
_MOST_BARE: Final = 16


@attrs.frozen(kw_only=True)
class ServerSentEvent:
    """One event, complete."""

    event: str = ""
    """The type by its `event:` field; empty where there was none."""
    data: bytes
    """The lines of data, joined; the strings of its images hold their numbers instead, counted from 0 in each event."""
    id: str = ""
    """The last id that the stream has named."""
    is_bare: bool = False
    """True for a line of JSON that no field name preceded."""


@attrs.frozen
class EventImageStart(ImageStart):
    """The first bytes of an image come next, and this is known of their event."""

    event: str
    """The event's type by its `event:` field, empty where none has come."""
    text: bytes
    """The event's data that has come, without its images; empty where this isn't the event's first image."""


class SSEDecoder:
    """Takes a stream in pieces cut anywhere; gives events, and before each the images in its data.

    A bare line between the lines of an event comes behind that event, so that the event still has its images.

    Example:
        >>> decoder = SSEDecoder()
        >>> [*decoder.feed(b": ping\\n\\nevent: greeting\\ndata: hel"), *decoder.feed(b"lo\\n\\n")]
        [ServerSentEvent(event='greeting', data=b'hello', id='', is_bare=False)]
    """

    __slots__ = (
        "_bare",
        "_bom",
        "_event",
        "_field",
        "_has_image",
        "_has_space",
        "_id",
        "_is_after_cr",
        "_name",
        "_scanner",
        "_value",
        "data_bytes",
        "retry",
    )

    def __init__(self) -> None:
        self._bom: bytes | None = b""
        """The stream's first bytes, as long as they may be a byte order mark."""
        self._is_after_cr = False
        """Whether the last byte was a carriage return, so that a line feed belongs to it."""
        self._name = b""
        """The line so far, as long as no colon came."""
        self._field: bytes | None = None
        """The name of the line's field, once it is known."""
        self._has_space = False
        """Whether one space at the start of the value is still to be dropped."""
        self._value = bytearray()
        """The value so far, of a field that isn't data."""
        self._scanner: ImageScanner | None = None
        """Takes the event's data; None where there was none yet."""
        self._has_image = False
        """Whether an image began in the event's data."""
        self._bare: Final[list[ServerSentEvent]] = []
        """Bare lines that wait for the end of the event."""
        self._event = ""
        self._id = ""
        self.retry: int | None = None
        """The reconnection time that the server named, in milliseconds."""
        self.data_bytes = 0
        """Bytes of data that came: comments and other fields are no sign that an image is made."""

    @property
    def event(self) -> str:
        """The type of the event that is being read, as far as its `event:` field has come."""
        return self._event

    @property
    def text(self) -> bytes:
        """The data of the event that is being read, so far, without its images."""
        return b"" if self._scanner is None else self._scanner.text

    def feed(self, chunk: bytes) -> Iterator[Found | ServerSentEvent]:
        """Take the next bytes of any length, when the result is iterated.

        Yields:
            What they brought, in order: of each event its images, then the event.

        Raises:
            APIResponseError: an image isn't base64, or a bound is passed; it comes behind what was whole before it.
        """
        return self._give(chunk, is_last=False)

    def finish(self) -> Iterator[Found | ServerSentEvent]:
        """Take note of the end of the body, when the result is iterated: an open line and an open event are complete.

        Raises:
            APIResponseError: the stream ended inside an image.
        """
        return self._give(b"", is_last=True)

    def _give(self, chunk: bytes, *, is_last: bool) -> Iterator[Found | ServerSentEvent]:
        found: list[Found | ServerSentEvent] = []
        try:
            if is_last:
                self._finish(found)
            else:
                self._feed(chunk, found)
            # It may have 256 KiB, which would stay in memory while a sink waits for its disk.
            chunk = b""
        except APIResponseError:
            # What was whole before the fault was paid for, and a bare line may say why there is one.
            yield from found
            yield from self._bare
            raise
        yield from found

    def _feed(self, chunk: bytes, found: list[Found | ServerSentEvent]) -> None:
        if self._bom is not None:
            chunk = self._strip_bom(chunk)
        at, size = 0, len(chunk)
        next_cr = next_lf = -1
        if self._field == b"data":
            assert self._scanner is not None
            pieces: list[Found] = []
            at = self._scanner.feed_image(chunk, pieces)
            self.data_bytes += at
            found.extend(pieces)
        while at < size:
            if self._is_after_cr:
                self._is_after_cr = False
                if chunk[at] == _LF:
                    at += 1
                    continue
            # Searched again only when passed: else many short lines would cost the square of their number.
            if next_lf < at:
                next_lf = _find(chunk, b"\n", at)
            if next_cr < at:
                next_cr = _find(chunk, b"\r", at)
            end = min(next_lf, next_cr)
            if end > at:
                self._take(chunk, at, end, found)
            if end < size:
                self._end_line(found)
                self._is_after_cr = chunk[end] == _CR
            at = end + 1

    def _finish(self, found: list[Found | ServerSentEvent]) -> None:
        if self._bom:
            self._take(self._bom, 0, len(self._bom), found)
        self._end_line(found)
        self._dispatch(found)

    def _strip_bom(self, chunk: bytes) -> bytes:
        assert self._bom is not None
        chunk = self._bom + chunk
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._bom = chunk
            return b""
        self._bom = None
        return chunk.removeprefix(_BOM)

    def _take(self, chunk: bytes, at: int, end: int, found: list[Found | ServerSentEvent]) -> None:
        """Take a part of a line, not empty and without its end; it is not cut out, as it may have 256 KiB."""
        if self._field is None:
            at = self._take_name(chunk, at, end, found)
        if self._field == _PASSED_OVER or at == end:
            return
        if self._has_space:
            self._has_space = False
            if chunk[at] == 0x20:
                at += 1
        if self._field == b"data":
            assert self._scanner is not None
            self.data_bytes += end - at
            self._scan(self._scanner, chunk, at, end, found)
        else:
            self._value += chunk[at:end]
            if len(self._value) > MAX_TEXT_BYTES:
                raise APIResponseError(
                    f"a line of the stream has more than {MAX_TEXT_BYTES:,} bytes", may_have_been_billed=True
                )

    def _scan(
        self, scanner: ImageScanner, chunk: bytes, at: int, end: int, found: list[Found | ServerSentEvent]
    ) -> None:
        for item in scanner.feed(chunk, at, end):
            if isinstance(item, ImageStart):
                # The text is copied once: an event of very many images would cost the square of their number.
                item = EventImageStart(item.index, self._event, b"" if self._has_image else scanner.text)
                self._has_image = True
            found.append(item)

    def _take_name(self, chunk: bytes, at: int, end: int, found: list[Found | ServerSentEvent]) -> int:
        """Take what comes before the colon, and give where that stops."""
        if not self._name and chunk.startswith(_BARE, at):
            self._field = _BARE
            return at
        colon = chunk.find(b":", at, end)
        stop = end if colon < 0 else colon
        self._name += chunk[at : min(stop, at + _LONGEST_NAME + 1)]
        if colon >= 0:
            self._begin_field(found)
            self._has_space = True
            return colon + 1
        if len(self._name) > _LONGEST_NAME:
            self._field = _PASSED_OVER
        return end

    def _begin_field(self, found: list[Found | ServerSentEvent]) -> None:
        self._field = self._name if self._name in _KEPT_FIELDS else _PASSED_OVER
        if self._field == b"data":
            if self._scanner is None:
                self._scanner = ImageScanner(top_level=True)
            else:
                self._scan(self._scanner, b"\n", 0, 1, found)

    def _end_line(self, found: list[Found | ServerSentEvent]) -> None:
        if self._field is None:
            if not self._name:
                self._dispatch(found)
                return
            self._begin_field(found)
        value = bytes(self._value)
        if self._field == _BARE:
            self._take_bare(ServerSentEvent(data=value, id=self._id, is_bare=True), found)
        elif self._field == b"event":
            self._event = value.decode(errors="replace")
        elif self._field == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif self._field == b"retry" and value.isdigit():
            self.retry = int(value[:9])
        self._name = b""
        self._field = None
        self._has_space = False
        self._value.clear()

    def _take_bare(self, line: ServerSentEvent, found: list[Found | ServerSentEvent]) -> None:
        if self._scanner is None:
            found.append(line)
            return
        self._bare.append(line)
        if len(self._bare) > _MOST_BARE:
            raise APIResponseError(
                f"an event of the stream has more than {_MOST_BARE} lines of JSON between its own",
                may_have_been_billed=True,
            )

    def _dispatch(self, found: list[Found | ServerSentEvent]) -> None:
        event, scanner = self._event, self._scanner
        self._event, self._scanner, self._has_image = "", None, False
        if scanner is not None:
            found.append(ServerSentEvent(event=event, data=scanner.finish(), id=self._id))
        found.extend(self._bare)
        self._bare.clear()


def _find(chunk: bytes, char: bytes, at: int) -> int:
    """Give where a byte stands next, or the length where it doesn't."""
    place = chunk.find(char, at)
    return len(chunk) if place < 0 else place
