"""SIGKILL at every kind of write and at random instants: nothing is lost, nothing that has a row is asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .child import WRITES
from .fakes import CountingServer, environment_of_child, names_in, picture, read_lines, rows_of

if sys.platform == "win32":
    pytest.skip("Windows has no SIGKILL", allow_module_level=True)

ITEMS = 40
CONCURRENCY = 5


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Prompts, one a line."""
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"prompt {number}\n" for number in range(ITEMS)))
    return path


class Run:
    """Runs of one job in child processes, and what must hold after each."""

    def __init__(self, server: CountingServer, folder: Path, source: Path) -> None:
        self.server = server
        self.folder = folder
        self.source = source
        self.kills = 0
        self._finished: dict[str, int] = {}

    async def start(self, *fault: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.bulk.child",
            str(self.folder),
            str(self.source),
            str(CONCURRENCY),
            *fault,
            env=environment_of_child(self.server.base_url),
        )

    def check_after_kill(self) -> None:
        """A visible image has its row and is whole; what had a row before was not asked for again."""
        self.kills += 1
        if not (self.folder / "job.sqlite").exists():
            assert not self.server.asked
            return
        query = "SELECT name, sha256 FROM images JOIN items ON idx = item WHERE state = 'done'"
        rows = dict(rows_of(self.folder, query))
        for name in names_in(self.folder):
            content = (self.folder / "images" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == rows[name]
        self._check_asked()
        count = self.server.count()
        for index, state in rows_of(self.folder):
            if state == "done":
                self._finished.setdefault(f"prompt {index}", count[f"prompt {index}"])

    def check_end(self) -> None:
        """Every image is there, and not more was asked for again than was in flight at the kills."""
        self._check_asked()
        results = read_lines(self.folder / "results.jsonl")
        assert [row["index"] for row in results] == list(range(ITEMS))
        assert read_lines(self.folder / "errors.jsonl") == []
        for row in results:
            (image,) = row["images"]
            content = (self.folder / image["path"]).read_bytes()
            assert content == picture(row["request"]["prompt"], 0, self.server.size_bytes)
            assert (image["sha256"], image["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        assert len(names_in(self.folder)) == len(list((self.folder / "images").iterdir())) == ITEMS
        assert len(self.server.asked) <= ITEMS + self.kills * CONCURRENCY
        # What was in flight is asked for again under the key it had.
        keys = {prompt: {key for asked, key in self.server.asked if asked == prompt} for prompt in self.server.count()}
        assert all(len(found) == 1 for found in keys.values())

    def _check_asked(self) -> None:
        count = self.server.count()
        for prompt, before in self._finished.items():
            assert count[prompt] == before, f"{prompt} has a row and was asked for again"


def moments() -> Iterator[tuple[str, int, str]]:
    """The first, one in the middle and a late call of each write, before and after it."""
    for name in WRITES:
        for at in (1, 2, 3, 12):
            for when in ("before", "after"):
                yield name, at, when


@pytest.mark.timeout(120)
async def test_sigkill_at_every_kind_of_write(source: Path, tmp_path: Path) -> None:
    """Before and after each sync, commit and rename: all jobs end with every image, side by side to save time."""
    gate = asyncio.Semaphore(3)

    async def crash(name: str, at: int, when: str) -> None:
        async with gate, CountingServer(latency=0.005) as server:
            run = Run(server, tmp_path / f"{name}-{at}-{when}", source)
            process = await run.start(name, str(at), when)
            assert await process.wait() == -signal.SIGKILL, (name, at, when)
            run.check_after_kill()
            process = await run.start()
            assert await process.wait() == 0
            run.check_end()

    async with asyncio.TaskGroup() as tasks:
        for moment in moments():
            tasks.create_task(crash(*moment))


@pytest.mark.timeout(120)
async def test_sigkill_at_random_instants(source: Path, tmp_path: Path) -> None:
    """Eight times, each after another number of answers; then the job ends as if nothing had been."""
    dice = random.Random(7)
    async with CountingServer(latency=0.01) as server:
        run = Run(server, tmp_path / "job", source)
        for _ in range(8):
            asked, more = len(server.asked), dice.randrange(1, 9)
            process = await run.start()
            while len(server.asked) < asked + more and process.returncode is None:
                server.arrived.clear()
                await asyncio.wait(
                    [asyncio.create_task(server.arrived.wait()), asyncio.create_task(process.wait())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            await asyncio.sleep(dice.random() * 0.02)
            if process.returncode is not None:
                break
            process.kill()
            await process.wait()
            run.check_after_kill()
        assert run.kills >= 5
        process = await run.start()
        assert await process.wait() == 0
        run.check_end()
