"""Where one small answer goes, in steps of Python's interpreter: python benchmarks/instructions.py [CLIENT ...]

Times of a few microseconds drown in the noise of a machine; how many bytecode instructions are run for a request does
not, and says the same each time. C code, the kernel and the caches don't show. The default is this package beside the
reference, with 40 requests at once and their connections open.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

from speed.answers import SMALL
from speed.clients import KINDS, OURS, REFERENCE, Client
from speed.rounds import run_server

_AT_ONCE: Final = 40
# Until each connection is open, also of a client that begins gently.
_WARM_UPS: Final = 60
_LEAST_SHOWN: Final = 20.0


class Counts:
    """Counts instructions and calls, by part of the program, while it is used as a trace function."""

    def __init__(self) -> None:
        self.instructions: Final[Counter[str]] = Counter()
        self.calls = 0
        self._parts: Final[dict[str, str]] = {}

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Count one event; see `sys.settrace`."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        path = frame.f_code.co_filename
        part = self._parts.get(path) or self._parts.setdefault(path, name_part(path))
        if event == "opcode":
            self.instructions[part] += 1
        elif event == "call":
            self.calls += 1
        return self.trace


def name_part(path: str) -> str:
    """Give the part of the program that a file belongs to: a module here, the package elsewhere.

    Example:
        >>> name_part("/lib/python3.11/site-packages/aiohttp/client.py")
        'aiohttp'
        >>> name_part("/work/aiai_async/wire/codec.py")
        'aiai_async/wire'
    """
    if path.startswith("<attrs"):
        return path.removeprefix("<attrs generated methods ").rpartition(".")[0].replace(".", "/")
    parts = Path(path).with_suffix("").parts
    if "aiai_async" in parts:
        inside = parts[parts.index("aiai_async") :]
        return "/".join(inside[:2])
    for folder in ("site-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        if folder in parts:
            return parts[parts.index(folder) + 1]
    return "the rest"


async def count(client: Client) -> Counts:
    """Count what a wave of requests takes."""

    async def make() -> None:
        await asyncio.gather(*[client.generate(SMALL) for _ in range(_AT_ONCE)])

    for _ in range(_WARM_UPS):
        await make()
    counts = Counts()
    # A task of its own: only frames that begin from here on are traced.
    sys.settrace(counts.trace)
    try:
        await asyncio.create_task(make())
    finally:
        sys.settrace(None)
    return counts


def report(title: str, counts: Counts) -> None:
    """Print what was counted, per request."""
    total = counts.instructions.total() / _AT_ONCE
    print(f"{title}: {total:,.0f} instructions in {counts.calls / _AT_ONCE:,.0f} calls")
    for part, number in counts.instructions.most_common():
        if number / _AT_ONCE >= _LEAST_SHOWN:
            print(f"  {number / _AT_ONCE:7,.0f}  {part}")


def main() -> None:
    """Count for each client."""
    with run_server() as port:
        for name in sys.argv[1:] or [OURS, REFERENCE]:
            kind = KINDS[name]

            async def run(kind: Any = kind) -> Counts:
                client = kind.load()(f"http://127.0.0.1:{port}/v1", None)
                try:
                    return await count(client)
                finally:
                    await client.aclose()

            report(kind.title, asyncio.run(run()))


if __name__ == "__main__":
    main()
