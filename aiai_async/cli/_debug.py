"""`--debug`, which may stand before or after the command's name: tracebacks beside the lines that say what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

_is_on = False


def turn_on(is_wanted: bool) -> None:
    """Note what the command line says of it."""
    global _is_on
    _is_on = is_wanted


def is_on() -> bool:
    """Tell whether tracebacks are wanted."""
    return _is_on


def _note(is_wanted: bool) -> None:
    # Each place where it may stand calls this, most of them without it.
    if is_wanted:
        turn_on(True)


# Eager: mistakes in the options after it are shown with their tracebacks too.
Debug = Annotated[
    bool, typer.Option("--debug", callback=_note, is_eager=True, help="Show tracebacks, to report a bug with.")
]
