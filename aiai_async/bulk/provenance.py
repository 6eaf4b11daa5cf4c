"""What an image was made from: a JSON file beside it, and in the file itself. Both only where they are asked for.

A sidecar is written when its image has its name, from what the journal says: where a crash comes between, the next run
that asks for sidecars writes it. The request goes into a file before its row is written, so that the row's sha256 is
that of the file. It blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from aiai_async import Image
from aiai_async._files import PartFile
from aiai_async._metadata import HEAD_BYTES, Splice, plan_safely
from aiai_async._version import __version__
from aiai_async.bulk.records import ImageRow, Record
from aiai_async.bulk.sink import PART

SOFTWARE: Final = f"aiai-async {__version__}"
SIDECAR_SUFFIX: Final = ".json"
"""Comes behind the whole name of the image: `kite.png.json`."""
_PIECE_BYTES: Final = 1 << 20


@attrs.frozen(kw_only=True)
class Provenance:
    """What is written of where an image comes from."""

    sidecar: bool = False
    """Whether a JSON file is put beside each image."""
    embed: bool = False
    """Whether the request goes into the image file."""


@attrs.frozen(kw_only=True)
class Origin:
    """What made an image; None is what isn't known."""

    request: Mapping[str, object]
    request_id: str | None
    created: dt.datetime | None
    cost_usd: float | None
    """US dollars that the whole answer cost."""
    cost_source: str | None
    images: int
    """Images of the answer."""


def make_sidecar(
    name: str,
    origin: Origin,
    *,
    sha256: str | None,
    received_sha256: str | None,
    size_bytes: int | None,
    media_type: str | None,
    revised_prompt: str | None,
    **more: object,
) -> dict[str, Any]:
    """Make what stands beside an image; Any: it is JSON.

    Args:
        name: the image file's.
        origin: what made it.
        sha256: of the file.
        received_sha256: of the image as the server sent it; None: it is the same.
        size_bytes: of the file.
        media_type: of the file.
        revised_prompt: the prompt that was really used, where the server changed it.
        more: further fields, which come first.
    """
    share = None if origin.cost_usd is None else round(origin.cost_usd / max(1, origin.images), 9)
    return {
        "file": name,
        **more,
        "model": origin.request.get("model"),
        "request": dict(origin.request),
        "revised_prompt": revised_prompt,
        "request_id": origin.request_id,
        "created": None if origin.created is None else origin.created.isoformat(timespec="seconds"),
        "sha256": sha256,
        "received_sha256": sha256 if received_sha256 is None else received_sha256,
        "size_bytes": size_bytes,
        "media_type": media_type,
        "cost_usd": share,
        "cost_source": origin.cost_source,
        "answer_cost_usd": None if origin.cost_usd is None else round(origin.cost_usd, 9),
        "answer_images": origin.images,
    }


def sidecar_of(record: Record, row: ImageRow) -> dict[str, Any]:
    """Make the sidecar of an image of a job; Any: it is JSON."""
    item = record.item
    assert row.name is not None
    origin = Origin(
        request=item.request,
        request_id=record.request_id,
        created=None if record.at is None else dt.datetime.fromtimestamp(record.at, dt.UTC),
        cost_usd=record.cost,
        cost_source=record.cost_source,
        images=len(record.rows),
    )
    return make_sidecar(
        row.name,
        origin,
        custom_id=item.id,
        index=item.index,
        image=row.k,
        sha256=row.sha256,
        received_sha256=row.received_sha256,
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        revised_prompt=row.revised_prompt,
    )


def write_sidecar(image: Path, fields: Mapping[str, object]) -> None:
    """Write the sidecar of an image file, whole or not at all; the folder is to be synced after that.

    Raises:
        OSError: it can't be written.
    """
    # ASCII, as the output files of a job are; the part's name is cut, as `AtomicFile` cuts it.
    part = PartFile(image.with_name(f".{image.name[:40]}.{secrets.token_hex(8)}{PART}"))
    try:
        part.write([(json.dumps(fields, indent=2) + "\n").encode()])
        part.finish()
        os.replace(part.path, sidecar_path(image))
    except BaseException:
        part.abort()
        raise


def sidecar_path(image: Path) -> Path:
    """Give where the sidecar of an image file is."""
    return image.with_name(image.name + SIDECAR_SUFFIX)


def embed_in(image: Image, request: Mapping[str, object]) -> Image:
    """Write a request into the file that a sink wrote, and give the image as it is there now.

    A file that can't hold it, or is not of a known kind, stays as it is.

    Raises:
        OSError: it can't be written; the file is as it was.
    """
    path = image.path
    if path is None:
        return image
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    splices = plan_safely(head, path.stat().st_size, request, software=SOFTWARE)
    if splices is None:
        return image
    part = PartFile(path.with_name(f"{path.name.removesuffix(PART)}-{secrets.token_hex(4)}{PART}"))
    try:
        digest, size_bytes = _copy(path, part, splices)
        part.finish()
        os.replace(part.path, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.abort()
        raise
    return attrs.evolve(image, sha256=digest, size_bytes=size_bytes)


def _copy(path: Path, part: PartFile, splices: list[Splice]) -> tuple[str, int]:
    """Copy a file with its splices, in pieces; give the sha256 and the length of the copy."""
    digest, size_bytes = hashlib.sha256(), 0

    def put(data: bytes) -> None:
        nonlocal size_bytes
        digest.update(data)
        size_bytes += len(data)
        part.write([data])

    with open(path, "rb") as file:
        for splice in splices:
            while (missing := splice.at - file.tell()) > 0:
                put(file.read(min(missing, _PIECE_BYTES)))
            put(splice.data)
            file.seek(splice.replaced, os.SEEK_CUR)
        while piece := file.read(_PIECE_BYTES):
            put(piece)
    return digest.hexdigest(), size_bytes
