"""`_live` on a real pseudo-terminal, and how the terminal looks when it is over."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from aiai_async.server import Fault, LocalServer

from .conftest import Script, Start
from .streams import completed, held, partial
from .terminals import Terminal, pty

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Start the program on a terminal of 60 columns."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    ends: list[int] = []

    def open_terminal(*arguments: str, **options: Any) -> Terminal:
        ours, theirs = pty.openpty()
        ends.append(ours)
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        process = start(*arguments, **{**streams, **options})
        os.close(theirs)
        return Terminal(process, ours)

    yield open_terminal
    for end in ends:
        os.close(end)


def test_live_lines(server: LocalServer, terminal: Open) -> None:
    """Each prompt under way has a line with its time, cut to the width; those finished stay above; Ctrl-C cleans up."""
    server.set_faults(
        Fault(nth=1, status=400, body='{"error": {"message": "no [b]"}}'),
        Fault(nth=3, body="", part=0, ending="hang"),
    )
    # One at a time, so that the order is known.
    prompts = ["A [red]one[/red]", "two", f"three {'long ' * 20}"]
    found = terminal("generate", *prompts, "--concurrency", "1")
    found.read_until("two-1.png", "three long", "2 of 3 prompts finished")
    shown = CODES.sub("", found.text)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] +0\.\d s  three long long [long ]*…", shown)
    assert re.search(r"error: A \[red\]one\[/red\]: 400: no \[b\] \[request req_", shown)
    assert re.search(r"✓ +\d\.\d s  two", shown)
    assert "\x1b[1;31merror:" in found.text and "\x1b[1;32m✓" in found.text
    found.process.send_signal(signal.SIGINT)
    found.read_to_end()
    assert found.process.returncode == 130
    assert found.text.endswith("interrupted: 1 image saved, 1 request cut off, which may be billed all the same\r\n")
    assert "Traceback" not in found.text
    # The cursor was hidden for the live lines.
    assert found.text.rindex("\x1b[?25h") > found.text.rindex("\x1b[?25l")


def test_no_color(server: LocalServer, terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are live all the same, without colours and bold type."""
    monkeypatch.setenv("NO_COLOR", "1")
    server.set_faults(Fault(nth=1, status=400))
    found = terminal("generate", "one", "two", "--concurrency", "1")
    found.read_to_end()
    assert found.process.returncode == 1
    assert not COLOUR.search(found.text) and "\x1b[?25l" in found.text
    assert "error: one: 400" in found.text and "images/two-1.png" in found.text
    usage = terminal("generate", "")
    usage.read_to_end()
    assert usage.text.startswith("error: prompt: ")


def test_a_dumb_terminal_gets_plain_lines(server: LocalServer, terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no escape codes."""
    monkeypatch.setenv("TERM", "dumb")
    found = terminal("generate", "one")
    found.read_to_end()
    assert found.process.returncode == 0
    assert "\x1b" not in found.text and found.text.startswith("asking for 1 image\r\n")


def test_errors_go_to_a_file_where_standard_error_is_one(server: LocalServer, terminal: Open) -> None:
    """Without colours, and not between the live lines; many prompts fill half of the screen at most."""
    server.set_faults(Fault(nth=1, status=400))
    with open("errors.txt", "wb") as errors:
        found = terminal("generate", *(f"p{number}" for number in range(30)), "--size", "256x256", stderr=errors)
        found.read_to_end()
    assert found.process.returncode == 1
    (line,) = Path("errors.txt").read_text().splitlines()
    assert line.startswith("error: p") and "error:" not in found.text
    assert re.search(r"of 30 prompts finished, \d+ more under way", found.text)
    assert len(list(Path("images").iterdir())) == 29


def test_typing_prompts(terminal: Open) -> None:
    """What is expected is said; Ctrl-C then means that nothing was sent."""
    found = terminal("generate", "-")
    found.read_until("type prompts, one a line; Ctrl-D ends them\r\n")
    found.process.send_signal(signal.SIGINT)
    found.read_to_end()
    assert found.process.returncode == 130
    assert found.text.endswith("interrupted: nothing was sent\r\n")


def test_an_ascii_terminal(server: LocalServer, terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks and prompts that it can't show are written in another way, and nothing fails."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    found = terminal("generate", "灯塔")
    found.read_to_end()
    assert found.process.returncode == 0
    assert found.text.isascii() and "\\u706f\\u5854" in found.text
    assert re.search(r"[|/\\-] +0\.\d s", CODES.sub("", found.text))


def test_a_stream(script: Script, terminal: Open, portal: BlockingPortal) -> None:
    """Each event has a line above the live ones; the path is whole although the terminal is narrow."""
    seen = asyncio.Event()
    script(held(partial(0), until=seen, then=completed()))
    found = terminal("stream", "A [red]kite[/red] over a meadow", "--save-partials")
    found.read_until("partial image 0")
    portal.call(seen.set)
    found.read_to_end()
    assert found.process.returncode == 0
    shown = CODES.sub("", found.text)
    path = "images/a-red-kite-red-over-a-meadow-1.png"
    assert re.search(rf"✓ +\d\.\d s  A \[red\]kite\[/red\] over a meadow: final image, {path} \(png, 1 kB\)", shown)
    assert "\x1b[1;32m✓" in found.text and f"\x1b[36m{path}" in found.text
    assert "saved 1 image and 1 partial image in " in shown
