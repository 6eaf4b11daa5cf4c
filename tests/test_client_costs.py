"""What answers cost, as the client says it: plain, streamed and in batches, against the local server."""

from __future__ import annotations

import datetime as dt
import pickle

import pytest

from aiai_async import (
    PRICES_DATE,
    AsyncImagesClient,
    ConfigurationError,
    ImageRequest,
    ModelPrices,
    cost_of,
    estimate_cost,
)
from aiai_async.server import Fault, LocalServer

REQUEST = ImageRequest(prompt="A kite", model="gpt-image-1", size="1024x1024", quality="low")
# "A kite" has 2 tokens to the local server, at $5 a million; the image 272, at $40.
PLAIN = 2 * 5e-6 + 272 * 40e-6


async def test_an_answer_says_what_it_cost() -> None:
    """By the usage that the server states; no more than was expected, also after pickling."""
    async with LocalServer() as server, AsyncImagesClient("sk-test", base_url=server.base_url) as client:
        response = await client.generate(REQUEST)
        again = await client.generate(REQUEST, n=2)
    assert response.cost is not None and response.cost == pytest.approx(PLAIN)
    assert (response.cost.source, response.cost.priced_on) == ("prices", PRICES_DATE)
    assert again.cost == pytest.approx(PLAIN + 272 * 40e-6)
    expected = estimate_cost(REQUEST)
    assert expected is not None and response.cost <= expected
    twin = pickle.loads(pickle.dumps(response))
    assert twin.cost == response.cost and cost_of(twin, prices={"gpt-image-1": {"images": 1}}) == 1


async def test_a_stream_costs_its_partial_images_too() -> None:
    """In the answer that it gives in the end."""
    async with LocalServer() as server, AsyncImagesClient("sk-test", base_url=server.base_url) as client:
        async with client.stream(REQUEST, partial_images=2) as stream:
            response = await stream.response()
    sent = len(stream.partial_images)
    assert response.cost == pytest.approx(PLAIN + sent * 100 * 40e-6) and sent
    expected = estimate_cost(REQUEST)
    assert response.cost is not None and expected is not None and response.cost > expected


async def test_each_answer_of_a_batch_has_its_cost() -> None:
    """Also where the price is by image, and where there is none."""
    requests = [REQUEST, ImageRequest(prompt="a", model="dall-e-2", size="256x256"), ImageRequest(prompt="a")]
    requests.append(ImageRequest(prompt="a", model="flux-pro"))
    async with LocalServer() as server, AsyncImagesClient("sk-test", base_url=server.base_url) as client:
        results = await client.generate_many(requests)
    costs = [None if result.response is None else result.response.cost for result in results]
    assert costs == [pytest.approx(PLAIN), 0.016, None, None]


async def test_the_servers_figure_wins() -> None:
    """As LiteLLM states it; one that is no amount is passed over."""
    async with LocalServer(faults=["cost_header"]) as server:
        async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
            response = await client.generate(REQUEST)
            assert response.cost == 0.042 and response.cost is not None and response.cost.source == "server"
            server.set_faults(Fault(headers={"x-litellm-response-cost": "None"}))
            response = await client.generate(REQUEST)
            assert response.cost == pytest.approx(PLAIN)
            server.set_faults("no_usage")
            assert (await client.generate(REQUEST)).cost is None


async def test_a_clients_own_prices() -> None:
    """Of the client, and of a view; as values or as a file of them would be."""
    prices = {"gpt-image-1": {"text_input": 0, "image_output": 10}, "priced_on": dt.date(2026, 10, 1)}
    async with LocalServer() as server:
        async with AsyncImagesClient("sk-test", base_url=server.base_url, prices=prices) as client:
            response = await client.generate(REQUEST)
            assert response.cost == pytest.approx(0.00272) and response.cost is not None
            assert response.cost.priced_on == dt.date(2026, 10, 1)
            view = client.with_options(prices={"flux-pro": ModelPrices(images=0.05)})
            assert (await view.generate("a", model="flux-pro", n=2)).cost == pytest.approx(0.1)
            assert (await view.generate(REQUEST)).cost == pytest.approx(PLAIN)
    assert client.prices["gpt-image-1"].image_output == 10 and list(view.prices) == ["flux-pro"]


def test_prices_that_cannot_be_used_are_refused_at_once() -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="prices of flux"):
        AsyncImagesClient("sk-test", prices={"flux": 0.05})  # type: ignore[dict-item] # that is the case
