"""A picture that comes step by step: each is saved the moment it is there. python examples/stream.py"""

import anyio

from aiai_async import AsyncImagesClient, PartialImageEvent


async def main() -> None:
    client = AsyncImagesClient()
    async with client, client.stream("A lighthouse at dusk", model="gpt-image-1", partial_images=2) as stream:
        async for event in stream:
            name = f"step-{event.partial_image_index}" if isinstance(event, PartialImageEvent) else "lighthouse"
            print(event.type, await event.image.save(name))


if __name__ == "__main__":
    anyio.run(main)
