"""`_screen`: what becomes of lines and pictures where a library or the terminal fails."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from aiai_async.cli._live import Rows
from aiai_async.cli._pictures import Picture
from aiai_async.cli._screen import Screen, Through


class Drawing:
    """Draws a letter for each image, as often as it is asked to; remembers which the terminal was told to forget."""

    def __init__(self) -> None:
        self.drawn: list[object] = []
        self.forgotten: list[object] = []
        self.was_asked = threading.Semaphore(0)
        self.may_draw: threading.Semaphore | None = None
        self.error: Exception | None = None

    def paint(self, source: Any, console: Console, *, columns: int, rows: int) -> Picture:
        self.was_asked.release()
        if self.may_draw is not None:
            assert self.may_draw.acquire(timeout=30)
        if self.error is not None:
            raise self.error
        self.drawn.append(source)
        return Picture([[Segment(source.decode())]], 1, [], lambda: self.forgotten.append(source))


class Broken(io.StringIO):
    """A terminal that goes away."""

    is_broken = False

    def write(self, text: str) -> int:
        if self.is_broken:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    # Its size is asked of the terminal that standard output is, and this is none.
    with Broken() as file:
        monkeypatch.setattr(sys, "stdout", file)
        yield file


def make_screen(file: io.StringIO, painter: Any, *, fills_screen: bool = True) -> tuple[Screen, Rows]:
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None)
    rows = Rows("-")
    screen = Screen(console, painter, rows, mark="+", fills_screen=fills_screen)
    screen.start()
    rows.expect(1)
    screen.expect(1)
    rows.add(0, "A kite")
    screen.leave(lambda: screen.gallery.start(0, "A kite", now=0.0))
    return screen, rows


def show(screen: Screen, *sources: bytes, is_final: bool = False) -> None:
    for source in sources:
        screen.leave(lambda source=source: screen.gallery.show(0, source, is_final=is_final, elapsed=1.0))  # type: ignore[misc]


def test_a_burst_is_drawn_once_and_holds_nobody(file: Broken) -> None:
    """While one image is drawn, others come: nobody waits for that, and only the newest is drawn."""
    painter = Drawing()
    painter.may_draw = threading.Semaphore(0)
    screen, _ = make_screen(file, painter)
    show(screen, b"a")
    assert painter.was_asked.acquire(timeout=30)
    show(screen, *(bytes([number]) for number in range(ord("b"), ord("z") + 1)))
    painter.may_draw.release(10)
    assert painter.was_asked.acquire(timeout=30)
    assert screen.stop(is_interrupted=False) is None
    assert painter.drawn == [b"a", b"z"] and painter.forgotten == [b"a", b"z"]


def test_a_library_that_fails(file: Broken) -> None:
    """It is said, and there are lines from then on; it isn't asked again."""
    painter = Drawing()
    painter.error = ValueError("what a terminal")
    screen, _ = make_screen(file, painter)
    show(screen, b"a")
    assert painter.was_asked.acquire(timeout=30)
    show(screen, b"b", is_final=True)
    screen.print(Text("saved a kite"))
    assert screen.stop(is_interrupted=False) is None
    assert not screen.has_pictures and painter.drawn == []
    left = file.getvalue().rpartition("\x1b[?1049l")[2]
    assert "pictures can't be shown any more: unexpected ValueError: what a terminal" in left
    assert left.index("saved a kite") > 0


@pytest.mark.parametrize("fills_screen", [True, False])
def test_a_terminal_that_fails(file: Broken, fills_screen: bool) -> None:
    """What could not be written is given in the end, and what was not seen is written if it can be by then."""
    painter = Drawing()
    painter.may_draw = threading.Semaphore(0)
    screen, _ = make_screen(file, painter, fills_screen=fills_screen)
    show(screen, b"a")
    assert painter.was_asked.acquire(timeout=30)
    file.is_broken = True
    painter.may_draw.release()
    screen._thread.join(timeout=30)
    file.is_broken = False
    screen.print(Text("saved a kite"))
    screen.bid_farewell(Text("saved 1 image"))
    assert isinstance(screen.stop(is_interrupted=False), OSError)
    assert file.getvalue().endswith("saved a kite\nsaved 1 image\n")


def test_standard_error_becomes_lines(file: Broken) -> None:
    """Whole lines, while something is drawn; later it is what it was."""
    errors = io.StringIO()
    screen, _ = make_screen(file, None)
    through = Through(screen, errors)
    assert through.isatty() is False
    with pytest.raises(OSError, match="fileno"):
        through.fileno()
    print("one", "\x1b[31mtwo", file=through, flush=True)
    through.write("three")
    through.end()
    screen.stop(is_interrupted=True)
    assert "one two\nthree\n" in file.getvalue()
    through.write("four\n")
    assert errors.getvalue() == "four\n"


def test_a_picture_of_a_file_that_is_gone(file: Broken, tmp_path: Path) -> None:
    """Somebody took it away before it was drawn: that is said in its place."""
    from aiai_async.cli._pictures import Painter

    screen, _ = make_screen(file, Painter(object), fills_screen=False)
    screen.leave(lambda: screen.add_pictures([tmp_path / "gone.png"]))
    screen.stop(is_interrupted=False)
    assert "not an image that can be shown: FileNotFoundError" in file.getvalue()
