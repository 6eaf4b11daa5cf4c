"""`_saving`: names for files. Where images go is tested with the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async import ImageRequest
from aiai_async.cli._saving import Destination, SavingError, make_slug


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A lighthouse, at dusk!", "a-lighthouse-at-dusk"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\con|<>?*", "c-con"),
        ("黄昏的灯塔", "黄昏的灯塔"),
        ("ﬁne Ｔｅｘｔ", "fine-text"),
        ("हिन्दी में", "हिन्दी-में"),
        ("...", "image"),
        ("\x00\n\ud800", "image"),
        ("word " * 50, "word-word-word-word-word-word-word-word-word-word-word-word"),
        ("x" * 500, "x" * 60),
        ("塔" * 500, "塔" * 40),
    ],
)
def test_slug(prompt: str, expected: str) -> None:
    """It is readable, short, and safe on every file system."""
    assert make_slug(prompt) == expected


@given(st.text(max_size=300))
def test_any_slug_is_safe(prompt: str) -> None:
    """Whatever the prompt holds."""
    slug = make_slug(prompt)
    assert slug and len(slug.encode()) <= 120 and not slug.startswith("-")
    assert not set(slug) & set('/\\:*?"<>|.\0\n') and slug.isprintable()


async def test_two_at_once_get_two_names(tmp_path: Path) -> None:
    """Also where one prompt is given twice."""
    destination = Destination(tmp_path)

    async def save(content: bytes) -> None:
        await destination.save(content, ImageRequest(prompt="same"))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(save, b"GIF89a" + bytes([number]))
    paths = sorted(tmp_path.iterdir())
    assert {path.name for path in paths} == {f"same-{number}.gif" for number in range(1, 11)}
    assert {path.read_bytes()[-1] for path in paths} == set(range(10))


@pytest.mark.parametrize(
    ("destination", "expected"), [(Destination(Path()), "x-1.bin"), (Destination(Path(), "y", ".png"), "y.png")]
)
async def test_an_unknown_kind_keeps_the_name_asked_for(
    destination: Destination, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And else says that it is unknown."""
    monkeypatch.chdir(tmp_path)
    saved = await destination.save(b"no image", ImageRequest(prompt="x"))
    assert (str(saved.path), saved.size_bytes, saved.media_type) == (expected, 8, None)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let the system refuse files above a megabyte, as a disk does that is full."""
    resource = pytest.importorskip("resource", reason="Windows has no such limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
async def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a part nor the empty file that held its name; the folder for temporary files is tried, and as full."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SavingError, match=r"can't be written to .*: File too large; it is lost"):
        await Destination(tmp_path).save(b"GIF89a" + bytes(2**21), ImageRequest(prompt="x"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_an_image_that_can_go_nowhere_is_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder for temporary files fails too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(SavingError) as caught:
        await Destination(tmp_path / "gone").save(b"GIF89a", ImageRequest(prompt="x"))
    assert caught.value.path is None and caught.value.may_have_been_billed
    assert "it is lost, for the folder for temporary files fails too: No such file or directory" in str(caught.value)
