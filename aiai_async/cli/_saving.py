"""Where images go: names that are safe and new, and a place of last resort.

An image that came is paid for. So the folder is looked at before anything is sent, a file that is there is never
replaced, and where the folder fails later, the image goes to another one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio.to_thread
import attrs

from aiai_async import AIAIError, ConfigurationError, Image, ImageRequest, _files, _metadata
from aiai_async.bulk.provenance import SOFTWARE, Origin, Provenance, make_sidecar, write_sidecar
from aiai_async.cli._outcomes import SavedImage
from aiai_async.cli._words import count

DEFAULT_FOLDER: Final = "images"

# Media types by the suffix that makes --out a file's name.
_SUFFIXES: Final = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_UNKNOWN_SUFFIX: Final = ".bin"
# A name may have 255 bytes on most file systems, and the number and the suffix come behind it.
_LONGEST_SLUG_BYTES: Final = 120
_LONGEST_SLUG: Final = 60


class SavingError(AIAIError):
    """An image was made and paid for, and is not where it should be; the message says where it is, if anywhere."""

    path: Path | None
    """Where it was written instead; None where it is lost."""
    url: str | None
    """The link to it, where the server gave one; it expires."""

    def __init__(self, message: str, *, path: Path | None = None, url: str | None = None) -> None:
        super().__init__(message, may_have_been_billed=True)
        self.path = path
        self.url = url


@attrs.frozen
class Destination:
    """Where the images of a command go."""

    folder: Path
    stem: str | None = None
    """The name of the one file, without its suffix; None: names are made from the prompts."""
    suffix: str | None = None
    """The suffix that was asked for with it."""
    provenance: Provenance = Provenance()
    """What is written of where the images come from."""

    @property
    def output_format(self) -> str | None:
        """The format that the file's name asks for; None where there is none."""
        return None if self.suffix is None else _SUFFIXES[self.suffix.lower()].removeprefix("image/")

    def require_room_for(self, images: int) -> None:
        """Check that so many images can go there.

        Raises:
            ConfigurationError: it is one file, and they are several.
        """
        if self.stem is not None and images != 1:
            name = f"{self.stem}{self.suffix}"
            raise ConfigurationError(
                f"--out: {name} is the name of one file, but {count(images, 'image')} are asked for; give a folder"
            )

    async def prepare(self) -> None:
        """Make the folder where it isn't there, and try whether a file can be made in it.

        Raises:
            ConfigurationError: it can't.
        """
        await anyio.to_thread.run_sync(self._prepare)

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Tried rather than asked for: permissions, a full or read-only disk and a name that is too long all show.
            suffix = self.suffix or ".part"
            _reserve(self.folder, (f"{stem}{suffix}" for stem in self.make_stems("probe"))).unlink()
        except OSError as error:
            what = self.folder if self.stem is None else self.folder / f"{self.stem}{self.suffix}"
            raise ConfigurationError(f"--out: {what} can't be written: {error.strerror or error}") from error

    async def save(self, content: bytes, request: ImageRequest, *, stem: str | None = None) -> SavedImage:
        """Write an image to a new file, whose suffix tells what it really is.

        Args:
            content: the image file's bytes.
            request: what it was made from, and is named after.
            stem: the name that it gets if that is free, without the suffix; None: the first that is free.

        Raises:
            SavingError: it can't be written there, and was written to the folder for temporary files if that works.
        """
        received = hashlib.sha256(content).hexdigest()
        if self.provenance.embed:
            content = _metadata.embed(content, request.to_fields(), software=SOFTWARE)
        image = Image(content=content)
        suffix = self._choose_suffix(image.media_type)
        stems = itertools.chain([] if stem is None else [stem], self.make_stems(request.prompt))
        try:
            path = await _save(image, self.folder, (f"{stem}{suffix}" for stem in stems))
        except OSError as error:
            raise await _rescue(image, suffix, f"it can't be written to {self.folder}: {error.strerror}") from error
        return SavedImage(
            path=path,
            size_bytes=len(content),
            media_type=image.media_type,
            sha256=image.sha256,
            received_sha256=received,
        )

    async def write_sidecar(self, saved: SavedImage, origin: Origin) -> None:
        """Put a JSON file beside an image that says what it was made from, where that is asked for.

        Raises:
            SavingError: it can't be written; the image is where it should be.
        """
        if not self.provenance.sidecar:
            return
        fields = make_sidecar(
            saved.path.name,
            origin,
            sha256=saved.sha256,
            received_sha256=saved.received_sha256,
            size_bytes=saved.size_bytes,
            media_type=saved.media_type,
            revised_prompt=saved.revised_prompt,
        )
        try:
            await anyio.to_thread.run_sync(write_sidecar, saved.path, fields)
            await anyio.to_thread.run_sync(_files.sync_folder, saved.path.parent)
        except OSError as error:
            words = f"{saved.path} is saved, but what it was made from can't be written beside it: {error.strerror}"
            raise SavingError(words, path=saved.path) from error

    async def save_partial(self, content: bytes, index: int, *, stem: str) -> SavedImage:
        """Write a partial image to a new file beside the final image with this stem, such as `kite-1.partial-0.png`.

        Raises:
            SavingError: it can't be written. It is kept nowhere else: it is not what was paid for.
        """
        image = Image(content=content)
        suffix = self._choose_suffix(image.media_type)
        name = f"{stem}.partial-{index}"
        names = itertools.chain([f"{name}{suffix}"], (f"{name}-{number}{suffix}" for number in itertools.count(2)))
        try:
            path = await _save(image, self.folder, names)
        except OSError as error:
            words = f"a partial image can't be written to {self.folder}: {error.strerror}"
            raise SavingError(words) from error
        return SavedImage(path=path, size_bytes=len(content), media_type=image.media_type)

    def make_stems(self, prompt: str) -> Iterator[str]:
        """Give names without their suffix to try, one after another, until one is free."""
        name = make_slug(prompt) if self.stem is None else self.stem
        if self.stem is not None:
            yield name
        for number in itertools.count(1 if self.stem is None else 2):
            yield f"{name}-{number}"

    def _choose_suffix(self, media_type: str | None) -> str:
        if media_type is None:
            return self.suffix or _UNKNOWN_SUFFIX
        if self.suffix is not None and _SUFFIXES[self.suffix.lower()] == media_type:
            return self.suffix
        return "." + media_type.removeprefix("image/").replace("jpeg", "jpg")


def choose_destination(out: str | None, *, provenance: Provenance = Provenance()) -> Destination:  # it is frozen
    """Read `--out`.

    Args:
        out: a folder, or the name of a file with the suffix of an image; None: the default folder.
        provenance: what is written of where the images come from.

    Raises:
        ConfigurationError: it is neither.

    Example:
        >>> choose_destination("demo/kite.png").stem
        'kite'
    """
    if out is None:
        return Destination(Path(DEFAULT_FOLDER), provenance=provenance)
    if not out or "\0" in out:
        raise ConfigurationError("--out: give a folder, or a file name that ends in .png, .jpg, .jpeg or .webp")
    path = Path(out)
    # os.path's tests answer for names that are too long, where Path's raise.
    is_folder = out.endswith(("/", os.sep)) or os.path.isdir(path)
    if is_folder or path.suffix.lower() not in _SUFFIXES:
        if os.path.exists(path) and not os.path.isdir(path):
            raise ConfigurationError(f"--out: {out} is a file and no image; give a folder, or the name of an image")
        return Destination(path, provenance=provenance)
    return Destination(path.parent, path.stem, path.suffix, provenance)


def make_slug(prompt: str) -> str:
    """Make a part of a file name from any text: letters and digits of every script, joined by hyphens.

    Example:
        >>> make_slug("A lighthouse, at dusk!"), make_slug("黄昏的灯塔"), make_slug("../..")
        ('a-lighthouse-at-dusk', '黄昏的灯塔', 'image')
    """
    text = unicodedata.normalize("NFKC", prompt[:1000]).lower()
    # Marks (M) are parts of letters in many scripts.
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else "-" for c in text)
    slug = re.sub("-+", "-", kept).strip("-")
    if len(slug) > _LONGEST_SLUG:
        # Not in the middle of a word, if it has any.
        slug = slug[: _LONGEST_SLUG + 1].rpartition("-")[0] or slug[:_LONGEST_SLUG]
    cut = slug.encode(errors="ignore")[:_LONGEST_SLUG_BYTES].decode(errors="ignore")
    return cut.strip("-") or "image"


async def _save(image: Image, folder: Path, names: Iterator[str]) -> Path:
    path = await anyio.to_thread.run_sync(_reserve, folder, names)
    try:
        return await image.save(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _reserve(folder: Path, names: Iterator[str]) -> Path:
    """Make an empty file under the first name that is free: saving replaces what is there, so it must be our own."""
    for name in names:
        path = folder / name
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        return path
    raise AssertionError("names have no end")


async def _rescue(image: Image, suffix: str, reason: str) -> SavingError:
    """Write an image to a new folder for temporary files, and give the error that says so."""
    try:
        folder = await anyio.to_thread.run_sync(lambda: Path(tempfile.mkdtemp(prefix="aiai-async-")))
        path = await _save(image, folder, iter([f"image{suffix}"]))
    except OSError as error:
        words = (
            f"the image was made and paid for, but {reason}; it is lost, for the folder for temporary files fails too"
        )
        return SavingError(f"{words}: {error.strerror}")
    return SavingError(f"the image was made and paid for, but {reason}; it is in {path} instead", path=path)
