"""`aiai-async report`: writes the page of a job that runs, that was cut off, or whose page was lost."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer

from aiai_async.bulk.report import report_on
from aiai_async.bulk.report.thumbnails import Made
from aiai_async.cli._debug import Debug
from aiai_async.cli._output import PlainOutput, say
from aiai_async.cli._words import count

_EVERY: Final = 5.0


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The job's, as given to batch --out.", show_default=False)
    ],
    *,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    debug: Debug = False,
) -> None:
    """Write report.html of a job, also while it runs: its figures, what is not done, and all its images."""
    path = report_on(folder, on_made=_Progress())
    PlainOutput().write(str(path))
    if open and not webbrowser.open(path.resolve().as_uri()):
        say("there is no browser that could be started; open the page by hand")


class _Progress:
    """Says every few seconds how many thumbnails there are."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, made: Made) -> None:
        if time.monotonic() - self._told_at >= _EVERY:
            self._told_at = time.monotonic()
            say(f"{count(made.made, 'thumbnail')} made")
