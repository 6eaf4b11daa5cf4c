"""Jobs on the disk for pages to show: looked at again and again, told when something has changed, never written to.

An image is asked for through a view, whose name only the page that watches the job was told, and by its place in the
journal: so no name from outside ever becomes a path.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import attrs

from aiai_async import Image
from aiai_async.bulk import JobError
from aiai_async.bulk.viewing import JobView, find_image, view
from aiai_async.studio.gallery import Picture
from aiai_async.studio.plain import write_json

_SECONDS_BETWEEN_LOOKS: Final = 0.5
# A journal of millions of rows takes seconds to look at: most of the time nobody looks.
_REST_BY_LOOK: Final = 5.0
# The bound of an image that the client has.
_MOST_BYTES: Final = 128 * 2**20
# Neither through a link that has taken the file's place, nor waiting for who writes into a pipe that has.
_OPENING: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Send = Callable[[bytes], Awaitable[None]]


class JobPages:
    """The jobs that are watched now, by the names of their views."""

    def __init__(self) -> None:
        self._folders: Final[dict[str, Path]] = {}

    async def follow(self, folder: str, send: Send) -> None:
        """Tell how a job stands, whenever that has changed, until cancelled.

        What can't be read is told too, and looked at again: the job may begin in a moment.

        Args:
            folder: as the user named it; relative to the working directory, `~` is the home.
            send: takes JSON.
        """
        name, path = secrets.token_urlsafe(18), _to_path(folder)
        self._folders[name] = path
        told: bytes | None = None
        failed = 0
        try:
            while True:
                started_at = anyio.current_time()
                found = await anyio.to_thread.run_sync(_look, path, name)
                failed = failed + 1 if found["type"] == "problem" else 0
                message = write_json(found)
                # One look may fall into the moment in which a run begins or ends; two don't.
                if message != told and (told is None or failed != 1):
                    told = message
                    await send(message)
                took = anyio.current_time() - started_at
                await anyio.sleep(max(_SECONDS_BETWEEN_LOOKS, took * _REST_BY_LOOK))
        except ConnectionError:
            # The page left; whoever listens to it notices.
            return
        finally:
            del self._folders[name]

    async def read_image(self, name: str, item: int, k: int) -> Picture | None:
        """Read an image of a job that is watched; None where there is none, or the file is no image.

        Args:
            name: the view's.
            item: the item's index.
            k: the image's place in the answer.
        """
        folder = self._folders.get(name)
        return None if folder is None else await anyio.to_thread.run_sync(_read_image, folder, item, k)


def _to_path(folder: str) -> Path:
    # Not by Path.expanduser, which raises where nobody has that name.
    return Path(os.path.expanduser(folder))


def _look(folder: Path, name: str) -> dict[str, Any]:
    """Look at a job and give what the page shows; Any: it is JSON."""
    where = {"folder": str(folder.absolute()), "view": name}
    now = time.time()
    try:
        # Whole seconds: a rate that changes with each look would be told with each look.
        found = view(folder, now=float(int(now)))
    except (JobError, OSError, ValueError) as error:
        return {"type": "problem", **where, "message": str(error)}
    return {"type": "job", **where, **_to_plain(found)}


def _to_plain(found: JobView) -> dict[str, Any]:
    pace = found.items_per_second
    return {
        "counts": dict(found.counts),
        "total": found.total,
        "remaining": found.remaining,
        "images": found.images,
        "is_running": found.is_running,
        "rate": round(found.rate, 1),
        "eta": round(found.remaining / pace) if found.is_running and pace > 0 else None,
        "cost_usd": found.cost_usd,
        "without_cost": found.without_cost,
        "first_at": found.first_at,
        "last_at": found.last_at,
        "newest": [attrs.asdict(image) for image in found.newest],
        "failures": [attrs.asdict(failure) for failure in found.failures],
    }


def _read_image(folder: Path, item: int, k: int) -> Picture | None:
    try:
        path = find_image(folder, item, k)
        if path is None:
            return None
        with open(os.open(path, _OPENING), "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (JobError, OSError):
        return None
    media_type = Image(content=content).media_type
    return None if media_type is None or len(content) > _MOST_BYTES else Picture(content, media_type)
