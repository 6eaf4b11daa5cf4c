"""What an image may cost, what it did, and a job that can't cost more than half a dollar. python examples/cost.py"""

import anyio

from aiai_async import PRICES_DATE, AsyncImagesClient, ImageRequest, estimate_cost
from aiai_async.bulk import BulkJob

REQUEST = ImageRequest(prompt="A lighthouse at dusk", model="gpt-image-1", size="1024x1024", quality="low")
LIGHTHOUSES = [f"A lighthouse at {hour} o'clock" for hour in range(6, 22, 2)]


async def main() -> None:
    most = estimate_cost(REQUEST)
    if most is not None:
        print(f"at most ${most:.4f}, by prices of {PRICES_DATE}")
    # A gateway's own prices would be prices={"flux-pro": {"images": 0.05}}, and where it states them they win.
    async with AsyncImagesClient() as client:
        response = await client.generate(REQUEST)
        # None where nobody knows, never 0.
        if response.cost is not None:
            print(f"${response.cost:.4f}, as {response.cost.source} say: {dict(response.cost.parts)}")
        defaults = {"model": "gpt-image-1", "size": "1024x1024", "quality": "low"}
        job = BulkJob(LIGHTHOUSES, "lighthouses", client, defaults=defaults, max_cost=0.5, sidecar=True)
        result = await job.run()
    print(f"{result.done} of {result.total} done for ${result.cost or 0:.2f}")


if __name__ == "__main__":
    anyio.run(main)
