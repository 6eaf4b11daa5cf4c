"""Jobs as processes: two at once, many items in little memory, and real prompts through the local server."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiai_async import AsyncImagesClient
from aiai_async.bulk import BulkJob
from aiai_async.server import LocalServer

from .fakes import CountingServer, environment_of_child, names_in, read_lines

CHILD = """
import sys
import anyio
from aiai_async.bulk import BulkJob
from tests.bulk.fakes import FakeTransport, answer_to, client_of
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
class Forgetful(FakeTransport):
    async def send(self, request):
        self.bodies, self.keys = [], []
        return await super().send(request)
async def main():
    async with client_of(Forgetful()) as client:
        for count in (500, 3000):
            job = BulkJob((f"prompt {n}" for n in range(count)), f"{sys.argv[1]}/{count}", client)
            assert (await job.run()).done == count
            print(peak())
anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_many_items_take_no_more_memory_than_few(tmp_path: Path) -> None:
    """100,000: benchmarks/jobs.py."""
    found = subprocess.run([sys.executable, "-W", "error", "-c", CHILD, str(tmp_path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    few, many = map(int, found.stdout.split())
    assert many - few < 8000


async def test_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is refused and changes nothing; after the first was killed the folder is free."""
    source = tmp_path / "prompts.txt"
    source.write_text("".join(f"prompt {number}\n" for number in range(4)))
    async with CountingServer(latency=0.5) as server:
        command = [sys.executable, "-m", "tests.bulk.child", str(tmp_path / "job"), str(source), "2"]
        first = subprocess.Popen(command, env=environment_of_child(server.base_url))
        await server.arrived.wait()
        monkeypatch.setenv("AIAI_API_KEY", "sk")
        async with AsyncImagesClient(base_url=server.base_url) as client:
            with pytest.raises(Exception, match=f"another run of this job is under way .process {first.pid}."):
                await BulkJob(source, tmp_path / "job", client).run()
            first.kill()
            first.wait()
            server.latency = 0.0
            result = await BulkJob(source, tmp_path / "job", client).run()
    assert result.done == 4 and len(names_in(tmp_path / "job")) == 4


async def test_real_prompts(tmp_path: Path) -> None:
    """Through the local server; each is an image whose name any file system takes."""
    path = os.environ.get("AIAI_TEST_PROMPTS")
    if not path:
        print("skipped: AIAI_TEST_PROMPTS names no file of prompts")
        pytest.skip("AIAI_TEST_PROMPTS names no file of prompts")
    with open(path, encoding="utf-8", newline="") as file:
        prompts = [cells[0] for cells in csv.reader(file, delimiter="\t")][1:]
    # Each takes a while to draw; every fifth shows whether the odd ones among them do.
    prompts = prompts[::5]
    async with LocalServer("sk") as server, AsyncImagesClient("sk", base_url=server.base_url) as client:
        defaults = {"model": "dall-e-2", "size": "256x256", "response_format": "b64_json"}
        result = await BulkJob(prompts, tmp_path / "job", client, defaults=defaults).run()
        assert (result.exit_code, result.done, len(server.requests)) == (0, len(prompts), len(prompts))
    assert [row["request"]["prompt"] for row in read_lines(result.results_path)] == prompts
    assert all(name.isascii() for name in names_in(tmp_path / "job"))
