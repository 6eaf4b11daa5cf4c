"""One run of a job at a time: a lock that the system takes back when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import stat
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
    """Tell whether a run of a job seems to be under way, without touching its lock: a run that begins must get it.

    One on another machine, or in another container, is not seen. What was killed leaves its lock behind, with its
    number in it; where the system has given that number to another process since, the job looks as if it ran.
    """
    path = folder / NAME
    try:
        # Before it is opened, and not through a link: it may be anything that somebody put there.
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            text = os.read(descriptor, 20).strip()
        finally:
            os.close(descriptor)
    except PermissionError:
        # On Windows a locked file can't be read.
        return os.name == "nt"
    except OSError:
        return False
    if os.name == "nt" or not text.isdigit():
        # There, asking whether a process lives would end it.
        return False
    number = int(text)
    try:
        # 0 is no process: it means all of the asking one's group.
        if number:
            os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return number != 0


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
