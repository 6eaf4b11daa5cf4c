"""The thread that draws pictures and lines on a terminal. Who has something to show leaves it here, and never waits.

It alone writes to the terminal and knows what is on it. At most ten times a second it takes what came, decodes and
scales the newest image of each prompt, and writes what is different: so a burst of images costs one drawing.

Pictures of what is under way fill the alternate screen; lines and final pictures are written where the command was
given once all is over. Where no picture changes, there are lines below those that stay, and nothing is put off.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from aiai_async.cli._composing import Composer
from aiai_async.cli._gallery import Gallery, Layout, Tile, arrange, split
from aiai_async.cli._live import FRAMES_PER_SECOND, Rows
from aiai_async.cli._outcomes import explain
from aiai_async.cli._pictures import LEAST_COLUMNS, LEAST_LINES, Painter, PaintingError, Picture
from aiai_async.cli._region import Region, Row

_SECONDS_PER_FRAME: Final = 1 / FRAMES_PER_SECOND


class Screen:
    """Draws, from `start` to `stop`.

    Args:
        console: writes to the terminal; nobody else does meanwhile.
        painter: draws the pictures; None: there are lines alone.
        rows: what is under way, in lines.
        mark: stands before what is finished.
        fills_screen: whether pictures change while prompts are under way.
    """

    def __init__(self, console: Console, painter: Painter | None, rows: Rows, *, mark: str, fills_screen: bool) -> None:
        self._console: Final = console
        self._painter = painter
        self._rows: Final = rows
        self._composer: Final = Composer(console, rows, mark=mark)
        self._fills_screen: Final = fills_screen and painter is not None
        self._region: Final = Region(console, fills_screen=self._fills_screen)
        self.gallery: Final = Gallery()
        """Changed by what is left here, in the thread that draws."""
        self._expected = 1
        self._size: ConsoleDimensions | None = None
        self._left: Final[deque[Callable[[], None]]] = deque()
        self._said: Final[list[Text | Sequence[Tile]]] = []
        """Lines and pictures that stay, and are not written yet."""
        self._farewell: Text | None = None
        self._gone: Final[list[Picture]] = []
        """Pictures that are replaced; the terminal still has them."""
        self._wake: Final = threading.Event()
        self._is_ending: Final = threading.Event()
        self._is_interrupted = False
        self._failure: Exception | None = None
        self._thread: Final = threading.Thread(target=self._run, name="aiai-async screen", daemon=True)

    @property
    def has_pictures(self) -> bool:
        """Whether they can be drawn."""
        return self._painter is not None

    def start(self) -> None:
        """Begin to draw."""
        self._region.open()
        self._thread.start()

    def stop(self, *, is_interrupted: bool) -> Exception | None:
        """Take away what is under way, write what is to stay, and end; give what had kept it from drawing, if anything.

        Args:
            is_interrupted: no picture is drawn any more; lines are still written.
        """
        self._is_interrupted = is_interrupted
        self._is_ending.set()
        self._wake.set()
        try:
            self._thread.join()
        except BaseException:
            # The second Ctrl-C.
            self.give_back()
            raise
        if self._failure is not None:
            self._take_what_came()
            for line in (*self._said, self._farewell):
                if isinstance(line, Text):
                    self._console.print(line, soft_wrap=True)
        return self._failure

    def give_back(self) -> None:
        """Leave the terminal as it was, at once, whatever is drawn."""
        self._region.close()

    def leave(self, change: Callable[[], None]) -> None:
        """Leave something to be done before the next drawing, in the thread that draws; from any thread."""
        self._left.append(change)
        self._wake.set()

    def print(self, line: Text) -> None:
        """Write a line that stays; from any thread."""
        self.leave(lambda: self.add_line(line))

    def expect(self, pictures: int) -> None:
        """Say how many pictures there will be side by side, at most; from any thread, before the first."""
        self._expected = pictures
        self.leave(lambda: self._settle(self._measure()))

    def bid_farewell(self, line: Text) -> None:
        """Say the last line, which is written below all pictures."""
        self._farewell = line

    def add_line(self, line: Text) -> None:
        """Write a line that stays; from what was left here."""
        self._said.append(line)

    def add_pictures(self, sources: Sequence[Path]) -> None:
        """Write pictures that stay, side by side, below the lines before; from what was left here."""
        self._said.append([Tile(index=0, prompt="", started_at=0.0, source=source) for source in sources])

    def _run(self) -> None:
        try:
            while not self._is_ending.is_set():
                if not self._rows.has_any():
                    self._wake.wait()
                self._wake.clear()
                self._take_what_came()
                self._draw()
                # Whatever comes meanwhile is drawn together.
                self._is_ending.wait(_SECONDS_PER_FRAME)
            self._take_what_came()
            for tile in self.gallery.grid:
                self._drop_picture(tile)
            self._discard()
            self._region.close()
            self._said.append(self.gallery.finals())
            self._write_what_stays()
        except Exception as error:
            # Whatever the terminal does: the work that it shows is paid for, and goes on. `stop` gives the error.
            self._failure = error
            with contextlib.suppress(OSError):
                # Nobody is to look at what doesn't change any more.
                self.give_back()

    def _take_what_came(self) -> None:
        while self._left:
            self._left.popleft()()

    def _draw(self) -> None:
        size = self._measure()
        self._settle(size)
        layout = self.gallery.layout
        for tile in self.gallery.grid:
            self._paint(tile, layout)
        if not self._fills_screen:
            self._write_what_stays()
        self._region.show(self._compose(size), size)
        # Only now: before, they were still to be seen.
        self._discard()

    def _measure(self) -> ConsoleDimensions:
        """Give the terminal's size by now. COLUMNS and LINES, which the console goes by, don't change with it."""
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
            if columns and lines:
                self._console.size = ConsoleDimensions(columns, lines)
        return self._console.size

    def _settle(self, size: ConsoleDimensions) -> None:
        """Give each prompt its place, and all another where the terminal has another size."""
        if self._size != size:
            self._size = size
            for tile in self.gallery.grid:
                self._drop_picture(tile)
        for tile in self.gallery.settle(arrange(size.width, size.height, pictures=self._expected)):
            self._drop_picture(tile)

    def _drop_picture(self, tile: Tile) -> None:
        if tile.picture is not None:
            self._gone.append(tile.picture)
        tile.picture = tile.painted = None

    def _discard(self) -> None:
        while self._gone:
            self._gone.pop().discard()

    def _paint(self, tile: Tile, layout: Layout) -> None:
        """Draw a tile's source where it is newer than its picture."""
        if self._painter is None or tile.source is None or tile.source is tile.painted:
            return
        before = tile.picture
        tile.painted, tile.complaint = tile.source, None
        try:
            tile.picture = self._painter.paint(tile.source, self._console, columns=layout.width, rows=layout.height)
        except PaintingError as error:
            tile.complaint = str(error)
        except Exception as error:
            # A library that fails at this terminal would fail again; the lines go on.
            self._painter = None
            self._said.append(Text(f"pictures can't be shown any more: {explain(error)}"))
        if before is not None and before is not tile.picture:
            self._gone.append(before)

    def _compose(self, size: ConsoleDimensions) -> list[Row]:
        """Put together what is under way: pictures, lines, and on a screen of their own what was said last."""
        now, (width, height) = time.monotonic(), size
        composer = self._composer
        rows: list[Row] = []
        # Too small by now: the pictures come back when it is larger again.
        if width >= LEAST_COLUMNS and height >= LEAST_LINES:
            for tiles in self.gallery.rows():
                rows += composer.compose_tiles(tiles, now, width=self.gallery.layout.width)
        shown = {tile.index for tile in self.gallery.grid} if rows else frozenset[int]()
        # The other half of a screen without pictures is for what is finished; two more lines may follow.
        room = max(1, min(height // 2, height - len(rows) - 3))
        lines = self._rows.make_lines(now, width=width - 1, room=room, shown=shown)
        if self._fills_screen:
            free = max(0, height - len(rows) - len(lines))
            lines += [line for line in self._said if isinstance(line, Text)][-free:] if free else []
        return rows + composer.compose_lines(lines, width=width - 1)

    def _write_what_stays(self) -> None:
        width, height = self._measure()
        written: list[Text | Sequence[Row]] = []
        for item in self._said:
            if isinstance(item, Text):
                written.append(item)
            elif not self._is_interrupted:
                layout = arrange(width, height, pictures=len(item))
                for tiles in split(item, layout.columns):
                    for tile in tiles:
                        self._paint(tile, layout)
                    written.append(self._composer.compose_tiles(tiles, 0.0, width=layout.width))
        if self._is_ending.is_set() and self._farewell is not None:
            written.append(self._farewell)
        self._said.clear()
        self._region.write_above(written)


class Through(io.TextIOBase):
    """What others write to standard error while something is drawn: it becomes lines that stay.

    Args:
        screen: where it is written.
        stream: whose place this takes.
    """

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen: Final = screen
        self._stream: Final = stream
        self._rest = ""
        self._is_over = False

    def write(self, text: str) -> int:
        """Take text; a line is shown when it is whole."""
        if self._is_over:
            return self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._screen.print(Text.from_ansi(line))
        return len(text)

    def end(self) -> None:
        """Show what is not a whole line; from now on all goes to the stream."""
        if self._rest:
            self.write("\n")
        # A log's handler may hold this for longer.
        self._is_over = True

    def isatty(self) -> bool:
        """Tell what the terminal would."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Give the terminal's."""
        return self._stream.fileno()
