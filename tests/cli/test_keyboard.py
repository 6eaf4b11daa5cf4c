"""`_keyboard`: a terminal whose keyboard is silent for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aiai_async.cli._keyboard import Keyboard

from .terminals import pty

if sys.platform != "win32":
    import termios


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal, which is this process's standard input."""
    ours, theirs = pty.openpty()
    with open(theirs, encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "__stdin__", stream)
        yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_what_nobody_read_is_thrown_away(terminal: tuple[int, int]) -> None:
    """Once it is as it was, the next who reads gets what is typed then."""
    ours, theirs = terminal
    before, handler = termios.tcgetattr(theirs), signal.getsignal(signal.SIGTERM)
    keyboard = Keyboard(lambda: None)
    assert keyboard.quiet()
    silent = termios.tcgetattr(theirs)
    assert silent[3] == before[3] & ~termios.ECHO
    assert (before[6][termios.VSUSP], silent[6][termios.VSUSP]) == (b"\x1a", b"\0")
    os.write(ours, b"\x1b[?62;4c\n")
    keyboard.restore()
    keyboard.restore()
    assert termios.tcgetattr(theirs) == before and signal.getsignal(signal.SIGTERM) is handler
    os.write(ours, b"typed\n")
    assert os.read(theirs, 100) == b"typed\n"


def test_somebody_elses_handler_is_left_alone(terminal: tuple[int, int]) -> None:
    """Who handles SIGTERM ends the program in another way, and cleans up by that."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        keyboard = Keyboard(lambda: None)
        assert keyboard.quiet() and signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        keyboard.restore()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


# In a session of its own: in the first half without a controlling terminal, in the second with one, and not in front.
PROGRAM = """
import fcntl, os, sys, termios
from aiai_async.cli._keyboard import Keyboard
sys.__stdin__ = open(os.devnull)
assert not Keyboard(lambda: None).quiet()
ours, theirs = os.openpty()
fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
keyboard, stream = Keyboard(lambda: None), sys.__stdin__
assert keyboard.quiet() and sys.__stdin__ is not stream
assert not termios.tcgetattr(theirs)[3] & termios.ECHO
keyboard.restore()
assert sys.__stdin__ is stream and termios.tcgetattr(theirs)[3] & termios.ECHO
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    assert not Keyboard(lambda: None).quiet()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_where_prompts_come_from_a_pipe() -> None:
    """The controlling terminal's keyboard is taken, if there is one, and never from who has it in the background."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], start_new_session=True, capture_output=True, text=True, timeout=30, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
