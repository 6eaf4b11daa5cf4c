"""A terminal's keyboard while pictures are drawn: what is typed, and what the terminal answers, doesn't show.

A terminal that is asked what it can do answers as if somebody had typed it, and over a slow line it answers late. So
nothing is echoed meanwhile, and what nobody read is thrown away at the end: the shell must not take it for a command.
Ctrl-C still comes as a signal. Ctrl-Z does nothing: whoever is stopped can't put the screen in order before, and the
shell would get one without echo and cursor.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TextIO

if sys.platform != "win32":
    import termios

_LOCAL_FLAGS: Final = 3
_CHARACTERS: Final = 6
"""Where they stand in what `tcgetattr` gives."""


class Keyboard:
    """Silences the keyboard of the terminal, from `quiet` to `restore`.

    Args:
        show_again: called where a signal ends the process meanwhile; puts the screen in order.
    """

    def __init__(self, show_again: Callable[[], object]) -> None:
        self._show_again: Final = show_again
        self._stream: TextIO | None = None
        # Any: lists of several types, as termios has them.
        self._before: list[Any] | None = None
        self._standard_input: Final = sys.__stdin__
        self._is_handling = False

    def quiet(self) -> bool:
        """Turn echo and Ctrl-Z off, and let the terminal's answers come to this process; False: it can't be done.

        Prompts may come from a pipe; the keyboard is then the controlling terminal's, and takes the place of
        `sys.__stdin__`, from which textual-image reads.
        """
        stream = sys.__stdin__
        if stream is None or not stream.isatty():
            try:
                stream = open("/dev/tty", encoding="utf-8")  # noqa: SIM115 -- closed by `restore`
            except OSError:
                return False
            sys.__stdin__ = stream  # type: ignore[misc]  # the library has no other way to be told
        self._stream = stream
        if not _is_in_foreground(stream.fileno()):
            # It would be stopped for touching the terminal of another.
            self.restore()
            return False
        if sys.platform != "win32":
            self._before = termios.tcgetattr(stream.fileno())
            silent = termios.tcgetattr(stream.fileno())
            silent[_LOCAL_FLAGS] &= ~termios.ECHO
            silent[_CHARACTERS][termios.VSUSP] = os.fpathconf(stream.fileno(), "PC_VDISABLE")
            termios.tcsetattr(stream.fileno(), termios.TCSANOW, silent)
            self._handle_end()
        return True

    def restore(self) -> None:
        """Put the keyboard in order, and throw away what nobody read."""
        if self._stream is None:
            return
        if sys.platform != "win32" and self._before is not None and _is_in_foreground(self._stream.fileno()):
            termios.tcflush(self._stream.fileno(), termios.TCIFLUSH)
            termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, self._before)
        if self._is_handling:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._is_handling = False
        if self._stream is not self._standard_input:
            self._stream.close()
            sys.__stdin__ = self._standard_input  # type: ignore[misc]  # as it was
        self._stream = self._before = None

    def _handle_end(self) -> None:
        # Only where nobody else does, and where Python allows it.
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._end)
            self._is_handling = True

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End as SIGTERM does, but leave a terminal that can be used."""
        self._show_again()
        self.restore()
        os.kill(os.getpid(), number)


def _is_in_foreground(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        # Not the terminal that controls this process: nobody will stop it.
        return True
