"""The command `aiai-async`. Importing this loads nothing else: `main` first looks whether what it needs is installed.

Each command has a module, which reads the command line; `_output`, `_live` and `_picture_output` are how it says what
happens, and `_app` turns whatever ends it into an exit code. They use the package as any program would.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

# Both come with the extra `cli`.
_NEEDED: Final = ("typer", "rich")
_WRONG_USAGE: Final = 2
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those after the program's name; None: the process's own.

    Returns:
        The exit code: 0 all done, 1 something failed, 2 wrong usage, 3 stopped by a budget or quota, 130 interrupted.
    """
    try:
        for name in _NEEDED:
            try:
                importlib.import_module(name)
            except ImportError:
                words = f"error: the command line needs {name}, which is not installed: pip install 'aiai-async[cli]'"
                print(words, file=sys.stderr)
                return _WRONG_USAGE
        # Imported here: without the extra this module must still be importable.
        from aiai_async.cli._app import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        # While still loading; whoever has something to say about it is asked by `run`.
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
