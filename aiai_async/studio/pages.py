"""The files that the browser gets: read once from the package, nothing from anywhere else."""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping
from importlib import resources
from typing import Final

import attrs

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_TOKEN: Final = "{{token}}"
_VERSION: Final = "{{version}}"


@attrs.frozen
class File:
    """One file."""

    content: bytes = attrs.field(repr=False)
    media_type: str


@functools.cache
def read_files() -> Mapping[str, File]:
    """Give the files by name."""
    folder = resources.files("aiai_async.studio") / "static"
    return {
        entry.name: File(entry.read_bytes(), _MEDIA_TYPES[suffix])
        for entry in folder.iterdir()
        if (suffix := entry.name.rpartition(".")[2]) in _MEDIA_TYPES
    }


def make_page(name: str, *, token: str, version: str) -> str:
    """Write a page with what it has to hold.

    Args:
        name: its file.
        token: what the page proves by that it is the studio's.
        version: the package's.
    """
    text = read_files()[name].content.decode()
    return text.replace(_TOKEN, html.escape(token)).replace(_VERSION, html.escape(version))
