"""What the commands that make images do alike once their command line is read: make them, or show the requests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import typer

from aiai_async import ImageRequest
from aiai_async.cli import _dry_run, _loop
from aiai_async.cli._connection import Connection
from aiai_async.cli._maker import Maker
from aiai_async.cli._outcomes import Summary, describe_interruption, to_json
from aiai_async.cli._output import PlainOutput, say

EPILOG: Final = (
    "The key is read from AIAI_API_KEY and from nowhere else: other users of the machine can read command lines. "
    "It ends with 0 when all is done, 1 when something failed, 2 for wrong usage, 130 when interrupted."
)
"""Stands below the help of each."""
JOB_EPILOG: Final = (
    "The same command again goes on where it was stopped, and never asks for an image twice. The key is read from "
    "AIAI_API_KEY. It ends with 0 when all is done, 1 when some rows are not, 2 for wrong usage or rows, 3 when a "
    "budget or the key's quota stopped it, 130 when interrupted."
)
"""Stands below the help of `batch`."""
# Enough to keep every key busy that has no higher tier; a file with a thousand prompts doesn't open a thousand sockets.
DEFAULT_CONCURRENCY: Final = 50


def run(maker: Maker, connection: Connection) -> None:
    """Make the images, and say what comes of it.

    Raises:
        typer.Exit: something failed, or Ctrl-C came.
    """
    output = maker.output
    try:
        # Around the loop, so that the terminal is put in order whatever ends it.
        with output:
            summary = _loop.run(_make_all, maker, connection)
            output.ended(summary)
    except KeyboardInterrupt:
        say(describe_interruption(maker.outcomes))
        raise typer.Exit(130) from None
    if output.is_broken or any(outcome.error is not None for outcome in summary.outcomes):
        raise typer.Exit(1)


def show_requests(
    requests: Sequence[ImageRequest], connection: Connection, *, as_json: bool, stream: bool = False
) -> None:
    """Write the requests as they would be sent."""
    output = PlainOutput()
    shown = _loop.run(functools.partial(_dry_run.show_requests, requests, connection, stream=stream))
    output.write("\n".join(map(to_json, shown)) if as_json else "\n\n".join(map(_dry_run.to_text, shown)))


async def _make_all(maker: Maker, connection: Connection) -> Summary:
    async with connection.open() as client:
        return await maker.run(client)
