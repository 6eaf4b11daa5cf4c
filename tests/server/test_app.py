"""The official SDK against the server: every model, size, format and error; and the bare HTTP around it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import openai
import pytest
from openai.types import ImagesResponse
from PIL import Image

from aiai_async._facts import RateLimits
from aiai_async.server import Fault, LocalServer

from .conftest import Connect, until

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("openai_schemas.json").read_bytes())["schemas"]
GPT_MODELS = ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "gpt-image-2-2026-04-21"]
SIZES = [
    *[(model, size) for model in GPT_MODELS for size in ("1024x1024", "1536x1024", "1024x1536")],
    ("gpt-image-2", "1792x1008"),
    ("gpt-image-2", "480x1440"),
    ("dall-e-2", "256x256"),
    ("dall-e-2", "512x512"),
    ("dall-e-2", "1024x1024"),
    ("dall-e-3", "1024x1024"),
    ("dall-e-3", "1792x1024"),
    ("dall-e-3", "1024x1792"),
    ("some-gateway-model", "640x480"),
]


def pictures_of(answer: ImagesResponse) -> list[Image.Image]:
    """Decode every image of an answer wholly."""
    pictures: list[Image.Image] = []
    for image in answer.data or []:
        assert image.b64_json is not None
        picture = Image.open(io.BytesIO(base64.b64decode(image.b64_json, validate=True)))
        picture.load()
        pictures.append(picture)
    return pictures


def check_schema(value: object, schema: dict[str, Any], where: str = "$") -> None:
    """Check a value against the part of JSON Schema that OpenAI's description of images uses."""
    assert set(schema) <= {"$ref", "anyOf", "enum", "format", "items", "properties", "required", "type"}, where
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        types = [choice["type"] for choice in schema["anyOf"]]
        assert {"str": "string", "NoneType": "null"}[type(value).__name__] in types, where
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), where
    if "enum" in schema:
        assert value in schema["enum"], where
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), where
        for name, item in value.items():
            # More strict than the schema: what it doesn't name would be news to every client.
            check_schema(item, schema["properties"][name], f"{where}.{name}")
    if isinstance(value, list):
        for item in value:
            check_schema(item, schema["items"], f"{where}[]")


async def post(http: aiohttp.ClientSession, server: LocalServer, body: object, **more: Any) -> tuple[int, Any]:
    """Send a body as it is, and give status and JSON of the answer."""
    headers = {"Authorization": "Bearer sk-any", "Content-Type": "application/json", **more}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(f"{server.base_url}/images/generations", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


# -- pictures


@pytest.mark.parametrize(("model", "size"), SIZES, ids=str)
async def test_every_size_of_every_model(server: LocalServer, connect: Connect, model: str, size: str) -> None:
    """The picture has the size that was asked for, and the answer says so where it says anything."""
    more: dict[str, Any] = {"response_format": "b64_json"} if model.startswith("dall") else {}
    answer = await connect(server).images.generate(prompt="A lighthouse", model=model, size=size, **more)
    (picture,) = pictures_of(answer)
    assert picture.size == tuple(int(side) for side in size.split("x"))
    assert answer.size == (None if model.startswith("dall") else size)


@pytest.mark.parametrize("size", ["auto", None])
@pytest.mark.parametrize("model", GPT_MODELS)
async def test_auto_or_nothing_is_a_square(server: LocalServer, connect: Connect, model: str, size: str | None) -> None:
    """1024x1024, and the settings are echoed as what they came to."""
    more: dict[str, Any] = {} if size is None else {"size": size, "quality": size, "background": size}
    answer = await connect(server).images.generate(prompt="A lighthouse", model=model, **more)
    assert pictures_of(answer)[0].size == (1024, 1024)
    assert (answer.size, answer.quality, answer.background) == ("1024x1024", "medium", "opaque")
    assert answer.output_format == "png"


@pytest.mark.parametrize(("model", "most"), [("gpt-image-1", 10), ("dall-e-2", 10), ("dall-e-3", 1), ("other", 10)])
async def test_n_images_that_differ(server: LocalServer, connect: Connect, model: str, most: int) -> None:
    """As many as asked for, each another."""
    more: dict[str, Any] = {"response_format": "b64_json"} if model.startswith("dall") else {}
    answer = await connect(server).images.generate(prompt="A lighthouse", model=model, n=most, **more)
    assert len({picture.tobytes() for picture in pictures_of(answer)}) == most


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_every_format(server: LocalServer, connect: Connect, output_format: Any) -> None:
    """The bytes are of the format that was asked for."""
    answer = await connect(server).images.generate(
        prompt="A lighthouse", model="gpt-image-1", output_format=output_format
    )
    assert pictures_of(answer)[0].format == output_format.upper()
    assert answer.output_format == output_format


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
async def test_compression_makes_it_smaller(server: LocalServer, connect: Connect, output_format: Any) -> None:
    """At 10 much smaller than at 100."""
    sizes: list[int] = []
    for compression in (10, 100):
        answer = await connect(server).images.generate(
            prompt="A lighthouse", model="gpt-image-1", output_format=output_format, output_compression=compression
        )
        assert answer.data
        sizes.append(len(answer.data[0].b64_json or ""))
    assert 0 < sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("output_format", ["png", "webp"])
async def test_transparent_really_is(server: LocalServer, connect: Connect, output_format: Any) -> None:
    """Nothing to be seen where the sky was."""
    answer = await connect(server).images.generate(
        prompt="A lighthouse", model="gpt-image-1", background="transparent", output_format=output_format
    )
    (picture,) = pictures_of(answer)
    assert picture.mode == "RGBA"
    assert picture.getchannel("A").getextrema() == (0, 255)
    assert answer.background == "transparent"


async def test_the_same_prompt_gives_the_same_picture(connect: Connect) -> None:
    """On every server with that seed; another seed gives another."""
    pictures: list[str | None] = []
    for seed in (1, 1, 2):
        async with LocalServer(seed=seed) as server:
            answer = await connect(server).images.generate(
                prompt="A cat", model="dall-e-2", size="256x256", response_format="b64_json"
            )
            pictures += [image.b64_json for image in answer.data or []]
    assert pictures[0] == pictures[1] != pictures[2]


# -- answers


@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-image-1"},
        {"model": "gpt-image-1.5", "quality": "high", "background": "transparent", "output_format": "webp", "n": 2},
        {"model": "gpt-image-2", "size": "1536x1024", "output_format": "jpeg"},
        {"model": "some-gateway-model"},
        {},
        {"response_format": "b64_json", "size": "256x256"},
        {"model": "dall-e-3", "quality": "hd", "style": "natural"},
    ],
    ids=str,
)
async def test_answers_are_as_openai_describes_them(
    server: LocalServer, http: aiohttp.ClientSession, body: dict[str, object]
) -> None:
    """Every field is in the published description, and of the type that it says."""
    status, answer = await post(http, server, {"prompt": "A lighthouse", **body})
    assert status == 200
    check_schema(answer, SCHEMAS["ImagesResponse"])


async def test_usage_adds_up(server: LocalServer, connect: Connect) -> None:
    """Two images of the upright format at low quality."""
    answer = await connect(server).images.generate(
        prompt="A lighthouse at dusk", model="gpt-image-1", size="1024x1536", quality="low", n=2
    )
    # Dumped, since older versions of the SDK don't know all of it by name.
    assert answer.model_dump()["usage"] == {
        "total_tokens": 821,
        "input_tokens": 5,
        "output_tokens": 816,
        "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 816},
    }


async def test_dalle_answers_with_links_that_need_no_key(
    server: LocalServer, connect: Connect, http: aiohttp.ClientSession
) -> None:
    """Absolute, on the same host and port."""
    answer = await connect(server).images.generate(prompt="A cat", size="256x256", n=2)
    links = [image.url or "" for image in answer.data or []]
    assert len(set(links)) == 2
    for link in links:
        assert link.startswith(f"http://127.0.0.1:{server.port}/images/")
        async with http.get(link) as download:
            assert (download.status, download.content_type) == (200, "image/png")
            assert Image.open(io.BytesIO(await download.read())).size == (256, 256)
    assert [record.has_key for record in server.downloads] == [False, False]
    assert len(server.requests) == 1


async def test_links_expire(connect: Connect, http: aiohttp.ClientSession) -> None:
    """And so do guesses."""
    async with LocalServer(url_lifetime=0) as server:
        answer = await connect(server).images.generate(prompt="A cat", size="256x256")
        assert answer.data
        for link in (answer.data[0].url or "", f"http://127.0.0.1:{server.port}/images/guess.png"):
            async with http.get(link) as download:
                assert download.status == 404
                assert (await download.json())["error"]["code"] == "image_not_found"


@pytest.mark.parametrize("host", ["", "a b", "evil/<path>"])
async def test_a_host_that_is_none_is_not_put_into_links(
    server: LocalServer, http: aiohttp.ClientSession, host: str
) -> None:
    """The socket's own address then."""
    status, answer = await post(http, server, {"prompt": "A cat", "size": "256x256"}, Host=host)
    assert status == 200
    assert answer["data"][0]["url"].startswith(f"http://127.0.0.1:{server.port}/images/")


async def test_dalle_3_revises_the_prompt(server: LocalServer, connect: Connect) -> None:
    """Only that model does."""
    client = connect(server)
    revised = await client.images.generate(prompt="A cat", model="dall-e-3")
    plain = await client.images.generate(prompt="A cat", model="dall-e-2", size="256x256")
    assert revised.data
    assert plain.data
    assert (revised.data[0].revised_prompt or "").startswith("A cat")
    assert plain.data[0].revised_prompt is None


@pytest.mark.parametrize("suffix", ["", "/"])
async def test_both_paths_answer(server: LocalServer, http: aiohttp.ClientSession, suffix: str) -> None:
    """The documented one ends in a slash."""
    headers = {"Authorization": "bearer sk-any"}
    body = {"prompt": "A cat", "size": "256x256"}
    async with http.post(f"{server.base_url}/images/generations{suffix}", json=body, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["x-request-id"].startswith("req_")


# -- refusals


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "gpt-image-1", "background": "transparent", "output_format": "jpeg"}, "background"),
        ({"model": "gpt-image-1", "size": "1000x1000"}, "size"),
        ({"model": "gpt-image-1", "n": 11}, "n"),
        ({"model": "gpt-image-1", "quality": "hd"}, "quality"),
        ({"model": "dall-e-3", "n": 2}, "n"),
        ({"model": "dall-e-3", "stream": True}, "stream"),
        ({"model": "dall-e-2", "stream": True}, "stream"),
        ({"model": "gpt-image-1", "stream": "true"}, "stream"),
        ({"model": "gpt-image-1", "prompt": ""}, "prompt"),
    ],
    ids=str,
)
async def test_what_the_api_refuses_is_a_bad_request(
    server: LocalServer, connect: Connect, fields: dict[str, Any], param: str
) -> None:
    """With the name of the field, and an id."""
    with pytest.raises(openai.BadRequestError) as caught:
        await connect(server).images.generate(prompt="A cat", extra_body=fields)
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)
    assert caught.value.request_id is not None
    check_schema(caught.value.response.json(), SCHEMAS["ErrorResponse"])


async def test_only_the_servers_key_is_accepted(connect: Connect) -> None:
    """And another is not shown."""
    async with LocalServer(api_key="sk-right-0123456789-0123456789") as server:
        await connect(server, "sk-right-0123456789-0123456789").images.generate(prompt="A cat", size="256x256")
        with pytest.raises(openai.AuthenticationError) as caught:
            await connect(server, "sk-wrong-0123456789-0123456789").images.generate(prompt="A cat")
    assert caught.value.code == "invalid_api_key"
    assert "0123456789" not in str(caught.value)
    assert "sk-***89" in str(caught.value)
    assert "sk-right" not in repr(server.requests)
    check_schema(caught.value.response.json(), SCHEMAS["ErrorResponse"])


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "sk-any"], ids=repr)
async def test_a_request_without_a_key_is_refused(
    server: LocalServer, http: aiohttp.ClientSession, value: str | None
) -> None:
    """Any key will do, but there has to be one."""
    headers = {} if value is None else {"Authorization": value}
    async with http.post(f"{server.base_url}/images/generations", json={"prompt": "A"}, headers=headers) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1", 404),
        ("POST", "/images/generations", 404),
        ("GET", "/favicon.ico", 404),
        ("POST", "/", 404),
        ("GET", "/v1/images/generations", 405),
        ("DELETE", "/v1/images/generations/", 405),
        ("GET", "/images/%2e%2e%2fetc", 404),
    ],
)
async def test_unknown_paths_and_methods(
    server: LocalServer, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    """A clear error in the API's shape, with an id."""
    async with http.request(method, f"http://127.0.0.1:{server.port}{path}") as answer:
        assert answer.status == status
        assert "x-request-id" in answer.headers
        assert answer.headers.get("Allow") == ("POST" if status == 405 else None)
        check_schema(await answer.json(), SCHEMAS["ErrorResponse"])


async def test_the_page_says_how_to_call(server: LocalServer, http: aiohttp.ClientSession) -> None:
    """With its own address, ready to be copied."""
    async with http.get(f"http://127.0.0.1:{server.port}/") as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
    assert f"curl http://127.0.0.1:{server.port}/v1/images/generations" in text
    assert "Any key will do." in text
    async with LocalServer("sk-1") as keyed, http.get(f"http://127.0.0.1:{keyed.port}/") as answer:
        assert "only the key it was started with" in await answer.text()


async def test_a_mistake_of_the_server_shows_no_trace(
    server: LocalServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and answered like OpenAI's own."""

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr("aiai_async.server.painter.draw", fail)
    status, answer = await post(http, server, {"prompt": "A cat"})
    assert (status, answer["error"]["type"]) == (500, "server_error")
    assert "secret" not in json.dumps(answer)
    assert [record.exc_info is not None for record in caplog.records] == [True]


# -- limits


async def test_headers_tell_what_is_left(connect: Connect) -> None:
    """On answers and on refusals of every kind."""
    async with LocalServer(limits=RateLimits(requests_per_minute=3, images_per_minute=100)) as server:
        images = connect(server).images.with_raw_response
        answer = await images.generate(prompt="A cat", size="256x256", n=2)
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-remaining-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-images"] == "98"
        assert answer.headers["x-ratelimit-reset-requests"] == "20s"
        with pytest.raises(openai.BadRequestError) as bad:
            await images.generate(prompt="A cat", n=11)
        assert bad.value.response.headers["x-ratelimit-remaining-requests"] == "2"
        for _ in range(2):
            await images.generate(prompt="A cat", size="256x256")
        with pytest.raises(openai.RateLimitError) as caught:
            await images.generate(prompt="A cat", size="256x256")
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 20
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.code == "rate_limit_exceeded"
    check_schema(caught.value.response.json(), SCHEMAS["ErrorResponse"])


async def test_each_key_has_limits_of_its_own(connect: Connect) -> None:
    """One that is used up leaves the other."""
    async with LocalServer(limits=RateLimits(images_per_minute=1), limit_style="fixed") as server:
        for key in ("sk-one", "sk-two"):
            await connect(server, key).images.generate(prompt="A cat", size="256x256")
        with pytest.raises(openai.RateLimitError):
            await connect(server, "sk-one").images.generate(prompt="A cat", size="256x256")


async def test_hidden_limits_show_only_as_a_429(connect: Connect) -> None:
    """As with the gateways that say nothing."""
    async with LocalServer(limits=RateLimits(requests_per_minute=1), limit_style="hidden") as server:
        images = connect(server).images.with_raw_response
        answer = await images.generate(prompt="A cat", size="256x256")
        with pytest.raises(openai.RateLimitError) as caught:
            await images.generate(prompt="A cat", size="256x256")
    for headers in (answer.headers, caught.value.response.headers):
        assert not [name for name in headers if "ratelimit" in name or "retry" in name]


async def test_who_leaves_gives_the_place_back(connect: Connect) -> None:
    """A cap on concurrency counts requests under way, not those given up."""
    hang = Fault(nth=1, part=0.5, ending="hang")
    async with (
        LocalServer(limits=RateLimits(concurrency=1), faults=[hang]) as server,
        anyio.create_task_group() as group,
    ):
        client = connect(server)
        group.start_soon(lambda: client.images.generate(prompt="A cat", size="256x256"))
        await until(lambda: [record.status for record in server.requests] == [200])
        with pytest.raises(openai.RateLimitError, match="Too many concurrent requests") as caught:
            await client.images.generate(prompt="A cat", size="256x256")
        assert caught.value.response.headers["retry-after"] == "1"
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await until(lambda: server.in_flight == 0)
            await client.images.generate(prompt="A cat", size="256x256")


async def test_latency_blocks_nobody(http: aiohttp.ClientSession, connect: Connect) -> None:
    """While one waits an hour, others are answered."""
    async with LocalServer(latency=(3600, 3600)) as server, anyio.create_task_group() as group:
        group.start_soon(lambda: connect(server).images.generate(prompt="A cat", size="256x256"))
        await until(lambda: [record.body != b"" for record in server.requests] == [True])
        async with http.get(f"http://127.0.0.1:{server.port}/") as page:
            assert page.status == 200
        assert server.requests[0].status is None
        group.cancel_scope.cancel()


async def test_latency_passes(connect: Connect) -> None:
    """A blink of it, and the answer comes."""
    async with LocalServer(latency=0.001) as server:
        assert (await connect(server).images.generate(prompt="A cat", size="256x256")).data


# -- what came in


async def test_requests_can_be_asserted_on(server: LocalServer, connect: Connect) -> None:
    """Path, headers without the key, the parsed body, the status."""
    await connect(server, "sk-secret-0123").images.generate(
        prompt="A cat", size="256x256", extra_headers={"Idempotency-Key": "key-1"}
    )
    (received,) = server.requests
    assert (received.method, received.path, received.status) == ("POST", "/v1/images/generations", 200)
    assert received.body == {"prompt": "A cat", "size": "256x256"}
    assert received.headers["idempotency-key"] == "key-1"
    assert received.has_key
    assert "authorization" not in received.headers
    assert "sk-secret" not in repr(server.requests)
