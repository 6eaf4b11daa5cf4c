"""What is asked for and what comes back: ImageRequest, ImagesResponse, Image, and the events of a stream.

Frozen values, keyword-only. Nothing here waits for the network: an image that lies behind a link holds one private
function of the client that made it, and `read` and `save` only call it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import pybase64

from aiai_async import _files
from aiai_async._errors import DownloadError
from aiai_async._facts import Cost, Usage
from aiai_async._models import check
from aiai_async._secret import strip_query

if TYPE_CHECKING:
    from aiai_async._prices import ModelPrices

Size = Literal["auto", "256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792"] | str
"""A size in pixels, WIDTHxHEIGHT. gpt-image-2 takes others than those named here."""
Background = Literal["transparent", "opaque", "auto"]
Moderation = Literal["low", "auto"]
Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]
Style = Literal["vivid", "natural"]
OutputFormat = Literal["png", "jpeg", "webp"]
ResponseFormat = Literal["url", "b64_json"]

Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches the image behind a link."""

_PRICED: Final = frozenset({"model", "size", "quality"})
_SUFFIXES: Final[Mapping[str, str]] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
}


def sniff_media_type(content: bytes) -> str | None:
    """Tell an image's media type by its first bytes (twelve suffice); None where it is none of those known.

    Source: WHATWG MIME Sniffing, 6.1, and ISO/IEC 23008-12 for AVIF.

    Example:
        >>> sniff_media_type(b"\\x89PNG\\r\\n\\x1a\\n")
        'image/png'
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if content[4:12] == b"ftypavif":
        return "image/avif"
    return None


@attrs.frozen(kw_only=True)
class ImageRequest:
    """The body of one request. None is the same as left out: it isn't sent. `attrs.evolve` makes variants.

    Example:
        >>> request = ImageRequest(prompt="A lighthouse at dusk", model="gpt-image-1")
        >>> attrs.evolve(request, size="1536x1024").to_fields()
        {'prompt': 'A lighthouse at dusk', 'model': 'gpt-image-1', 'size': '1536x1024'}
    """

    prompt: str
    """What the image shows; at most 32,000 characters, 1,000 for dall-e-2, 4,000 for dall-e-3."""
    model: str | None = None
    """The model's name; where none is given the server chooses, mostly dall-e-2."""
    n: int | None = None
    """How many images, 1 to 10; dall-e-3 makes only 1."""
    size: Size | None = None
    background: Background | None = None
    """gpt-image models; transparent needs png or webp."""
    moderation: Moderation | None = None
    """gpt-image models: how strict the moderation is."""
    quality: Quality | None = None
    style: Style | None = None
    """dall-e-3 only."""
    output_format: OutputFormat | None = None
    """gpt-image models."""
    output_compression: int | None = None
    """gpt-image models with webp or jpeg: 0 to 100 percent."""
    response_format: ResponseFormat | None = None
    """dall-e models; gpt-image models always answer with the image itself."""
    partial_images: int | None = None
    """Partial images that a stream shows before the final one, 0 to 3; a server may send fewer."""
    user: str | None = None
    """Your own id of the end user, for the server's abuse monitoring."""

    def to_fields(self) -> dict[str, object]:
        """Give the fields that are set, by their names on the wire."""
        return {name: value for name in _REQUEST_FIELDS if (value := getattr(self, name)) is not None}

    def validate(self) -> None:
        """Check the request against the rules of its model; nothing is sent.

        Whether it will be asked for as a stream isn't known here, so `partial_images` is accepted.

        Raises:
            InvalidRequestError: a field is not accepted: which, what it held and what is allowed.
        """
        fields = self.to_fields()
        check(self.model, fields if self.partial_images is None else {**fields, "stream": True})


_REQUEST_FIELDS: Final = tuple(field.name for field in attrs.fields(ImageRequest))


@attrs.frozen(kw_only=True, repr=False)
class Image:
    """One image: its bytes, or a link to them, or what was written to a sink.

    Example:
        >>> Image(content=b"\\x89PNG\\r\\n\\x1a\\n")
        Image(image/png, 8 bytes)
    """

    content: bytes | None = None
    """The image file's bytes; None for a link, and where a sink took them."""
    url: str | None = None
    """The link, absolute, where the server gave one; it expires, on OpenAI after an hour."""
    revised_prompt: str | None = None
    """The prompt that was really used, where the server changed it."""
    media_type: str | None = attrs.Factory(
        lambda self: None if self.content is None else sniff_media_type(self.content), takes_self=True
    )
    """Such as `image/png`, told by the bytes; None for a link, and where they are no known image."""
    size_bytes: int | None = attrs.Factory(
        lambda self: None if self.content is None else len(self.content), takes_self=True
    )
    """Length of the image file; None for a link."""
    path: Path | None = None
    """Where the sink wrote the image; None where there was no sink, or where it has no `path`."""
    _sha256: str | None = attrs.field(default=None, alias="sha256")
    _fetch: Fetch | None = attrs.field(default=None, eq=False, alias="fetch")

    def __repr__(self) -> str:
        where = f" at {strip_query(self.url)!r}" if self.url else f" in {str(self.path)!r}" if self.path else ""
        size = "" if self.size_bytes is None else f", {self.size_bytes} bytes"
        return f"Image({self.media_type or 'unknown type'}{size}{where})"

    def __getstate__(self) -> dict[str, Any]:
        # The client's function stays behind: a connection can't go to another process.
        return {field.name: getattr(self, field.name) for field in attrs.fields(Image) if field.name != "_fetch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_fetch": None}.items():
            object.__setattr__(self, name, value)

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the image file, in hexadecimal; None for a link."""
        if self._sha256 is None and self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        return self._sha256

    @property
    def b64_json(self) -> str | None:
        """The bytes as base64, encoded anew each time; None where there are none here."""
        return None if self.content is None else pybase64.b64encode_as_string(self.content)

    async def read(self) -> bytes:
        """Give the image file's bytes: those here, those that the sink wrote, or those behind the link.

        A link is downloaded anew by each call, without the API key.

        Raises:
            DownloadError: the link could not be fetched, the client was closed, or the image was unpickled.
            OSError: the sink's file can't be read any more.
        """
        if self.content is not None:
            return self.content
        if self.url is not None:
            if self._fetch is None:
                raise DownloadError(
                    "this image is only a link, and no client that could fetch it belongs to it; "
                    "read it before it is pickled, or fetch the link yourself",
                    url=strip_query(self.url),
                )
            return await self._fetch(self.url)
        if self.path is not None:
            return await _files.read(self.path)
        raise DownloadError("this image went to a sink that has no path, so it can't be read again from here")

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the image to a file, atomically: other programs see the whole image or none.

        Args:
            path: the file; a missing suffix is added (.png, .jpg, .webp), an existing file is replaced.

        Returns:
            The path that was written.

        Raises:
            DownloadError: as `read`.
            OSError: the file can't be written.
        """
        content = await self.read()
        return await _save(content, Path(path))


async def _save(content: bytes, path: Path) -> Path:
    if not path.suffix:
        path = path.with_name(path.name + _SUFFIXES.get(sniff_media_type(content) or "", ""))
    await _files.write(path, content)
    return path


@attrs.frozen(kw_only=True)
class PartialImageEvent:
    """A picture on the way to the final one, from a stream."""

    image: Image
    partial_image_index: int
    """Which of the partial pictures it is, from 0."""
    created_at: dt.datetime | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    type: str = "image_generation.partial_image"
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False)
    """Fields of the server that this package doesn't know."""

    @property
    def b64_json(self) -> str | None:
        """The picture as base64, encoded anew each time."""
        return self.image.b64_json


@attrs.frozen(kw_only=True)
class ImageCompletedEvent:
    """A final image, from a stream."""

    image: Image
    usage: Usage | None = None
    """What it was billed for; where one answer holds several images, only the last event carries it."""
    created_at: dt.datetime | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    type: str = "image_generation.completed"
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False)
    """Fields of the server that this package doesn't know."""

    @property
    def b64_json(self) -> str | None:
        """The image as base64, encoded anew each time; None for a link, and where a sink took it."""
        return self.image.b64_json


@attrs.frozen(kw_only=True)
class HTTPInfo:
    """How the answer came."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The answer's header fields; the case of names doesn't matter."""
    request_id: str | None
    """The server's id of the request, for its operator."""
    attempts: int
    """Attempts that were made, 1 where the first succeeded."""
    elapsed: float
    """Seconds from the start of the call to the end of the answer, with all attempts and the waits between."""


@attrs.frozen(kw_only=True, eq=False)
class Tariff:
    """Knows what the answers to one request cost. It is asked when that is of interest: working it out takes 15 us."""

    asked: Mapping[str, str]
    """The settings of the request that prices depend on: model, size and quality, those that it names."""
    prices: Mapping[str, ModelPrices]
    """The caller's, which `read_prices` gave."""

    @classmethod
    def of(cls, fields: Mapping[str, object], prices: Mapping[str, ModelPrices]) -> Tariff:
        """Make that of a request with these fields."""
        named = {name: value for name, value in fields.items() if name in _PRICED and isinstance(value, str)}
        return cls(asked=named, prices=prices)

    def find_cost(self, response: ImagesResponse) -> Cost | None:
        """Say what an answer cost, as far as that is known."""
        # The table of prices takes 3 ms to load, and few programs look at it.
        from aiai_async._costs import find_cost

        return find_cost(response, self.asked.get("model"), self.asked, self.prices)


@attrs.frozen(kw_only=True)
class ImagesResponse:
    """The answer to one request."""

    data: tuple[Image, ...]
    """The images in the server's order; may be fewer than were asked for, never none."""
    created: dt.datetime | None = None
    """When the server made them, in UTC; None where it didn't say."""
    usage: Usage | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False)
    """Fields of the server that this package doesn't know."""
    http: HTTPInfo | None = attrs.field(default=None, eq=False)
    """How the answer came; None where it was made by hand."""
    _tariff: Tariff | None = attrs.field(default=None, eq=False, repr=False, alias="tariff")
    """Knows what it cost; None where it was made by hand."""

    @property
    def cost(self) -> Cost | None:
        """US dollars that the answer cost: as the server says, else by the prices; None where neither is known.

        It is worked out each time it is asked for, by the prices that the client has.
        """
        return None if self._tariff is None else self._tariff.find_cost(self)

    @property
    def image(self) -> Image:
        """The first image."""
        return self.data[0]

    async def save_all(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write all images into a folder, which is made where it isn't there.

        The names are `image-{place}-{hash}` and the right suffix: two answers in one folder never replace each other's
        images, and saving one twice gives the same files.

        Returns:
            The paths, in the order of `data`.

        Raises:
            DownloadError: an image that is a link could not be fetched; those before it are saved.
            OSError: a file can't be written.
        """
        folder = Path(folder)
        await _files.make_folder(folder)
        paths: list[Path] = []
        for place, image in enumerate(self.data):
            content = await image.read()
            digest = hashlib.sha256(content).hexdigest()[:12]
            paths.append(await _save(content, folder / f"image-{place}-{digest}"))
        return tuple(paths)
