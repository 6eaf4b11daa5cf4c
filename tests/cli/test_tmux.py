"""Pictures in a real terminal, tmux: what is on its screen meanwhile, after a resize, after Ctrl-C and in the end."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from tests.programs import require

from .conftest import Script
from .streams import completed, held, partial
from .test_picture_output import BLUE, RED


class Tmux:
    """A server of its own with one window, in which a shell runs."""

    def __init__(self, path: str, socket: Path) -> None:
        self._command = [path, "-S", str(socket), "-f", os.devnull]

    def __call__(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def wait_until(self, condition: Callable[[str], object]) -> str:
        """Wait for what the screen shows; the test's own time-out bounds it."""
        while not condition(screen := self("capture-pane", "-p")):
            time.sleep(0.02)
        return screen


@pytest.fixture
def tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tmux]:
    """A tmux of 80 columns and 30 lines; the test is skipped where there is none."""
    path = require("tmux")
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    tmux = Tmux(path, tmp_path / "tmux")
    tmux("new-session", "-d", "-x", "80", "-y", "30", "env -u COLUMNS -u LINES sh")
    # Typed, since a shell of root's doesn't take it from its environment.
    tmux.type("PS1='read''y> '")
    tmux.wait_until(lambda screen: "ready>" in screen)
    try:
        yield tmux
    finally:
        tmux("kill-server")


def stream(*prompts: str) -> str:
    """Write the command, with the addresses that tmux, which was started before, doesn't know."""
    given = [f"{name}={os.environ[name]}" for name in ("AIAI_BASE_URL", "AIAI_API_KEY", "PYTHONPATH")]
    return shlex.join(["env", *given, sys.executable, "-W", "error", "-m", "aiai_async", "stream", *prompts])


def count_blocks(screen: str) -> list[int]:
    """Give how many half blocks stand in each line that has any."""
    return [line.count("▀") for line in screen.splitlines() if "▀" in line]


def test_from_the_first_image_to_the_end(tmux: Tmux, script: Script, portal: BlockingPortal) -> None:
    """Pictures side by side, again after a resize; then the lines, the pictures, and the shell as it was."""
    done = asyncio.Event()
    script(held(partial(0, RED), until=done, then=completed(BLUE)))
    tmux.type(stream("red", "green"))
    tmux.wait_until(lambda screen: count_blocks(screen) == [76] * 19)
    assert tmux("display", "-p", "#{alternate_on} #{cursor_flag}") == "1 0\n"
    for columns, lines, widths in ((40, 30, [39] * 20), (120, 20, [60] * 15), (80, 30, [76] * 19)):
        tmux("resize-window", "-x", str(columns), "-y", str(lines))
        tmux.wait_until(lambda screen, widths=widths: count_blocks(screen) == widths)  # type: ignore[misc]
    portal.call(done.set)
    screen = tmux.wait_until(lambda screen: "saved 2 images" in screen and screen.rstrip().endswith("ready>"))
    assert count_blocks(screen) == [76] * 19
    assert "red: final image, images/red-1.png (png," in screen and "green: final image, images/green-1.png" in screen
    assert tmux("display", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
    # Nothing of what was under way is in the history either.
    assert "0 of 2 prompts finished" not in tmux("capture-pane", "-p", "-S", "-")


def test_interrupted(tmux: Tmux, script: Script) -> None:
    """The screen is as it was before, with one line more, and the shell shows what is typed; Ctrl-Z is none."""
    script(held(partial(0, RED), until=asyncio.Event()))
    tmux("select-pane", "-T", "the user's own")
    tmux.type("clear; echo be''fore")
    tmux.wait_until(lambda screen: screen.startswith("before"))
    tmux.type(f"{stream('red')}; echo left with $?")
    tmux.wait_until(count_blocks)
    assert tmux("display", "-p", "#{pane_title}") == "the user's own\n"
    tmux("send-keys", "C-z", "C-c")
    screen = tmux.wait_until(lambda screen: "left with 130" in screen)
    assert not count_blocks(tmux("capture-pane", "-p", "-S", "-"))
    assert screen.startswith("before\n") and "interrupted: 0 images saved, 1 request cut off" in screen
    assert tmux("display", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
    assert "topped" not in screen
    assert tmux("display", "-p", "#{pane_title}") == "the user's own\n"
    tmux.type("stty -a")
    assert " echo " in tmux.wait_until(lambda screen: "icanon" in screen)
