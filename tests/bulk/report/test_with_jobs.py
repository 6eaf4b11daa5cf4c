"""Jobs and their report: beside a run, at its end, after a kill; and it never costs a job anything."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from aiai_async import AsyncImagesClient
from aiai_async.bulk import BulkJob, Progress
from aiai_async.bulk.report import report_on, reporter
from aiai_async.bulk.report.thumbnails import ThumbnailThread
from aiai_async.server import LocalServer

from ..fakes import CountingServer, FakeTransport, answer_to, client_of, environment_of_child, names_in

SMALL = {"model": "dall-e-2", "size": "256x256", "response_format": "b64_json"}


def draw(body: dict[str, Any]) -> dict[str, Any]:
    """An answer with a real picture."""
    file = io.BytesIO()
    Image.new("RGB", (300, 300), "teal").save(file, "PNG")
    return {"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}


async def test_at_the_end_of_a_job(tmp_path: Path) -> None:
    """Through real sockets: the report says how it went, with a thumbnail for each image."""
    async with LocalServer("sk") as server, AsyncImagesClient("sk", base_url=server.base_url) as client:
        result = await BulkJob([f"kite {k}" for k in range(4)], tmp_path / "job", client, defaults=SMALL).run()
    page = result.report_path.read_text()
    assert result.message is None and "Finished: 4 of 4 items done." in page and "took up every item" in page
    assert sorted(os.listdir(tmp_path / "job" / "thumbs")) == [f"{name}.webp" for name in names_in(tmp_path / "job")]
    assert page.count('<svg viewBox="0 0 400 204"') >= 3 and "cut off" not in page


async def test_while_a_job_runs(tmp_path: Path) -> None:
    """What is done is there, with its thumbnails; the job goes on as if nothing was read."""
    go, half = anyio.Event(), anyio.Event()

    async def answer(body: dict[str, Any]) -> dict[str, Any]:
        if body["prompt"] == "3":
            half.set()
            await go.wait()
        return draw(body)

    async with client_of(FakeTransport(answer)) as client, anyio.create_task_group() as tasks:
        bulk = BulkJob([str(k) for k in range(6)], tmp_path / "job", client, concurrency=1)
        tasks.start_soon(bulk.run)
        await half.wait()
        path = await anyio.to_thread.run_sync(report_on, tmp_path / "job")
        page = path.read_text()
        assert "Under way: 3 of 6 items done when this page was made." in page
        assert "Unfinished" in page and len(os.listdir(tmp_path / "job" / "thumbs")) == 3
        go.set()
    assert "Finished: 6 of 6 items done." in path.read_text()
    assert len(os.listdir(tmp_path / "job" / "thumbs")) == 6


async def test_after_a_kill(tmp_path: Path) -> None:
    """The journal tells what there was, and is not changed by being read."""
    source = tmp_path / "prompts.txt"
    source.write_text("".join(f"prompt {number}\n" for number in range(8)))
    async with CountingServer(latency=0.0) as server:
        command = [
            sys.executable,
            "-m",
            "tests.bulk.child",
            str(tmp_path / "job"),
            str(source),
            "1",
            "rename",
            "4",
            "after",
        ]
        child = await anyio.run_process(command, env=environment_of_child(server.base_url), check=False)
        assert child.returncode == -9
        page = (await anyio.to_thread.run_sync(report_on, tmp_path / "job")).read_text()
        assert "Not finished: 4 of 8 items done. The last run was cut off, for instance by a crash." in page
        async with AsyncImagesClient("sk", base_url=server.base_url) as client:
            result = await BulkJob(source, tmp_path / "job", client).run()
        assert result.done == 8 and max(server.count().values()) == 1
    assert "in 2 runs" in result.report_path.read_text()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("odd")], ids=["full disk", "a bug"])
async def test_a_report_that_cant_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Is said in the result; the job is done all the same, with its other files."""

    def fail(*_: object, **__: object) -> Path:
        raise error

    monkeypatch.setattr(reporter, "write_report", fail)
    async with client_of(FakeTransport()) as client:
        result = await BulkJob(["a", "b"], tmp_path / "job", client).run()
    assert (result.exit_code, result.reason, result.done) == (0, "finished", 2)
    assert result.message is not None and result.message.startswith(
        f"{tmp_path / 'job'}: the report can't be written ("
    )
    assert result.message.endswith(f"aiai-async report {tmp_path / 'job'} tries again")
    assert len(result.results_path.read_text().splitlines()) == 2


async def test_callbacks_are_called_as_before(tmp_path: Path) -> None:
    """The thumbnails of a job hang on the same event as the caller's callback."""
    seen: list[object] = []
    told: list[Progress] = []
    async with client_of(FakeTransport(draw)) as client:
        bulk = BulkJob(["a", "b"], tmp_path / "job", client)
        await bulk.run(on_item=lambda item, change: seen.append(item.index), on_progress=told.append)
    assert sorted(map(int, map(str, seen))) == [0, 1] and told


async def test_a_job_that_is_cut_off(tmp_path: Path) -> None:
    """Ends at once: it makes no thumbnails of what lies there."""
    async with client_of(FakeTransport(draw)) as client:
        bulk = BulkJob([str(k) for k in range(3)], tmp_path / "job", client)
        await bulk.run()
        for path in (tmp_path / "job" / "thumbs").iterdir():
            path.unlink()
        again = BulkJob([str(k) for k in range(3)], tmp_path / "job", client)
        again.abort()
        result = await again.run()
    assert result.reason == "aborted" and os.listdir(tmp_path / "job" / "thumbs") == []
    assert "3 images are shown whole" in result.report_path.read_text()


async def test_names_come_faster_than_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job doesn't wait for them: what was not made beside it is made at its end."""
    monkeypatch.setattr(ThumbnailThread, "add", lambda self, name: None)
    async with client_of(FakeTransport(draw)) as client:
        await BulkJob([str(k) for k in range(3)], tmp_path / "job", client).run()
    assert len(os.listdir(tmp_path / "job" / "thumbs")) == 3


WITHOUT_EXTRAS = """
import sys
for name in ("PIL", "typer", "rich", "uvloop"):
    sys.modules[name] = None
import anyio
from aiai_async.bulk import BulkJob
from tests.bulk.fakes import FakeTransport, client_of
async def main():
    async with client_of(FakeTransport()) as client:
        print((await BulkJob(["a"], sys.argv[1], client).run()).exit_code)
anyio.run(main)
"""


def test_without_any_extra(tmp_path: Path) -> None:
    """The report is written, and says what is missing for thumbnails."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS, str(tmp_path / "job")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("0\n", "")
    page = (tmp_path / "job" / "report.html").read_text()
    words = (
        "Pillow is not installed: pip install &#x27;aiai-async[report]&#x27;, then aiai-async report FOLDER makes them."
    )
    assert f"1 image is shown whole, without a thumbnail: {words}" in page
    assert not (tmp_path / "job" / "thumbs").exists()


async def test_odd_answers(tmp_path: Path) -> None:
    """An answer that is odd in every way that a server can be is in the report, and doesn't end it."""
    usage = {
        "__proto__": {"x": 1},
        "total_tokens": 5,
        "deep": {"a": {"b": {"c": {"d": {"e": [1, {"f": "</script>"}]}}}}},
    }
    answer = {**answer_to({"prompt": "a"}), "usage": usage}
    async with client_of(FakeTransport(lambda body: answer)) as client:
        result = await BulkJob(["a"], tmp_path / "job", client).run()
    assert result.message is None
    # One ends each of the page's own.
    assert result.report_path.read_text().count("</script>") == 4
