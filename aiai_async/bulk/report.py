"""`report.html`: what a job made, for people; a first plain one, without scripts, that opens from the disk."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.outputs import IMAGES, replacing
from aiai_async.bulk.records import Record

REPORT: Final = "report.html"
# A browser takes minutes for a table of a hundred thousand pictures. The rest is in the two other files.
_MOST_ROWS: Final = 5000

_HEAD: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Job report</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { border: 1px solid #ccc; padding: .4em .6em; text-align: left; vertical-align: top; }
td { max-width: 40em; overflow-wrap: anywhere; }
img { max-width: 128px; max-height: 128px; }
.done { color: #060; } .failed, .failed_for_now, .unknown, .not_downloaded { color: #a00; }
</style>
<h1>Job report</h1>
"""


def write_report(journal: Journal, folder: Path) -> None:
    """Write the report, whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    counts = journal.count()
    total = sum(counts.values())
    with replacing(folder / REPORT) as file:
        file.write(_HEAD)
        parts = [f"{counts[state]:,} {state.value.replace('_', ' ')}" for state in State if counts.get(state)]
        file.write(f"<p>{total:,} items: {', '.join(parts)}; {journal.count_images():,} images.</p>\n")
        for name, facts in journal.limits().items():
            words = ", ".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
            file.write(f"<p>Limit {html.escape(name)}: {html.escape(words)}</p>\n")
        file.write("<table>\n<tr><th>#<th>Images<th>Prompt<th>Status<th>Error<th>Request id</tr>\n")
        written = 0
        # Those that are not done come first: they are what one looks for.
        for records in (journal.records(other_than=State.DONE), journal.records([State.DONE])):
            for record in records:
                if written == _MOST_ROWS:
                    break
                file.write(_to_row(record))
                written += 1
        file.write("</table>\n")
        if total > written:
            words = f"The first {written:,} of {total:,} items; all are in results.jsonl and errors.jsonl."
            file.write(f"<p>{words}</p>\n")
        file.write("</html>\n")


def _to_row(record: Record) -> str:
    state = record.item.state.value
    cells: Iterable[str] = (
        str(record.item.index),
        "".join(_to_thumbnail(row.name) for row in record.rows if row.name is not None),
        html.escape(str(record.item.request.get("prompt", ""))),
        f'<span class="{state}">{state.replace("_", " ")}</span>',
        html.escape(str((record.error or {}).get("message") or "")),
        html.escape(record.request_id or ""),
    )
    return f"<tr>{''.join(f'<td>{cell}' for cell in cells)}</tr>\n"


def _to_thumbnail(name: str) -> str:
    path = html.escape(f"{IMAGES}/{quote(name)}", quote=True)
    return f'<a href="{path}"><img loading="lazy" src="{path}" alt=""></a> '
