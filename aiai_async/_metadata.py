"""Writes what an image was made from into its file, without touching a pixel: as text in PNG, EXIF in JPEG and WebP.

A file is changed by a few splices, which are found from its beginning alone, so that one of any size can be copied in
constant memory. What can't be spliced safely is left as it is: other formats, broken files, files with EXIF of their
own. Signatures over the whole file, such as those of C2PA, no longer hold then.

PNG holds `prompt` (the text) and `parameters` (the request as JSON); JPEG and WebP hold the text as EXIF
ImageDescription and the request as UserComment. It knows nothing of jobs and clients.

Sources: PNG, 3rd edition, 11.3.3.4; Exif 2.32, 4.6; JPEG, ITU-T T.81, B.1; WebP container, RFC 9649, 2.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

HEAD_BYTES: Final = 1 << 17
"""So much of a file's beginning has to be known: a JPEG may have a segment of 64 KiB before those that matter."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# The signature and the header chunk, behind which any text chunk may come.
_AFTER_IHDR: Final = len(_PNG) + 25
# Two bytes of a segment's length count themselves.
_LONGEST_SEGMENT: Final = 65_533
# Four bytes hold the length of a RIFF file, which is even.
_LONGEST_RIFF: Final = 0xFFFF_FFFE
_EXIF: Final = b"Exif\0\0"
_ASCII: Final = b"ASCII\0\0\0"
_HAS_EXIF: Final = 0x08
_HAS_ALPHA: Final = 0x10


@attrs.frozen
class Splice:
    """One change of a file: `data` in the place of the `replaced` bytes at `at`."""

    at: int
    replaced: int
    data: bytes


def plan(head: bytes, size_bytes: int, request: Mapping[str, object], *, software: str) -> list[Splice] | None:
    """Find the splices that write a request into an image file; None where it can't hold it, and stays as it is.

    Args:
        head: the file's first `HEAD_BYTES`, or all of it.
        size_bytes: the file's length.
        request: the request's fields, the prompt among them; JSON.
        software: what made the file.
    """
    if head.startswith(_PNG) and head[12:16] == b"IHDR" and size_bytes > _AFTER_IHDR:
        return [Splice(_AFTER_IHDR, 0, _make_png_text(request, software))]
    if head.startswith(b"\xff\xd8\xff"):
        return _plan_jpeg(head, request, software)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _plan_webp(head, size_bytes, request, software)
    return None


def plan_safely(head: bytes, size_bytes: int, request: Mapping[str, object], *, software: str) -> list[Splice] | None:
    """Find the splices as `plan` does; whatever goes wrong, the file can't hold the request, and stays as it is."""
    try:
        return plan(head, size_bytes, request, software=software)
    except Exception:
        # Whatever it is: the bytes come from a server, the image is paid for, and no text in it is worth losing it.
        return None


def apply(content: bytes, splices: Sequence[Splice]) -> bytes:
    """Give the bytes of a file after its splices, which come in order."""
    pieces: list[bytes] = []
    at = 0
    for splice in splices:
        pieces += [content[at : splice.at], splice.data]
        at = splice.at + splice.replaced
    return b"".join([*pieces, content[at:]])


def embed(content: bytes, request: Mapping[str, object], *, software: str) -> bytes:
    """Give an image file that holds the request it was made from; one that can't hold it comes back as it is."""
    splices = plan_safely(content[:HEAD_BYTES], len(content), request, software=software)
    return content if splices is None else apply(content, splices)


def _prompt_of(request: Mapping[str, object]) -> str:
    # A zero byte would end the text.
    return str(request.get("prompt", "")).replace("\0", "")


# -- PNG


def _make_png_text(request: Mapping[str, object], software: str) -> bytes:
    texts = {"prompt": _prompt_of(request), "parameters": json.dumps(request), "Software": software}
    return b"".join(
        _make_chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode(errors="replace"))
        for keyword, text in texts.items()
    )


def _make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# -- EXIF


def _make_exif(request: Mapping[str, object], software: str) -> bytes:
    """Make a TIFF structure, little-endian, with two directories."""
    comment = _ASCII + json.dumps(request).encode()
    inner = [(0x9000, 7, b"0232"), (0x9286, 7, comment)]
    prompt = _prompt_of(request).encode(errors="replace")
    outer = [(0x010E, 2, prompt + b"\0"), (0x0131, 2, software.encode() + b"\0")]
    header = struct.pack("<2sHI", b"II", 42, 8)
    # The pointer to the inner directory is an entry of the outer one; where that ends is known before it is written.
    end = 8 + len(_make_directory([*outer, (0x8769, 4, bytes(4))], 8))
    pointer = (0x8769, 4, struct.pack("<I", end))
    return header + _make_directory([*outer, pointer], 8) + _make_directory(inner, end)


def _make_directory(entries: Sequence[tuple[int, int, bytes]], start: int) -> bytes:
    """Make a directory of entries with tag, type and value, sorted by tag; longer values follow it."""
    at = start + 2 + 12 * len(entries) + 4
    table, values = struct.pack("<H", len(entries)), b""
    for tag, kind, value in entries:
        count = len(value) // 4 if kind == 4 else len(value)
        if len(value) <= 4:
            place = value.ljust(4, b"\0")
        else:
            place = struct.pack("<I", at + len(values))
            values += value + b"\0" * (len(value) % 2)
        table += struct.pack("<HHI", tag, kind, count) + place
    return table + bytes(4) + values


# -- JPEG


def _plan_jpeg(head: bytes, request: Mapping[str, object], software: str) -> list[Splice] | None:
    at, place = 2, 2
    while True:
        if len(head) < at + 4 or head[at] != 0xFF:
            return None
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        if not 0xE0 <= marker <= 0xEF:
            break
        if marker == 0xE1 and head[at + 4 : at + 10] == _EXIF:
            return None
        at += 2 + length
        if marker == 0xE0:
            # JFIF wants to be the first.
            place = at
    exif = _EXIF + _make_exif(request, software)
    while len(exif) > _LONGEST_SEGMENT:
        prompt = _prompt_of(request)
        if not prompt:
            return None
        # A segment ends at 64 KiB. It is said that the prompt was cut.
        kept = min(len(prompt) - 1, len(prompt) * _LONGEST_SEGMENT // len(exif))
        request = {**request, "prompt": prompt[:kept], "prompt_is_cut": True}
        exif = _EXIF + _make_exif(request, software)
    return [Splice(place, 0, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)]


# -- WebP


def _plan_webp(head: bytes, size_bytes: int, request: Mapping[str, object], software: str) -> list[Splice] | None:
    riff_bytes = int.from_bytes(head[4:8], "little")
    end = 8 + riff_bytes
    if len(head) < 30 or riff_bytes % 2 or end > size_bytes:
        return None
    exif = _make_exif(request, software)
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    kind = head[12:16]
    if kind == b"VP8X":
        if head[20] & _HAS_EXIF:
            return None
        splices = [Splice(20, 1, bytes([head[20] | _HAS_EXIF]))]
    else:
        header = _make_vp8x(kind, head[20:])
        if header is None:
            return None
        splices = [Splice(12, 0, header)]
    grown = riff_bytes + len(chunk) + sum(len(splice.data) - splice.replaced for splice in splices)
    if grown > _LONGEST_RIFF:
        return None
    return [Splice(4, 4, struct.pack("<I", grown)), *splices, Splice(end, 0, chunk)]


def _make_vp8x(kind: bytes, data: bytes) -> bytes | None:
    """Make the header that a simple file lacks and one with metadata needs: flags and the size of the picture."""
    flags = _HAS_EXIF
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    elif kind == b"VP8L" and data[:1] == b"\x2f":
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _HAS_ALPHA if bits >> 28 & 1 else 0
    else:
        return None
    if width == 0 or height == 0:
        return None
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<II", 10, flags) + sides
