"""The lock of a folder: one run at a time, and nothing left of it."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_whether_a_run_is_under_way(tmp_path: Path) -> None:
    """As far as the lock's file tells, without touching it; one that a crash left names a process that is gone."""
    assert not lock.is_running(tmp_path)
    mine = FolderLock.take(tmp_path)
    assert lock.is_running(tmp_path)
    mine.release()
    assert not lock.is_running(tmp_path)
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    for text, is_running in (
        (child.stdout, False),
        ("", False),
        ("odd", False),
        ("1\n", True),
        ("9" * 19, False),
        ("0", False),
    ):
        (tmp_path / NAME).write_text(text)
        assert lock.is_running(tmp_path) is is_running


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_lock_that_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe would keep whoever looks for ever, and a link lead anywhere."""
    os.mkfifo(tmp_path / NAME)
    assert not lock.is_running(tmp_path)
    (tmp_path / NAME).unlink()
    (tmp_path / "elsewhere").write_text(f"{os.getpid()}\n")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    assert not lock.is_running(tmp_path)


def test_another_lock(tmp_path: Path) -> None:
    """Has a file and words of its own, beside the run's."""
    run, other = FolderLock.take(tmp_path), FolderLock.take(tmp_path, "other.lock", held="it is being read")
    with pytest.raises(JobError, match=rf"{tmp_path}: it is being read .process {os.getpid()}."):
        FolderLock.take(tmp_path, "other.lock", held="it is being read")
    run.release()
    other.release()
    assert os.listdir(tmp_path) == []
