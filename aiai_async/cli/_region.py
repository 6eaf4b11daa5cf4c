"""What is drawn again and again on a terminal, row by row: a row that looks as it did is left alone.

Rich's `Live` draws all of its lines at each refresh, which for pictures is megabytes a second, and flickers. One thread
writes. A region is the last rows of the terminal, below what stays, or the whole of the alternate screen: only there
terminals don't break long rows into several, and push them out of reach, when they become narrower.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import attrs
from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.text import Text


@attrs.frozen
class Row:
    """A row of a region, narrower than the terminal."""

    looks: Hashable
    """What looks the same has the same."""
    segments: Sequence[Segment]
    pictures: Hashable = None
    """What is drawn from here over the rows above; None: nothing."""
    with_pictures: Sequence[Segment] = ()
    """The row with what draws them, for when they are new."""

    @property
    def whole(self) -> Sequence[Segment]:
        """The row for where nothing of it is there yet."""
        return self.segments if self.pictures is None else self.with_pictures


class Region:
    """Rows of a terminal.

    Args:
        console: where they are written.
        fills_screen: whether it is the whole of the alternate screen.
    """

    def __init__(self, console: Console, *, fills_screen: bool) -> None:
        self._console: Final = console
        self._fills_screen: Final = fills_screen
        self._is_open = False
        self._rows: list[Row] = []
        self._size = (0, 0)

    def open(self) -> None:
        """Begin to draw; the cursor is hidden."""
        self._is_open = True
        self._console.show_cursor(False)
        if self._fills_screen:
            self._console.set_alt_screen(True)

    def close(self) -> None:
        """Take the region away; the cursor is where it was before, and is shown. Twice is once."""
        if not self._is_open:
            return
        if self._fills_screen:
            self._console.set_alt_screen(False)
        else:
            self._erase(self._console.width)
        self._is_open, self._rows = False, []
        self._console.show_cursor(True)

    def show(self, rows: Sequence[Row], size: ConsoleDimensions) -> None:
        """Write what is different from what is there.

        Args:
            rows: what is to be there.
            size: of the terminal, as it was when they were put together; it may have changed since.
        """
        # One write, whatever it is made of.
        with self._console:
            if size != self._size or len(rows) < len(self._rows):
                self._erase(size.width)
            self._update(rows)
        self._rows, self._size = list(rows), size

    def write_above(self, items: Sequence[Text | Sequence[Row]]) -> None:
        """Write lines and rows that stay, where the region was; it is drawn below them by the next `show`."""
        if not items:
            return
        with self._console:
            self._erase(self._console.width)
            for item in items:
                if isinstance(item, Text):
                    # Not wrapped by rich: a path that is marked with the mouse must come out whole.
                    self._console.print(item, soft_wrap=True)
                else:
                    self._write([part for row in item for part in (*row.whole, Segment.line())])

    def _update(self, rows: Sequence[Row]) -> None:
        """Write the rows that differ from those that are there, and the further ones below them."""
        at = last = len(self._rows) - 1
        for index, (old, new) in enumerate(zip(self._rows, rows, strict=False)):
            if old.pictures != new.pictures:
                self._write([_move(index - at, erase=True), *new.whole])
            elif old.looks != new.looks:
                self._write([_move(index - at, erase=True), *new.segments])
            else:
                continue
            at = index
        if at != last:
            self._write([_move(last - at, erase=False)])
        for index, row in enumerate(rows[len(self._rows) :], len(self._rows)):
            self._write([*([Segment.line()] if index else []), *row.whole])

    def _erase(self, width: int) -> None:
        if not self._is_open:
            return
        if self._fills_screen:
            self._write([Control(ControlType.CLEAR, ControlType.HOME).segment])
        elif self._rows:
            # Where the terminal became narrower, its rows were broken into several.
            lines = sum(max(1, -(-Segment.get_line_length([*row.segments]) // width)) for row in self._rows)
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * (lines - 1)
            self._write([Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up).segment])
        self._rows = []

    def _write(self, segments: Sequence[Segment]) -> None:
        self._console.print(Segments(segments), crop=False, end="")


def _move(rows: int, *, erase: bool) -> Segment:
    """Go down, or up, to the beginning of a row."""
    # For most terminals 0 means 1.
    steps = [(ControlType.CURSOR_UP, -rows) if rows < 0 else (ControlType.CURSOR_DOWN, rows)] if rows else []
    return Control(ControlType.CARRIAGE_RETURN, *steps, *([(ControlType.ERASE_IN_LINE, 2)] if erase else [])).segment
