"""How a command says what happens: plain lines or JSON here, live lines on a terminal in `_live`.

Rules: nothing that comes from a prompt or a server is interpreted, and all of it stays on its line; escape codes go to
terminals only; and when nobody reads any more, the work goes on, since it is paid for.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Final, Protocol, Self, TextIO

from aiai_async.cli import _debug
from aiai_async.cli._outcomes import (
    Arrival,
    Outcome,
    Summary,
    arrival_to_object,
    describe_arrival,
    describe_failure,
    describe_outcome,
    must_be_told,
    summarize,
    to_json,
    to_object,
)
from aiai_async.cli._words import count, one_line

MARKS: Final[Mapping[bool, str]] = {True: "✓", False: "+"}
"""What marks a success, by whether the stream has more than ASCII."""


# A log of a job of hours says now and then why it takes so long.
_SECONDS_BETWEEN_WAITS: Final = 10.0


class Output(Protocol):
    """Is told what happens, in order; entered before the first and left after the last."""

    is_broken: bool
    """True when something could not be written."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def began(self, *, prompts: int, images: int) -> None:
        """All is checked; from now on requests are sent."""
        ...

    def started(self, index: int, prompt: str) -> None:
        """A prompt's request is on its way."""
        ...

    def waits(self, words: str | None) -> None:
        """Said again and again: what requests wait for; None: nothing worth a word."""
        ...

    def came(self, arrival: Arrival) -> None:
        """An image came out of a prompt's stream, and is saved if it is to be."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A prompt's images are saved, or it failed."""
        ...

    def ended(self, summary: Summary) -> None:
        """All prompts are finished."""
        ...


def make_output(*, as_json: bool, show: bool | None = False, streams: bool = False) -> Output:
    """Choose how things are said: as JSON if that is asked for, else live on a terminal, else in plain lines.

    Args:
        as_json: whether JSON is asked for.
        show: whether pictures are to be drawn where they can be; None: nobody said it, but yes.
        streams: whether pictures come while prompts are under way.

    Raises:
        ConfigurationError: the environment says how to draw, in a way that is not known.
    """
    if as_json:
        return JSONOutput()
    if not is_terminal(sys.stdout):
        return PlainOutput()
    # Imported here: a pipe does without rich, and starts sooner.
    from aiai_async.cli._live import LiveOutput

    if show is not False:
        from aiai_async.cli import _pictures

        way = _pictures.choose_way()
        if way is not None and _pictures.can_show():
            if _pictures.is_installed():
                from aiai_async.cli._picture_output import PictureOutput

                return PictureOutput(way, streams=streams)
            if show:
                say("pictures are not shown: they need textual-image, pip install 'aiai-async[cli]'")
    return LiveOutput()


class PlainOutput:
    """Lines for a pipe or a file. What failed is said on standard error."""

    def __init__(self) -> None:
        self.is_broken = False
        self._next_wait_at = 0.0
        self._mark = MARKS[is_unicode(sys.stdout)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def began(self, *, prompts: int, images: int) -> None:
        """See `Output`."""
        self.write(f"asking for {count(images, 'image')}")

    def started(self, index: int, prompt: str) -> None:
        """See `Output`."""

    def waits(self, words: str | None) -> None:
        """See `Output`."""
        now = time.monotonic()
        if words is not None and now >= self._next_wait_at:
            self._next_wait_at = now + _SECONDS_BETWEEN_WAITS
            self.write(words)

    def came(self, arrival: Arrival) -> None:
        """See `Output`."""
        self.write(describe_arrival(arrival, mark=self._mark))

    def finished(self, outcome: Outcome) -> None:
        """See `Output`."""
        if outcome.images and not outcome.was_streamed:
            for line in describe_outcome(outcome, mark=self._mark):
                self.write(line)
        if must_be_told(outcome):
            say_error(describe_failure(outcome))
            show_trace(outcome.error)

    def ended(self, summary: Summary) -> None:
        """See `Output`."""
        self.write(summarize(summary))

    def write(self, line: str) -> None:
        """Write a line to standard output, unless nobody reads that any more."""
        if self.is_broken:
            return
        try:
            print(line, flush=True)
        except OSError as error:
            # The images still to come are paid for: the work goes on, and the exit code tells.
            self.is_broken = True
            if not isinstance(error, BrokenPipeError):
                say_error(f"can't write to standard output: {error.strerror}; images are saved all the same")
            _give_up_standard_output()


class JSONOutput(PlainOutput):
    """One object for each prompt when it is finished, one for each event of a stream, and nothing else."""

    def began(self, *, prompts: int, images: int) -> None:
        """See `Output`."""

    def waits(self, words: str | None) -> None:
        """See `Output`."""

    def came(self, arrival: Arrival) -> None:
        """See `Output`."""
        self.write(to_json(arrival_to_object(arrival)))

    def finished(self, outcome: Outcome) -> None:
        """See `Output`."""
        self.write(to_json(to_object(outcome)))
        if must_be_told(outcome):
            show_trace(outcome.error)

    def ended(self, summary: Summary) -> None:
        """See `Output`."""


def say_error(words: str) -> None:
    """Write one line to standard error that begins with `error:`."""
    begin, end = ("\x1b[1;31m", "\x1b[0m") if may_colour(sys.stderr) and os.name != "nt" else ("", "")
    say(f"{begin}error:{end} {one_line(words)}")


def say(line: str) -> None:
    """Write a line to standard error, where somebody reads that."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def show_trace(error: Exception | None) -> None:
    """Write an error's traceback to standard error, where `--debug` asks for it."""
    if _debug.is_on() and error is not None:
        traceback.print_exception(error)


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that knows escape codes."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def may_colour(stream: TextIO) -> bool:
    """Tell whether a stream may be written to in colours.

    Source: https://no-color.org
    """
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def is_unicode(stream: TextIO) -> bool:
    """Tell whether a stream's encoding has the marks."""
    try:
        MARKS[True].encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def make_streams_forgiving() -> None:
    """Let what a stream's encoding lacks be written as escapes: a prompt in another script must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_standard_output() -> None:
    # What is left in the buffer would fail again when Python ends.
    # Source: Python's library reference, signal, "Note on SIGPIPE".
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
