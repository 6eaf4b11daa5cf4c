"""Files that are whole or not there, with real files."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from aiai_async import _files
from aiai_async._files import AtomicFile

OLD, NEW = b"old content", b"new content " * 1000


def names_in(folder: Path) -> list[str]:
    """List a folder, hidden files too."""
    return sorted(os.listdir(folder))


async def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    """A new one, and one that replaces another."""
    path = tmp_path / "a.png"
    for content in (OLD, NEW, b""):
        await _files.write(path, content)
        assert await _files.read(path) == content
    assert names_in(tmp_path) == ["a.png"]


async def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    """One that is there is fine; a file in its place isn't."""
    for _ in range(2):
        await _files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "c").write_bytes(OLD)
    with pytest.raises(FileExistsError):
        await _files.make_folder(tmp_path / "c")


def test_other_programs_see_the_old_content_until_the_end(tmp_path: Path) -> None:
    """What is written stands beside it, under a hidden name that ends in `.part`."""
    path = tmp_path / "a.png"
    path.write_bytes(OLD)
    file = AtomicFile(path)
    file.write([NEW[:5], b"", NEW[5:]])
    assert path.read_bytes() == OLD
    (part,) = set(names_in(tmp_path)) - {"a.png"}
    assert part.startswith(".a.png.")
    assert part.endswith(".part")
    file.finish()
    assert path.read_bytes() == NEW
    assert names_in(tmp_path) == ["a.png"]


def test_it_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the name never stands for less than the whole after a loss of power."""
    steps: list[str] = []

    def note(name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def noted(*args: Any) -> Any:
            steps.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, noted)

    for name in ("write", "fsync", "replace"):
        note(name)
    file = AtomicFile(tmp_path / "a.png")
    file.write([NEW])
    file.finish()
    assert steps == ["write", "fsync", "replace", "fsync"]


def test_windows_opens_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the folder is not synced."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        patch.setattr(os, "open", lambda *_: pytest.fail("a folder was opened"))
        _files.sync_folder(tmp_path)


def test_a_system_that_writes_less_than_asked_for_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may near the end of a disk."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    file = AtomicFile(tmp_path / "a.png")
    file.write([NEW[:50], NEW[50:]])
    file.finish()
    assert (tmp_path / "a.png").read_bytes() == NEW


def fail(*_: object) -> Any:
    """Stand for a call of a disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("exists", [True, False], ids=["replacing a file", "a new file"])
async def test_a_failure_leaves_nothing_beside_and_an_existing_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, exists: bool
) -> None:
    """Whichever step it is; no descriptor stays open either."""
    path = tmp_path / "a.png"
    if exists:
        path.write_bytes(OLD)
    before = names_in(tmp_path)
    descriptors = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left on device"):
            await _files.write(path, NEW)
    assert names_in(tmp_path) == before
    assert not exists or path.read_bytes() == OLD
    assert len(os.listdir("/dev/fd")) == descriptors


async def test_a_real_bound_of_the_system_leaves_nothing_behind(tmp_path: Path) -> None:
    """The same with the kernel's own error: a file may not grow past a limit of the process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            await _files.write(tmp_path / "a.png", bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("target", ["missing/a.png", "folder"], ids=["the folder is missing", "a folder of that name"])
async def test_a_path_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, target: str) -> None:
    """The system's own error."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        await _files.write(tmp_path / target, NEW)
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "图" * 83 + ".png"], ids=["ASCII", "Chinese"])
async def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    """The name beside is not longer than what file systems take."""
    await _files.write(tmp_path / name, NEW)
    assert names_in(tmp_path) == [name]


def test_aborting_removes_what_was_written(tmp_path: Path) -> None:
    """Once or twice; after the end it changes nothing."""
    file = AtomicFile(tmp_path / "a.png")
    file.write([NEW])
    file.abort()
    file.abort()
    assert names_in(tmp_path) == []
    file = AtomicFile(tmp_path / "a.png")
    file.finish()
    file.abort()
    assert names_in(tmp_path) == ["a.png"]


async def test_two_writers_of_one_name_do_not_disturb_each_other(tmp_path: Path) -> None:
    """One of them is last; the file is whole."""
    async with anyio.create_task_group() as tasks:
        for content in (OLD, NEW):
            tasks.start_soon(_files.write, tmp_path / "a.png", content)
    assert (tmp_path / "a.png").read_bytes() in (OLD, NEW)
    assert names_in(tmp_path) == ["a.png"]


async def test_cancelling_waits_for_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is not left half done behind the caller's back: it is whole when the cancelled call ends."""
    real, is_writing, go_on = os.fsync, anyio.Event(), threading.Event()

    def wait(descriptor: int) -> None:
        anyio.from_thread.run_sync(is_writing.set)
        go_on.wait()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", wait)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_files.write, tmp_path / "a.png", NEW)
        await is_writing.wait()
        monkeypatch.setattr(os, "fsync", real)
        tasks.cancel_scope.cancel()
        go_on.set()
    assert (tmp_path / "a.png").read_bytes() == NEW
    assert names_in(tmp_path) == ["a.png"]
