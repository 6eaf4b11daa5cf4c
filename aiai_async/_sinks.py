"""Where image bytes go as they come: into memory, or into sinks of the caller.

A sink gets the bytes while they arrive, so a call takes constant memory whatever the image's size.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import anyio

from aiai_async._files import AtomicFile
from aiai_async._schemas import Image, sniff_media_type
from aiai_async.wire.images import Found, ImageBuffer, ImageEnd, ImageStart

# What aborting may take: long enough for a slow disk, too short to look like a hang.
_ABORT_SECONDS: Final = 10.0
# A hop to a thread costs as much as writing the 200 kB that come from a socket at once; and while it is written as much
# again waits in memory: with 1 MiB an image took 1.1 MB at most, with this 0.8.
_COLLECTED_BYTES: Final = 5 << 17
# They wait for the disk, so it isn't the cores that bound them: at 10 ms a write that is still 1 GB/s. 32 take 0.02 ms
# of CPU more for each MB on a fast one.
_MOST_THREADS: Final = 16
_SNIFFED_BYTES: Final = 12


class ImageSink(Protocol):
    """Takes one image's bytes. A sink with an attribute `path` gives it to `Image.path`.

    Of a sink either `finish` or `abort` is called, once, at the end. An exception raised by it ends the call as itself.
    """

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes, of any length. The server is read no faster than this returns."""
        ...

    async def finish(self) -> None:
        """Take note that the image is whole."""
        ...

    async def abort(self) -> None:
        """Throw away what came: the attempt failed or was cancelled. Also called where `write` or `finish` raised."""
        ...


class FileSink:
    """Writes an image to a file: beside its name first, synced and renamed when it is whole.

    At most about 1 MiB is held in memory, with what waits to be read. An existing file is replaced at the end; nothing
    is left behind by `abort`.

    Args:
        path: the file, written exactly there: no suffix is added.

    Raises:
        OSError: from `write` and `finish`, where the file can't be written.

    Example:
        >>> FileSink("lighthouse.png").path
        PosixPath('lighthouse.png')
    """

    __slots__ = ("_collected", "_collected_bytes", "_file", "_is_aborted", "_lock", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Final = Path(path)
        self._file: AtomicFile | None = None
        self._collected: list[bytes] = []
        self._collected_bytes = 0
        # Cancelling ends the await while the thread goes on: abort waits for it, and nothing follows.
        self._lock: Final = threading.Lock()
        self._is_aborted = False

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._collected.append(data)
        self._collected_bytes += len(data)
        if self._collected_bytes >= _COLLECTED_BYTES:
            await _run_in_thread(self._flush)

    async def finish(self) -> None:
        """Write the rest, sync, and give the file its name."""
        await _run_in_thread(self._finish)

    async def abort(self) -> None:
        """Remove what was written."""
        await _run_in_thread(self._abort)

    def _flush(self) -> None:
        with self._lock:
            self._write_collected()

    def _finish(self) -> None:
        with self._lock:
            self._write_collected()
            if self._file is not None:
                self._file.finish()

    def _write_collected(self) -> None:
        if self._is_aborted:
            return
        if self._file is None:
            self._file = AtomicFile(self.path)
        pieces, self._collected, self._collected_bytes = self._collected, [], 0
        self._file.write(pieces)

    def _abort(self) -> None:
        with self._lock:
            self._is_aborted = True
            self._collected.clear()
            file, self._file = self._file, None
            if file is not None:
                file.abort()


async def _run_in_thread(function: Callable[[], None]) -> None:
    """Run what blocks in a thread that is there for files alone.

    The event loop's own threads are few, and names of hosts are looked up in them: behind a slow disk other calls
    couldn't connect. anyio's would be nicer, as everywhere else; but a hop to one takes 0.1 ms more with 64 images
    under way: 3.0 ms of CPU for each MB in place of 2.7, of which SHA-256 takes 0.7 and writing 0.4.
    """
    await asyncio.get_running_loop().run_in_executor(_threads(), function)


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    """Give the threads that write files, for all event loops of the process; each is started when it is needed."""
    return concurrent.futures.ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="aiai-files")


if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads, and would wait for them.
    os.register_at_fork(after_in_child=_threads.cache_clear)


SinkFactory = Callable[[int], ImageSink]
"""Asked for the sink of image i of an answer when its first byte is there, anew in each attempt."""


class MemoryReceiver:
    """Keeps the images of one attempt in memory.

    Args:
        bound: length that no image passes, where one image is expected and that is known; None otherwise.
    """

    __slots__ = ("_bound", "_buffer", "images")

    def __init__(self, bound: int | None = None) -> None:
        self._bound = bound
        self._buffer = ImageBuffer()
        self.images: Final[list[Image]] = []
        """The images that are whole."""

    async def take(self, found: Iterable[Found]) -> None:
        """Take what the scanner found."""
        for item in found:
            self.take_nowait(item)

    def take_nowait(self, item: Found) -> None:
        """Take one thing that the scanner found."""
        if isinstance(item, bytes):
            self._buffer.write(item)
        elif isinstance(item, ImageStart):
            # The bound serves one image: a second one would have the same memory set aside again.
            self._buffer = ImageBuffer(self._bound)
            self._bound = None
        else:
            self.images.append(Image(content=self._buffer.finish()))

    async def abort(self) -> None:
        """Throw away what came."""
        self.images.clear()


class SinkReceiver:
    """Passes the images of one attempt to the caller's sinks."""

    __slots__ = ("_factory", "_open", "images")

    def __init__(self, factory: SinkFactory) -> None:
        self._factory: Final = factory
        self._open: _OpenSink | None = None
        self.images: Final[list[Image]] = []
        """What was written, of the images that are whole."""

    async def take(self, found: Iterable[Found]) -> None:
        """Take what the scanner found.

        Raises:
            Exception: whatever a sink raises.
        """
        for item in found:
            if isinstance(item, ImageStart):
                self._open = _OpenSink(self._factory(item.index))
                continue
            assert self._open is not None
            if isinstance(item, ImageEnd):
                await self._open.sink.finish()
                self.images.append(self._open.describe())
                self._open = None
            else:
                await self._open.write(item)

    async def abort(self) -> None:
        """Have the sink that is not finished throw away what came. Not cut off by cancelling, but after ten seconds.

        Images that were whole stay: they were paid for.
        """
        open_sink, self._open = self._open, None
        if open_sink is not None:
            with anyio.move_on_after(_ABORT_SECONDS, shield=True):
                await open_sink.sink.abort()


class _OpenSink:
    """A sink that is being written to, and what has to be said of its image in the end."""

    __slots__ = ("_head", "_sha256", "_size_bytes", "sink")

    def __init__(self, sink: ImageSink) -> None:
        self.sink: Final = sink
        self._head = b""
        self._sha256: Final = hashlib.sha256()
        self._size_bytes = 0

    async def write(self, data: bytes) -> None:
        if len(self._head) < _SNIFFED_BYTES:
            self._head += data[:_SNIFFED_BYTES]
        self._sha256.update(data)
        self._size_bytes += len(data)
        await self.sink.write(data)

    def describe(self) -> Image:
        path = getattr(self.sink, "path", None)
        if path is not None and not isinstance(path, Path):
            path = Path(path)
        return Image(
            media_type=sniff_media_type(self._head),
            size_bytes=self._size_bytes,
            sha256=self._sha256.hexdigest(),
            path=path,
        )
