"""Many images into a folder, which a crash doesn't hurt: run it again and it goes on. python examples/job.py"""

import anyio

from aiai_async import AsyncImagesClient, ImageRequest
from aiai_async.bulk import BulkJob, Progress

LIGHTHOUSES = [ImageRequest(prompt=f"A lighthouse at {hour} o'clock") for hour in range(6, 22, 2)]


def show(progress: Progress) -> None:
    print(f"{progress.done} of {progress.total} done, {progress.in_flight} in flight")


async def main() -> None:
    async with AsyncImagesClient() as client:
        defaults = {"model": "gpt-image-1", "size": "1536x1024"}
        # No more than twenty images, whatever happens and however often it is run.
        job = BulkJob(LIGHTHOUSES, "lighthouses", client, defaults=defaults, max_images=20)
        result = await job.run(on_progress=show)
    print(f"{result.done} of {result.total} done: {result.report_path}")


if __name__ == "__main__":
    anyio.run(main)
