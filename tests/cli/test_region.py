"""`_region`: what is written so that a screen shows the rows, and nothing more."""

from __future__ import annotations

import io

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, ConsoleDimensions
from rich.segment import Segment
from rich.text import Text

from aiai_async.cli._region import Region, Row

COLUMNS, LINES = 20, 8
SIZE = ConsoleDimensions(COLUMNS, LINES)


class Written:
    """A region on a screen."""

    def __init__(self, *, fills_screen: bool = False) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=COLUMNS, height=LINES, color_system=None)
        self.region = Region(console, fills_screen=fills_screen)
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.screen.set_mode(pyte.modes.LNM)
        self.region.open()

    def show(self, *words: str, size: ConsoleDimensions = SIZE) -> str:
        """Show rows, and give what was written for them."""
        self.region.show([make_row(word) for word in words], size)
        return self.take()

    def take(self) -> str:
        text = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        pyte.Stream(self.screen).feed(text)
        return text

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


def make_row(words: str) -> Row:
    return Row(words, [Segment(words)])


WORDS = st.lists(st.sampled_from(["a", "b", "longer words", "x" * 19]), max_size=LINES - 2)


@pytest.mark.parametrize("fills_screen", [False, True])
@given(frames=st.lists(WORDS, min_size=1, max_size=5))
def test_the_screen_shows_the_last_rows(fills_screen: bool, frames: list[list[str]]) -> None:
    """Whatever was shown before, and nothing else."""
    written = Written(fills_screen=fills_screen)
    for frame in frames:
        written.show(*frame)
        assert written.lines == frame


def test_what_is_there_is_not_written_again() -> None:
    """Only the row that changed is."""
    written = Written()
    written.show("a picture", "0.1 s", "below")
    assert written.show("a picture", "0.1 s", "below") == ""
    again = written.show("a picture", "0.2 s", "below")
    assert "0.2 s" in again and "picture" not in again and "below" not in again
    assert written.lines == ["a picture", "0.2 s", "below"]


def test_lines_that_stay_stand_above() -> None:
    """Long ones are not broken by us: a path must come out whole."""
    written = Written()
    written.show("one", "two")
    written.region.write_above([Text("stays"), [make_row("a picture"), make_row("its caption")]])
    written.show("one", "two")
    assert written.lines == ["stays", "a picture", "its caption", "one", "two"]
    written.region.close()
    written.take()
    assert written.lines == ["stays", "a picture", "its caption"]
    written.region.write_above([Text("x" * 30)])
    assert "x" * 30 in written.take()


def test_what_draws_over_the_rows_above_is_written_once() -> None:
    """A Sixel picture, from the row below it; words of that row change without it."""
    written = Written(fills_screen=True)

    def make(words: str, picture: int) -> list[Row]:
        return [
            Row((picture, 0), [Segment("    ")]),
            Row(words, [Segment(words)], picture, [Segment(f"<{picture}>"), Segment(words)]),
        ]

    for words, picture, expected in (("0.1 s", 1, True), ("0.2 s", 1, False), ("0.2 s", 2, True)):
        written.region.show(make(words, picture), SIZE)
        assert (f"<{picture}>" in written.take()) == expected
    written.region.show(make("0.2 s", 2), ConsoleDimensions(COLUMNS - 1, LINES))
    assert "<2>" in written.take()


def test_closing_twice_is_closing_once() -> None:
    """Leaving the alternate screen again would move the cursor."""
    written = Written(fills_screen=True)
    assert written.take() == "\x1b[?25l\x1b[?1049h\x1b[H"
    written.region.close()
    written.region.close()
    assert written.take() == "\x1b[?1049l\x1b[?25h"
