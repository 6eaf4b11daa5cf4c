"""A job on a terminal: a bar, what is counted, and why it waits, drawn anew; failures stay above it."""

from __future__ import annotations

import sys
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from aiai_async.bulk import Progress
from aiai_async.cli._job_output import PlainJobOutput
from aiai_async.cli._job_words import count_progress, describe_spending
from aiai_async.cli._live import make_console
from aiai_async.cli._output import is_terminal
from aiai_async.cli._words import one_line

_FRAMES_PER_SECOND: Final = 4


class LiveJobOutput(PlainJobOutput):
    """The live part below, lines above it."""

    def __init__(self) -> None:
        super().__init__()
        self._console: Final = make_console()
        self._shares_terminal: Final = is_terminal(sys.stderr)
        self._state: Final = _State()
        self._live: Final = Live(
            self._state,
            console=self._console,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
            redirect_stderr=self._shares_terminal,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def progressed(self, progress: Progress) -> None:
        """See `JobOutput`."""
        self._state.progress = progress

    def noted(self, words: str) -> None:
        """See `JobOutput`."""
        if self._shares_terminal:
            self._write_line(words)
        else:
            super().noted(words)

    def _write_failure(self, words: str) -> None:
        if self._shares_terminal:
            self._print(Text.assemble(("error:", "bold red"), " ", one_line(words)))
        else:
            super()._write_failure(words)

    def _write_line(self, line: str) -> None:
        self._print(Text(line))

    def _print(self, line: Text) -> None:
        # Not wrapped by rich: a command that is marked with the mouse must come out whole.
        self._console.print(line, soft_wrap=True)


class _State:
    """The live part; drawn in rich's thread, changed in the loop's."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress = self.progress
        if progress is None:
            return
        yield ProgressBar(total=max(1, progress.total), completed=progress.total - progress.remaining, width=40)
        yield Text("")
        # Each on a line of its own, since a terminal may be narrow and why it waits must not be what is cut off.
        waiting = one_line(progress.waiting) if progress.waiting else None
        for words, style in ((count_progress(progress), ""), (describe_spending(progress), ""), (waiting, "yellow")):
            if words is not None:
                line = Text(words, style)
                line.truncate(options.max_width, overflow="ellipsis")
                yield line
