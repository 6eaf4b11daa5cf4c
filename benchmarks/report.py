"""How large is a job's report, and how long does it take to make, to open and to filter? python benchmarks/report.py

Jobs of 1,000, 10,000 and 100,000 items, or of the numbers given, are made through the journal, with real images, and
opened in the tests' browser. Times are medians of five.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
from playwright.async_api import expect

# The jobs and the browser are those of the tests.
sys.path.insert(0, str(Path(__file__).parent.parent))

from aiai_async.bulk.report.thumbnails import make_thumbnail
from tests.browser import launch, open_page
from tests.bulk.report.jobs import draw_images, link_thumbnails, make_job

ROUNDS = 5
# From the event of a key to the frame in which what was found is painted, the script's own delay included.
FILTER = """(value) => new Promise((resolve) => {
    const [field, count] = [document.getElementById("text"), document.getElementById("count")];
    const began = performance.now();
    const watcher = new MutationObserver(() => {
        watcher.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
    });
    watcher.observe(count, {childList: true});
    field.value = value;
    field.dispatchEvent(new InputEvent("input", {bubbles: true}));
})"""
# A process of its own, so that its peak of memory is the report's.
MAKE = """
import sys, time
from pathlib import Path
from aiai_async.bulk.report import report_on
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
began, before = time.perf_counter(), peak()
report_on(Path(sys.argv[1]))
print(time.perf_counter() - began, (peak() - before) / 1024)
"""


async def measure(folder: Path, count: int) -> list[str]:
    """Open a report some times; give cells of the table."""
    interactive: list[float] = []
    whole: list[float] = []
    found: list[float] = []
    async with launch() as browser:
        for _ in range(ROUNDS):
            watched = await open_page(browser)
            page = watched.page
            began = time.perf_counter()
            await page.goto((folder / "report.html").as_uri(), wait_until="commit")
            await expect(page.locator("#count")).to_be_visible()
            interactive.append(time.perf_counter() - began)
            await expect(page.locator("#cut")).to_be_hidden(timeout=60_000)
            whole.append(time.perf_counter() - began)
            found.append(await page.evaluate(FILTER, f"number {count - 1}") / 1000)
            assert watched.complaints == []
            await page.context.close()
    return [f"{statistics.median(times) * 1000:.0f} ms" for times in (interactive, whole, found)]


def make(folder: Path) -> list[str]:
    """Write a report; give cells of the table."""
    command = [sys.executable, "-c", MAKE, str(folder)]
    seconds, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    largest = max((path.stat().st_size for path in folder.glob("report/*")), default=0)
    size = (folder / "report.html").stat().st_size
    return [f"{size / 1e6:.2f} MB", f"{largest / 1e6:.2f} MB", f"{float(seconds):.1f} s", f"{float(mebibytes):.0f} MB"]


def time_thumbnails(root: Path) -> float:
    """Give the seconds that a thumbnail takes."""
    (root / "images").mkdir()
    paths = draw_images(root / "images", 8, (1024, 1024))
    began = time.perf_counter()
    for path in paths:
        make_thumbnail(root, path.name)
    return (time.perf_counter() - began) / len(paths)


def main(counts: list[int]) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print(f"one thumbnail of a PNG of 1024 × 1024: {time_thumbnails(root) * 1000:.0f} ms\n")
        print("| items | report.html | largest piece | made in | memory for it | to use it | all loaded | one filter |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for count in counts:
            prompts = [f"A lighthouse at dusk, seen from the sea, number {k}" for k in range(count)]
            folder = make_job(root / f"job-{count}", prompts, with_failures=True, pictures=root / "pictures")
            link_thumbnails(folder)
            cells = [*make(folder), *anyio.run(measure, folder, count)]
            print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [1_000, 10_000, 100_000])
