"""Jobs as a run leaves them, made through the journal, with real images: what tests and the benchmark read."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.names import make_name
from aiai_async.bulk.records import Ended, ImageRow, RunRow
from aiai_async.bulk.report.thumbnails import make_thumbnail, thumbnail_of
from aiai_async.bulk.rows import Row

from ..test_drafts import make_draft

BEGAN_AT = 1_700_000_000.0
SECONDS_EACH = 0.25
# A file system takes some ten thousand hard links to one file.
DISTINCT = 24

HOSTILE = (
    "</script><script>document.title = 'broken into'</script>",
    "</noscript></style></title><img src=x onerror=\"document.title = 'broken into'\">",
    "javascript:document.title='broken into'",
    '" onmouseover="document.title=\'broken into\'" x="',
    "<!--<script>",
    "]]>--><svg onload=\"document.title='broken into'\">",
    "a line\u2028and a paragraph\u2029apart",
    "x" * 10_000,
    "word " * 2_000,
    "שלום עולם \u202etxt.exe\u202c مرحبا بالعالم",
    "🦄🌈👩‍👩‍👧‍👦 and \U0001f1eb\U0001f1f7",
    "${document.title='broken into'} {{7*7}} %s {0} &lt;b&gt; &amp;",
    "$policy $nonce ${script}",
    "__proto__",
    "\x00\x01\x1b[31m",
)


def draw_images(folder: Path, count: int = DISTINCT, size: tuple[int, int] = (256, 256)) -> list[Path]:
    """Draw some pictures that are different."""
    luck = random.Random(7)
    paths: list[Path] = []
    for number in range(count):
        image = Image.new("RGB", size, tuple(luck.randrange(256) for _ in range(3)))
        pen = ImageDraw.Draw(image)
        for _ in range(6):
            x, y, radius = luck.random() * size[0], luck.random() * size[1], luck.random() * size[0] / 3
            color = tuple(luck.randrange(256) for _ in range(3))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        path = folder / f"{number}.png"
        image.save(path, compress_level=1)
        paths.append(path)
    return paths


def make_job(
    folder: Path,
    prompts: Sequence[str],
    *,
    models: Sequence[str] = ("gpt-image-1",),
    with_failures: bool = False,
    pictures: Path | None = None,
) -> Path:
    """Make the folder of a job that ran twice.

    Args:
        folder: where; it is made.
        prompts: one for each item.
        models: the items' in turn.
        with_failures: whether of a hundred items some failed, in all the ways there are.
        pictures: a folder for the files that all images are hard links of; it has to be on the same file system. None:
            items are done, and their files are not there.
    """
    (folder / "images").mkdir(parents=True)
    drawn: list[Path] = []
    if pictures is not None:
        pictures.mkdir(exist_ok=True)
        drawn = draw_images(pictures)
    rows = [
        Row(
            line=number + 1,
            custom_id=f"id-{number}" if number % 10 == 3 else None,
            fields={"prompt": prompt, "model": models[number % len(models)]},
        )
        for number, prompt in enumerate(prompts)
    ]
    make_draft(folder / "job.sqlite", [*rows])
    journal = Journal(folder / "job.sqlite")
    half = len(prompts) // 2
    length = half * SECONDS_EACH + 60
    journal.note_run(
        RunRow(run=1, started_at=BEGAN_AT, ended_at=BEGAN_AT + length, reason="stopped", refusals=3, waited=12.5)
    )
    journal.apply([], run=1)
    journal.apply(list(_end(folder, prompts, range(half), BEGAN_AT, 1, drawn, with_failures)))
    again_at = BEGAN_AT + 50_000
    journal.note_run(
        RunRow(run=2, started_at=again_at, ended_at=again_at + length, reason="finished", refusals=1, waited=2.0)
    )
    journal.apply([], run=2)
    journal.apply(list(_end(folder, prompts, range(half, len(prompts)), again_at, 2, drawn, with_failures)))
    limit = {"name": "images_per_minute", "model": "gpt-image-1", "source": "headers", "limit": 250, "window": 60}
    journal.note_limits({"images_per_minute gpt-image-1": limit})
    journal.close()
    return folder


def link_thumbnails(folder: Path) -> None:
    """Give all images their thumbnails, as `report_on` would, but each only once for all links to the same file."""
    made: dict[int, Path] = {}
    for entry in os.scandir(folder / "images"):
        number = entry.inode()
        if number in made:
            os.link(made[number], thumbnail_of(folder, entry.name))
        else:
            make_thumbnail(folder, entry.name)
            made[number] = thumbnail_of(folder, entry.name)


def _end(
    folder: Path,
    prompts: Sequence[str],
    numbers: range,
    began_at: float,
    run: int,
    drawn: Sequence[Path],
    with_failures: bool,
) -> Iterator[Ended]:
    for place, number in enumerate(numbers):
        sent_at = began_at + place * SECONDS_EACH
        elapsed = 10.0 + number % 20
        told: dict[str, Any] = {
            "index": number,
            "at": sent_at + elapsed,
            "sent_at": sent_at,
            "run": run,
            "attempts": 1 + (number % 8 == 0),
            "elapsed": elapsed,
            "request_id": f"req_{number:05d}",
        }
        if with_failures and number % 100 in FAILURES:
            state, error = FAILURES[number % 100]
            rows = (ImageRow(k=0, url=LINKS[number // 100 % 2]),) if state is State.LINKED else ()
            yield Ended(state=state, error=error, rows=rows, images=len(rows), **told)
            continue
        name = make_name(number, prompts[number], 0, "image/png")
        if drawn:
            os.link(drawn[number % len(drawn)], folder / "images" / name)
        image = ImageRow(k=0, name=name, sha256="0123456789abcdef" * 4, size_bytes=1_400_000, media_type="image/png")
        yield Ended(
            state=State.DONE,
            images=1,
            rows=(image,),
            is_answer=True,
            usage={"input_tokens": 12, "output_tokens": 1056, "output_tokens_details": {"image_tokens": 1056}},
            cost=None if number % 50 == 49 else 0.042,
            cost_source=None if number % 50 == 49 else "prices",
            **told,
        )


LINKS = ("javascript:document.title='broken into'", "https://images.example/a.png?sig=1&b=<i>")
FAILURES: dict[int, tuple[State, dict[str, object]]] = {
    21: (
        State.FAILED,
        {
            "type": "ModerationBlockedError",
            "message": "400 moderation_blocked: <b>refused</b></script> [request req_1, attempt 1]",
            "code": "moderation_blocked",
            "status_code": 400,
        },
    ),
    42: (
        State.FAILED_FOR_NOW,
        {"type": "InternalServerError", "message": "503 from http://x: over", "status_code": 503},
    ),
    63: (State.UNKNOWN, {"type": "APITimeoutError", "message": "no answer for 600 s", "phase": "total"}),
    84: (State.LINKED, {"type": "DownloadError", "message": "403 from https://images.example"}),
}
