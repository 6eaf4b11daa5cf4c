"""Pseudo-terminals with the program on them: what they answer when asked, what they were sent, and what that shows.

The terminals' own sides of the protocols are written here from their specifications, and share nothing with the library
that the program draws with.
Source: https://sw.kovidgoyal.net/kitty/graphics-protocol/; DEC STD 070, chapter 9 (Sixel); XTerm Control Sequences.
"""

from __future__ import annotations

import base64
import codecs
import functools
import io
import os
import re
import select
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import pyte
import pytest
from PIL import Image

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

if sys.platform != "win32":
    import fcntl
    import termios

Colour = tuple[int, int, int]

CELL: Final = (10, 20)
"""Of a cell, in pixels."""

_ATTRIBUTES = "\x1b[c"
_CELL_SIZE = "\x1b[16t"
_KITTY = re.compile(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")
_SIXEL = re.compile(r"\x1bP[\d;]*q([^\x1b]*)\x1b\\")


class Terminal:
    """A pseudo-terminal with the program on it.

    Args:
        process: has the other end as its terminal.
        descriptor: this end.
        answer: what the terminal says when it is written to, by what was written since it said something.
        name: of the other end, which `unread` looks at.
    """

    def __init__(
        self,
        process: subprocess.Popen[Any],
        descriptor: int,
        answer: Callable[[str], str] | None = None,
        name: str = "",
    ) -> None:
        self.process = process
        self.text = ""
        """All that was written so far."""
        self.descriptor = descriptor
        self._screen = pyte.Screen(*os.get_terminal_size(descriptor))
        self._stream = pyte.Stream(self._screen)
        self._drawn = 0
        self._name = name
        self._answer = answer
        self._answered = 0
        # A read may end in the middle of a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read_until(self, *words: str) -> None:
        """Read until all of these were shown; the test's own time-out bounds it."""
        self.read_while(lambda: not all(word in self.text for word in words))

    def read_while(self, condition: Callable[[], object]) -> None:
        """Read as long as something holds."""
        while condition():
            assert self._read(), self.text

    def read_to_end(self) -> None:
        """Read until the program has ended."""
        while self._read():
            pass
        self.process.wait(timeout=30)

    @property
    def screen(self) -> pyte.Screen:
        """What it shows, if it knows no pictures but those of characters. It has no alternate screen."""
        self._stream.feed(self.text[self._drawn :])
        self._drawn = len(self.text)
        return self._screen

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as if its window were drawn larger or smaller; the program is told by a signal."""
        set_size(self.descriptor, columns, lines)
        self.screen.resize(lines, columns)

    def modes(self) -> list[Any]:
        """Give what the terminal does with what is typed and shown."""
        return termios.tcgetattr(self.descriptor)

    def unread(self) -> bytes:
        """Give what was typed, or answered, and nobody read."""
        descriptor = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            before, modes = termios.tcgetattr(descriptor), termios.tcgetattr(descriptor)
            # Else what is no whole line could not be read.
            modes[3] &= ~termios.ICANON
            termios.tcsetattr(descriptor, termios.TCSANOW, modes)
            found = os.read(descriptor, 1000) if select.select([descriptor], [], [], 0)[0] else b""
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
            return found
        finally:
            os.close(descriptor)

    def _read(self) -> bool:
        try:
            piece = os.read(self.descriptor, 65536)
        except OSError:
            # Linux says so that nobody has the other end open any more.
            return False
        self.text += self._decoder.decode(piece)
        answer = "" if self._answer is None else self._answer(self.text[self._answered :])
        if answer:
            self._answered = len(self.text)
            os.write(self.descriptor, answer.encode())
        return bool(piece)


def set_size(descriptor: int, columns: int, lines: int) -> None:
    """Set a terminal's size, in cells and in pixels."""
    size = struct.pack("HHHH", lines, columns, columns * CELL[0], lines * CELL[1])
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


# -- what they answer


def answer_as_kitty(written: str) -> str:
    """It has no Sixel, and says that a picture that it is asked about is fine."""
    answer = ""
    for match in _KITTY.finditer(written):
        keys = read_keys(match[1])
        if keys.get("a") == "q":
            answer += f"\x1b_Gi={keys['i']};OK\x1b\\"
    return answer + _answer_questions(written, "\x1b[?62;c")


def answer_as_sixel(written: str) -> str:
    """A VT340 with Sixel, which is attribute 4."""
    return _answer_questions(written, "\x1b[?63;1;2;4c")


def answer_as_plain(written: str) -> str:
    """A VT100 with advanced video."""
    return _answer_questions(written, "\x1b[?1;2c")


def _answer_questions(written: str, attributes: str) -> str:
    size = f"\x1b[6;{CELL[1]};{CELL[0]}t" if _CELL_SIZE in written else ""
    return size + (attributes if _ATTRIBUTES in written else "")


# -- what they show


def read_keys(text: str) -> dict[str, str]:
    """Read the keys of a command of Kitty's."""
    return dict(pair.split("=") for pair in text.split(","))


class KittyPictures:
    """The pictures that a Kitty was sent, and has."""

    def __init__(self, text: str) -> None:
        self.sent: list[Image.Image] = []
        """All, in order."""
        self.placed: set[str] = set()
        """The numbers of those with a virtual placement: what placeholders show."""
        self.kept: dict[str, Image.Image] = {}
        """Those that were not deleted, by number."""
        payload = ""
        for match in _KITTY.finditer(text):
            keys = read_keys(match[1])
            if keys.get("a") == "d":
                assert keys["d"] == "I", "only that frees the picture itself"
                del self.kept[keys["i"]]
            elif keys.get("a") == "p":
                assert keys["U"] == "1" and keys["i"] in self.kept
                self.placed.add(keys["i"])
            elif keys.get("f") == "100":
                payload += match[2]
                if keys.get("m") != "1":
                    image = Image.open(io.BytesIO(base64.b64decode(payload)))
                    self.sent.append(image.convert("RGB"))
                    self.kept[keys["i"]], payload = self.sent[-1], ""


def read_sixels(text: str) -> list[Image.Image]:
    """Draw the Sixel pictures in a text."""
    return [_draw_sixels(match[1]) for match in _SIXEL.finditer(text)]


@functools.cache
def _draw_sixels(data: str) -> Image.Image:
    raster = re.match(r'"\d+;\d+;(\d+);(\d+)', data)
    assert raster is not None
    image = Image.new("RGB", (int(raster[1]), int(raster[2])))
    colours: dict[int, Colour] = {}
    colour, x, y, count = 0, 0, 0, 1
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)|([?-~])|(\$)|(-)", data[raster.end() :]):
        if token[1] is not None:
            colour = int(token[1])
            if token[2] is not None:
                colours[colour] = tuple(round(int(token[k]) * 2.55) for k in (2, 3, 4))  # type: ignore[assignment]
        elif token[5] is not None:
            count = int(token[5])
        elif token[6] is not None:
            bits = ord(token[6]) - 63
            for row in range(6):
                if bits >> row & 1 and y + row < image.height:
                    image.paste(colours[colour], (x, y + row, min(x + count, image.width), y + row + 1))
            x, count = x + count, 1
        else:
            x, y = 0, y + (6 if token[8] else 0)
    return image


def show(text: str) -> pyte.Screen:
    """Show a text on a screen of its own, large enough to hold it."""
    screen = pyte.Screen(200, 200)
    pyte.Stream(screen).feed(text)
    return screen


def read_blocks(screen: pyte.Screen) -> list[Image.Image]:
    """Give the pictures that half blocks show, from left to right; those of the first row of pictures."""
    drawn = [any(cell.data == "▀" for cell in screen.buffer[y].values()) for y in range(screen.lines)]
    if True not in drawn:
        return []
    top = drawn.index(True)
    rows = range(top, [*drawn, False].index(False, top))
    images: list[Image.Image] = []
    line = screen.buffer[rows[0]]
    starts = [x for x in range(screen.columns) if line[x].data == "▀" and (x == 0 or line[x - 1].data != "▀")]
    for start in starts:
        end = next((x for x in range(start, screen.columns) if line[x].data != "▀"), screen.columns)
        image = Image.new("RGB", (end - start, 2 * len(rows)))
        for number, y in enumerate(rows):
            for x in range(start, end):
                cell = screen.buffer[y][x]
                image.putpixel((x - start, 2 * number), _read_colour(cell.fg))
                image.putpixel((x - start, 2 * number + 1), _read_colour(cell.bg))
        images.append(image)
    return images


def _read_colour(text: str) -> Colour:
    if text == "default":
        # A picture that is not written to its end.
        return (0, 0, 0)
    return (int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16))


def mean(image: Image.Image) -> Colour:
    """Give the mean colour of a picture."""
    # Not by resizing to one pixel: that would look at a few only.
    means = [sum(value * count for value, count in enumerate(band.histogram())) for band in image.split()]
    return tuple(round(total / (image.width * image.height)) for total in means)  # type: ignore[return-value]


def quarters(image: Image.Image) -> list[Colour]:
    """Give the mean colours of a picture's quarters: left and right above, left and right below."""
    x, y = image.width // 2, image.height // 2
    boxes = [(0, 0, x, y), (x, 0, image.width, y), (0, y, x, image.height), (x, y, image.width, image.height)]
    return [mean(image.crop(box)) for box in boxes]


def look_alike(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures, of any sizes, have nearly the same colours in the same places."""
    return all(are_near(a, b) for a, b in zip(quarters(one), quarters(other), strict=True))


def are_near(one: Colour, other: Colour, *, by: int = 12) -> bool:
    """Tell whether two colours are nearly the same."""
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))
