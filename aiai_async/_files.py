"""Files that are whole or not there: written beside, synced, renamed.

The one place that writes image files, also those of jobs. It knows nothing of images.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Final

import anyio.to_thread


async def read(path: Path) -> bytes:
    """Read a whole file in a thread."""
    return await anyio.to_thread.run_sync(path.read_bytes)


async def write(path: Path, data: bytes) -> None:
    """Write a whole file in a thread: other programs see the old content or the new, never a part.

    Once the thread has begun, the file is written whole, also where the wait for it is cancelled.

    Raises:
        OSError: the file could not be written; nothing is left beside it.
    """
    await anyio.to_thread.run_sync(_write_now, path, data)


async def make_folder(path: Path) -> None:
    """Make a folder and those above it, in a thread; one that is there already is fine."""
    await anyio.to_thread.run_sync(lambda: path.mkdir(parents=True, exist_ok=True))


def _write_now(path: Path, data: bytes) -> None:
    file = AtomicFile(path)
    with file.undone_on_error():
        file.write([data])
        file.finish()


class PartFile:
    """A file under a temporary name, until somebody gives it another. It blocks: call it in a thread.

    Args:
        path: the temporary name; nothing may be there.

    Raises:
        OSError: the file can't be made.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._descriptor: int | None = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
        )

    def write(self, pieces: list[bytes]) -> None:
        """Add pieces at the end, in order, each written whole."""
        assert self._descriptor is not None
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def finish(self) -> None:
        """Sync and close; the file keeps its temporary name."""
        assert self._descriptor is not None
        sync(self._descriptor)
        self._close()

    def abort(self) -> None:
        """Remove what was written, also after `finish`; nothing happens where it has another name by now."""
        self._close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class AtomicFile:
    """A file that is written beside its final name and takes it at the end. It blocks: call it in a thread.

    Args:
        path: the final name; an existing file there is replaced at the end.

    Raises:
        OSError: the file beside it can't be made.
    """

    __slots__ = ("_part", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        # The name is cut, since with the random part it could be longer than a file system takes (255 bytes mostly).
        self._part: Final = PartFile(path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part"))

    def write(self, pieces: list[bytes]) -> None:
        """Add pieces at the end, in order, each written whole."""
        self._part.write(pieces)

    def finish(self) -> None:
        """Sync, rename to the final name, and sync the folder, so that the file survives a loss of power."""
        self._part.finish()
        os.replace(self._part.path, self.path)
        sync_folder(self.path.parent)

    def abort(self) -> None:
        """Remove what was written; nothing happens where it was finished or aborted before."""
        self._part.abort()

    @contextlib.contextmanager
    def undone_on_error(self) -> Generator[None]:
        """Call `abort` where the block raises."""
        try:
            yield
        except BaseException:
            self.abort()
            raise


def sync(descriptor: int) -> None:
    """Sync an open file."""
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a loss of power."""
    if os.name == "nt":
        # Windows opens no folders, and makes renames durable by itself.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
