"""Where image bytes go: into memory, into files, into sinks of the caller."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
import trio.testing

from aiai_async._schemas import Image
from aiai_async._sinks import FileSink, MemoryReceiver, SinkReceiver
from aiai_async.wire.images import Found, ImageEnd, ImageStart

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JPEG = b"\xff\xd8\xff" + bytes(100)
MIB = 1 << 20


def names_in(folder: Path) -> list[str]:
    """List a folder, hidden files too."""
    return sorted(os.listdir(folder))


def found(*contents: bytes, piece: int = 5) -> list[Found]:
    """Give what a scanner finds of some images."""
    items: list[Found] = []
    for index, content in enumerate(contents):
        pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
        items += [ImageStart(index), *pieces, ImageEnd()]
    return items


class RecordingSink:
    """Keeps what it was told, and may do something of the test's own at each step."""

    def __init__(self, **steps: Callable[[], Awaitable[None]]) -> None:
        self.content = b""
        self.calls: list[str] = []
        self._steps = steps

    async def _do(self, name: str) -> None:
        self.calls.append(name)
        if name in self._steps:
            await self._steps[name]()

    async def write(self, data: bytes, /) -> None:
        self.content += data
        await self._do("write")

    async def finish(self) -> None:
        await self._do("finish")

    async def abort(self) -> None:
        await self._do("abort")


async def fail() -> None:
    """Stand for a step of a sink that fails."""
    raise OSError(errno.ENOSPC, "full")


# FileSink


async def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    """Exactly under the name that was given, and nothing beside it."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    sink = FileSink(str(path))
    for at in range(0, len(PNG), 7):
        await sink.write(PNG[at : at + 7])
    assert path.read_bytes() == b"old"
    await sink.finish()
    assert path.read_bytes() == PNG
    assert names_in(tmp_path) == ["a"]
    assert sink.path == path


async def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    """Whoever finishes a sink at once gets what was asked for."""
    await FileSink(tmp_path / "a").finish()
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("piece", [1 << 10, 200_000, 3 * MIB])
async def test_no_more_than_a_mebibyte_is_held(tmp_path: Path, piece: int) -> None:
    """What was given and isn't on the disk yet stays below that, whatever the image's size."""
    sink = FileSink(tmp_path / "a")
    given = 0
    for _ in range(6 * MIB // piece):
        await sink.write(bytes(piece))
        given += piece
        on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert given - on_disk < MIB
    await sink.finish()
    assert (tmp_path / "a").stat().st_size == given


@pytest.mark.parametrize("size", [0, 10, 2 * MIB], ids=["nothing", "a little", "more than is held"])
async def test_aborting_leaves_nothing_behind(tmp_path: Path, size: int) -> None:
    """And an existing file as it was; once or twice."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    sink = FileSink(path)
    await sink.write(bytes(size))
    await sink.abort()
    await sink.abort()
    assert names_in(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
async def test_a_full_disk_is_the_systems_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """From `write` or from `finish`; after `abort` nothing is left behind."""

    def full(*_: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    path.write_bytes(b"old")
    sink = FileSink(path)

    async def write_all(sink: FileSink) -> None:
        await sink.write(bytes(2 * MIB))
        await sink.finish()

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left on device"):
            await write_all(sink)
    await sink.abort()
    assert names_in(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["write", "finish"])
async def test_cancelling_in_the_middle_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The thread that writes is waited for; then the sink is aborted, as a call does it."""
    real, is_writing, go_on = os.write, anyio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(descriptor: int, data: memoryview) -> int:
        monkeypatch.setattr(os, "write", real)
        loop.call_soon_threadsafe(is_writing.set)
        go_on.wait()
        return real(descriptor, data)

    sink = FileSink(tmp_path / "a")

    async def use() -> None:
        receiver = SinkReceiver(lambda index: sink)
        try:
            size = 2 * MIB if step == "write" else 10
            await receiver.take([ImageStart(0), bytes(size), bytes(5), *([ImageEnd()] if step == "finish" else [])])
            await anyio.sleep_forever()
        except BaseException:
            await receiver.abort()
            raise

    monkeypatch.setattr(os, "write", wait)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await is_writing.wait()
        tasks.cancel_scope.cancel()
        go_on.set()
    # A file that is whole by then stays: its image was paid for, and nothing is half.
    assert names_in(tmp_path) == ([] if step == "write" else ["a"])


async def test_a_slow_disk_holds_up_nothing_but_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked up meanwhile, in the event loop's own threads, however many files wait for the disk."""
    real, may_sync = os.fsync, threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))

    def slow_sync(descriptor: int) -> None:
        may_sync.wait(5)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow_sync)
    async with anyio.create_task_group() as tasks:
        for n in range(30):
            tasks.start_soon(FileSink(tmp_path / f"{n}.png").finish)
        await anyio.lowlevel.checkpoint()
        await loop.getaddrinfo("localhost", 80)
        assert not may_sync.is_set() and not list(tmp_path.glob("[0-9]*.png"))
        may_sync.set()
    assert len(list(tmp_path.glob("[0-9]*.png"))) == 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_forked_process_writes_files_with_threads_of_its_own(tmp_path: Path) -> None:
    """It has none of those of the process it comes from."""
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from aiai_async import FileSink

folder = Path(sys.argv[1])
asyncio.run(FileSink(folder / "parent").finish())
if (child := os.fork()) == 0:
    signal.alarm(20)
    asyncio.run(FileSink(folder / "child").finish())
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, tmp_path], check=True)
    assert names_in(tmp_path) == ["child", "parent"]


# MemoryReceiver


@pytest.mark.parametrize("bound", [None, 10, 1000], ids=lambda bound: f"bound {bound}")
async def test_images_are_kept_in_memory(bound: int | None) -> None:
    """In order, whatever was known of their length; a list cut anywhere gives the same."""
    receiver = MemoryReceiver(bound)
    for item in found(PNG, JPEG, PNG):
        await receiver.take([item])
    assert receiver.images == [Image(content=PNG), Image(content=JPEG), Image(content=PNG)]
    await receiver.abort()
    assert receiver.images == []


# SinkReceiver


async def test_each_image_goes_to_a_sink_of_its_own() -> None:
    """Which is asked for by the image's place when its first byte is there; what was written is said."""
    sinks: dict[int, RecordingSink] = {}

    def make(index: int) -> RecordingSink:
        sinks[index] = RecordingSink()
        return sinks[index]

    receiver = SinkReceiver(make)
    assert sinks == {}
    await receiver.take([ImageStart(2), PNG[:3]])
    assert list(sinks) == [2]
    await receiver.take([PNG[3:], ImageEnd(), ImageStart(5)])
    await receiver.take([JPEG, ImageEnd()])
    assert {index: sink.content for index, sink in sinks.items()} == {2: PNG, 5: JPEG}
    assert [sink.calls for sink in sinks.values()] == [["write", "write", "finish"], ["write", "finish"]]
    assert receiver.images == [
        Image(media_type="image/png", size_bytes=len(PNG), sha256=hashlib.sha256(PNG).hexdigest()),
        Image(media_type="image/jpeg", size_bytes=len(JPEG), sha256=hashlib.sha256(JPEG).hexdigest()),
    ]


@pytest.mark.parametrize("piece", [1, 5, 12, 1000])
async def test_the_media_type_does_not_hang_on_the_length_of_pieces(piece: int) -> None:
    """Its first bytes may come one by one."""
    receiver = SinkReceiver(lambda index: RecordingSink())
    await receiver.take(found(PNG, piece=piece))
    assert receiver.images[0].media_type == "image/png"


async def test_the_path_of_a_sink_becomes_that_of_its_image(tmp_path: Path) -> None:
    """Of a `FileSink`, and of any sink that has one, be it a string."""

    class WithPath(RecordingSink):
        path = "b.png"

    receiver = SinkReceiver(lambda index: FileSink(tmp_path / "a.png") if index == 0 else WithPath())
    await receiver.take(found(PNG, JPEG))
    assert [image.path for image in receiver.images] == [tmp_path / "a.png", Path("b.png")]
    assert await receiver.images[0].read() == PNG


async def test_aborting_throws_away_what_is_not_whole() -> None:
    """Of the image under way only, and once; what was whole stays."""
    sinks = [RecordingSink(), RecordingSink()]
    receiver = SinkReceiver(lambda index: sinks[index])
    await receiver.take([*found(PNG), ImageStart(1), b"x"])
    await receiver.abort()
    await receiver.abort()
    assert [sink.calls[-1] for sink in sinks] == ["finish", "abort"]
    assert sinks[1].calls.count("abort") == 1
    assert len(receiver.images) == 1


async def test_aborting_where_nothing_came_does_nothing() -> None:
    """No sink was asked for."""
    await SinkReceiver(lambda index: pytest.fail("a sink was asked for")).abort()


@pytest.mark.parametrize("step", ["write", "finish"])
async def test_an_exception_of_a_sink_is_raised_as_itself_and_the_sink_aborted(step: str) -> None:
    """Its image is not taken for whole."""
    sink = RecordingSink(**{step: fail})
    receiver = SinkReceiver(lambda index: sink)
    with pytest.raises(OSError, match="full"):
        await receiver.take(found(b"x"))
    await receiver.abort()
    assert sink.calls == ["write", *(["finish"] if step == "finish" else []), "abort"]
    assert receiver.images == []


async def test_a_factory_that_fails_leaves_nothing_to_abort() -> None:
    """Its exception is raised as itself."""

    def make(index: int) -> RecordingSink:
        raise LookupError(index)

    receiver = SinkReceiver(make)
    with pytest.raises(LookupError):
        await receiver.take(found(b"x"))
    await receiver.abort()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_aborting_is_not_cut_off_by_cancelling(backend: str) -> None:
    """A sink has the time to clean up although its call was cancelled."""

    async def main() -> None:
        cleaned: list[str] = []

        async def clean() -> None:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            cleaned.append("all")

        receiver = SinkReceiver(lambda index: RecordingSink(abort=clean))
        await receiver.take([ImageStart(0), b"x"])
        with anyio.CancelScope() as scope:
            scope.cancel()
            await receiver.abort()
            assert cleaned == ["all"]
            await anyio.lowlevel.checkpoint()
            pytest.fail("the call was not cancelled any more")

    anyio.run(main, backend=backend)


def test_aborting_takes_no_longer_than_ten_seconds() -> None:
    """A sink that hangs in `abort` doesn't hang the call; the clock is virtual."""

    async def main() -> float:
        receiver = SinkReceiver(lambda index: RecordingSink(abort=anyio.sleep_forever))
        await receiver.take([ImageStart(0), b"x"])
        started_at = anyio.current_time()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await receiver.abort()
        return anyio.current_time() - started_at

    # Not by anyio.run, which before 4.14 doesn't pass the clock on.
    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == pytest.approx(10.0)


async def test_asyncio_cancelling_does_not_race_the_writing_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the wait while the thread goes on: abort waits for that, and no byte lands in a file opened meanwhile."""
    is_writing, may_write = threading.Event(), threading.Event()
    real_write = os.write

    def slow_write(descriptor: int, data: bytes) -> int:
        is_writing.set()
        may_write.wait(5)
        return real_write(descriptor, data)

    monkeypatch.setattr("aiai_async._files.os.write", slow_write)
    sink = FileSink(tmp_path / "a.png")
    writing = asyncio.create_task(sink.write(bytes(2 << 20)))
    await asyncio.to_thread(is_writing.wait, 5)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    aborting = asyncio.create_task(sink.abort())
    for _ in range(5):
        await asyncio.sleep(0)
    other = (tmp_path / "other").open("wb")
    may_write.set()
    await aborting
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (tmp_path / "other").read_bytes() == b""
