"""Lines on a terminal: one with its time for each prompt under way, below those that are finished."""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from aiai_async.cli._outcomes import (
    Arrival,
    Outcome,
    Summary,
    describe_arrival,
    describe_failure,
    describe_outcome,
    must_be_told,
    summarize,
)
from aiai_async.cli._output import MARKS, is_terminal, is_unicode, may_colour, say_error, show_trace
from aiai_async.cli._words import count, format_seconds, one_line

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_IN_ASCII: Final = "|/-\\"
FRAMES_PER_SECOND: Final = 10


def make_console(*, all_colours: bool = False) -> Console:
    """Make what writes to a terminal, and interprets nothing that comes from a prompt or a server.

    Args:
        all_colours: write every colour as it is, whatever the terminal says that it knows.
    """
    return Console(
        file=sys.stdout,
        force_terminal=True,
        color_system="truecolor" if all_colours else "auto" if may_colour(sys.stdout) else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


class TerminalOutput:
    """What a terminal is told, whoever draws it."""

    is_broken = False
    """See `Output`; a terminal that goes away takes the program with it."""

    def __init__(self) -> None:
        self._console = make_console()
        self._mark: Final = MARKS[is_unicode(sys.stdout)]
        self._rows: Final = Rows(_FRAMES if is_unicode(sys.stdout) else _FRAMES_IN_ASCII)
        # On the same terminal standard error goes through rich, log lines too; a file gets its lines directly.
        self._shares_terminal: Final = is_terminal(sys.stderr)

    def began(self, *, prompts: int, images: int) -> None:
        """See `Output`."""
        self._rows.expect(prompts)

    def started(self, index: int, prompt: str) -> None:
        """See `Output`."""
        self._rows.add(index, prompt)

    def waits(self, words: str | None) -> None:
        """See `Output`."""
        self._rows.wait_for(words)

    def came(self, arrival: Arrival) -> None:
        """See `Output`."""
        self._print(self._make_line(arrival))

    def _make_line(self, arrival: Arrival) -> Text:
        line = self._colour_mark(describe_arrival(arrival, mark=self._mark))
        if arrival.saved is not None:
            line.highlight_words([one_line(str(arrival.saved.path))], "cyan")
        return line

    def finished(self, outcome: Outcome) -> None:
        """See `Output`."""
        self._rows.remove(outcome.index)
        if outcome.images and not outcome.was_streamed:
            first, *paths = describe_outcome(outcome, mark=self._mark)
            self._print(self._colour_mark(first))
            for line in paths:
                self._print(Text(line, "cyan"))
        if must_be_told(outcome):
            self._print_failure(outcome)

    def ended(self, summary: Summary) -> None:
        """See `Output`."""
        self._print(Text(summarize(summary), "bold"))

    def _print_failure(self, outcome: Outcome) -> None:
        words = describe_failure(outcome)
        if self._shares_terminal:
            self._print(Text.assemble(("error:", "bold red"), " ", words))
        else:
            say_error(words)
        show_trace(outcome.error)

    def _colour_mark(self, line: str) -> Text:
        text = Text(line)
        if line.startswith(self._mark):
            text.stylize("bold green", 0, len(self._mark))
        return text

    def _print(self, line: Text) -> None:
        # Not wrapped by rich: a path that is marked with the mouse must come out whole.
        self._console.print(line, soft_wrap=True)


class LiveOutput(TerminalOutput):
    """Live lines. What failed is said between them where standard error is the terminal too."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Final = Live(
            self._rows,
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stderr=self._shares_terminal,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class Rows:
    """The live part, drawn anew at each refresh; drawn in rich's thread, changed in the loop's."""

    def __init__(self, frames: str) -> None:
        self._frames: Final = frames
        self._under_way: dict[int, tuple[str, float]] = {}
        self._expected = 0
        self._finished = 0
        self._waits: str | None = None

    def expect(self, prompts: int) -> None:
        self._expected = prompts

    def add(self, index: int, prompt: str) -> None:
        # A new dictionary each time: the other thread goes through the old one undisturbed.
        self._under_way = {**self._under_way, index: (one_line(prompt), time.monotonic())}

    def wait_for(self, words: str | None) -> None:
        self._waits = words

    def remove(self, index: int) -> None:
        self._under_way = {other: row for other, row in self._under_way.items() if other != index}
        self._finished += 1

    def has_any(self) -> bool:
        """Tell whether something is under way."""
        return bool(self._under_way)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The other half of the screen is for what is finished.
        yield from self.make_lines(time.monotonic(), width=options.max_width, room=max(1, console.height // 2))

    def choose_frame(self, now: float) -> str:
        """Give what shows at this time that something is under way."""
        return self._frames[int(now * FRAMES_PER_SECOND) % len(self._frames)]

    def make_lines(self, now: float, *, width: int, room: int, shown: Container[int] = ()) -> list[Text]:
        """Say what is under way.

        Args:
            now: what `time.monotonic` gives.
            width: of a line, in columns; longer ones are cut.
            room: lines for prompts, at most; one or two more say what concerns all.
            shown: the places of prompts that are shown in another way.
        """
        rows = [row for index, row in self._under_way.items() if index not in shown]
        frame = self.choose_frame(now)
        lines = [
            Text.assemble((frame, "cyan"), f" {format_seconds(now - started_at):>7}  {prompt}")
            for prompt, started_at in rows[:room]
        ]
        unseen = len(rows) - room
        if self._expected > 1 and self._under_way:
            more = f", {unseen} more under way" if unseen > 0 else ""
            lines.append(Text(f"  {self._finished} of {count(self._expected, 'prompt')} finished{more}", "dim"))
        if self._waits is not None and self._under_way:
            lines.append(Text(f"  {self._waits}", "yellow"))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines
