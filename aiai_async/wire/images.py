"""The incremental scanner: JSON text in any pieces to (JSON without image text, decoded image bytes).

An answer is megabytes of base64 with a few hundred bytes of JSON around them. The scanner follows the JSON's structure
just far enough to know where an image stands, decodes it piece by piece as it arrives, and keeps the rest as text with
a placeholder in the image's place, for the ordinary parser. So the base64 is never held, and everything else keeps
exact JSON semantics: what isn't JSON is found out by the parser, not here.

An image is the string of `b64_json` in an object of the top-level `data` array, or in the top-level object itself where
that is asked for (events of a stream). One anywhere else is text like any other.

Plain base64 goes the fast way: the closing quote is searched as one byte (memchr) and whole groups of four characters
are decoded with a check of the alphabet. What that check refuses goes the odd way for the rest of the image: JSON
escapes, line breaks, a data URI, the URL-safe alphabet. Missing padding is restored on both.
"""

from __future__ import annotations

import binascii
import io
import json
import re
from collections.abc import Mapping
from typing import Final, NoReturn

import attrs
import pybase64

from aiai_async._errors import APIResponseError

MAX_TEXT_BYTES: Final = 1 << 20
"""Bound of the text outside images, 1 MiB: real answers have less than a thousandth of it."""
MAX_IMAGE_BYTES: Final = 128 << 20
"""Bound of one decoded image, 128 MiB: events of 30 MB are seen."""

_STRUCTURE: Final = re.compile(rb'["{}\[\],:]')
_STRING_STOP: Final = re.compile(rb'["\\]')
_OPENING: Final = 0x7B, 0x5B
_CLOSING: Final = 0x7D, 0x5D
_QUOTE: Final = 0x22
# Parsers refuse what is nested deeper, and every open level takes memory.
_DEEPEST: Final = 1024
_COMMA: Final = 0x2C

# Below that the pieces of an image are kept and joined: 2 MB images one at a time take 6 MB at their peak, not 12, for
# pieces fit into the holes that others left, and memory for a whole image mostly doesn't; eight at once take 17 MB, not
# 24, and 12 % less CPU. Above it, joining would hold the event loop for too long: for 4 ms at 6 MB.
_JOINED_BYTES: Final = 4 << 20

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
# Before that many characters it isn't told whether the text is base64 or a data URI: "data" is valid base64.
_UNDECIDED: Final = 8
_DATA_URI: Final = b"data:"
_LONGEST_URI_HEAD: Final = 256


@attrs.frozen
class ImageStart:
    """The first bytes of an image come next. Nothing is said of an image without bytes."""

    index: int
    """Its place in the `data` array; 0 where it stands in the top-level object."""


@attrs.frozen
class ImageEnd:
    """The image is whole."""


Found = ImageStart | ImageEnd | bytes
"""What the scanner finds: the start of an image, pieces of it in order, its end."""


class ImageScanner:
    """Takes a JSON text in pieces cut anywhere; gives decoded image bytes as they come, and in the end the rest.

    Args:
        top_level: whether `b64_json` in the top-level object is an image too, as in the events of a stream.
        max_text_bytes: bound of the text outside images.
        max_image_bytes: bound of one decoded image.

    Example:
        >>> scanner = ImageScanner()
        >>> scanner.feed(b'{"data": [{"b64_json": "aGVsbG8g') + scanner.feed(b'd29ybGQ="}]}')
        [ImageStart(index=0), b'hello ', b'world', ImageEnd()]
        >>> scanner.finish()
        b'{"data": [{"b64_json": "0"}]}'
    """

    __slots__ = (
        "_depth",
        "_escaped",
        "_image",
        "_image_count",
        "_in_string",
        "_is_value",
        "_key_at",
        "_levels",
        "_max_image_bytes",
        "_max_text_bytes",
        "_text",
        "_top_level",
    )

    def __init__(
        self,
        *,
        top_level: bool = False,
        max_text_bytes: int = MAX_TEXT_BYTES,
        max_image_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        self._top_level: Final = top_level
        self._max_text_bytes: Final = max_text_bytes
        self._max_image_bytes: Final = max_image_bytes
        self._text = bytearray()
        self._levels: Final[list[_Level]] = []
        self._is_value = False
        """Whether the next string of the innermost object is a value, not a key."""
        self._in_string = False
        self._escaped = False
        """Whether the next byte of the string belongs to a backslash."""
        self._key_at: int | None = None
        """Where in the text the key begins that is being read."""
        self._image: _Image | None = None
        self._image_count = 0

    def feed(self, chunk: bytes, at: int = 0, end: int | None = None) -> list[Found]:
        """Take the next bytes of any length: those of the chunk, or of a part of it, which needn't be cut out.

        Returns:
            What they brought of images, in order.

        Raises:
            APIResponseError: an image isn't base64, or a bound is passed, that of nesting too.
        """
        found: list[Found] = []
        if end is None:
            end = len(chunk)
        while at < end:
            if self._image is not None:
                at = self._scan_image(self._image, chunk, at, end, found)
            elif self._in_string:
                at = self._scan_string(chunk, at, end)
            else:
                at = self._scan_structure(chunk, at, end)
        return found

    def feed_image(self, chunk: bytes, found: list[Found]) -> int:
        """Take the beginning of the next bytes, as far as it goes on with an image and is plain base64.

        For callers that split the text at the ends of lines: there is none in what is taken, so they needn't search it.

        Args:
            chunk: bytes of any length.
            found: gets what they brought.

        Returns:
            How many bytes were taken: none outside an image, and of one that is written oddly.

        Raises:
            APIResponseError: a bound is passed.
        """
        image = self._image
        if image is None or not image.is_plain:
            return 0
        stop = chunk.find(b'"')
        is_last = stop >= 0
        end = stop if is_last else len(chunk)
        try:
            pieces = image.decode_plain(memoryview(chunk)[:end], is_last=is_last)
        except binascii.Error:
            return 0
        return self._take_pieces(image, pieces, end, found, is_last=is_last)

    @property
    def text(self) -> bytes:
        """The text around the images so far."""
        return bytes(self._text)

    def finish(self) -> bytes:
        """Give the text around the images: each image's string holds its number, counted from 0 as they started.

        The string of an image without bytes is left empty.

        Raises:
            APIResponseError: the text ended inside an image.
        """
        if self._image is not None:
            raise APIResponseError(f"the answer ends inside {self._image.name}", may_have_been_billed=True)
        return self.text

    def _scan_structure(self, chunk: bytes, at: int, end: int) -> int:
        """Read from `at` to the start of a string, or to the end; return where it stopped."""
        start = at
        levels = self._levels
        while match := _STRUCTURE.search(chunk, at, end):
            at = match.end()
            char = chunk[at - 1]
            if char == _QUOTE:
                self._keep(chunk[start:at])
                self._begin_string()
                return at
            if char in _OPENING:
                if len(levels) == _DEEPEST:
                    raise APIResponseError(
                        f"the answer is nested more than {_DEEPEST:,} levels deep", may_have_been_billed=True
                    )
                levels.append(_Level(is_object=char == _OPENING[0]))
                self._is_value = False
            elif char in _CLOSING:
                if levels:
                    levels.pop()
            elif char == _COMMA:
                self._is_value = False
                if levels:
                    levels[-1].index += 1
            else:
                self._is_value = True
        self._keep(chunk[start:end])
        return end

    def _begin_string(self) -> None:
        level = self._levels[-1] if self._levels else None
        if level is None or not level.is_object:
            self._in_string = True
        elif not self._is_value:
            self._in_string = True
            self._key_at = len(self._text)
        elif level.key == "b64_json" and (place := self._find_place()) is not None:
            self._image = place
        else:
            self._in_string = True

    def _find_place(self) -> _Image | None:
        levels = self._levels
        if len(levels) == 1 and self._top_level:
            return _Image("b64_json", 0, self._max_image_bytes)
        if len(levels) == 3 and levels[0].is_object and levels[0].key == "data" and not levels[1].is_object:
            index = levels[1].index
            return _Image(f"data[{index}].b64_json", index, self._max_image_bytes)
        return None

    def _scan_string(self, chunk: bytes, at: int, end: int) -> int:
        """Read from `at` past the string's closing quote, or to the end; return where it stopped."""
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        while match := _STRING_STOP.search(chunk, at, end):
            at = match.end()
            if chunk[at - 1] == _QUOTE:
                self._keep(chunk[start:at])
                self._end_string()
                return at
            if at == end:
                self._escaped = True
            at += 1
        self._keep(chunk[start:end])
        return end

    def _end_string(self) -> None:
        self._in_string = False
        if self._key_at is not None:
            self._levels[-1].key = _read_key(bytes(self._text[self._key_at : -1]))
            self._key_at = None

    def _scan_image(self, image: _Image, chunk: bytes, at: int, end: int, found: list[Found]) -> int:
        """Read from `at` past the image's closing quote, or to the end; return where it stopped."""
        stop = chunk.find(b'"', at, end)
        is_last = stop >= 0
        if is_last:
            end = stop
        pieces = image.decode(memoryview(chunk)[at:end], is_last=is_last)
        return self._take_pieces(image, pieces, end, found, is_last=is_last)

    def _take_pieces(self, image: _Image, pieces: list[bytes], end: int, found: list[Found], *, is_last: bool) -> int:
        """Note what an image's text up to `end` decoded to; return where it stopped, past the closing quote."""
        if pieces and not image.has_started:
            image.has_started = True
            found.append(ImageStart(image.index))
        found.extend(pieces)
        if not is_last:
            return end
        if image.has_started:
            found.append(ImageEnd())
            self._keep(b'%d"' % self._image_count)
            self._image_count += 1
        else:
            self._keep(b'"')
        self._image = None
        return end + 1

    def _keep(self, text: bytes) -> None:
        self._text += text
        if len(self._text) > self._max_text_bytes:
            raise APIResponseError(
                f"the answer holds more than {self._max_text_bytes:,} bytes of text outside its images",
                may_have_been_billed=True,
            )


class _Level:
    """One object or array that is open."""

    __slots__ = ("index", "is_object", "key")

    def __init__(self, *, is_object: bool) -> None:
        self.is_object = is_object
        self.key: str | None = None
        self.index = 0


def _read_key(raw: bytes) -> str | None:
    # Keys written with escapes are rare but legal; those that aren't legal are found out by the parser.
    if b"\\" not in raw:
        return raw.decode(errors="replace")
    try:
        return str(json.loads(b'"%b"' % raw))
    except ValueError:
        return None


class _Image:
    """Decodes the text of one image as it arrives."""

    __slots__ = ("_carry", "_is_over", "_max_bytes", "_normalizer", "_size_bytes", "has_started", "index", "name")

    def __init__(self, name: str, index: int, max_bytes: int) -> None:
        self.name: Final = name
        self.index: Final = index
        self.has_started = False
        self._max_bytes: Final = max_bytes
        self._carry = b""
        """Text that came and isn't decoded yet: up to three characters, or the undecided beginning."""
        self._normalizer: _Normalizer | None = None
        self._is_over = False
        """Whether padding came, so that nothing more may."""
        self._size_bytes = 0

    @property
    def is_plain(self) -> bool:
        """Whether what came was plain base64, and enough of it to tell."""
        return self._normalizer is None and self._size_bytes > 0

    def decode(self, text: memoryview, *, is_last: bool) -> list[bytes]:
        """Take the next characters and give what they decode to; pieces are never empty."""
        if self._normalizer is None:
            if not self._size_bytes and len(self._carry) + len(text) < _UNDECIDED and not is_last:
                self._carry += text
                return []
            try:
                return self.decode_plain(text, is_last=is_last)
            except binascii.Error:
                # The carry was not decoded either: it goes the odd way with this piece.
                text = memoryview(self._carry + text)
                self._carry = b""
                self._normalizer = _Normalizer(self.name, may_begin_uri=not self._size_bytes)
        cleaned = self._normalizer.feed(bytes(text), is_last=is_last)
        try:
            return self.decode_plain(memoryview(cleaned), is_last=is_last)
        except binascii.Error:
            _refuse(self.name, bytes(text))

    def decode_plain(self, text: memoryview, *, is_last: bool) -> list[bytes]:
        """Decode whole groups of four characters and carry the others.

        Raises:
            binascii.Error: there is anything but base64; nothing was taken.
        """
        carry = self._carry
        is_over = self._is_over
        if is_over and text:
            raise binascii.Error("text after the padding")
        if not self._size_bytes and self._normalizer is None and _begins_uri(carry, text):
            raise binascii.Error("a data URI")
        pieces: list[bytes] = []
        if carry and text:
            missing = -len(carry) % 4
            head = carry + text[:missing]
            text = text[missing:]
            if len(head) % 4 == 0:
                is_over = self._take(head, pieces)
                carry = b""
            else:
                carry = head
        whole = len(text) & ~3
        if whole:
            if is_over:
                raise binascii.Error("text after the padding")
            is_over = self._take(text[:whole], pieces)
        if rest := text[whole:]:
            if is_over:
                raise binascii.Error("text after the padding")
            carry = bytes(rest)
        if is_last and carry:
            self._take(carry + b"=" * (-len(carry) % 4), pieces)
            carry = b""
        elif carry.translate(None, _ALPHABET):
            raise binascii.Error("a character outside the alphabet")
        self._carry = carry
        self._is_over = is_over
        self._size_bytes += sum(map(len, pieces))
        if self._size_bytes > self._max_bytes:
            raise APIResponseError(
                f"{self.name} is an image of more than {self._max_bytes:,} bytes", may_have_been_billed=True
            )
        return pieces

    @staticmethod
    def _take(text: bytes | memoryview, pieces: list[bytes]) -> bool:
        """Decode a multiple of four characters; tell whether it ended in padding."""
        piece = pybase64.b64decode(text, validate=True)
        # Never empty: four characters hold a byte at least, and "====" is refused.
        pieces.append(piece)
        return len(piece) < len(text) // 4 * 3


def _begins_uri(carry: bytes, text: memoryview) -> bool:
    beginning = carry + text[: len(_DATA_URI)]
    return beginning[: len(_DATA_URI)].lower() == _DATA_URI


class _Normalizer:
    """Turns oddly written base64 into the plain alphabet, piece by piece."""

    __slots__ = ("_head", "_name", "_tail")

    _WHITE_SPACE: Final = b" \t\r\n\f\v"
    _URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
    _SHORT_ESCAPES: Final[Mapping[bytes, bytes]] = {rb"\/": b"/", rb"\n": b"", rb"\r": b"", rb"\t": b"", rb"\f": b""}
    _UNICODE_ESCAPE: Final = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
    _CUT_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")

    def __init__(self, name: str, *, may_begin_uri: bool) -> None:
        self._name: Final = name
        self._tail = b""
        """The beginning of an escape that was cut."""
        self._head: bytes | None = b"" if may_begin_uri else None
        """The beginning of the text, as long as it may be that of a data URI."""

    def feed(self, raw: bytes, *, is_last: bool) -> bytes:
        """Give the plain base64 characters of this piece; other characters stay, for the decoder to refuse."""
        raw = self._tail + raw
        self._tail = b""
        if b"\\" in raw:
            raw = self._unescape(raw)
        if is_last and self._tail:
            # The quote that seemed to close the string belongs to a backslash, or the escape is no whole one.
            _refuse(self._name, self._tail)
        text = raw.translate(self._URL_SAFE, self._WHITE_SPACE)
        return text if self._head is None else self._strip_uri_head(self._head + text, is_last=is_last)

    def _unescape(self, raw: bytes) -> bytes:
        if rb"\\" in raw:
            _refuse(self._name, raw)
        if cut := self._CUT_ESCAPE.search(raw):
            self._tail = cut[0]
            raw = raw[: cut.start()]
        for escape, char in self._SHORT_ESCAPES.items():
            raw = raw.replace(escape, char)
        return self._UNICODE_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw)

    def _strip_uri_head(self, text: bytes, *, is_last: bool) -> bytes:
        # The data URI's own "-" and "_" were translated, but only its end is looked at.
        self._head = None
        if text[: len(_DATA_URI)].lower() == _DATA_URI:
            head, comma, rest = text.partition(b",")
            if comma:
                if not head.lower().endswith(b";base64"):
                    _refuse(self._name, text)
                return rest
        elif is_last or not _DATA_URI.startswith(text.lower()):
            return text
        if is_last or len(text) > _LONGEST_URI_HEAD:
            _refuse(self._name, text)
        self._head = text
        return b""


def _refuse(name: str, text: bytes) -> NoReturn:
    excerpt = text[:24].decode("ascii", errors="replace")
    raise APIResponseError(f"{name} is not base64, near {excerpt!r}", may_have_been_billed=True)


def decode_image(text: str, *, name: str) -> bytes:
    """Decode the whole text of one image, which JSON has unescaped already; an empty text gives no bytes.

    Raises:
        APIResponseError: it isn't base64.

    Example:
        >>> decode_image("data:image/png;base64,aGVsbG8", name="data[0].b64_json")
        b'hello'
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # Outside ASCII it is a plain ValueError. Backslashes are refused, since no escape is left to be undone.
        raw = text.encode(errors="replace")
        if b"\\" in raw:
            _refuse(name, raw)
        image = _Image(name, 0, MAX_IMAGE_BYTES)
        return b"".join(image.decode(memoryview(raw), is_last=True))


class ImageBuffer:
    """Puts the pieces of one image together.

    Args:
        bound: at most that many bytes will come, where that is known: those of a large image are written in place into
            memory that the system maps as it is touched, and handed out without a copy.
    """

    __slots__ = ("_file", "_pieces")

    def __init__(self, bound: int | None = None) -> None:
        self._pieces: Final[list[bytes]] = []
        # BytesIO holds the only reference to these zeros, so it writes into them; see `finish`.
        self._file: Final = None if bound is None or bound < _JOINED_BYTES else io.BytesIO(bytes(bound))

    def write(self, piece: bytes) -> None:
        """Add a piece at the end."""
        if self._file is None:
            self._pieces.append(piece)
        else:
            self._file.write(piece)

    def finish(self) -> bytes:
        """Give the image; the buffer is not used after that."""
        if self._file is None:
            return b"".join(self._pieces)
        # After truncate, getvalue gives the very object that was written into.
        self._file.truncate()
        return self._file.getvalue()
