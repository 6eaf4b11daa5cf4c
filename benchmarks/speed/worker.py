"""One measurement in a process of its own: `python -m speed.worker '{"load": ..., "client": ..., "port": ...}'`.

It prints one line of JSON: the numbers, by name.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from .clients import KINDS
from .meters import Server
from .sessions import Measured, Session

# By the name of its load, the module that has it; no other is imported.
_MODULES: Final = {"saving": "files", "holds": "holds", "job": "inside", "scheduler": "inside"}


def main() -> None:
    """Measure what the argument says."""
    order: dict[str, Any] = json.loads(sys.argv[1])  # Any: JSON
    # Thousands of connections need as many open files; this is for this process alone.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kind = KINDS[order["client"]]
    base_url = f"http://127.0.0.1:{order['port']}/v1"
    session = Session(
        kind=kind,
        base_url=base_url,
        # Loaded even where only other processes use it: what can't be imported fails here, with its reason.
        open_client=functools.partial(kind.load(), base_url),
        server=Server(order["port"]),
        seconds=order["seconds"],
    )
    name = order["load"]
    module = importlib.import_module(f".{_MODULES.get(name, 'loads')}", __package__)
    load: Callable[..., Awaitable[Measured]] = getattr(module, name)  # ...: each has arguments of its own

    async def measure() -> Measured:
        return await load(session, **order["arguments"])

    if kind.is_on_uvloop:
        uvloop: Any = importlib.import_module("uvloop")  # Any: it has no part in type checks
        measured = uvloop.run(measure())
    else:
        measured = asyncio.run(measure())
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
