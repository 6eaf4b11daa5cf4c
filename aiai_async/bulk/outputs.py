"""What a job leaves for programs: `results.jsonl` and `errors.jsonl`, made anew from the journal at each stop."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, TextIO

from aiai_async._files import sync_folder
from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.records import ImageRow, Record
from aiai_async.bulk.sink import PART

JOURNAL: Final = "job.sqlite"
REPORT: Final = "report.html"
RESULTS: Final = "results.jsonl"
ERRORS: Final = "errors.jsonl"
IMAGES: Final = "images"
# Made once: json.dumps looks at its arguments at each call.
_encode: Final = json.JSONEncoder().encode
_MAY_BE_BILLED: Final = (State.UNKNOWN, State.UNFINISHED, State.LINKED)


def write_outputs(journal: Journal, folder: Path) -> None:
    """Write both files, each whole or not at all.

    Raises:
        OSError: one can't be written; the other may be.
    """
    with replacing(folder / RESULTS) as results, replacing(folder / ERRORS) as errors:
        for record in journal.records():
            is_done = record.item.state is State.DONE
            row = to_result(record) if is_done else to_error(record)
            # ASCII, so that any program reads it, whatever the prompts hold.
            (results if is_done else errors).write(f"{_encode(row)}\n")
    sync_folder(folder)


def to_result(record: Record) -> dict[str, Any]:
    """Give the row of an item that is done; Any: it is JSON."""
    return {
        **_to_head(record),
        "images": [_to_image(row) for row in record.rows],
        "revised_prompt": next((row.revised_prompt for row in record.rows if row.revised_prompt), None),
        "usage": record.usage,
        "cost_usd": _round_usd(record.cost),
        "cost_source": record.cost_source,
        "request_id": record.request_id,
        "attempts": record.attempts,
        "elapsed": _round(record.elapsed),
    }


def to_error(record: Record) -> dict[str, Any]:
    """Give the row of an item that is not done; Any: it is JSON."""
    error = record.error or {}
    row: dict[str, Any] = {
        **_to_head(record),
        "outcome": record.item.state.value,
        "error": error.get("message"),
        "error_type": error.get("type"),
        "code": error.get("code"),
        "status_code": error.get("status_code"),
        "may_have_been_billed": record.item.state in _MAY_BE_BILLED or record.item.spent > 0,
        "cost_usd": _round_usd(record.cost),
        "request_id": record.request_id,
        "attempts": record.attempts,
    }
    if links := [row.url for row in record.rows if row.name is None and row.url]:
        row["links"] = links
    return row


def _to_head(record: Record) -> dict[str, Any]:
    return {"custom_id": record.item.id, "index": record.item.index, "request": dict(record.item.request)}


def _to_image(row: ImageRow) -> dict[str, Any]:
    return {
        "path": f"{IMAGES}/{row.name}",
        "sha256": row.sha256,
        **({} if row.received_sha256 is None else {"received_sha256": row.received_sha256}),
        "size": row.size_bytes,
        "size_bytes": row.size_bytes,
        "media_type": row.media_type,
    }


def _round_usd(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 9)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


@contextlib.contextmanager
def replacing(path: Path, *, is_synced: bool = True) -> Generator[TextIO]:
    """Open a file that takes the place of `path` when the block ends well.

    Args:
        path: of the file.
        is_synced: whether it is on the disk by then.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
