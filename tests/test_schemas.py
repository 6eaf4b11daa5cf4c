"""Requests and images as values, and images as files."""

from __future__ import annotations

import base64
import copy
import hashlib
import inspect
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiai_async._errors import DownloadError, InvalidRequestError
from aiai_async._facts import Usage
from aiai_async._schemas import HTTPInfo, Image, ImageRequest, ImagesResponse, sniff_media_type

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20)
GIF = b"GIF89a" + bytes(20)
AVIF = b"\0\0\0\x1cftypavif" + bytes(20)
LINK = "https://cdn.example.com/a.png?sig=secret"

MEDIA_TYPES = {
    "png": (PNG, "image/png", ".png"),
    "jpeg": (JPEG, "image/jpeg", ".jpg"),
    "webp": (WEBP, "image/webp", ".webp"),
    "gif": (GIF, "image/gif", ".gif"),
    "the older gif": (b"GIF87a", "image/gif", ".gif"),
    "avif": (AVIF, "image/avif", ".avif"),
    "another RIFF": (b"RIFF\x24\0\0\0WAVEfmt ", None, ""),
    "text": (b"hello", None, ""),
    "nothing": (b"", None, ""),
}
every_type = pytest.mark.parametrize(("content", "media_type", "suffix"), MEDIA_TYPES.values(), ids=MEDIA_TYPES.keys())


async def fetch(url: str) -> bytes:
    """Stand for the function of a client."""
    assert url == LINK
    return WEBP


def test_a_request_gives_the_fields_that_are_set() -> None:
    """None is the same as left out; false values are values."""
    request = ImageRequest(prompt="p", model="m", n=0, output_compression=0, user="")
    assert request.to_fields() == {"prompt": "p", "model": "m", "n": 0, "output_compression": 0, "user": ""}


def test_a_request_has_every_field_of_the_body_but_stream() -> None:
    """By their names on the wire."""
    assert [field.name for field in attrs.fields(ImageRequest)] == [
        "prompt",
        "model",
        "n",
        "size",
        "background",
        "moderation",
        "quality",
        "style",
        "output_format",
        "output_compression",
        "response_format",
        "partial_images",
        "user",
    ]


def test_a_request_is_a_frozen_value() -> None:
    """Equal, hashable, picklable; `attrs.evolve` makes variants."""
    request = ImageRequest(prompt="p")
    assert request == ImageRequest(prompt="p")
    assert hash(request) == hash(ImageRequest(prompt="p"))
    assert attrs.evolve(request, n=2) == ImageRequest(prompt="p", n=2)
    assert pickle.loads(pickle.dumps(request)) == request
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.n = 2  # type: ignore[misc] # that is the case
    with pytest.raises(TypeError):
        ImageRequest("p")  # type: ignore[call-arg] # keyword-only


def test_a_request_is_checked_against_its_model() -> None:
    """Partial images are accepted, since it isn't known yet whether a stream will be asked for."""
    ImageRequest(prompt="p", model="gpt-image-1", partial_images=3).validate()
    ImageRequest(prompt="p").validate()
    for request in (
        ImageRequest(prompt="p", model="dall-e-3", n=2),
        ImageRequest(prompt="p", model="gpt-image-1", partial_images=4),
        ImageRequest(prompt="p", model="dall-e-2", partial_images=1),
        ImageRequest(prompt=""),
    ):
        with pytest.raises(InvalidRequestError):
            request.validate()


@every_type
def test_the_media_type_is_told_by_the_bytes(content: bytes, media_type: str | None, suffix: str) -> None:
    """Twelve of them suffice."""
    assert sniff_media_type(content) == sniff_media_type(content[:12]) == media_type
    assert Image(content=content).media_type == media_type


def test_an_image_with_its_bytes() -> None:
    """What is said of it follows from them."""
    image = Image(content=PNG, revised_prompt="x")
    assert image.size_bytes == len(PNG)
    assert image.sha256 == hashlib.sha256(PNG).hexdigest()
    assert image.b64_json == base64.b64encode(PNG).decode()
    assert (image.url, image.path) == (None, None)
    assert repr(image) == f"Image(image/png, {len(PNG)} bytes)"


def test_an_image_that_is_a_link() -> None:
    """Nothing is known of its bytes, and its repr has no signature."""
    image = Image(url=LINK)
    assert (image.content, image.media_type, image.size_bytes, image.sha256, image.b64_json) == (None,) * 5
    assert repr(image) == "Image(unknown type at 'https://cdn.example.com/a.png')"


def test_an_image_that_went_to_a_sink() -> None:
    """What was written is said; the bytes are not here."""
    image = Image(media_type="image/png", size_bytes=5, sha256="ab", path=Path("a.png"))
    assert (image.content, image.b64_json, image.sha256) == (None, None, "ab")
    assert repr(image) == "Image(image/png, 5 bytes in 'a.png')"


def test_the_clients_function_is_not_part_of_the_value() -> None:
    """Not in eq, hash, repr or pickle."""
    image = Image(url=LINK, fetch=fetch)
    assert image == Image(url=LINK)
    assert hash(image) == hash(Image(url=LINK))
    assert "fetch" not in repr(image)
    twin = pickle.loads(pickle.dumps(image))
    assert twin == image


@pytest.mark.parametrize(
    "image",
    [
        Image(content=PNG, revised_prompt="x"),
        Image(url=LINK, fetch=fetch),
        Image(media_type="image/png", size_bytes=5, sha256="ab", path=Path("a.png")),
    ],
    ids=["bytes", "link", "sink"],
)
def test_an_image_survives_pickling_and_copying(image: Image) -> None:
    """With all its fields."""
    for twin in (pickle.loads(pickle.dumps(image)), copy.copy(image), copy.deepcopy(image)):
        assert twin == image
        assert repr(twin) == repr(image)
        assert twin.sha256 == image.sha256


async def test_bytes_are_read_from_where_they_are(tmp_path: Path) -> None:
    """Here, behind the link, in the sink's file."""
    path = tmp_path / "a.png"
    path.write_bytes(JPEG)
    assert await Image(content=PNG, url=LINK, fetch=fetch).read() == PNG
    assert await Image(url=LINK, fetch=fetch).read() == WEBP
    assert await Image(path=path).read() == JPEG
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await Image(path=path).read()


async def test_a_link_without_a_client_is_a_download_error() -> None:
    """As after unpickling; the words say what to do, and hold no signature."""
    image = pickle.loads(pickle.dumps(Image(url=LINK, fetch=fetch)))
    with pytest.raises(DownloadError, match="read it before it is pickled") as caught:
        await image.read()
    assert caught.value.url == "https://cdn.example.com/a.png"
    assert "secret" not in str(caught.value)


async def test_an_image_in_a_sink_without_a_path_cannot_be_read() -> None:
    """The caller's sink has it."""
    with pytest.raises(DownloadError, match="a sink that has no path"):
        await Image(size_bytes=5).read()


@every_type
async def test_a_missing_suffix_is_added(tmp_path: Path, content: bytes, media_type: str | None, suffix: str) -> None:
    """That of the bytes; none where they are no known image."""
    path = await Image(content=content).save(tmp_path / "picture")
    assert path == tmp_path / f"picture{suffix}"
    assert path.read_bytes() == content


async def test_a_given_suffix_is_kept(tmp_path: Path) -> None:
    """Even a wrong one: it was asked for."""
    assert await Image(content=PNG).save(str(tmp_path / "a.jpg")) == tmp_path / "a.jpg"


async def test_the_suffix_of_a_link_is_that_of_what_came(tmp_path: Path) -> None:
    """A link's own name may say something else."""
    assert await Image(url=LINK, fetch=fetch).save(tmp_path / "a") == tmp_path / "a.webp"


async def test_all_images_are_saved_into_a_folder(tmp_path: Path) -> None:
    """Which is made; twice gives the same files, and another answer's images stay beside them."""
    folder = tmp_path / "new" / "folder"
    response = ImagesResponse(data=(Image(content=PNG), Image(content=PNG), Image(url=LINK, fetch=fetch)))
    paths = await response.save_all(folder)
    assert [path.suffix for path in paths] == [".png", ".png", ".webp"]
    assert [path.read_bytes() for path in paths] == [PNG, PNG, WEBP]
    assert await response.save_all(str(folder)) == paths
    others = await ImagesResponse(data=(Image(content=JPEG),)).save_all(folder)
    assert sorted(folder.iterdir()) == sorted([*paths, *others])


async def test_images_before_one_that_fails_are_saved(tmp_path: Path) -> None:
    """They were paid for."""
    response = ImagesResponse(data=(Image(content=PNG), Image(url=LINK)))
    with pytest.raises(DownloadError):
        await response.save_all(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [PNG]


def test_a_response_is_a_value() -> None:
    """How it came is no part of it: not in eq and hash, and headers not in the repr."""
    http = HTTPInfo(
        status=200, headers={"x-request-id": "r", "x-cost": "many"}, request_id="r", attempts=1, elapsed=0.5
    )
    fields: dict[str, Any] = {"data": (Image(content=PNG),), "usage": Usage(total_tokens=1), "extra": {"a": [1]}}
    response = ImagesResponse(**fields, http=http)
    assert response == ImagesResponse(**fields)
    assert hash(response) == hash(ImagesResponse(**fields))
    assert response.image is response.data[0]
    assert "x-cost" not in repr(response)
    assert pickle.loads(pickle.dumps(response)).http == http


def test_reading_and_saving_are_the_only_coroutines() -> None:
    """Everything else about an image is there at once."""
    for schema, names in ((Image, ["read", "save"]), (ImagesResponse, ["save_all"]), (ImageRequest, [])):
        assert [name for name, _ in inspect.getmembers(schema, inspect.iscoroutinefunction)] == names
