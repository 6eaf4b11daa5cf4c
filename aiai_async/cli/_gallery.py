"""Which pictures are shown at once, and how large. Pure: it draws nothing and reads no clock.

Prompts take the places of a grid as they start, and keep them when they are finished, so that all stand side by side,
until others need the places. Who finds none has lines meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from aiai_async.cli._words import one_line

if TYPE_CHECKING:
    from aiai_async.cli._pictures import Picture

GAP: Final = 2
"""Columns between two pictures."""
# Below this a picture shows little; twice as many columns as lines are a square.
_LEAST_WIDTH: Final = 24
_MOST_ROWS: Final = 30
# A caption, a line for those without a place, one for what is waited for, and what was said last.
_OTHER_LINES: Final = 5
# Final pictures that are shown once more when all is over; of more, only the files are left.
_MOST_KEPT: Final = 24


@attrs.frozen
class Layout:
    """The places for pictures."""

    columns: int
    """Places side by side."""
    rows: int
    """Rows of places, one below the other."""
    width: int
    """Of a place, in cells."""
    height: int
    """Of a picture, in cells; its caption is below it."""

    @property
    def places(self) -> int:
        """How many there are."""
        return self.columns * self.rows


def arrange(width: int, height: int, *, pictures: int) -> Layout:
    """Choose places for so many pictures on a terminal of this size.

    Example:
        >>> arrange(80, 24, pictures=1)
        Layout(columns=1, rows=1, width=57, height=19)
        >>> arrange(80, 24, pictures=3)
        Layout(columns=3, rows=1, width=25, height=12)
    """
    # A line that fills the whole width wraps on some terminals.
    width, lines = width - 1, max(1, height - _OTHER_LINES)
    columns = min(max(1, (width + GAP) // (_LEAST_WIDTH + GAP)), max(1, pictures))
    place = (width + GAP) // columns - GAP
    rows = min(_MOST_ROWS, lines, max(1, place // 2) if columns > 1 else lines)
    # Wide enough for 3:2; wider only parts them.
    place = min(place, 3 * rows)
    fitting = (lines + 1) // (rows + 1)
    return Layout(columns, max(1, min(fitting, -(-pictures // columns))), place, rows)


@attrs.define(eq=False)
class Tile:
    """A prompt's picture, as it is by now."""

    index: int
    """The prompt's place among the prompts."""
    prompt: str = attrs.field(converter=one_line)
    started_at: float
    elapsed: float | None = None
    """Seconds until it was finished; None: it is under way."""
    source: bytes | Path | None = None
    """The newest image: the file's bytes, or where it is; None: none came yet."""
    is_final: bool = False
    """Whether that is a final one."""
    painted: bytes | Path | None = None
    """The source that was drawn last, or tried to be."""
    picture: Picture | None = None
    """What came of it; the one before, where that failed."""
    complaint: str | None = None
    """Why it can't be shown."""
    had_place: bool = False
    """Whether it was ever shown."""


class Gallery:
    """The tiles of a command's prompts."""

    def __init__(self) -> None:
        self.layout = Layout(1, 1, 1, 1)
        self.grid: Final[list[Tile]] = []
        """The tiles with a place, in order."""
        self._placeless: Final[dict[int, Tile]] = {}
        """Those under way without one, by index."""
        self._finals: Final[deque[Tile]] = deque(maxlen=_MOST_KEPT)

    def start(self, index: int, prompt: str, *, now: float) -> None:
        """A prompt is under way."""
        self._placeless[index] = Tile(index=index, prompt=prompt, started_at=now)
        self._fill()

    def has_place(self, index: int) -> bool:
        """Tell whether what comes of a prompt that is under way is shown."""
        return any(tile.index == index for tile in self.grid)

    def show(self, index: int, source: bytes | Path, *, is_final: bool, elapsed: float) -> None:
        """A prompt has a new image."""
        tile = next((tile for tile in self.grid if tile.index == index), self._placeless.get(index))
        if tile is None:
            return
        if is_final:
            kept = Tile(index=index, prompt=tile.prompt, started_at=tile.started_at, elapsed=elapsed)
            kept.source, kept.is_final = source, True
            self._finals.append(kept)
        tile.source, tile.is_final = source, is_final

    def finish(self, index: int, *, elapsed: float) -> None:
        """A prompt is finished. It stays where there is a final image to look at."""
        self._placeless.pop(index, None)
        for tile in self.grid:
            if tile.index == index:
                tile.elapsed = elapsed

    def settle(self, layout: Layout) -> list[Tile]:
        """Use these places, and give them to who needs them; the tiles that lost theirs are given."""
        self.layout = layout
        lost = [tile for tile in self.grid if tile.elapsed is not None and not tile.is_final]
        under_way = sum(tile.elapsed is None for tile in self.grid) + len(self._placeless)
        spare = min(layout.places - under_way, layout.places)
        done = [tile for tile in self.grid if tile.elapsed is not None and tile.is_final]
        # The oldest finished ones first, then the youngest under way.
        lost += done[: max(0, len(done) - max(0, spare))]
        lost += [tile for tile in self.grid if tile.elapsed is None][layout.places :]
        for tile in lost:
            self.grid.remove(tile)
            if tile.elapsed is None:
                self._placeless[tile.index] = tile
        self._fill()
        for tile in self._placeless.values():
            # Images are large, and newer ones come; but a terminal that was made smaller may be made larger again.
            if not tile.had_place:
                tile.source = None
        return lost

    def rows(self) -> Iterator[list[Tile]]:
        """Give the tiles of the grid, row by row."""
        return split(self.grid, self.layout.columns)

    def finals(self) -> list[Tile]:
        """Give the final pictures, in the order of their prompts; new tiles, not drawn yet."""
        return sorted(self._finals, key=lambda tile: tile.index)

    def _fill(self) -> None:
        while self._placeless and len(self.grid) < self.layout.places:
            tile = self._placeless.pop(min(self._placeless))
            tile.had_place = True
            self.grid.append(tile)


def split(tiles: Iterable[Tile], columns: int) -> Iterator[list[Tile]]:
    """Put tiles in rows."""
    tiles = list(tiles)
    for start in range(0, len(tiles), columns):
        yield tiles[start : start + columns]
