"""Puts a job's folder in order before a run: what a crash left half done is finished, what is missing is said.

A row in the journal is the truth. Where its file has no name yet, it gets it; where the file is gone altogether, the
image was paid for and is lost, which is told and never mended by asking again unasked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from aiai_async._files import sync_folder
from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.provenance import sidecar_of, sidecar_path, write_sidecar
from aiai_async.bulk.records import Ended, ImageRow
from aiai_async.bulk.sink import PART
from aiai_async.bulk.writer import rename

LOST: Final = "LostImage"
"""The error's type of an item whose image was made and is not there any more."""


@attrs.frozen(kw_only=True)
class Recovery:
    """What was put in order."""

    renamed: int = 0
    """Files that got their names."""
    lost: int = 0
    """Items whose files are gone, and were not known to be."""
    found: int = 0
    """Items whose files are there again."""


def recover(journal: Journal, images: Path, *, now: float, has_sidecars: bool = False) -> Recovery:
    """Put the folder in order.

    Args:
        journal: of the job.
        images: its folder of image files.
        now: Unix seconds.
        has_sidecars: whether images that have no sidecar get one.

    Raises:
        OSError: a file can't be read or renamed.
        sqlite3.Error: the journal can't be written.
    """
    images.mkdir(exist_ok=True)
    unplaced = {index for index, _ in journal.unplaced()}
    renamed, damaged = _finish_renames(journal, images)
    lost = dict(_missing(journal, images, State.DONE))
    lost |= dict(_missing(journal, images, State.LINKED))
    lost |= damaged
    known = dict(_missing(journal, images, State.UNKNOWN))
    changes = [_lose(journal, index, name, images, now) for index, name in lost.items()]
    found = [index for index in _lost_before(journal) if index not in known]
    changes += [_find(journal, index, now) for index in found]
    if changes:
        journal.apply(changes)
    if has_sidecars:
        _complete_sidecars(journal, images, unplaced)
    _remove_parts(images)
    return Recovery(renamed=renamed, lost=len(lost), found=len(found))


def _finish_renames(journal: Journal, images: Path) -> tuple[int, dict[int, str]]:
    renamed, damaged, settled = 0, dict[int, str](), set[int]()
    for index, row in journal.unplaced():
        assert row.name is not None
        path = images / row.name
        part = None if row.part is None else images / row.part
        found = part if part is not None and part.exists() else path
        if found.exists():
            whole = _find_whole(found, row)
            if whole is None:
                damaged[index] = row.name
            else:
                if whole is not row:
                    journal.replace_row(index, whole)
                if found is part:
                    rename(found, path)
                    renamed += 1
        settled.add(index)
    if settled:
        sync_folder(images)
        journal.note_placed(settled - damaged.keys())
    return renamed, damaged


def _find_whole(path: Path, row: ImageRow) -> ImageRow | None:
    """Give the row that tells of a file: its own, or that of the image as it came; None where it is damaged.

    A file with its request in it takes the place of the one that came, and a loss of power may take that back.
    """
    size_bytes = path.stat().st_size
    if size_bytes != row.size_bytes and row.received_sha256 is None:
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest == row.sha256:
        return row if size_bytes == row.size_bytes else None
    if digest == row.received_sha256:
        return attrs.evolve(row, sha256=digest, size_bytes=size_bytes, received_sha256=None)
    return None


def _missing(journal: Journal, images: Path, state: State) -> Iterator[tuple[int, str]]:
    for index, name, size_bytes in journal.files(state):
        try:
            is_there = (images / name).stat().st_size == size_bytes
        except FileNotFoundError:
            is_there = False
        if not is_there:
            yield index, name


def _lost_before(journal: Journal) -> list[int]:
    return [
        record.item.index
        for record in journal.records([State.UNKNOWN])
        if record.error is not None and record.error.get("type") == LOST and record.rows
    ]


def _lose(journal: Journal, index: int, name: str, images: Path, now: float) -> Ended:
    words = (
        f"{images.name}/{name} was made and paid for, and is missing or damaged; put it back and run again, "
        "or have it made anew with --retry unknown"
    )
    error = {"type": LOST, "message": words, "may_have_been_billed": True}
    return Ended(index=index, state=State.UNKNOWN, at=now, images=len(journal.rows_of(index)), error=error)


def _find(journal: Journal, index: int, now: float) -> Ended:
    rows = journal.rows_of(index)
    is_whole = all(row.name is not None for row in rows)
    return Ended(index=index, state=State.DONE if is_whole else State.LINKED, at=now, images=len(rows))


def _complete_sidecars(journal: Journal, images: Path, unplaced: set[int]) -> None:
    """Write the sidecars that are missing, and those of images whose rename a crash may have come after."""
    wanted = [
        index
        for state in (State.DONE, State.LINKED)
        for index, name, _ in journal.files(state)
        if index in unplaced or not sidecar_path(images / name).exists()
    ]
    for index in dict.fromkeys(wanted):
        record = journal.record_of(index)
        for row in record.rows:
            if row.name is not None and (images / row.name).exists():
                write_sidecar(images / row.name, sidecar_of(record, row))
    if wanted:
        sync_folder(images)


def _remove_parts(images: Path) -> None:
    """Remove what attempts left that never came to a row."""
    for path in images.iterdir():
        if path.name.endswith(PART):
            path.unlink()
