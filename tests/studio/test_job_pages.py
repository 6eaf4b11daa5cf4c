"""The job page as a program sees it: what is told while a job runs, and which files it gives."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from aiai_async import AsyncImagesClient
from aiai_async.bulk import BulkJob
from aiai_async.studio import Studio
from aiai_async.studio.job_pages import JobPages
from tests.virtual import run

from .conftest import Tab

SIZE = {"model": "dall-e-2", "size": "256x256"}


@asynccontextmanager
async def watch(tab: Tab, folder: str) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
    """Open a job's page."""
    protocols = ("aiai-studio", f"token.{tab.token}")
    async with tab.session.ws_connect(f"{tab.url}api/job-events", params={"folder": folder}, protocols=protocols) as it:
        yield it


async def read(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    with anyio.fail_after(20):
        message: dict[str, Any] = json.loads(await socket.receive_bytes())
        return message


async def test_a_job_is_told_from_before_its_beginning_to_its_end(
    tab: Tab, client: AsyncImagesClient, tmp_path: Path
) -> None:
    """First that there is none, in the end all of it, with images whose bytes are those of the files."""
    folder = tmp_path / "a job, été"
    async with watch(tab, str(folder)) as socket:
        message = await read(socket)
        assert message["type"] == "problem"
        assert "is no job: there is no job.sqlite in it" in message["message"]
        await BulkJob(["A kite", "A harbour"], folder, client, defaults=SIZE).run()
        while message["type"] == "problem" or message["counts"]["done"] < 2 or message["is_running"]:
            message = await read(socket)
        assert (message["images"], message["total"], message["remaining"]) == (2, 2, 0)
        assert message["folder"] == str(folder)
        assert message["cost_usd"] > 0
        for image in message["newest"]:
            address = f"{tab.url}job-images/{message['view']}/{image['item']}/{image['k']}"
            async with tab.session.get(address) as response:
                assert response.content_type == "image/png"
                content = await response.read()
            file = folder / "images" / image["name"]
            assert hashlib.sha256(content).digest() == hashlib.sha256(file.read_bytes()).digest()
    # Whoever has left can't ask for more.
    async with tab.session.get(address) as response:
        assert response.status == 404


@pytest.mark.parametrize("place", ["../../etc/passwd", "0/0%2F..%2Fx", "0/1", "999999999999999/0", "0/-1", "x/y"])
async def test_only_images_of_the_journal_are_given(
    tab: Tab, client: AsyncImagesClient, tmp_path: Path, place: str
) -> None:
    """No path from outside becomes one here."""
    await BulkJob(["A kite"], tmp_path / "job", client, defaults=SIZE).run()
    async with watch(tab, str(tmp_path / "job")) as socket:
        message = await read(socket)
        async with tab.session.get(f"{tab.url}job-images/{message['view']}/{place}") as response:
            assert response.status == 404
        async with tab.session.get(f"{tab.url}job-images/guessed/0/0") as response:
            assert response.status == 404


async def test_a_file_that_is_no_image_is_not_given(tab: Tab, client: AsyncImagesClient, tmp_path: Path) -> None:
    """Whatever a journal calls one."""
    folder = tmp_path / "job"
    await BulkJob(["A kite"], folder, client, defaults=SIZE).run()
    [file] = (folder / "images").iterdir()
    file.write_bytes(b"the secrets of somebody")
    async with watch(tab, str(folder)) as socket:
        message = await read(socket)
        async with tab.session.get(f"{tab.url}job-images/{message['view']}/0/0") as response:
            assert response.status == 404
        file.unlink()
        async with tab.session.get(f"{tab.url}job-images/{message['view']}/0/0") as response:
            assert response.status == 404


@pytest.mark.parametrize("folder", ["", "\0", "x" * 5000, "\\\\server\\share"], ids=["here", "zero", "long", "network"])
async def test_names_that_are_no_folder(tab: Tab, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are a message, and the studio goes on."""
    monkeypatch.chdir(tmp_path)
    async with watch(tab, folder) as socket:
        assert (await read(socket))["type"] == "problem"


async def test_a_job_with_text_that_is_none_is_told(
    tab: Tab, client: AsyncImagesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a surrogate pair in a prompt and bytes for a time; from a folder named by the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    await BulkJob(["A kite"], tmp_path / "job", client, defaults=SIZE).run()
    with closing(sqlite3.connect(tmp_path / "job" / "job.sqlite")) as journal:
        journal.execute("""UPDATE items SET request = '{"prompt": "A kite \\ud800"}', at = x'ff'""")
        journal.commit()
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    async with watch(tab, "~/job") as socket:
        message = await read(socket)
        assert message["type"] == "job", message
        assert message["folder"] == str(tmp_path / "job")
        assert message["newest"][0]["prompt"] == "A kite \ud800"


async def test_the_pages_of_jobs_hold_nothing_of_what_was_asked(studio: Studio, tab: Tab) -> None:
    """The address is read by the page itself, as text."""
    async with tab.session.get(f"{studio.url}jobs/%3Cscript%3Esomebody%3C/script%3E") as response:
        assert response.status == 200
        assert "somebody" not in await response.text()


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        pytest.param(["job", "problem", "job 2"], ["job", "job 2"], id="once"),
        pytest.param(["job", "problem", "problem", "job 2"], ["job", "problem", "job 2"], id="twice"),
        pytest.param(["problem", "problem", "job"], ["problem", "job"], id="at-first"),
    ],
)
def test_a_look_that_fails_once_is_no_news(looks: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that begins or ends in the very moment is in the way of one look, not of two."""
    heard: list[str] = []
    rest = list(looks)

    def look(*_: object) -> dict[str, Any]:
        words = rest.pop(0)
        return {"type": words.split()[0], "words": words}

    async def hear(message: bytes) -> None:
        heard.append(json.loads(message)["words"])

    async def follow() -> None:
        with pytest.raises(IndexError):
            await JobPages().follow("folder", hear)

    monkeypatch.setattr("aiai_async.studio.job_pages._look", look)
    run(follow(), has_threads=True)
    assert heard == told
