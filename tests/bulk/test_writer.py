"""Changes that are written together: what concerns one hurts no other, and small images are written with their rows."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiai_async import _files
from aiai_async.bulk import BulkJob, Progress
from aiai_async.bulk import journal as journals
from aiai_async.bulk import writer as writers
from aiai_async.bulk.items import State, WritingError
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.pace import Pace
from aiai_async.bulk.records import Ended, ImageRow, Started
from aiai_async.bulk.sink import PartSink
from aiai_async.bulk.writer import NotWritten, Reserve, Writer

from .fakes import FakeTransport, answer_to, client_of, error, names_in, read_lines, rows_of
from .test_drafts import make_draft, row


@asynccontextmanager
async def writing(tmp_path: Path) -> AsyncIterator[tuple[Writer, Journal, Path]]:
    """A writer at work, for a job of five items."""
    make_draft(tmp_path / "job.sqlite", [row(line, f"p{line}") for line in range(1, 6)])
    journal = Journal(tmp_path / "job.sqlite")
    images = tmp_path / "images"
    images.mkdir()
    writer = Writer(
        journal,
        images,
        reserve=Reserve(tmp_path),
        limiter=anyio.CapacityLimiter(2),
        on_group=lambda: None,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        yield writer, journal, images
        writer.close()
    journal.close()


async def receive(images: Path, index: int, *, size_bytes: int = 10, is_left: bool = True) -> PartSink:
    """Take an image in."""
    sink = PartSink(images / "new", f"{index}-0", limiter=anyio.CapacityLimiter(1), is_left=is_left)
    await sink.write(bytes(size_bytes))
    await sink.finish()
    return sink


def done(index: int, sink: PartSink) -> Ended:
    """The end of an item with one image."""
    image = ImageRow(k=0, name=f"{index}.png", part=sink.path.name, sha256="s", size_bytes=10)
    return Ended(index=index, state=State.DONE, at=1.0, images=1, rows=(image,), is_answer=True, is_first=True)


async def test_small_images_are_left_to_the_writer(tmp_path: Path) -> None:
    """Nothing is on the disk before; larger ones, and those that are not to be left, are whole when they came."""
    async with writing(tmp_path) as (writer, journal, images):
        small = await receive(images, 0)
        assert os.listdir(images) == []
        large = await receive(images, 1, size_bytes=200_000)
        assert os.listdir(images) == [large.path.name] and large.path.stat().st_size == 200_000
        now = await receive(images, 2, is_left=False)
        assert now.path.stat().st_size == 10
        async with anyio.create_task_group() as tasks:
            for index, sink in enumerate((small, large, now)):
                tasks.start_soon(writer.write, done(index, sink), [sink])
        assert sorted(os.listdir(images)) == ["0.png", "1.png", "2.png"]
        assert journal.count()[State.DONE] == 3


@pytest.mark.parametrize("size_bytes", [32 << 10, (32 << 10) + 1])
async def test_no_more_than_32_kib_of_an_image_wait_for_the_writer(tmp_path: Path, size_bytes: int) -> None:
    """The others of its answer wait with it, so that much of it is held for each."""
    sink = await receive(tmp_path, 0, size_bytes=size_bytes)
    written = [path.stat().st_size for path in tmp_path.iterdir()]
    assert written == ([] if size_bytes == 32 << 10 else [size_bytes])
    await sink.abort()
    assert os.listdir(tmp_path) == []


async def test_the_writer_measures_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the files that it writes itself, in a row."""
    noted: list[int] = []
    monkeypatch.setattr(Pace, "note", lambda self, seconds: noted.append(len(seconds)))
    async with writing(tmp_path) as (writer, _, images):
        sinks = [await receive(images, index, is_left=index < 3) for index in range(4)]
        async with anyio.create_task_group() as tasks:
            for index, sink in enumerate(sinks):
                tasks.start_soon(writer.write, done(index, sink), [sink])
    assert noted == [3]


async def test_on_a_slow_disk_small_images_are_synced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a thread of its own."""
    original, at_once = _files.sync, threading.Barrier(4)

    def sync(descriptor: int) -> None:
        original(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            # Alone, nobody comes by.
            at_once.wait(5)

    class Slow(Pace):
        def __init__(self) -> None:
            super().__init__()
            self.note([0.01] * 4)

    monkeypatch.setattr(_files, "sync", sync)
    monkeypatch.setattr(writers, "Pace", Slow)
    async with client_of(FakeTransport()) as client:
        result = await BulkJob([f"p {n}" for n in range(12)], tmp_path / "job", client, concurrency=4).run()
    assert (result.reason, result.done) == ("finished", 12)


async def test_an_image_that_cant_be_written_hurts_no_other(tmp_path: Path) -> None:
    """Its item has no row, nor has what was to follow it; of its files nothing is left."""
    async with writing(tmp_path) as (writer, journal, images):
        sinks = [await receive(images, index) for index in range(3)]
        sinks[1].path.mkdir()
        following = Started(index=4, key="k", run=1, spent=0, at=1.0)
        failed: list[int] = []

        async def write(index: int) -> None:
            try:
                await writer.write(
                    done(index, sinks[index]), [sinks[index]], following=following if index == 1 else None
                )
            except WritingError as error:
                assert isinstance(error.cause, FileExistsError)
                failed.append(index)

        async with anyio.create_task_group() as tasks:
            for index in range(3):
                tasks.start_soon(write, index)
        assert failed == [1]
        sinks[1].path.rmdir()
        assert sorted(os.listdir(images)) == ["0.png", "2.png"]
        assert journal.count() == {State.DONE: 2, State.PENDING: 3}


async def test_a_change_and_what_follows_it_are_durable_together(tmp_path: Path) -> None:
    """And after the run nothing is taken."""
    async with writing(tmp_path) as (writer, journal, images):
        sink = await receive(images, 0)
        await writer.write(done(0, sink), [sink], following=Started(index=4, key="k", run=1, spent=0, at=1.0))
        assert journal.count() == {State.DONE: 1, State.UNFINISHED: 1, State.PENDING: 3}
        assert journal.record_of(4).item.key == "k"
        writer.close()
        with pytest.raises(NotWritten):
            await writer.write(Started(index=3, key="k", run=1, spent=0, at=1.0))


async def test_what_follows_is_sent_when_the_files_before_have_their_names(tmp_path: Path) -> None:
    """An item holds its place until then, and its successor waits for it."""
    names: list[list[str]] = []

    def answer(body: dict[str, Any]) -> Any:
        names.append(names_in(tmp_path / "job"))
        return answer_to(body)

    async with client_of(FakeTransport(answer)) as client:
        result = await BulkJob([f"p {n}" for n in range(5)], tmp_path / "job", client, concurrency=1).run()
    assert result.exit_code == 0
    assert names == [[f"{index:06d}-p-{index}-0.png" for index in range(count)] for count in range(5)]


async def test_a_stop_while_a_key_is_written_with_the_end_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item is not sent, and is as if it had never been taken up."""
    transport = FakeTransport()
    async with client_of(transport) as client:
        job = BulkJob(["a", "b", "c"], tmp_path / "job", client, concurrency=1)
        loop, original = asyncio.get_running_loop(), _files.sync
        is_stopped = threading.Event()

        def stop() -> None:
            job.stop()
            is_stopped.set()

        def sync(descriptor: int) -> None:
            original(descriptor)
            if transport.bodies and not is_stopped.is_set():
                # While the first image is written.
                loop.call_soon_threadsafe(stop)
                is_stopped.wait()

        monkeypatch.setattr(_files, "sync", sync)
        seen: list[Progress] = []
        result = await job.run(on_progress=seen.append)
    assert (result.reason, result.done, len(transport.bodies)) == ("stopped", 1, 1)
    assert [state for _, state in rows_of(tmp_path / "job")] == ["done", "pending", "pending"]
    assert max(progress.in_flight for progress in seen) <= 1


async def test_an_end_that_cant_be_written_leaves_what_was_to_follow_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is unknown, the job stops, and the next run goes on."""
    transport = FakeTransport()
    original = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith(".part") and "new.000001-0" in str(path):
            raise OSError(errno.EIO, "Input/output error")
        return original(path, *arguments, **options)

    async with client_of(transport) as client:
        job = BulkJob(["a", "b", "c"], tmp_path / "job", client, concurrency=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            result = await job.run()
        assert (result.reason, result.done, result.unknown, result.counts["pending"]) == ("disk", 1, 1, 1)
        (unknown, _) = read_lines(result.errors_path)
        assert "made and paid for" in unknown["error"]
        result = await job.run()
    assert (result.done, result.unknown, len(transport.bodies)) == (2, 1, 3)


@pytest.mark.parametrize("broken", ["rename", "sync_folder"])
async def test_what_was_to_follow_is_pending_where_the_commit_was_the_last_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """It was never sent, so it is not told as unfinished, and takes nothing of a later run's budget."""
    transport = FakeTransport()
    original, calls = getattr(writers, broken), 0

    def fail_later(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(errno.EIO, "Input/output error")
        original(*arguments)

    prompts = [f"p {n}" for n in range(6)]
    async with client_of(transport) as client:
        with monkeypatch.context() as patch:
            patch.setattr(writers, broken, fail_later)
            result = await BulkJob(prompts, tmp_path / "job", client, concurrency=1).run()
        assert (result.reason, len(transport.bodies)) == ("disk", 3)
        assert [state for _, state in rows_of(tmp_path / "job")] == ["done"] * 3 + ["pending"] * 3
        assert {line["outcome"] for line in read_lines(result.errors_path)} == {"pending"}
        result = await BulkJob(prompts, tmp_path / "job", client, max_images=4).run()
    assert (result.reason, result.done, len(transport.bodies)) == ("budget", 4, 4)


async def test_what_begins_is_put_back_where_its_group_fails_after_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is in the journal, but it is not sent: it is pending again."""
    loop, rename, write = asyncio.get_running_loop(), writers.rename, Writer.write
    first_is_renamed, second_is_queued = asyncio.Event(), threading.Event()
    renamed: list[str] = []

    async def answer(body: dict[str, Any]) -> Any:
        if body["prompt"] == "b":
            await first_is_renamed.wait()
        return answer_to(body)

    async def write_and_say(self: Writer, change: Started | Ended, *arguments: Any, **options: Any) -> None:
        if isinstance(change, Ended) and change.index == 1:
            second_is_queued.set()
        await write(self, change, *arguments, **options)

    def rename_one(part: str, path: str) -> None:
        if renamed:
            raise OSError(errno.EIO, "Input/output error")
        renamed.append(path)
        # The end of the second goes into the next group, and with it the key of the third, for which there is a place.
        loop.call_soon_threadsafe(first_is_renamed.set)
        second_is_queued.wait(5)
        rename(part, path)

    transport = FakeTransport(answer)
    monkeypatch.setattr(Writer, "write", write_and_say)
    monkeypatch.setattr(writers, "rename", rename_one)
    async with client_of(transport) as client:
        # With a budget none follows: each begins after the end before.
        result = await BulkJob(["a", "b", "c"], tmp_path / "job", client, concurrency=2, max_images=3).run()
    assert (result.reason, transport.prompts) == ("disk", ["a", "b"])
    assert [
        tuple(row) for row in rows_of(tmp_path / "job", "SELECT state, key IS NOT NULL FROM items ORDER BY idx")
    ] == [
        ("done", 1),
        ("done", 1),
        ("pending", 1),
    ]


async def test_what_a_server_says_in_no_unicode_is_kept_all_the_same(tmp_path: Path) -> None:
    """JSON may hold half a surrogate pair, which no database and no UTF-8 does: image and words are durable."""

    def answer(body: dict[str, Any]) -> Any:
        if body["prompt"] == "d":
            return error(400, "no \ud800", "bad \udc00", **{"x-request-id": "req \ud800"})
        found = answer_to(body)
        if body["prompt"] == "b":
            found["data"][0]["revised_prompt"] = "x\ud800y \U0001f600"
            found["usage"]["kind \ud800"] = "\udfff"
        return found

    async with client_of(FakeTransport(answer)) as client:
        result = await BulkJob(["a", "b", "c", "d", "e"], tmp_path / "job", client, sidecar=True).run()
    assert (result.reason, result.done, result.counts["failed"]) == ("finished", 4, 1)
    lines = {line["index"]: line for line in read_lines(result.results_path)}
    assert sorted(lines) == [0, 1, 2, 4]
    assert lines[1]["revised_prompt"] == "x\N{REPLACEMENT CHARACTER}y \U0001f600"
    (failed,) = read_lines(result.errors_path)
    assert failed["code"] == "bad \N{REPLACEMENT CHARACTER}"
    for text in (failed["error"], failed["request_id"]):
        text.encode()


async def test_an_exception_nobody_expects_ends_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its group is not durable, and says so without the exception's own words; the next one is."""

    def break_down(_: object) -> None:
        raise LookupError("sk-secret")

    async with writing(tmp_path) as (writer, journal, images):
        with monkeypatch.context() as patch:
            patch.setattr(journals, "commit", break_down)
            with pytest.raises(NotWritten, match=r"^LookupError, raised by code outside") as caught:
                await writer.write(Started(index=0, key="k", run=1, spent=0, at=1.0))
        assert isinstance(caught.value.__cause__, LookupError)
        sink = await receive(images, 1)
        await writer.write(done(1, sink), [sink])
        assert journal.count() == {State.DONE: 1, State.PENDING: 4}


async def test_a_job_ends_with_its_reason_where_nobody_expects_an_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in flight is told of, and the next run goes on."""
    original, transport, broken = journals.commit, FakeTransport(), list[int]()

    def break_down(connection: sqlite3.Connection) -> None:
        if len(transport.bodies) == 4 and not broken:
            broken.append(1)
            raise LookupError("sk-secret")
        original(connection)

    async with client_of(transport) as client:
        job = BulkJob([f"p {n}" for n in range(8)], tmp_path / "job", client, concurrency=4)
        with monkeypatch.context() as patch:
            patch.setattr(journals, "commit", break_down)
            result = await job.run()
        assert broken and result.reason == "disk" and "LookupError" in str(result.message)
        assert "sk-secret" not in str(result.message)
        result = await job.run()
    assert (result.reason, result.done) == ("finished", 8)
