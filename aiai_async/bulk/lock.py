"""One run of a job at a time: a lock that the system takes back when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from aiai_async.bulk.errors import JobError

NAME: Final = "job.lock"


class FolderLock:
    """Holds a folder; made by `take`.

    Args:
        path: the lock's file.
        descriptor: that file, open and locked.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path: Final = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, folder: Path, name: str = NAME, *, held: str = "another run of this job is under way") -> FolderLock:
        """Take a folder's lock.

        Args:
            folder: the job's.
            name: of the lock's file.
            held: what it means that another has it.

        Raises:
            JobError: another process, or another run in this one, has it.
            OSError: the folder can't be written.
        """
        path = folder / name
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _try_lock(descriptor):
                    raise JobError(f"{folder}: {held}{_find_owner(descriptor)}")
                if _is_still(path, descriptor):
                    os.truncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            # Whoever had it removed the file between our opening and locking it: what we have locked is no lock.
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock back; again does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Removed while it is still locked, and only where it is ours: the folder may have been replaced.
            with contextlib.suppress(OSError):
                if _is_still(self._path, descriptor):
                    self._path.unlink()
            os.close(descriptor)


def is_running(folder: Path) -> bool:
    """Tell whether a run of a job seems to be under way, without touching its lock.

    One on another machine, or in another container, is not seen.
    """
    try:
        text = (folder / NAME).read_bytes()[:20].strip()
    except OSError:
        # On Windows a locked file can't be read.
        return os.name == "nt" and (folder / NAME).exists()
    if os.name == "nt" or not text.isdigit():
        # There, asking whether a process lives would end it.
        return False
    try:
        os.kill(int(text), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        # Imported here: Windows has no such module.
        import fcntl
    except ImportError:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore] # only on Windows
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _find_owner(descriptor: int) -> str:
    with contextlib.suppress(OSError):
        text = os.read(descriptor, 20).decode(errors="replace").strip()
        if text.isascii() and text.isdigit():
            return f" (process {text})"
    return ""
