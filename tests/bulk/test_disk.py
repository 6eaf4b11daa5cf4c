"""A disk that fills up, files that can't grow, a folder that can't be written: the job says so and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiai_async import _files
from aiai_async.bulk import BulkJob, JobError, writer
from aiai_async.bulk import journal as journals
from aiai_async.bulk.room import Room

from .fakes import FakeTransport, answer_to, client_of, environment_of_child, names_in, read_lines, rows_of

PROMPTS = [f"prompt {number}" for number in range(30)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        print("skipped: only root may mount a file system")
        pytest.skip("only root may mount a file system")
    path = tmp_path / "disk"
    path.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(path)], capture_output=True)
    if mount.returncode:
        print(f"skipped: {mount.stderr.decode()}")
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


async def test_a_disk_that_fills_up(small_disk: Path) -> None:
    """The job stops before it is full: every image that came is there, and with more room the job goes on."""
    transport = FakeTransport(lambda body: answer_to(body, size_bytes=150_000))
    async with client_of(transport) as client:
        result = await BulkJob(PROMPTS, small_disk / "job", client, concurrency=2).run()
        assert (result.reason, result.exit_code, result.unknown) == ("disk", 1, 0)
        assert result.message is not None and "is nearly full" in result.message
        assert 5 < result.done == len(transport.bodies) == len(names_in(small_disk / "job")) < 30
        assert len(read_lines(result.results_path)) == result.done
        subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
        result = await BulkJob(PROMPTS, small_disk / "job", client, concurrency=2).run()
    assert (result.exit_code, len(transport.bodies)) == (0, 30)


async def test_a_disk_that_is_full_already(small_disk: Path) -> None:
    """Nothing is sent."""
    (small_disk / "filler").write_bytes(bytes(4 << 20))
    transport = FakeTransport()
    async with client_of(transport) as client:
        with pytest.raises(JobError, match=r"can't be (used|written)"):
            await BulkJob(PROMPTS, small_disk / "job", client).run()
    assert not transport.bodies


CHILD = """
import resource, signal, sys, anyio
from tests.bulk.fakes import FakeTransport, answer_to, client_of
from aiai_async.bulk import BulkJob
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
async def main():
    transport = FakeTransport(lambda body: answer_to(body, size_bytes=100_000))
    async with client_of(transport) as client:
        result = await BulkJob([f"prompt {n}" for n in range(30)], sys.argv[1], client, concurrency=2).run()
        print(result.reason, result.exit_code, len(transport.bodies), result.message)
anyio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_an_image_that_cant_be_written(tmp_path: Path) -> None:
    """It was paid for and is lost: unknown, so that it is not asked for again unasked, and the job stops."""
    command = [sys.executable, "-W", "error", "-c", CHILD, str(tmp_path / "job"), "90000"]
    found = subprocess.run(
        command, env=environment_of_child("http://127.0.0.1:9/v1"), capture_output=True, text=True, check=True
    )
    reason, code, sent, message = found.stdout.split(maxsplit=3)
    assert (reason, code) == ("disk", "1") and int(sent) <= 3
    assert (
        "it was made and paid for" in message or "the image was made and paid for, but it can't be written" in message
    )
    states = [state for _, state in rows_of(tmp_path / "job")]
    assert states.count("unknown") == int(sent) and states.count("pending") == 30 - int(sent)
    assert not list((tmp_path / "job" / "images").iterdir())


class Failing:
    """Fails with this error from the so-many-th call on."""

    def __init__(self, original: Any, error: Exception, *, at: int, times: int = 1000) -> None:
        self.original, self.error, self.at, self.times, self.calls = original, error, at, times, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.at <= self.calls < self.at + self.times:
            raise self.error
        return self.original(*arguments)


@pytest.mark.parametrize("at", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["sync", "commit", "rename"])
async def test_writes_that_fail_from_some_time_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    """Whichever it is, the job stops and says so, and with a disk that works again every image is there."""
    modules = {"sync": _files, "commit": journals, "rename": writer}
    error: Exception = OSError(errno.EIO, "Input/output error")
    if name == "commit":
        error = journals.sqlite3.OperationalError("disk I/O error")
    transport = FakeTransport()
    async with client_of(transport) as client:
        with monkeypatch.context() as patch:
            patch.setattr(modules[name], name, Failing(getattr(modules[name], name), error, at=at))
            try:
                result = await BulkJob(PROMPTS, tmp_path / "job", client, concurrency=2).run()
            except JobError as exc:
                assert "nothing was sent" in str(exc) or not transport.bodies
            else:
                assert (result.reason, result.exit_code) == ("disk", 1)
                assert (result.message is not None and "output error" in result.message) or "I/O" in str(result.message)
        # What may have been billed is asked for again only where it is wished.
        result = await BulkJob(PROMPTS, tmp_path / "job", client, retry="unknown").run()
    assert result.exit_code == 0 and len(names_in(tmp_path / "job")) == 30
    assert len(transport.bodies) <= 30 + 2 * 2


async def test_the_reserve_lets_the_last_rows_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that has no room gets some, once: what was paid for has its row."""
    full = journals.sqlite3.OperationalError("database or disk is full")
    transport = FakeTransport()
    async with client_of(transport) as client:
        with monkeypatch.context() as patch:
            patch.setattr(journals, "commit", Failing(journals.commit, full, at=3, times=1))
            result = await BulkJob(PROMPTS, tmp_path / "job", client, concurrency=1).run()
    assert (result.exit_code, len(transport.bodies)) == (0, 30)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no statvfs")
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the largest image so far, and asks the disk not too often."""
    # A quarter of this small disk is kept free.
    free = 10_000_000

    def statvfs(_: Path) -> os.statvfs_result:
        return os.statvfs_result((1, 1, 4000, free, free, 0, 0, 0, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    room = Room(tmp_path)
    assert room.is_there_for(50, now=0.0)
    room.note(1_000_000)
    assert not room.is_there_for(8, now=0.05)
    assert room.is_there_for(7, now=0.05)
    # What was written since then is known without asking.
    room.note(1_000_000)
    assert not room.is_there_for(7, now=0.09)
    free = 999
    assert not room.is_there_for(0, now=0.2)
    assert room.describe() == "0.0 MB free, images of up to 1.2 MB"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
async def test_a_folder_that_cant_be_written(tmp_path: Path) -> None:
    """Is told before anything is sent."""
    if os.geteuid() == 0:
        print("skipped: root may write anywhere")
        pytest.skip("root may write anywhere")
    folder = tmp_path / "job"
    folder.mkdir(mode=0o500)
    transport = FakeTransport()
    async with client_of(transport) as client:
        with pytest.raises(JobError, match="Permission denied"):
            await BulkJob(PROMPTS, folder, client).run()
    assert not transport.bodies


async def test_outputs_that_cant_be_written_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are there all the same, and the next run writes them."""
    transport = FakeTransport()
    original = os.replace

    def replace(part: Any, path: Any) -> None:
        if str(path).endswith("errors.jsonl"):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(part, path)

    async with client_of(transport) as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            result = await BulkJob(PROMPTS, tmp_path / "job", client).run()
        assert result.reason == "disk" and "output files can't be written" in str(result.message)
        assert not list((tmp_path / "job").glob("*.part"))
        result = await BulkJob(PROMPTS, tmp_path / "job", client).run()
    assert result.exit_code == 0 and len(transport.bodies) == 30
    assert json.loads(result.results_path.read_text().splitlines()[0])["index"] == 0
    shutil.rmtree(tmp_path / "job")
