"""The event loop of a command: uvloop's where it is installed, which is what the extra `speed` brings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio

ArgumentsT = TypeVarTuple("ArgumentsT")
ResultT = TypeVar("ResultT")


def run(function: Callable[[Unpack[ArgumentsT]], Awaitable[ResultT]], *arguments: *ArgumentsT) -> ResultT:
    """Run an async function on a new event loop; nothing of the process is changed for that."""
    return anyio.run(function, *arguments, backend_options={"use_uvloop": has_uvloop()})


def has_uvloop() -> bool:
    """Tell whether uvloop is there; on Windows it never is."""
    if sys.platform == "win32":
        return False
    try:
        # anyio takes it from where this puts it.
        importlib.import_module("uvloop")
    except ImportError:
        return False
    return True
