"""The event loop of a command: uvloop's where it is installed, which is what the extra `speed` brings."""

from __future__ import annotations

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
        import uvloop  # noqa: F401 # anyio takes it from here
    except ImportError:
        return False
    return True
