"""Pictures on a terminal as they come, and lines above them for what stays: paths of files, and what failed."""

from __future__ import annotations

import sys
import time
from typing import Final, Self

from rich.text import Text

from aiai_async import PartialImageEvent
from aiai_async.cli._keyboard import Keyboard
from aiai_async.cli._live import TerminalOutput, make_console
from aiai_async.cli._outcomes import Arrival, Outcome, Summary, explain, summarize
from aiai_async.cli._output import say_error
from aiai_async.cli._pictures import Painter
from aiai_async.cli._screen import Screen, Through


class PictureOutput(TerminalOutput):
    """Draws pictures. Where the terminal turns out not to let it, there are lines alone.

    Args:
        way: how, as `choose_way` gives it.
        streams: whether pictures come while prompts are under way.
    """

    def __init__(self, way: str, *, streams: bool) -> None:
        super().__init__()
        self._way: Final = way
        self._streams: Final = streams
        self._keyboard: Final = Keyboard(self._give_back)
        self._standard_error: Final = sys.stderr
        self._through: Through | None = None
        # Made by `__enter__`, which asks the terminal what it can do.
        self._screen: Screen

    def __enter__(self) -> Self:
        try:
            painter, reason = self._open_painter()
            if painter is not None and painter.needs_all_colours:
                self._console = make_console(all_colours=True)
            self._screen = Screen(self._console, painter, self._rows, mark=self._mark, fills_screen=self._streams)
            self._screen.start()
        except BaseException:
            self._keyboard.restore()
            raise
        if self._shares_terminal:
            sys.stderr = self._through = Through(self._screen, self._standard_error)
        if reason is not None:
            self._print(Text(reason))
        return self

    def __exit__(self, *raised: object) -> None:
        failure: Exception | None = None
        try:
            if self._through is not None:
                self._through.end()
                sys.stderr = self._standard_error
            failure = self._screen.stop(is_interrupted=raised[0] is not None)
        finally:
            self._keyboard.restore()
        if failure is not None:
            say_error(f"nothing more could be drawn: {explain(failure)}; images are saved all the same")

    def _give_back(self) -> None:
        # A signal may come while the terminal is asked, and nothing is on it yet.
        if hasattr(self, "_screen"):
            self._screen.give_back()

    def _open_painter(self) -> tuple[Painter | None, str | None]:
        """Ask the terminal; give who draws, or None and, where that is worth a line, why not."""
        if not self._keyboard.quiet():
            return None, None
        try:
            return Painter.open(self._way), None
        except Exception as error:
            # A library that a terminal surprises must not keep anybody from their images.
            return None, f"pictures can't be shown: {explain(error)}"

    def began(self, *, prompts: int, images: int) -> None:
        """See `Output`."""
        super().began(prompts=prompts, images=images)
        self._screen.expect(prompts)

    def started(self, index: int, prompt: str) -> None:
        """See `Output`."""
        super().started(index, prompt)
        if self._streams and self._screen.has_pictures:
            now = time.monotonic()
            self._screen.leave(lambda: self._screen.gallery.start(index, prompt, now=now))
        else:
            self._screen.leave(lambda: None)

    def came(self, arrival: Arrival) -> None:
        """See `Output`."""
        self._screen.leave(lambda: self._show(arrival))

    def _show(self, arrival: Arrival) -> None:
        """Hand an image over, and say what a picture doesn't: where it is saved, and what has no place."""
        gallery, image, saved = self._screen.gallery, arrival.event.image, arrival.saved
        is_partial = isinstance(arrival.event, PartialImageEvent)
        if saved is not None or not is_partial or not gallery.has_place(arrival.index):
            self._screen.add_line(self._make_line(arrival))
        source = image.content if saved is None or is_partial else saved.path
        if source is not None:
            gallery.show(arrival.index, source, is_final=not is_partial, elapsed=arrival.elapsed)

    def finished(self, outcome: Outcome) -> None:
        """See `Output`."""
        super().finished(outcome)
        self._screen.leave(lambda: self._finish(outcome))

    def _finish(self, outcome: Outcome) -> None:
        if outcome.was_streamed:
            self._screen.gallery.finish(outcome.index, elapsed=outcome.elapsed)
        elif self._screen.has_pictures and outcome.images:
            self._screen.add_pictures([image.path for image in outcome.images])

    def ended(self, summary: Summary) -> None:
        """See `Output`."""
        self._screen.bid_farewell(Text(summarize(summary), "bold"))

    def _print(self, line: Text) -> None:
        self._screen.print(line)
