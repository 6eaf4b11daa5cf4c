"""Pictures on recorded pseudo-terminals of each protocol: what is drawn, and what is left when it is over."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from anyio.from_thread import BlockingPortal
from PIL import Image

from aiai_async.server import LocalServer
from tests.scripted import PNG

from . import terminals
from .conftest import Script, Start
from .streams import completed, error, held, partial, whole
from .terminals import (
    Colour,
    KittyPictures,
    Terminal,
    are_near,
    look_alike,
    mean,
    pty,
    read_blocks,
    read_sixels,
)

WIDTH, HEIGHT = 80, 24
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b_[^\x1b]*\x1b\\|\x1bP[^\x1b]*\x1b\\|\x1b[78]")


def paint(*colours: Colour) -> bytes:
    """Make a PNG whose quarters have these colours."""
    image = Image.new("RGB", (64, 64))
    for number, colour in enumerate(colours):
        x, y = number % 2 * 32, number // 2 * 32
        image.paste(colour, (x, y, x + 32, y + 32))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


RED = paint((200, 30, 30), (120, 0, 0), (250, 90, 90), (60, 20, 20))
GREEN = paint((30, 200, 30), (0, 120, 0), (90, 250, 90), (20, 60, 20))
BLUE = paint((30, 30, 200), (0, 0, 120), (90, 90, 250), (20, 20, 60))


@attrs.frozen
class Kind:
    """A kind of terminal."""

    answer: Callable[[str], str]
    read: Callable[[Terminal], list[Image.Image]]
    """Gives the pictures that it was sent, or shows; the last one is the newest."""
    read_text: Callable[[str], list[Image.Image]]
    """Gives those in a text that is written to it."""


KITTY = Kind(
    terminals.answer_as_kitty, lambda found: KittyPictures(found.text).sent, lambda text: KittyPictures(text).sent
)
SIXEL = Kind(terminals.answer_as_sixel, lambda found: read_sixels(found.text), read_sixels)
PLAIN = Kind(
    terminals.answer_as_plain, lambda found: read_blocks(found.screen), lambda text: read_blocks(terminals.show(text))
)
KINDS = pytest.mark.parametrize("kind", [KITTY, SIXEL, PLAIN], ids=["kitty", "sixel", "plain"])

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Start the program on a terminal of a kind."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    ends: list[int] = []

    def open_terminal(
        *arguments: str, kind: Kind = PLAIN, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any
    ) -> Terminal:
        ours, theirs = pty.openpty()
        ends.append(ours)
        terminals.set_size(ours, *size)
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        process, name = start(*arguments, **{**streams, **options}), os.ttyname(theirs)
        os.close(theirs)
        return Terminal(process, ours, kind.answer, name)

    yield open_terminal
    for end in ends:
        os.close(end)


def is_clean(found: Terminal, modes: list[Any]) -> bool:
    """Tell whether a terminal is as the program found it: modes, cursor, screen, and nothing typed in."""
    text = found.text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
    assert text.rfind("\x1b[?1049l") >= text.rfind("\x1b[?1049h")
    assert found.unread() == b""
    assert "Traceback" not in text
    return found.modes() == modes


@KINDS
def test_a_picture_sharpens(script: Script, terminal: Open, portal: BlockingPortal, kind: Kind) -> None:
    """Each image is drawn when it comes, with the time under it; the final one stays with its line, and is the file."""
    first, second = asyncio.Event(), asyncio.Event()

    async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(partial(0, RED)))
        await first.wait()
        writer.write(partial(1, GREEN))
        await second.wait()
        writer.write(completed(BLUE))
        await writer.drain()
        writer.close()

    script(answer)
    found = terminal("stream", "A red kite", kind=kind)
    modes = found.modes()

    def shows(content: bytes) -> bool:
        drawn = kind.read(found)
        return bool(drawn) and look_alike(drawn[-1], picture(content))

    found.read_while(lambda: not shows(RED))
    # It goes on while nothing comes.
    times = lambda: set(re.findall(r"\d\.\d s", found.text))  # noqa: E731
    before = len(times())
    found.read_while(lambda: len(times()) < before + 2)
    portal.call(first.set)
    found.read_while(lambda: not shows(GREEN))
    portal.call(second.set)
    found.read_to_end()
    assert found.process.returncode == 0
    assert Path("images/a-red-kite-1.png").read_bytes() == BLUE
    after = found.text[found.text.rindex("\x1b[?1049l") :]
    assert look_alike(kind.read_text(after)[-1], picture(BLUE))
    *_, line, caption, summary = [line for line in CODES.sub("", after).splitlines() if line.strip(" ▀")][-3:]
    assert re.search(r"✓ +\d\.\d s  A red kite: final image, images/a-red-kite-1.png", CODES.sub("", after))
    assert re.fullmatch(r"✓ +\d\.\d s  A red kite", caption.strip()), (line, caption)
    assert summary.startswith("saved 1 image in ")
    assert is_clean(found, modes)


def test_kitty_keeps_the_final_picture_only(script: Script, terminal: Open) -> None:
    """Partial images are deleted from its memory; what stays has a placement that its placeholders show."""
    script(whole(partial(0, RED), partial(1, GREEN), completed(BLUE)))
    found = terminal("stream", "A red kite", kind=KITTY)
    found.read_to_end()
    pictures = KittyPictures(found.text)
    ((number, kept),) = pictures.kept.items()
    assert number in pictures.placed and look_alike(kept, picture(BLUE))
    red, green, blue = (int(number) >> shift & 255 for shift in (16, 8, 0))
    assert f"\x1b[38;2;{red};{green};{blue}m\U0010eeee" in found.text


def test_kitty_over_a_line_that_hides_its_colours(
    script: Script, terminal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over ssh: a placeholder's colour is a picture's number, and must come through as it is."""
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm-kitty")
    script(whole(completed(BLUE)))
    found = terminal("stream", "A red kite", kind=KITTY)
    found.read_to_end()
    assert "\x1b[38;2;" in found.text and "\x1b[38;5;" not in found.text


@KINDS
@pytest.mark.parametrize("when", ["before an image", "after one"])
def test_an_interruption(script: Script, terminal: Open, portal: BlockingPortal, kind: Kind, when: str) -> None:
    """Ctrl-C: the terminal is as before, without any picture, and what is left behind is said."""
    script(held(*([partial(0, RED)] if when == "after one" else []), until=asyncio.Event()))
    found = terminal("stream", "A red kite", kind=kind)
    modes = found.modes()
    found.read_until("A red kite")
    if when == "after one":
        found.read_while(lambda: not kind.read(found))
    found.process.send_signal(signal.SIGINT)
    found.read_to_end()
    assert found.process.returncode == 130
    assert found.text.endswith("interrupted: 0 images saved, 1 request cut off, which may be billed all the same\r\n")
    assert is_clean(found, modes)
    if kind is KITTY:
        assert KittyPictures(found.text).kept == {}


def test_a_signal_that_ends_it(script: Script, terminal: Open) -> None:
    """SIGTERM ends the program as ever, but not with a silent keyboard and without a cursor."""
    script(held(partial(0, RED), until=asyncio.Event()))
    found = terminal("stream", "A red kite")
    modes = found.modes()
    found.read_while(lambda: not read_blocks(found.screen))
    assert found.modes() != modes
    found.process.send_signal(signal.SIGTERM)
    found.read_to_end()
    assert found.process.returncode == -signal.SIGTERM
    assert is_clean(found, modes)


@KINDS
def test_several_stand_side_by_side(script: Script, terminal: Open, portal: BlockingPortal, kind: Kind) -> None:
    """In the order of their prompts, while they are under way and when they are saved."""
    shown = asyncio.Event()
    images = {"red": RED, "green": GREEN, "blue": BLUE}

    async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
        image = images[str(request.json["prompt"])]
        writer.write(whole(partial(0, image)))
        await shown.wait()
        writer.write(completed(image))
        await writer.drain()
        writer.close()

    script(answer)
    found = terminal("stream", *images, kind=kind)

    def shows_all() -> bool:
        # Drawn as they come; what is still being written is black.
        drawn, wanted = kind.read(found)[-3:], [*map(picture, images.values())]
        if kind is PLAIN:
            return len(drawn) == 3 and all(map(look_alike, drawn, wanted))
        return all(any(look_alike(one, other) for one in drawn) for other in wanted)

    found.read_while(lambda: not shows_all())
    found.read_until("0 of 3 prompts finished")
    portal.call(shown.set)
    found.read_to_end()
    assert found.process.returncode == 0
    after = found.text[found.text.rindex("\x1b[?1049l") :]
    drawn = kind.read_text(after)
    assert all(look_alike(one, picture(other)) for one, other in zip(drawn, images.values(), strict=True))
    assert re.search(r"✓ +\S+ s  red +✓ +\S+ s  green +✓ +\S+ s  blue *\n", CODES.sub("", after).replace("\r", ""))


def test_who_finds_no_place_has_lines(script: Script, terminal: Open, portal: BlockingPortal) -> None:
    """And its final picture in the end, with the others."""
    shown = asyncio.Event()

    async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(partial(0, RED)))
        await shown.wait()
        writer.write(completed(BLUE))
        await writer.drain()
        writer.close()

    script(answer)
    prompts = [f"kite {number}" for number in range(5)]
    found = terminal("stream", *prompts)
    found.read_while(lambda: len(read_blocks(found.screen)) < 3)
    found.read_until("s  kite 3", "s  kite 4", "kite 4: partial image 0", "kite 3: partial image 0")
    portal.call(shown.set)
    found.read_to_end()
    after = CODES.sub("", found.text[found.text.rindex("\x1b[?1049l") :])
    assert found.process.returncode == 0
    assert all(after.count(f"s  {prompt}:") >= 1 for prompt in prompts)
    captions = re.findall(r"✓ +\S+ s  (kite \d) *(?=[✓\r])", after)
    assert captions == prompts


def test_resizing(script: Script, terminal: Open, portal: BlockingPortal) -> None:
    """What is under way is drawn anew for the new size, too small a terminal has lines, and nothing of it stays."""
    done = asyncio.Event()
    script(held(partial(0, RED), until=done, then=completed(BLUE)))
    found = terminal("stream", "red", "green", "blue")
    modes = found.modes()

    def widths() -> list[int]:
        return [image.width for image in read_blocks(found.screen)]

    found.read_while(lambda: widths() != [24, 24, 24])
    found.resize(50, 40)
    found.read_while(lambda: widths() != [49])
    found.resize(20, 10)
    found.read_while(lambda: widths() or not any("s  blue" in line for line in found.screen.display))
    found.resize(120, 30)
    found.read_while(lambda: len(widths()) != 3)
    portal.call(done.set)
    found.read_to_end()
    assert found.process.returncode == 0
    assert is_clean(found, modes)


@KINDS
def test_finished_pictures(server: LocalServer, terminal: Open, kind: Kind) -> None:
    """`generate --show` draws each prompt's pictures below its lines, side by side, and nothing fills the screen."""
    found = terminal(
        "generate", "--show", "two kites", "--model", "dall-e-2", "--size", "256x256", "--n", "2", kind=kind
    )
    modes = found.modes()
    found.read_to_end()
    assert found.process.returncode == 0
    paths = [Path(f"images/two-kites-{number}.png") for number in (1, 2)]
    lines = CODES.sub("", found.text)
    assert lines.index("s  two kites") < lines.index("images/two-kites-2.png (png") < lines.index("saved 2 images")
    drawn = kind.read_text(found.text)
    assert all(look_alike(one, Image.open(path).convert("RGB")) for one, path in zip(drawn, paths, strict=True))
    assert "\x1b[?1049h" not in found.text
    assert is_clean(found, modes)


def test_transparent_pictures_stand_on_fields(script: Script, terminal: Open) -> None:
    """As in an image viewer, light and dark grey."""
    file = io.BytesIO()
    Image.new("RGBA", (128, 128), (255, 0, 0, 0)).save(file, "PNG")
    script(whole(completed(file.getvalue())))
    found = terminal("stream", "nothing")
    found.read_to_end()
    (shown,) = PLAIN.read_text(found.text[found.text.rindex("\x1b[?1049l") :])
    assert are_near(mean(shown), (128, 128, 128))
    assert are_near(shown.getpixel((2, 2)), (102, 102, 102), by=3)  # type: ignore[arg-type]


def test_failures_are_said_while_others_go_on(script: Script, terminal: Open, portal: BlockingPortal) -> None:
    """At once below the pictures, and again where the command was given; its picture goes."""
    done = asyncio.Event()

    async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(partial(0, RED)))
        if request.json["prompt"] == "bad":
            await failing.wait()
            writer.write(error("no [b]kites[/b]", code="moderation_blocked"))
        else:
            await done.wait()
            writer.write(completed(BLUE))
        await writer.drain()
        writer.close()

    failing = asyncio.Event()
    script(answer)
    found = terminal("stream", "bad", "good", kind=PLAIN)
    modes = found.modes()
    found.read_while(lambda: len(read_blocks(found.screen)) < 2)
    portal.call(failing.set)
    found.read_while(lambda: len(read_blocks(found.screen)) > 1)
    found.read_while(
        lambda: not any("error: bad: 400 moderation_blocked: no [b]kites[/b]" in line for line in found.screen.display)
    )
    portal.call(done.set)
    found.read_to_end()
    assert found.process.returncode == 1
    after = CODES.sub("", found.text[found.text.rindex("\x1b[?1049l") :])
    assert (
        "error: bad: 400 moderation_blocked: no [b]kites[/b]" in after
        and "saved 1 image" in after
        and "1 of 2 prompts failed" in after
    )
    assert is_clean(found, modes)


def test_what_is_no_image(script: Script, terminal: Open) -> None:
    """It is saved all the same, and said below its place."""
    script(whole(partial(0, PNG), completed(PNG)))
    found = terminal("stream", "A kite", size=(120, 30))
    found.read_to_end()
    assert found.process.returncode == 0
    assert Path("images/a-kite-1.png").read_bytes() == PNG
    assert re.search(r"✓ +\S+ s  not an image that can be shown: \w+Error", CODES.sub("", found.text))


def test_a_burst_of_images_is_drawn_once(script: Script, terminal: Open) -> None:
    """Of a hundred partial images that come at once, few are drawn, and all is saved as ever."""
    script(whole(*(partial(0, RED) for _ in range(100)), completed(BLUE)))
    found = terminal("stream", "A kite", kind=KITTY)
    found.read_to_end()
    assert len(KittyPictures(found.text).sent) < 20
    assert Path("images/a-kite-1.png").read_bytes() == BLUE


class TestLinesInstead:
    """What was said before there were pictures."""

    @pytest.mark.parametrize(
        ("arguments", "environment", "size"),
        [
            (["--no-show"], {}, (80, 24)),
            ([], {"AIAI_TERMINAL_IMAGES": "off"}, (80, 24)),
            ([], {"NO_COLOR": "1"}, (80, 24)),
            ([], {"TERM": "dumb"}, (80, 24)),
            ([], {"PYTHONIOENCODING": "ascii"}, (80, 24)),
            ([], {}, (23, 24)),
            ([], {}, (80, 11)),
            ([], {}, (0, 0)),
            (["--json"], {}, (80, 24)),
        ],
        ids=["option", "off", "no color", "dumb", "ascii", "narrow", "low", "unknown size", "json"],
    )
    def test_where_pictures_are_not_wanted_or_have_no_room(
        self,
        script: Script,
        terminal: Open,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        environment: dict[str, str],
        size: tuple[int, int],
    ) -> None:
        """A line for each event, and the terminal is not asked anything."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        script(whole(partial(0, RED), completed(BLUE)))
        found = terminal("stream", "A kite", *arguments, size=size)
        found.read_to_end()
        assert found.process.returncode == 0
        assert "partial_image" in found.text or "A kite: partial image 0 (png," in CODES.sub("", found.text)
        assert not re.search(r"\x1b_G|\x1bP|\x1b\[c|▀|\x1b\[\?1049h", found.text)

    def test_without_the_library(
        self, script: Script, terminal: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """They go on without; who asked for pictures is told what is missing."""
        # What comes first on the path, and is no package.
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util\nfind = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name, *rest: None if name == 'textual_image' else find(name, *rest)\n"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
        script(whole(completed(BLUE)))
        for arguments in ([], ["--show"]):
            found = terminal("stream", "A kite", *arguments)
            found.read_to_end()
            assert found.process.returncode == 0
            assert ("pip install 'aiai-async[cli]'" in found.text) == bool(arguments)
            assert "A kite: final image, images/a-kite" in CODES.sub("", found.text)

    def test_in_a_pipe(self, script: Script, start: Start) -> None:
        """The library is not even imported."""
        script(whole(partial(0, RED), completed(BLUE)))
        process = start("stream", "--show", "A kite", stderr=None)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out.decode().splitlines()[1].strip().endswith("s  A kite: partial image 0 (png, 181 bytes)")
        assert b"\x1b" not in out


def test_a_way_that_is_not_known(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said before anything is sent."""
    monkeypatch.setenv("AIAI_TERMINAL_IMAGES", "ascii")
    monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
    found = terminal("stream", "A kite")
    found.read_to_end()
    assert found.process.returncode == 2
    assert "AIAI_TERMINAL_IMAGES: 'ascii' is not known; use auto, kitty, sixel, blocks or off" in found.text


@pytest.mark.parametrize(("way", "kind"), [("kitty", KITTY), ("sixel", SIXEL), ("blocks", PLAIN)])
def test_a_way_that_is_chosen(
    script: Script, terminal: Open, monkeypatch: pytest.MonkeyPatch, way: str, kind: Kind
) -> None:
    """Whatever the terminal says of itself, or if it says nothing."""
    monkeypatch.setenv("AIAI_TERMINAL_IMAGES", way)
    script(whole(completed(BLUE)))
    found = terminal("stream", "A kite", kind=attrs.evolve(kind, answer=lambda written: ""))
    found.read_to_end()
    (shown,) = kind.read_text(found.text[found.text.rindex("\x1b[?1049l") :])
    assert look_alike(shown, picture(BLUE))


def test_answers_that_come_late(script: Script, terminal: Open, portal: BlockingPortal) -> None:
    """What a slow terminal answers is not shown, and not left for the shell to take for a command."""
    done = asyncio.Event()
    script(held(partial(0, RED), until=done, then=completed(BLUE)))
    found = terminal("stream", "A kite", kind=attrs.evolve(PLAIN, answer=lambda written: ""))
    modes = found.modes()
    found.read_while(lambda: not read_blocks(found.screen))
    os.write(found.descriptor, b"\x1b[?62;4c\x1b_Gi=31;OK\x1b\\typed")
    portal.call(done.set)
    found.read_to_end()
    assert found.process.returncode == 0
    assert "62;4c" not in found.text and "typed" not in found.text
    assert is_clean(found, modes)


def test_what_else_is_written_to_standard_error(
    script: Script, terminal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log's lines stay, and don't run into the pictures."""
    monkeypatch.setenv("AIAI_LOG", "info")
    script(whole(partial(0, RED), completed(BLUE)))
    found = terminal("stream", "A kite", size=(200, 30))
    found.read_to_end()
    after = CODES.sub("", found.text[found.text.rindex("\x1b[?1049l") :])
    assert re.search(r"^[\d-]+ [\d:,]+ INFO aiai_async", after, re.MULTILINE)
