"""The first program: one image, saved.

It needs `AIAI_API_KEY`. To try it without a key, start `aiai-async serve` and set what that shows.
"""

import anyio

from aiai_async import AsyncImagesClient


async def main() -> None:
    async with AsyncImagesClient() as client:  # AIAI_API_KEY, AIAI_BASE_URL
        response = await client.generate("A lighthouse at dusk", model="gpt-image-1", size="1536x1024")
        path = await response.image.save("lighthouse.png")
    print(f"saved {path}")


anyio.run(main)
