"""Puts pictures, their captions and lines into rows; knows the cells they take, and no protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from aiai_async.cli._gallery import GAP, Tile
from aiai_async.cli._live import Rows
from aiai_async.cli._region import Row
from aiai_async.cli._words import format_seconds, one_line


class Composer:
    """Makes rows for a terminal.

    Args:
        console: will write them.
        rows: knows what shows that something is under way.
        mark: stands before what is finished.
    """

    def __init__(self, console: Console, rows: Rows, *, mark: str) -> None:
        self._console: Final = console
        self._rows: Final = rows
        self._mark: Final = mark

    def compose_lines(self, lines: Sequence[Text], *, width: int) -> list[Row]:
        """Make a row of each line, cut to the width."""
        rows: list[Row] = []
        for line in lines:
            cut = line.copy()
            cut.truncate(width, overflow="ellipsis")
            rows.append(Row(cut.markup, self._render(cut)))
        return rows

    def compose_tiles(self, tiles: Sequence[Tile], now: float, *, width: int) -> list[Row]:
        """Put pictures side by side, with a caption below each.

        Args:
            tiles: their pictures may be of several sizes, and may be missing.
            now: what `time.monotonic` gives.
            width: of each one's place.
        """
        pictures = [tile.picture for tile in tiles]
        names = tuple(map(id, pictures))
        height = max((len(picture.lines) for picture in pictures if picture is not None), default=0)
        rows: list[Row] = []
        for number in range(height):
            segments: list[Segment] = []
            for picture in pictures:
                line = picture.lines[number] if picture is not None and number < len(picture.lines) else []
                columns = picture.columns if picture is not None and line else 0
                segments += [*line, Segment(" " * (width - columns + GAP))]
            # Nothing stands behind the last.
            rows.append(Row((names, number), segments[:-1]))
        plain: list[Segment] = []
        drawing: list[Segment] = []
        captions = [self._make_caption(tile, now, width=width) for tile in tiles]
        for caption, picture in zip(captions, pictures, strict=True):
            parts = [*self._render(caption), Segment(" " * (width - caption.cell_len + GAP))]
            plain += parts
            drawing += [*(picture.overlay if picture is not None else ()), *parts]
        looks = tuple(caption.markup for caption in captions)
        return [*rows, Row(looks, plain[:-1], names, drawing[:-1])]

    def _make_caption(self, tile: Tile, now: float, *, width: int) -> Text:
        if not tile.prompt:
            return Text(one_line(tile.complaint or ""))
        begin, elapsed = (self._mark, "bold green"), tile.elapsed
        if elapsed is None:
            begin, elapsed = (self._rows.choose_frame(now), "cyan"), now - tile.started_at
        words = tile.prompt if tile.complaint is None else one_line(tile.complaint)
        caption = Text.assemble(begin, f" {format_seconds(elapsed):>7}  {words}")
        caption.truncate(width, overflow="ellipsis")
        return caption

    def _render(self, line: Text) -> list[Segment]:
        return list(line.render(self._console, end=""))
