"""Thumbnails of real image files of all kinds, whole and broken ones; made only where they are missing or stale."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from aiai_async.bulk.report import thumbnails
from aiai_async.bulk.report.thumbnails import (
    GONE,
    PLAIN,
    THUMB,
    BrokenImage,
    ThumbnailThread,
    explain_absence,
    look_at,
    make_thumbnail,
    make_thumbnails,
    thumbnail_of,
    tidy,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's, with no image yet."""
    (tmp_path / "images").mkdir()
    return tmp_path


def save(folder: Path, name: str, image: Image.Image, **options: object) -> str:
    """Put an image into the job."""
    image.save(folder / "images" / name, **options)
    return name


def names_in(folder: Path) -> list[str]:
    """The thumbnails, and whatever else lies there."""
    return sorted(os.listdir(folder / "thumbs")) if (folder / "thumbs").exists() else []


def _save_rotated(folder: Path) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6
    return save(folder, "a.jpg", Image.new("RGB", (900, 600), "red"), exif=exif)


KINDS: dict[str, tuple[Callable[[Path], str], tuple[int, int], str]] = {
    "png": (lambda folder: save(folder, "a.png", Image.new("RGB", (1024, 1024), "red")), (256, 256), "RGB"),
    "wide": (lambda folder: save(folder, "a.png", Image.new("RGB", (1536, 1024))), (256, 171), "RGB"),
    "tall": (lambda folder: save(folder, "a.webp", Image.new("RGB", (1024, 1536))), (171, 256), "RGB"),
    "small": (lambda folder: save(folder, "a.png", Image.new("RGB", (64, 32))), (64, 32), "RGB"),
    "transparent": (
        lambda folder: save(folder, "a.png", Image.new("RGBA", (512, 512), (255, 0, 0, 9))),
        (256, 256),
        "RGBA",
    ),
    "a palette": (lambda folder: save(folder, "a.png", Image.new("P", (512, 512))), (256, 256), "RGB"),
    "a transparent palette": (
        lambda folder: save(folder, "a.gif", Image.new("P", (512, 512)), transparency=0),
        (256, 256),
        "RGBA",
    ),
    "grey": (lambda folder: save(folder, "a.jpg", Image.new("L", (512, 512), 99)), (256, 256), "RGB"),
    "16 bit grey": (lambda folder: save(folder, "a.png", Image.new("I;16", (512, 512))), (256, 256), "RGB"),
    "cmyk": (lambda folder: save(folder, "a.jpg", Image.new("CMYK", (512, 512))), (256, 256), "RGB"),
    "one bit": (lambda folder: save(folder, "a.png", Image.new("1", (512, 512))), (256, 256), "RGB"),
    "lying on its side": (_save_rotated, (171, 256), "RGB"),
    "several frames": (
        lambda folder: save(
            folder, "a.webp", Image.new("RGB", (300, 300)), save_all=True, append_images=[Image.new("RGB", (300, 300))]
        ),
        (256, 256),
        "RGB",
    ),
    "another suffix": (
        lambda folder: save(folder, "a.bin", Image.new("RGB", (300, 300)), format="PNG"),
        (256, 256),
        "RGB",
    ),
}


@pytest.mark.parametrize(("make", "size", "mode"), KINDS.values(), ids=KINDS)
def test_a_thumbnail(folder: Path, make: Callable[[Path], str], size: tuple[int, int], mode: str) -> None:
    """Is a small WebP of the whole picture, transparent where that is."""
    name = make(folder)
    assert look_at(folder, name) == PLAIN
    make_thumbnail(folder, name)
    with Image.open(thumbnail_of(folder, name)) as small:
        assert (small.format, small.size, small.mode) == ("WEBP", size, mode)
    assert look_at(folder, name) == THUMB and names_in(folder) == [f"{name}.webp"]


def make_bomb(width: int, height: int) -> bytes:
    """A PNG of some bytes that says it is a picture of gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>503</html>",
    "only a beginning": b"\x89PNG\r\n\x1a\n",
    "cut off": b"",
    "a bomb": make_bomb(8000, 8000),
    "a larger bomb": make_bomb(60_000, 60_000),
}


@pytest.mark.parametrize(("case", "content"), BROKEN.items(), ids=BROKEN)
def test_a_broken_image(folder: Path, case: str, content: bytes) -> None:
    """Has none, says why, and leaves nothing behind; no other one suffers from it."""
    path = folder / "images" / "a.png"
    if case == "cut off":
        Image.effect_noise((300, 300), 50).save(path)
        content = path.read_bytes()[:9000]
    path.write_bytes(content)
    with pytest.raises(BrokenImage, match=r"a\.png"):
        make_thumbnail(folder, "a.png")
    assert names_in(folder) == []
    save(folder, "b.png", Image.new("RGB", (9, 9)))
    found = make_thumbnails(folder, ["a.png", "b.png", "gone.png"])
    assert (found.made, found.broken, found.left, found.error) == (1, 1, False, None)
    assert (
        names_in(folder) == ["b.png.webp"] and look_at(folder, "a.png") == PLAIN and look_at(folder, "gone.png") == GONE
    )


def test_pillows_warning_of_a_large_image_is_not_shown(folder: Path) -> None:
    """It is refused before anything of it is decoded, in words of our own; other warnings are as they were."""
    (folder / "images" / "a.png").write_bytes(make_bomb(11_000, 10_000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with pytest.raises(BrokenImage, match=r"a\.png has 11000 × 10000 pixels"):
            make_thumbnail(folder, "a.png")
        assert not caught and list(warnings.filters) == before


def test_only_those_that_are_missing_or_stale(folder: Path) -> None:
    """Are made again: a newer image's, and one that a loss of power left empty."""
    names = [save(folder, f"{number}.png", Image.new("RGB", (9, 9))) for number in range(4)]
    told: list[int] = []
    assert make_thumbnails(folder, iter(names), on_made=lambda made: told.append(made.made)).made == 4
    assert told[-1] == 4
    before = {name: thumbnail_of(folder, name).stat().st_mtime_ns for name in names}
    assert make_thumbnails(folder, names).made == 0
    later = time.time() + 100
    os.utime(folder / "images" / names[1], (later, later))
    thumbnail_of(folder, names[2]).write_bytes(b"")
    thumbnail_of(folder, names[3]).unlink()
    assert make_thumbnails(folder, names).made == 3
    assert thumbnail_of(folder, names[0]).stat().st_mtime_ns == before[names[0]]


def test_names_are_read_as_they_are_needed(folder: Path) -> None:
    """A million of them are no list."""
    save(folder, "a.png", Image.new("RGB", (9, 9)))
    read: list[str] = []

    def give_names() -> Iterator[str]:
        for number in range(200):
            read.append(f"{number}.png")
            os.link(folder / "images" / "a.png", folder / "images" / read[-1])
            yield read[-1]

    ahead: list[int] = []
    make_thumbnails(folder, give_names(), on_made=lambda made: ahead.append(len(read) - made.made))
    assert len(read) == 200 and max(ahead) <= 64


def test_a_time_limit(folder: Path) -> None:
    """What was not begun by then is left, which is told."""
    names = [save(folder, f"{number}.png", Image.new("RGB", (9, 9))) for number in range(3)]
    found = make_thumbnails(folder, names, deadline=time.monotonic() - 1)
    assert (found.made, found.left) == (0, True) and names_in(folder) == []


def test_with_a_time_limit_what_are_no_images_is_given_up(folder: Path) -> None:
    """As a job's end has one: a hundred thousand of them would cost it minutes. Without, all are tried."""
    names = [f"{number}.png" for number in range(200)]
    for name in names:
        (folder / "images" / name).write_bytes(b"x")
    found = make_thumbnails(folder, names, deadline=time.monotonic() + 600)
    assert found.left and 20 <= found.broken < 100
    found = make_thumbnails(folder, names)
    assert (found.broken, found.left) == (200, False)


def test_a_folder_that_cant_be_written(folder: Path) -> None:
    """Is said once; the rest is not tried."""
    names = [save(folder, f"{number}.png", Image.new("RGB", (9, 9))) for number in range(100)]
    (folder / "thumbs").write_text("a file")
    found = make_thumbnails(folder, names)
    assert found.made == 0 and found.error is not None and found.error.startswith("thumbnails can't be written: ")
    assert found.left


def test_nothing_is_left_where_writing_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a part nor a half thumbnail."""
    name = save(folder, "a.png", Image.new("RGB", (9, 9)))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert make_thumbnails(folder, [name]).error == "thumbnails can't be written: No space left on device"
    assert names_in(folder) == []


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to install, and nothing fails; nor does it with a Pillow that lacks WebP."""
    save(folder, "a.png", Image.new("RGB", (9, 9)))
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    assert explain_absence() == "this Pillow was built without WebP"
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    found = make_thumbnails(folder, ["a.png"])
    assert found.error == "Pillow is not installed: pip install 'aiai-async[report]'" and found.made == 0
    thread = ThumbnailThread(folder)
    thread.add("a.png")
    thread.close()
    assert names_in(folder) == []


def test_tidying(folder: Path) -> None:
    """Takes away thumbnails without an image and old parts, and nothing else; where there are none, nothing happens."""
    tidy(folder, now=time.time())
    name = save(folder, "a.png", Image.new("RGB", (9, 9)))
    make_thumbnail(folder, name)
    for stray in ("b.png.webp", "old.webp.1234.part", "new.webp.1234.part", "notes.txt"):
        (folder / "thumbs" / stray).write_bytes(b"x")
    os.utime(folder / "thumbs" / "old.webp.1234.part", (1.0, 1.0))
    tidy(folder, now=time.time())
    assert names_in(folder) == ["a.png.webp", "new.webp.1234.part", "notes.txt"]


def test_a_thread_beside_a_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes them as they come, and closes without making the rest."""
    names = [save(folder, f"{number}.png", Image.new("RGB", (9, 9))) for number in range(5)]
    (folder / "images" / "broken.png").write_bytes(b"x")
    made, begun, go = threading.Semaphore(0), threading.Event(), threading.Event()
    original = thumbnails.make_thumbnail

    def make(where: Path, name: str) -> None:
        if name == names[3]:
            begun.set()
            go.wait()
        original(where, name)
        made.release()

    monkeypatch.setattr(thumbnails, "make_thumbnail", make)
    thread = ThumbnailThread(folder)
    for name in [*names[:2], "broken.png", names[0], *names[2:]]:
        thread.add(name)
    begun.wait()
    closer = threading.Thread(target=thread.close)
    closer.start()
    go.set()
    closer.join()
    assert names_in(folder) == [f"{name}.webp" for name in names[:4]]


def test_a_thread_rests_while_the_process_is_busy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes them when it no longer is; what it doesn't come to is left for the report."""
    loads = [0.9, 0.9, 0.1]
    made = threading.Event()

    def make(where: Path, name: str) -> None:
        assert loads == []
        made.set()

    monkeypatch.setattr(thumbnails, "make_thumbnail", make)
    monkeypatch.setattr(thumbnails, "_REST_SECONDS", 0.001)
    monkeypatch.setattr(thumbnails._Load, "measure", lambda self: loads.pop(0))
    thread = ThumbnailThread(folder)
    thread.add(save(folder, "a.png", Image.new("RGB", (9, 9))))
    made.wait()
    thread.close()
    loads[:] = [0.9]
    thread = ThumbnailThread(folder)
    monkeypatch.setattr(thumbnails, "_REST_SECONDS", 600.0)
    thread.add("a.png")
    thread.close()


def test_the_load_is_that_of_all_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a while: of moments it says nothing."""
    now, process, thread = 10.0, 5.0, 1.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "process_time", lambda: process)
    monkeypatch.setattr(time, "thread_time", lambda: thread)
    load = thumbnails._Load()
    now, process = 10.01, 5.01
    assert load.measure() == 0.0
    now, process, thread = 11.0, 6.0, 1.5
    assert load.measure() == pytest.approx(0.5)


def test_a_thread_gives_up_on_what_are_no_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would cost a millisecond, a hundred thousand times; nor does it go on where nothing can be written."""
    tried: list[str] = []

    def fail(where: Path, name: str) -> None:
        tried.append(name)
        raise BrokenImage(name)

    monkeypatch.setattr(thumbnails, "make_thumbnail", fail)
    for number in range(50):
        (folder / "images" / f"{number}.png").write_bytes(b"x")
    thread = ThumbnailThread(folder)
    for number in range(50):
        thread.add(f"{number}.png")
    worker = next(one for one in threading.enumerate() if one.name == "aiai-thumbnails")
    worker.join()
    thread.close()
    assert len(tried) == 20

    def refuse(where: Path, name: str) -> None:
        raise OSError("full")

    monkeypatch.setattr(thumbnails, "make_thumbnail", refuse)
    thread = ThumbnailThread(folder)
    thread.add("0.png")
    thread._thread.join()  # type: ignore[union-attr] # it ends by itself
    thread.close()


def test_a_thread_that_cant_be_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs the thumbnails and not the job."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = ThumbnailThread(folder)
    thread.add("a.png")
    thread.close()
