"""Pictures as a terminal can show them; textual-image knows its protocols and draws, and is imported here only.

It asks the terminal what it can do while it is imported, and reads the answer from standard input. So that happens
once, in `Painter.open`, after `can_show` has found a terminal that is large enough and the keyboard was made quiet.
Images are decoded and scaled where `Painter.paint` is called, which is never the loop's thread.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, Self

import attrs
from rich.console import Console
from rich.segment import Segment

from aiai_async import AIAIError, ConfigurationError
from aiai_async.cli._output import is_terminal, is_unicode

VARIABLE: Final = "AIAI_TERMINAL_IMAGES"
"""The environment variable that chooses how pictures are drawn."""
LEAST_COLUMNS: Final = 24
LEAST_LINES: Final = 12
"""A terminal with fewer has no room for a picture that shows something, and for the lines."""

# By what the variable may say; None: what the library finds out.
_CLASSES: Final = {"auto": "Image", "kitty": "TGPImage", "sixel": "SixelImage", "blocks": "HalfcellImage"}
_OFF: Final = "off"
# What servers of this API make; nothing else of what Pillow reads is let near bytes from outside.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
# Light and dark fields, as image viewers have them behind what is transparent.
_FIELD_SIZE: Final = 32
_FIELDS: Final = ((153, 153, 153), (102, 102, 102))


class PaintingError(AIAIError):
    """One picture can't be shown: it is no image that Pillow can read."""


def choose_way() -> str | None:
    """Read the environment variable: how pictures are to be drawn; None: not at all.

    Raises:
        ConfigurationError: it says something else.
    """
    way = os.environ.get(VARIABLE) or "auto"
    if way != _OFF and way not in _CLASSES:
        raise ConfigurationError(f"{VARIABLE}: {way!r} is not known; use {', '.join(_CLASSES)} or {_OFF}")
    return None if way == _OFF else way


def can_show() -> bool:
    """Tell whether standard output is a terminal that pictures can be drawn on, without asking it."""
    if not is_terminal(sys.stdout) or not is_unicode(sys.stdout) or os.environ.get("NO_COLOR"):
        return False
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return False
    # Not what COLUMNS and LINES say: a terminal that doesn't know its size can't say how large its cells are.
    return size.columns >= LEAST_COLUMNS and size.lines >= LEAST_LINES


def is_installed() -> bool:
    """Tell whether the library is there, without importing it."""
    return importlib.util.find_spec("textual_image") is not None


@attrs.define(eq=False)
class Picture:
    """What draws a picture at the place of the cursor, line by line."""

    lines: list[list[Segment]]
    columns: int
    overlay: list[Segment]
    """Written in the line below, at the column where the lines began: a protocol that draws over the lines. It leaves
    the cursor where it was."""
    _delete: Callable[[], None]

    def discard(self) -> None:
        """Take it out of the terminal's memory, where that keeps pictures; it must not be drawn any more."""
        self._delete()


class Painter:
    """Draws images with one of the terminal's protocols; used by one thread."""

    def __init__(self, kind: Any) -> None:
        # Any: a class of a library that is loaded by name, since its types differ by version.
        self._kind: Final = kind

    @classmethod
    def open(cls, way: str) -> Self:
        """Ask the terminal what it can do, and choose.

        Args:
            way: what `choose_way` gave.
        """
        # Without a handler of its own, what it notes about odd terminals would be written between the lines.
        logging.getLogger("textual_image").addHandler(logging.NullHandler())
        with _keeping_title():
            return cls._ask(way)

    @classmethod
    def _ask(cls, way: str) -> Self:
        # Its last version for Python 3.11 calls what Pillow has a new name for since 12.1.
        warnings.filterwarnings("ignore", r"Image\.Image\.getdata", DeprecationWarning)
        painter = cls(getattr(importlib.import_module("textual_image.renderable"), _CLASSES[way]))
        # Up to 0.12 it asks for the size of a cell when that is first needed: now, while nobody else writes.
        painter._measure()
        return painter

    @property
    def needs_all_colours(self) -> bool:
        """Whether colours carry more than colour: Kitty finds a picture by that of its cells."""
        return str(self._kind.__module__).endswith(".tgp")

    def _measure(self) -> None:
        from PIL import Image

        console = Console(file=io.StringIO())
        self._kind(Image.new("RGB", (1, 1))).__rich_measure__(console, console.options)

    def paint(self, source: bytes | Path, console: Console, *, columns: int, rows: int) -> Picture:
        """Draw an image as large as fits; to Kitty the image itself is sent at once.

        Args:
            source: the image file, or where it is.
            console: will write what is given.
            columns: of the place, in cells.
            rows: of the place, in cells.

        Raises:
            PaintingError: it is no image.
        """
        image = self._kind(_read(source), width="auto", height="auto")
        # Not higher, but no higher than it is: with `height` set it would be filled up with blank lines.
        options = console.options.update(width=columns, height=rows).reset_height()
        lines: list[list[Segment]] = []
        overlay: list[Segment] = []
        for line in console.render_lines(image, options, pad=False):
            if any(segment.control for segment in line):
                overlay.extend(line)
            else:
                lines.append(line)
        width = max(map(Segment.get_line_length, lines), default=0)
        return Picture(lines, width, overlay, _make_delete(image))


@contextlib.contextmanager
def _keeping_title() -> Generator[None]:
    """Keep the title of tmux's pane, which takes the question to Kitty for a new one; it can keep titles on a stack."""
    if not os.environ.get("TMUX"):
        yield
        return
    try:
        _write_now("\x1b[22;2t")
        yield
    finally:
        _write_now("\x1b[23;2t")


def _write_now(codes: str) -> None:
    # Where the library writes its questions: what Python and its tests have in the place of standard output is another.
    stream = sys.__stdout__
    if stream is not None:
        stream.write(codes)
        stream.flush()


def _read(source: bytes | Path) -> Any:
    # Any: Pillow's image; it is not imported before there is something to draw.
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as file:
            file.load()
            if not file.has_transparency_data:
                return file.convert("RGB")
            return Image.alpha_composite(_make_fields(file.size), file.convert("RGBA")).convert("RGB")
    except Exception as error:
        # Pillow raises many classes about bytes that are no image, and none may cost more than this picture.
        raise PaintingError(f"not an image that can be shown: {type(error).__name__}: {error}") from error


def _make_fields(size: tuple[int, int]) -> Any:
    from PIL import Image

    light, dark = _FIELDS
    fields = Image.new("RGBA", size, (*light, 255))
    for y in range(0, size[1], _FIELD_SIZE):
        for x in range(y // _FIELD_SIZE % 2 * _FIELD_SIZE, size[0], 2 * _FIELD_SIZE):
            fields.paste((*dark, 255), (x, y, x + _FIELD_SIZE, y + _FIELD_SIZE))
    return fields


def _make_delete(image: Any) -> Callable[[], None]:
    """Give what takes a picture out of the terminal's memory."""

    def delete() -> None:
        number = getattr(image, "terminal_image_id", None)
        if number is None:
            return
        # `cleanup` would be nicer, but up to 0.14 it names the picture by what Kitty calls a number (I=), which it has
        # none of, and so nothing is freed.
        send = getattr(sys.modules[type(image).__module__], "_send_tgp_message", None)
        if send is None:
            image.cleanup()
        else:
            send(a="d", d="I", i=number, q=2)
            image.terminal_image_id = None

    return delete
