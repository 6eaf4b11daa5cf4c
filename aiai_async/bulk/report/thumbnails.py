"""Small pictures in `thumbs/`, made by Pillow where it is installed: only those that are missing or older than theirs.

An image has its thumbnail under its own name with `.webp` behind it. They are no part of what a job promises: whatever
is wrong with one, the report goes without it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import secrets
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from aiai_async.bulk.outputs import IMAGES
from aiai_async.bulk.sink import PART

if TYPE_CHECKING:
    from PIL import Image

THUMBS: Final = "thumbs"
THUMB: Final = 0
"""An image has a thumbnail that is not older than it,"""
PLAIN: Final = 1
"""or none, and is shown itself,"""
GONE: Final = 2
"""or its file isn't there."""
_SUFFIX: Final = ".webp"
_SIZE: Final = (256, 256)
_QUALITY: Final = 72
# A thread holds one image of up to four bytes a pixel. The largest sizes of this API are below 9 million pixels.
_MOST_PIXELS: Final = 25_000_000
_PLAIN_MODES: Final = ("L", "RGB", "RGBA")
_MOST_THREADS: Final = 4
# Names that wait for a thread, so that a million of them are no list.
_AHEAD: Final = 64
# What was begun so long ago was cut off.
_PART_SECONDS: Final = 600.0
# While a job runs it makes its own; what comes faster than that is left for the report.
_WAITING: Final = 1000
# After so many in a row that are no images, the rest are none either.
_MOST_BROKEN: Final = 20
# Of a core, that the rest of the process may take: a job of large images on a real service takes a tenth, one on a
# local server all of it.
_MOST_LOAD: Final = 0.7
_REST_SECONDS: Final = 0.5
_LOAD_SECONDS: Final = 0.1
_OPENING: Final = threading.Lock()
_HAS_CORES_LEFT: Final = (os.cpu_count() or 1) >= 4


class BrokenImage(Exception):
    """A file is no image that can be read, or too large a one."""


@attrs.define(kw_only=True)
class Made:
    """What came of making thumbnails."""

    made: int = 0
    broken: int = 0
    """Files that are no images that can be read."""
    left: bool = False
    """Whether some were not tried."""
    error: str | None = None
    """Why none can be written; the rest is not tried then."""


def explain_absence() -> str | None:
    """Say why no thumbnails can be made; None where they can."""
    try:
        importlib.import_module("PIL.Image")
        features = importlib.import_module("PIL.features")
    except ImportError:
        return "Pillow is not installed: pip install 'aiai-async[report]'"
    return None if features.check("webp") else "this Pillow was built without WebP"


def thumbnail_of(folder: Path, name: str) -> Path:
    """Give the path of an image's thumbnail."""
    return folder / THUMBS / f"{name}{_SUFFIX}"


def look_at(folder: Path, name: str, *, has_thumbnails: bool = True) -> int:
    """Tell how an image can be shown: `THUMB`, `PLAIN` or `GONE`.

    Args:
        folder: the job's.
        name: of the image.
        has_thumbnails: whether there is any thumbnail.
    """
    # Paths as text: a job may have a million images, and each is looked at twice.
    try:
        image = os.stat(f"{folder}/{IMAGES}/{name}")
    except OSError:
        return GONE
    if not has_thumbnails:
        return PLAIN
    try:
        thumbnail = os.stat(f"{folder}/{THUMBS}/{name}{_SUFFIX}")
    except OSError:
        return PLAIN
    # An empty one is what a loss of power leaves.
    is_fresh = thumbnail.st_size > 0 and thumbnail.st_mtime_ns >= image.st_mtime_ns
    return THUMB if is_fresh else PLAIN


def make_thumbnail(folder: Path, name: str) -> None:
    """Make one, whole or not at all.

    Raises:
        BrokenImage: the image can't be read, or is too large.
        OSError: the thumbnail can't be written.
    """
    # Imported here: an extra, at its first use.
    from PIL import Image, ImageOps

    try:
        with _open_quietly(folder / IMAGES / name) as image:
            # Before anything is decoded: a few kilobytes can say that they are a picture of gigabytes.
            if image.width * image.height > _MOST_PIXELS:
                raise BrokenImage(f"{name} has {image.width} × {image.height} pixels")
            # A JPEG is decoded at a part of its size.
            image.draft("RGB", _SIZE)
            has_alpha = image.has_transparency_data
            plain = image if image.mode in _PLAIN_MODES else image.convert("RGBA" if has_alpha else "RGB")
            plain.thumbnail(_SIZE, Image.Resampling.LANCZOS, reducing_gap=2.0)
            small = ImageOps.exif_transpose(plain)
    except BrokenImage:
        raise
    except Exception as error:
        # Whatever a damaged file makes a decoder raise.
        raise BrokenImage(f"{name}: {type(error).__name__}: {error}") from error
    path = thumbnail_of(folder, name)
    # Only now: a job whose files are no images gets no empty folder.
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with open(part, "xb") as file:
            small.save(file, "WEBP", quality=_QUALITY, method=3)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _open_quietly(path: Path) -> Image.Image:
    """Open an image without Pillow's warning of a large one: it is refused, and nobody can do anything about it."""
    from PIL import Image

    # The filters of warnings are the whole process's: they are changed by one thread at a time, while the file's
    # beginning is read.
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def make_thumbnails(
    folder: Path,
    names: Iterable[str],
    *,
    deadline: float | None = None,
    on_made: Callable[[Made], object] = lambda _: None,
) -> Made:
    """Make the thumbnails that are missing or stale, some at a time. It blocks.

    Args:
        folder: the job's.
        names: of images, read only as fast as they are made.
        deadline: of `time.monotonic`; what is not begun by then is left, and so is all that follows many in a row that
            are no images. None: all are tried.
        on_made: is told how far it is, often.
    """
    found = Made(error=explain_absence())
    if found.error is not None:
        return found
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1))
    waiting: deque[Future[None]] = deque()
    broken_in_a_row = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="aiai-thumbnails") as pool:
        for name in names:
            if look_at(folder, name) != PLAIN:
                continue
            is_late = deadline is not None and (time.monotonic() > deadline or broken_in_a_row >= _MOST_BROKEN)
            if found.error is not None or is_late:
                found.left = True
                break
            waiting.append(pool.submit(make_thumbnail, folder, name))
            if len(waiting) >= _AHEAD:
                broken_in_a_row = broken_in_a_row + 1 if _settle(waiting.popleft(), found) else 0
                on_made(found)
        while waiting:
            _settle(waiting.popleft(), found)
            on_made(found)
    return found


def _settle(future: Future[None], found: Made) -> bool:
    """Count what came of one; tell whether it is no image."""
    # Asked for and not raised: an error that is raised here holds its own future, and thousands wait to be collected.
    error = future.exception()
    if error is None:
        found.made += 1
    elif isinstance(error, BrokenImage):
        found.broken += 1
    elif isinstance(error, OSError):
        found.error = f"thumbnails can't be written: {error.strerror or error}"
    else:
        raise error
    return isinstance(error, BrokenImage)


def tidy(folder: Path, *, now: float) -> None:
    """Remove thumbnails whose image is gone, and what was cut off a while ago.

    Args:
        folder: the job's.
        now: Unix seconds.
    """
    with contextlib.suppress(OSError), os.scandir(folder / THUMBS) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith(PART):
                    is_stray = now - entry.stat().st_mtime > _PART_SECONDS
                else:
                    is_stray = not os.path.exists(f"{folder}/{IMAGES}/{entry.name.removesuffix(_SUFFIX)}")
                if is_stray and entry.name.endswith((PART, _SUFFIX)):
                    os.unlink(entry.path)


class ThumbnailThread:
    """Makes the thumbnails of a job while it runs, so that few are left to be made at its end.

    It never holds the job up: it takes one core of four or more, else half of one, rests while the process has much
    else to do, and names that come faster than it works are left for the report, which makes what is missing.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._names: Final[queue.Queue[str | None]] = queue.Queue(_WAITING)
        self._is_closing: Final = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def add(self, name: str) -> None:
        """Take the name of an image that is there."""
        if self._is_over:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="aiai-thumbnails", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The system has no thread left; the next one may be let in.
                return
            self._thread = thread
        if not self._names.full():
            with contextlib.suppress(queue.Full):
                self._names.put_nowait(name)

    def close(self) -> None:
        """Let it finish the one it is at, and no other; wait for that."""
        self._is_closing.set()
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._names.put_nowait(None)
            self._thread.join()

    def _work(self) -> None:
        try:
            # What is wrong is told by the report, which tries again.
            if explain_absence() is None:
                self._make_all()
        finally:
            self._is_over = True

    def _make_all(self) -> None:
        broken = 0
        load = _Load()
        while broken < _MOST_BROKEN and (name := self._names.get()) is not None:
            while load.measure() > _MOST_LOAD:
                if self._is_closing.wait(_REST_SECONDS):
                    return
            began_at = time.monotonic()
            try:
                if look_at(self._folder, name) == PLAIN:
                    make_thumbnail(self._folder, name)
            except BrokenImage:
                broken += 1
            except OSError:
                return
            else:
                broken = 0
            pause = 0.0 if _HAS_CORES_LEFT else time.monotonic() - began_at
            if self._is_closing.wait(pause):
                return


class _Load:
    """Tells how busy the process is with anything but the thread that asks."""

    def __init__(self) -> None:
        self._asked_at = time.monotonic()
        self._cpu = self._read_cpu()
        self._load = 0.0

    def measure(self) -> float:
        """Give the cores that were in use, over the last tenth of a second or more."""
        now = time.monotonic()
        if now - self._asked_at >= _LOAD_SECONDS:
            cpu = self._read_cpu()
            self._load = (cpu - self._cpu) / (now - self._asked_at)
            self._asked_at, self._cpu = now, cpu
        return self._load

    def _read_cpu(self) -> float:
        return time.process_time() - time.thread_time()
