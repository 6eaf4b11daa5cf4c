"""The items of a large job, beside the page in `report/`, in pieces that its script loads as they are needed.

A piece is named by what it holds, so a page that is open, or was cut off, never gets one of another page. The first one
stands in the page itself, which is all there is of a small job.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Final

import attrs

from aiai_async.bulk.outputs import replacing
from aiai_async.bulk.sink import PART

PIECES: Final = "report"
# Characters of a piece, so that the page opens at once and no file is larger than a megabyte or so.
_INDEX_LENGTH: Final = 100_000
_DETAILS_LENGTH: Final = 200_000


@attrs.frozen
class Piece:
    """A part of the items: how many, and the names of its two files, relative to the page."""

    count: int
    index: str
    details: str


class Pieces:
    """Takes items as text and writes them, as they come.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder / PIECES
        self._index: list[str] = []
        self._details: list[str] = []
        self._lengths = [0, 0]
        self._number = 0
        self.index = "[]"
        """JSON of the first piece,"""
        self.details = "[]"
        """and what is looked up of it."""
        self.written: list[Piece] = []
        """The others."""

    def add(self, index: str, details: str) -> None:
        """Take an item: JSON of what the sheet needs, and of the rest.

        Raises:
            OSError: a piece can't be written.
        """
        self._index.append(index)
        self._details.append(details)
        self._lengths[0] += len(index)
        self._lengths[1] += len(details)
        if self._lengths[0] >= _INDEX_LENGTH or self._lengths[1] >= _DETAILS_LENGTH:
            self.finish()

    def finish(self) -> None:
        """End a piece, the last one too.

        Raises:
            OSError: it can't be written.
        """
        if not self._index:
            return
        index, details = (f"[{','.join(entries)}]" for entries in (self._index, self._details))
        if self._number == 0:
            self.index, self.details = index, details
        else:
            files = (self._write("index", index), self._write("items", details))
            self.written.append(Piece(len(self._index), *files))
        self._number += 1
        self._index, self._details, self._lengths = [], [], [0, 0]

    def _write(self, kind: str, text: str) -> str:
        """Write a script that hands a text to the page, unless it is there."""
        content = f"aiaiReport({json.dumps(kind)},{self._number},{json.dumps(text)});\n"
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        path = self._folder / f"{kind}-{self._number:04d}-{digest}.js"
        if not _holds(path, content):
            self._folder.mkdir(exist_ok=True)
            # Hundreds of syncs take seconds. What a loss of power damages is seen, and made again, the next time.
            with replacing(path, is_synced=False) as file:
                file.write(content)
        return f"{PIECES}/{path.name}"

    def tidy(self) -> None:
        """Remove what this page doesn't need."""
        kept = {Path(name).name for piece in self.written for name in (piece.index, piece.details)}
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                is_ours = entry.name.startswith(("index-", "items-")) and entry.name.endswith((".js", PART))
                if is_ours and entry.name not in kept:
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)
        if not kept:
            with contextlib.suppress(OSError):
                self._folder.rmdir()


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_bytes() == content.encode()
    except FileNotFoundError:
        return False
