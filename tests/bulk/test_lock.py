"""The lock of a folder: one run at a time, and nothing left of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiai_async.bulk import JobError, lock
from aiai_async.bulk.lock import NAME, FolderLock


def test_one_at_a_time(tmp_path: Path) -> None:
    """Released it is free, and its file is gone; a file that a crash left is no lock."""
    first = FolderLock.take(tmp_path)
    with pytest.raises(JobError, match=rf"under way .process {os.getpid()}."):
        FolderLock.take(tmp_path)
    first.release()
    first.release()
    assert os.listdir(tmp_path) == []
    (tmp_path / NAME).write_text("12345\n")
    FolderLock.take(tmp_path).release()


def test_an_owner_that_says_nothing(tmp_path: Path) -> None:
    """Is one all the same."""
    first = FolderLock.take(tmp_path)
    (tmp_path / NAME).write_text("?")
    with pytest.raises(JobError, match=r"under way$"):
        FolderLock.take(tmp_path)
    first.release()


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had it removes it between our opening and locking it: we begin anew, else two would have a lock."""
    original = lock._try_lock
    removed: list[Path] = []

    def try_lock(descriptor: int) -> bool:
        if not removed:
            removed.append(tmp_path / NAME)
            removed[0].unlink()
        return original(descriptor)

    monkeypatch.setattr(lock, "_try_lock", try_lock)
    ours = FolderLock.take(tmp_path)
    assert removed and (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
    ours.release()


def test_a_folder_that_was_replaced_keeps_its_new_lock(tmp_path: Path) -> None:
    """Only our own file is removed."""
    ours = FolderLock.take(tmp_path)
    (tmp_path / NAME).unlink()
    theirs = FolderLock.take(tmp_path)
    ours.release()
    assert (tmp_path / NAME).exists()
    theirs.release()
