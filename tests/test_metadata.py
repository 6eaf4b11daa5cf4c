"""What an image was made from, in its file: read back by Pillow, with every pixel as it was."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from aiai_async import _metadata
from aiai_async._metadata import HEAD_BYTES, Splice, apply, embed, plan

REQUEST = {"prompt": "A kite – 灯塔 🪁", "model": "gpt-image-1", "size": "1024x1024", "n": 2}
DESCRIPTION, SOFTWARE, EXIF_IFD, COMMENT = 0x010E, 0x0131, 0x8769, 0x9286


def draw(format: str, *, mode: str = "RGB", size: tuple[int, int] = (37, 23), **options: Any) -> bytes:
    """A picture file."""
    picture = Image.new(mode, size, (200, 30, 60, 128)[: len(mode)])
    ImageDraw.Draw(picture).ellipse((5, 5, size[0] - 9, size[1] - 4), fill=(0, 128, 255, 200)[: len(mode)])
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


FILES = {
    "png": draw("PNG"),
    "png with alpha": draw("PNG", mode="RGBA"),
    "jpeg": draw("JPEG"),
    "jpeg with a comment": draw("JPEG", comment=b"hello", progressive=True),
    "jpeg with a profile": draw("JPEG", icc_profile=bytes(70_000)),
    "webp": draw("WEBP"),
    "webp of another size": draw("WEBP", size=(256, 129)),
    "webp with alpha": draw("WEBP", mode="RGBA"),
    "webp without loss": draw("WEBP", lossless=True),
    "webp without loss, with alpha": draw("WEBP", mode="RGBA", lossless=True),
    "webp with xmp": draw("WEBP", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
}


def read(content: bytes) -> tuple[Image.Image, bytes]:
    """A picture and its pixels."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture, picture.tobytes()


def read_request(picture: Image.Image) -> dict[str, Any]:
    """What a picture says it was made from."""
    if picture.format == "PNG":
        assert isinstance(picture, Image.Image) and picture.info["Software"] == "aiai-async 1"
        found: dict[str, Any] = json.loads(picture.info["parameters"])
        assert picture.info["prompt"] == found["prompt"]
        return found
    exif = picture.getexif()
    comment = exif.get_ifd(EXIF_IFD)[COMMENT]
    assert comment.startswith(b"ASCII\0\0\0") and exif[SOFTWARE] == "aiai-async 1"
    found = json.loads(comment[8:])
    # Pillow takes it for Latin-1; what is written is UTF-8, as others read it.
    assert exif[DESCRIPTION].encode("latin-1").decode() == found["prompt"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_request_is_in_the_file_and_the_pixels_are_as_they_were(name: str) -> None:
    """In each format, with what else the file holds."""
    before, pixels = read(FILES[name])
    content = embed(FILES[name], REQUEST, software="aiai-async 1")
    after, same = read(content)
    assert read_request(after) == REQUEST
    assert same == pixels and (after.size, after.mode, after.format) == (before.size, before.mode, before.format)
    for field in ("icc_profile", "comment", "xmp"):
        assert after.info.get(field) == before.info.get(field)
    # What has it is not given it again, where the format has one place for it.
    if before.format != "PNG":
        assert embed(content, {"prompt": "other"}, software="x") == content


@settings(deadline=None)
@given(
    name=st.sampled_from(list(FILES)),
    prompt=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    size=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_text_comes_out_as_it_went_in(name: str, prompt: str, size: str) -> None:
    """Whatever the prompt and the settings hold."""
    request = {"prompt": prompt, "size": size}
    picture, pixels = read(embed(FILES[name], request, software="aiai-async 1"))
    assert read_request(picture) == request and pixels == read(FILES[name])[1]


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("prompt", ["x" * 32_000, "灯" * 32_000, '"\\' * 16_000], ids=["ascii", "chinese", "escaped"])
def test_the_longest_prompts(name: str, prompt: str) -> None:
    """A JPEG holds 64 KiB of it, and says where it was cut."""
    picture, pixels = read(embed(FILES[name], {"prompt": prompt, "model": "m"}, software="aiai-async 1"))
    found = read_request(picture)
    assert pixels == read(FILES[name])[1] and found["model"] == "m"
    if name == "jpeg" and found["prompt"] != prompt:
        assert found["prompt_is_cut"] is True
        assert prompt.startswith(found["prompt"]) and len(found["prompt"]) > 3_000
    else:
        assert found == {"prompt": prompt, "model": "m"}


def test_other_fields_that_are_too_long_for_a_jpeg() -> None:
    """Are not cut: it stays as it is."""
    assert embed(FILES["jpeg"], {"prompt": "a", "user": "x" * 70_000}, software="x") == FILES["jpeg"]


def test_what_cannot_be_written_as_text() -> None:
    """Zero bytes and lone surrogates are left out of the text; the JSON has them."""
    picture, _ = read(embed(FILES["png"], {"prompt": "a\0b\ud800"}, software="aiai-async 1"))
    assert picture.info["prompt"] == "ab?" and json.loads(picture.info["parameters"])["prompt"] == "a\0b\ud800"
    picture, _ = read(embed(FILES["jpeg"], {"prompt": "a\0b\ud800"}, software="aiai-async 1"))
    assert picture.getexif()[DESCRIPTION] == "ab?"


OTHERS = {
    "nothing": b"",
    "text": b"no image at all, but long enough to be looked at",
    "gif": draw("GIF"),
    "a cut png": FILES["png"][:20],
    "a png without a header": FILES["png"][:8] + bytes(100),
    "a cut jpeg": FILES["jpeg"][:15],
    "a jpeg that goes on oddly": FILES["jpeg"][:20] + bytes(50),
    "a jpeg with exif": draw("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "a webp with exif": draw("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "a cut webp": FILES["webp"][:60],
    "a short webp": FILES["webp"][:16],
    "a webp of an unknown kind": FILES["webp"][:12] + b"VP9 " + FILES["webp"][16:],
    "a webp with a broken picture": FILES["webp"][:23] + bytes(3) + FILES["webp"][26:],
    "a webp without a width": FILES["webp"][:26] + bytes(2) + FILES["webp"][28:],
    "a webp without a height": FILES["webp"][:28] + bytes(2) + FILES["webp"][30:],
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_hold_it_stays_as_it_is(name: str) -> None:
    """Other formats, broken files, files with EXIF of their own."""
    assert plan(OTHERS[name][:HEAD_BYTES], len(OTHERS[name]), REQUEST, software="x") is None
    assert embed(OTHERS[name], REQUEST, software="x") == OTHERS[name]


BEGINNINGS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\x10",
    *(b"RIFF\x30\0\0\0WEBP" + kind for kind in (b"", b"VP8X", b"VP8L\0\0\0\0\x2f", b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a")),
    b"RIFF\xfe\xff\xff\xffWEBPVP8X",
]


@given(rest=st.binary(max_size=80), start=st.sampled_from(BEGINNINGS), more=st.sampled_from([0, 1, 1 << 33]))
def test_any_bytes_are_taken_without_an_error(rest: bytes, start: bytes, more: int) -> None:
    """And what was there is still there, in order; `more` bytes of the file are behind what is looked at."""
    content = start + rest
    found = plan(content, len(content) + more, REQUEST, software="x")
    if found is not None and not more:
        assert len(apply(content, found)) == len(content) + sum(len(each.data) - each.replaced for each in found)


@given(name=st.sampled_from(list(FILES)), data=st.data())
def test_a_picture_with_any_bytes_changed_is_taken_without_an_error(name: str, data: st.DataObject) -> None:
    """As a network or a disk may break it, up to its end or before that."""
    content = bytearray(FILES[name])
    for at in data.draw(st.lists(st.integers(0, min(63, len(content) - 1)), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    plan(cut[:HEAD_BYTES], len(cut), REQUEST, software="x")


def test_a_webp_that_would_grow_beyond_what_its_header_can_say() -> None:
    """Stays as it is: four bytes hold its length."""
    head = b"RIFF" + (0xFFFF_FFFE).to_bytes(4, "little") + b"WEBPVP8X" + bytes(20)
    assert plan(head, 1 << 33, REQUEST, software="x") is None


def test_whatever_goes_wrong_the_image_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paid for."""

    def fail(*_: Any, **__: Any) -> None:
        raise OverflowError

    monkeypatch.setattr(_metadata, "plan", fail)
    assert embed(FILES["webp"], REQUEST, software="x") == FILES["webp"]


def test_splices() -> None:
    """At the beginning, in the middle, at the end."""
    splices = [Splice(0, 1, b"A"), Splice(2, 0, b"--"), Splice(5, 0, b"!")]
    assert apply(b"abcde", splices) == b"Ab--cde!"
    assert apply(b"abcde", []) == b"abcde"
