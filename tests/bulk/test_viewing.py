"""Looking at a job from outside: while it runs, after it was killed, afterwards; and at files that are no jobs."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aiai_async import AsyncImagesClient
from aiai_async.bulk import BulkJob, JobError
from aiai_async.bulk.viewing import JobView, find_image, view
from aiai_async.server import Fault, LocalServer

SIZE = {"model": "dall-e-2", "size": "256x256"}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Give what a file system knows of every file of a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


async def make_job(folder: Path, prompts: list[str], **options: object) -> None:
    async with LocalServer() as server, AsyncImagesClient("any", base_url=server.base_url, retry=0) as client:
        await BulkJob(prompts, folder, client, defaults=SIZE, **options).run()  # type: ignore[arg-type] # as given


def edit(folder: Path, *statements: str) -> None:
    """Change a journal by hand."""
    with closing(sqlite3.connect(folder / "job.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def look(folder: Path, *, now: float | None = None) -> JobView:
    """Look at a job a moment after something happened last."""
    found = view(folder, now=0.0)
    assert found.last_at is not None
    return view(folder, now=found.last_at + 1 if now is None else now)


async def test_a_job_that_is_over(tmp_path: Path) -> None:
    """Counts, cost, speed and the newest images, and not a byte or a time of the folder is changed."""
    folder = tmp_path / "job"
    await make_job(folder, ["A kite", "A harbour", "A lighthouse"])
    before = snapshot(folder)
    found = look(folder)
    assert snapshot(folder) == before
    assert (found.counts["done"], found.total, found.images, found.remaining) == (3, 3, 3, 0)
    assert not found.is_running
    assert found.rate > 0
    assert found.items_per_second == pytest.approx(found.rate / 60)
    assert found.cost_usd == pytest.approx(3 * 0.016)
    assert found.without_cost == 0
    assert {image.prompt for image in found.newest} == {"A kite", "A harbour", "A lighthouse"}
    newest = found.newest[0]
    path = find_image(folder, newest.item, newest.k)
    assert path == folder / "images" / newest.name
    assert path.stat().st_size == newest.size_bytes
    assert find_image(folder, 99, 0) is None
    assert len(view(folder, now=0.0, newest=2).newest) == 2


async def test_an_hour_later_the_rate_is_none(tmp_path: Path) -> None:
    """It is of the last minute."""
    folder = tmp_path / "job"
    await make_job(folder, ["A kite"])
    found = view(folder, now=0.0)
    assert found.last_at is not None
    assert look(folder, now=found.last_at + 3600).rate == 0


async def test_what_went_wrong_is_told_in_words(tmp_path: Path) -> None:
    """The latest first, with the row and its prompt."""
    folder = tmp_path / "job"
    async with (
        LocalServer(
            faults=[Fault(status=400, body='{"error": {"message": "no kites", "code": "x"}}', nth=1)]
        ) as server,
        AsyncImagesClient("any", base_url=server.base_url, retry=0) as client,
    ):
        await BulkJob(["A kite", "A harbour"], folder, client, defaults=SIZE, concurrency=1).run()
    found = look(folder)
    [failure] = found.failures
    assert (failure.item, failure.state, failure.prompt) == (0, "failed", "A kite")
    assert failure.message.startswith("400 x: no kites")
    assert found.counts["failed"] == 1


async def test_a_running_job_is_seen_moving(tmp_path: Path) -> None:
    """While this process holds it, with its log beside it; a run that begins just now gets its lock all the same."""
    folder = tmp_path / "job"
    seen: list[JobView] = []

    def note(*_: object) -> None:
        found = view(folder, now=0.0)
        seen.append(found)

    async with LocalServer() as server, AsyncImagesClient("any", base_url=server.base_url) as client:
        job = BulkJob(["A kite", "A harbour"], folder, client, defaults=SIZE, concurrency=1)
        await job.run(on_item=note)
    assert [found.counts["done"] for found in seen] == [1, 2]
    assert all(found.is_running for found in seen)
    assert not view(folder, now=0.0).is_running
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["errors.jsonl", "images", "job.sqlite", "report.html", "results.jsonl", "thumbs"]
    )


async def test_a_job_that_was_killed(tmp_path: Path) -> None:
    """What is only in its log is read, it isn't running, and the next run finds everything as it was."""
    folder, source = tmp_path / "job", tmp_path / "prompts.txt"
    source.write_text("A kite\nA harbour\nA lighthouse\n")
    async with LocalServer() as server:
        environment = {**os.environ, "AIAI_API_KEY": "any", "AIAI_BASE_URL": server.base_url}
        command = [sys.executable, "-m", "tests.bulk.child", str(folder), str(source), "1", "commit", "4", "after"]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        assert await process.wait() == -9
        assert (folder / "job.lock").exists()
        before = snapshot(folder)
        found = look(folder)
        assert not found.is_running
        assert 0 < found.counts["done"] < 3
        assert set(snapshot(folder)) == set(before)
        assert snapshot(folder)["job.sqlite"] == before["job.sqlite"]
        command = command[:-3]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        assert await process.wait() == 0
    assert look(folder).counts["done"] == 3


def test_a_journal_of_the_first_version(tmp_path: Path) -> None:
    """It has no cost, and isn't brought up to date by being looked at."""
    path = tmp_path / "job.sqlite"
    path.write_bytes(gzip.decompress((Path(__file__).parent / "version-1.sqlite.gz").read_bytes()))
    content = path.read_bytes()
    found = view(tmp_path, now=0.0)
    assert found.total > 0
    assert found.cost_usd is None
    assert path.read_bytes() == content


# -- no jobs


@pytest.mark.parametrize("content", [None, b"", b"not a database at all, but long enough to be one" * 100], ids=str)
def test_a_folder_without_a_journal(tmp_path: Path, content: bytes | None) -> None:
    """Whatever is there instead."""
    if content is not None:
        (tmp_path / "job.sqlite").write_bytes(content)
    for function in (lambda: view(tmp_path, now=0.0), lambda: find_image(tmp_path, 0, 0)):
        with pytest.raises(JobError) as caught:
            function()
        assert str(tmp_path) in str(caught.value)


async def test_a_newer_version_and_somebody_elses_file(tmp_path: Path) -> None:
    """Both are told for what they are."""
    await make_job(tmp_path / "newer", ["A kite"])
    edit(tmp_path / "newer", "PRAGMA user_version = 99")
    with pytest.raises(JobError, match="of version 99, written by a newer aiai-async"):
        view(tmp_path / "newer", now=0.0)
    await make_job(tmp_path / "other", ["A kite"])
    edit(tmp_path / "other", "PRAGMA application_id = 1")
    with pytest.raises(JobError, match="is not the journal of a job"):
        view(tmp_path / "other", now=0.0)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE images",
        "UPDATE items SET request = '{'",
        "UPDATE items SET request = '[]'",
        "UPDATE items SET at = 'x', images = 'y'",
        "UPDATE items SET state = 'nobody knows'",
        f"UPDATE items SET request = '{'[' * 100_000}'",
    ],
)
async def test_a_journal_made_by_hand_is_an_error_at_worst(tmp_path: Path, statement: str) -> None:
    """It is a file that somebody may have put there."""
    await make_job(tmp_path / "job", ["A kite"])
    edit(tmp_path / "job", statement)
    try:
        view(tmp_path / "job", now=0.0)
    except JobError as error:
        assert "the journal can't be read" in str(error)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "..", ".", "", "a/b.png", "a\\b.png", "link.png"])
async def test_a_name_that_leads_out_of_the_folder_is_no_image(tmp_path: Path, name: str) -> None:
    """Whatever a journal says: only files that lie in `images/` themselves."""
    folder = tmp_path / "job"
    await make_job(folder, ["A kite"])
    (folder / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "images" / "link.png").symlink_to(folder / "secret.png")
    edit(folder, f"UPDATE images SET name = {json.dumps(name).replace(chr(34), chr(39))}")
    assert find_image(folder, 0, 0) is None
    assert view(folder, now=0.0).newest == ()


async def test_a_linked_folder_of_images_is_not_looked_into(tmp_path: Path) -> None:
    """It may lead anywhere."""
    folder = tmp_path / "job"
    await make_job(folder, ["A kite"])
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    assert find_image(folder, 0, 0) is None
    assert look(folder).newest == ()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_a_pipe_beside_the_journal_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    """A thread that waits for it could not be stopped."""
    await make_job(tmp_path, ["A kite"])
    os.mkfifo(tmp_path / f"job.sqlite{suffix}")
    with pytest.raises(JobError, match=rf"job.sqlite{suffix} is no file: the journal is not read with it"):
        view(tmp_path, now=0.0)


async def test_only_an_index_may_appear_beside_a_killed_runs_log(tmp_path: Path) -> None:
    """Which SQLite makes to read it; journal and log stay as they are, and the next run takes both away."""
    folder = tmp_path / "copy"
    folder.mkdir()
    await make_job(tmp_path, ["A kite"])
    with closing(sqlite3.connect(tmp_path / "job.sqlite")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE items SET state = 'failed'")
        writer.commit()
        for name in ("job.sqlite", "job.sqlite-wal"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())
    before = snapshot(folder)
    assert view(folder, now=0.0).counts["failed"] == 1
    assert {name: snapshot(folder)[name] for name in before} == before
    assert set(snapshot(folder)) - set(before) <= {"job.sqlite-shm"}
