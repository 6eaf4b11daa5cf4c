"""Does a job need memory that grows with its rows, and how many items a second does it make? python benchmarks/jobs.py

A million rows are checked, then 100,000 items are run against a transport without sockets, each in its own process.
With two numbers as arguments, so many rows and items instead.
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

from aiai_async import AsyncImagesClient
from aiai_async._exchange import TransportRequest
from aiai_async._facts import Headers
from aiai_async.bulk import BulkJob

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(2000)
ANSWER = json.dumps({"data": [{"b64_json": base64.b64encode(IMAGE).decode()}]}).encode()


class Response:
    """The same answer each time."""

    status = 200
    headers = Headers([("content-type", "application/json"), ("content-length", str(len(ANSWER)))])

    def __init__(self) -> None:
        self._pieces = [ANSWER]

    async def read(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    def close(self) -> None:
        pass


class Transport:
    """Answers a moment later."""

    async def send(self, request: TransportRequest) -> Response:
        request.on_sent()
        await anyio.sleep(0.001)
        return Response()

    async def aclose(self) -> None:
        pass


def peak_mib() -> float:
    """Give the most memory that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def report(what: str, count: int, before: float, started_at: float) -> None:
    """Print what was measured."""
    seconds = time.perf_counter() - started_at
    print(f"{what}: {count:,} in {seconds:.1f} s ({count / seconds:,.0f}/s), peak {peak_mib() - before:+.1f} MiB")


def check(count: int) -> None:
    """Check so many rows, all with a custom_id."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for number in range(count):
                row: dict[str, Any] = {"custom_id": f"row {number}", "prompt": f"A lighthouse, {number}", "n": 2}
                file.write(json.dumps(row) + "\n")
        before, started_at = peak_mib(), time.perf_counter()
        summary = BulkJob(path, Path(folder) / "job", defaults={"model": "gpt-image-1"}).check()
        assert summary.rows == count
        report("rows checked", count, before, started_at)


def run(count: int) -> None:
    """Make so many items."""

    async def main(folder: str) -> None:
        async with AsyncImagesClient("sk", base_url="http://127.0.0.1/v1", transport=Transport()) as client:
            warm_up = BulkJob((f"w {number}" for number in range(500)), Path(folder) / "warm-up", client)
            await warm_up.run()
            before, started_at = peak_mib(), time.perf_counter()
            prompts = (f"A lighthouse, {number}" for number in itertools.count())
            job = BulkJob(itertools.islice(prompts, count), Path(folder) / "job", client)
            result = await job.run()
            assert result.done == count, result
            report("items done", count, before, started_at)

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, folder)


def main() -> None:
    """Run each part in a process of its own, so that neither has the other's memory."""
    counts = [int(argument) for argument in sys.argv[1:]] or [1_000_000, 100_000]
    for part, count in zip(("check", "run"), counts, strict=False):
        subprocess.run([sys.executable, __file__, part, str(count)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(int(sys.argv[2]))
    elif sys.argv[1:2] == ["run"]:
        run(int(sys.argv[2]))
    else:
        main()
