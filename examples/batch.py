"""An image for each line of a file, twenty at a time, saved as they come. python examples/batch.py prompts.txt"""

import sys
from pathlib import Path

import anyio

from aiai_async import AsyncImagesClient, ImageRequest


async def main(path: Path) -> None:
    # A generator: however long the file is, it is read only as fast as images come.
    lines = path.open(encoding="utf-8")
    requests = (ImageRequest(prompt=line.strip(), model="gpt-image-1") for line in lines)
    failed = 0
    with lines:
        async with AsyncImagesClient() as client, client.batch(requests, concurrency=20) as results:
            async for result in results:
                if result.response is not None:
                    print(await result.response.image.save(f"{result.index:06d}"))
                else:
                    failed += 1
                    print(f"line {result.index + 1}: {result.error}", file=sys.stderr)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
