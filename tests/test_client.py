"""The front door: making a client, its options and views, arguments that are wrong, loops, the official SDK's shape."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import aiohttp
import anyio
import pytest
import trio
from aioresponses import aioresponses

from aiai_async import (
    APIConnectionError,
    APITimeoutError,
    AsyncImagesClient,
    ConfigurationError,
    DownloadError,
    ImageRequest,
    InvalidRequestError,
    RetryPolicy,
    Timeout,
)
from tests.scripted import OK, PNG, Received, ScriptedServer, answer_with, error_body, http_answer, never_answer

KEY = "sk-test-0123456789"
URL = "http://127.0.0.1:9/v1"


class TestMaking:
    def test_no_key_says_what_to_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that is meant for another service is not picked up."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        with pytest.raises(ConfigurationError, match="set AIAI_API_KEY, or give api_key="):
            AsyncImagesClient()

    async def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with ScriptedServer(OK) as server:
            monkeypatch.setenv("AIAI_API_KEY", KEY)
            monkeypatch.setenv("AIAI_BASE_URL", server.base_url + "/")
            async with AsyncImagesClient() as client:
                await client.generate("A")
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"

    def test_the_documented_base_url(self) -> None:
        assert repr(AsyncImagesClient(KEY)) == "AsyncImagesClient(base_url='https://api.aiai.com/v1')"

    def test_where_requests_go(self) -> None:
        """As it can be shown: without a slash at the end, and without the password."""
        assert AsyncImagesClient(KEY, base_url="https://user:hunter22@host/v1/").base_url == "https://host/v1"

    @pytest.mark.parametrize(
        "key", ["", " ", "sk 1", "sk-1\n", "\tsk-1", "sk\r\nX-Evil: 1", "sk-é", "sk-\x00", b"sk-1", 7]
    )
    def test_a_malformed_key_is_refused_and_not_shown(self, key: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            AsyncImagesClient(key)
        text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert "api_key" in str(caught.value)
        if isinstance(key, str) and len(key.strip()) > 3:
            shown = [
                line for line in text.splitlines() if "/tests/" not in line and not line.strip().startswith("key =")
            ]
            assert all(repr(key)[1:-1] not in line for line in shown)

    def test_a_malformed_key_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIAI_API_KEY", "sk-1 ")
        with pytest.raises(ConfigurationError, match="AIAI_API_KEY begins or ends with white space"):
            AsyncImagesClient()

    @pytest.mark.parametrize(
        ("base_url", "words"),
        [
            ("", "is empty"),
            ("api.aiai.com/v1", "can't be used"),
            ("ftp://api.aiai.com", "can't be used"),
            ("https://", "can't be used"),
            ("http://host:99999/v1", "can't be used"),
            ("http://host:0/v1", "can't be used"),
            ("http://ho st/v1", "holds a space"),
            ("http://host/v1\n", "holds a space"),
            ("https://host/v1?key=1", "query"),
            ("https://host/v1#x", "fragment"),
            ("https://host/v1/images/generations/", "leave out /images/generations"),
        ],
    )
    def test_a_base_url_that_cannot_work(self, base_url: str, words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            AsyncImagesClient(KEY, base_url=base_url)

    def test_a_password_in_a_base_url_that_is_refused(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            AsyncImagesClient(KEY, base_url="https://user:hunter22@host/v1?x=1")
        text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert text.count("hunter22") == 1, "the source line of this test"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"timeout": 0},
            {"timeout": -1},
            {"timeout": "60"},
            {"retry": -1},
            {"retry": 1.5},
            {"retry": "2"},
            {"max_connections": -1},
            {"max_connections": True},
            {"max_answer_bytes": 0},
            {"proxy": "socks5://host"},
            {"proxy": 5},
            {"base_url": 5},
            {"default_headers": [("a", "b")]},
            {"default_headers": {"X-A": "a\r\nb"}},
            {"default_headers": {"X A": "a"}},
            {"default_headers": {"Idempotency-Key": "a"}},
        ],
        ids=str,
    )
    def test_other_arguments(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            AsyncImagesClient(KEY, **arguments)

    def test_values_out_of_range(self) -> None:
        for make in (
            lambda: Timeout(stall=0),
            lambda: Timeout(connect=float("nan")),
            lambda: RetryPolicy(max_retries=-1),
            lambda: RetryPolicy(instant=-1),
        ):
            with pytest.raises(ValueError):
                make()


class TestKeys:
    async def test_a_callable_is_asked_once_per_attempt(self) -> None:
        keys = iter(["sk-first", "sk-second", "sk-third"])

        async def rotate() -> str:
            return next(keys)

        async with ScriptedServer(http_answer(503, error_body("sk-first")), OK) as server:
            async with AsyncImagesClient(rotate, base_url=server.base_url, retry=RetryPolicy(base_delay=0)) as client:
                await client.generate("A")
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer sk-first", "Bearer sk-second"]

    @pytest.mark.parametrize("key", ["", "sk 1", None])
    async def test_what_it_gives_is_checked(self, key: Any) -> None:
        async def give() -> str:
            return key  # type: ignore[no-any-return] # wrong on purpose

        with pytest.raises(ConfigurationError, match="what the api_key callable gave"):
            await AsyncImagesClient(give, base_url=URL).generate("A")

    async def test_a_callable_that_is_not_async(self) -> None:
        client = AsyncImagesClient(lambda: "sk-1", base_url=URL)  # type: ignore[arg-type, return-value] # on purpose
        with pytest.raises(ConfigurationError, match="async def"):
            await client.generate("A")

    async def test_its_own_error_is_raised_as_itself(self) -> None:
        async def fail() -> str:
            raise LookupError("vault is sealed")

        with pytest.raises(LookupError, match="vault is sealed"):
            await AsyncImagesClient(fail, base_url=URL).generate("A")


class TestArguments:
    async def test_a_request_whose_fields_the_keywords_override(self) -> None:
        request = ImageRequest(prompt="A lighthouse", model="gpt-image-1", n=2, quality="low")
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
                await client.generate(request, n=1, size="1536x1024", user=None)
                await client.generate(prompt="By keyword", extra_body={"seed": 7, "n": None})
        first, second = (r.json for r in server.requests)
        assert first == {
            "prompt": "A lighthouse",
            "model": "gpt-image-1",
            "n": 1,
            "quality": "low",
            "size": "1536x1024",
        }
        assert second == {"prompt": "By keyword", "seed": 7, "n": None}

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ({"prompt": ""}, "prompt"),
            ({"prompt": None}, "prompt"),
            ({"prompt": 7}, "prompt"),
            ({"prompt": "\ud800"}, "prompt"),
            ({"n": 11}, "n"),
            ({"n": "2"}, "n"),
            ({"n": True}, "n"),
            ({"size": "1000x1000", "model": "gpt-image-1"}, "size"),
            ({"partial_images": 2, "model": "gpt-image-1"}, "partial_images"),
            ({"timeout": 0}, "timeout"),
            ({"idempotency_key": ""}, "idempotency_key"),
            ({"idempotency_key": "a b"}, "idempotency_key"),
            ({"extra_headers": {"idempotency-key": "x"}}, "extra_headers"),
            ({"extra_headers": {"Content-Length": "1"}}, "extra_headers"),
            ({"extra_headers": {"X-A": "a\nb"}}, "extra_headers"),
            ({"extra_headers": {"X-A": 7}}, "extra_headers"),
            ({"extra_body": [1]}, "extra_body"),
            ({"extra_body": {"stream": True}}, "extra_body"),
            ({"extra_body": {"scale": float("nan")}}, "extra_body"),
            ({"extra_body": {"seed": 1j}}, "seed"),
            ({"sink": "file.png"}, "sink"),
            ({"stream": "true"}, "stream"),
            ({"extra_headers": [("a", "b")]}, "extra_headers"),
        ],
        ids=str,
    )
    async def test_what_is_wrong_is_found_before_anything_is_sent(self, arguments: dict[str, Any], field: str) -> None:
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
                with pytest.raises(InvalidRequestError) as caught:
                    await client.generate(**{"prompt": "A", **arguments})
                assert isinstance(caught.value, ValueError)
        assert caught.value.field == field
        assert server.connections == 0

    async def test_validation_can_be_turned_off(self) -> None:
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, validate=False) as client:
                await client.generate("", model="dall-e-3", n=50)
        assert server.requests[0].json == {"prompt": "", "model": "dall-e-3", "n": 50}

    async def test_header_fields_of_the_client_and_of_the_call(self) -> None:
        async with ScriptedServer(OK) as server:
            headers = {"X-Team": "a", "User-Agent": "mine"}
            async with AsyncImagesClient(KEY, base_url=server.base_url, default_headers=headers) as client:
                await client.generate("A", extra_headers={"x-team": "b", "Authorization": "Basic xyz"})
                await client.generate("A")
        first, second = (r.headers for r in server.requests)
        assert (first["x-team"], first["user-agent"], first["authorization"]) == ("b", "mine", "Basic xyz")
        assert (second["x-team"], second["authorization"]) == ("a", f"Bearer {KEY}")

    async def test_a_secret_header_shows_nowhere(self) -> None:
        async with ScriptedServer(http_answer(400, error_body("bad s3cret-value"))) as server:
            headers = {"X-Api-Key": "s3cret-value"}
            async with AsyncImagesClient(KEY, base_url=server.base_url, default_headers=headers) as client:
                with pytest.raises(Exception, match=r"bad \*\*\*"):
                    await client.generate("A")
                with pytest.raises(Exception, match=r"bad \*\*\*"):
                    await client.with_options(default_headers=None).generate("A", extra_headers=headers)
        assert [r.headers["x-api-key"] for r in server.requests] == ["s3cret-value"] * 2


class TestViews:
    async def test_a_view_has_its_own_options_on_the_same_connections(self) -> None:
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            async with client.with_options(default_headers={"x-a": "1"}, api_key="sk-view", timeout=5) as view:
                await view.generate("A")
            await view.aclose()
            await client.generate("B")
        assert [r.headers.get("x-a") for r in server.requests] == ["1", None]
        assert [r.headers["authorization"] for r in server.requests] == ["Bearer sk-view", f"Bearer {KEY}"]
        assert server.connections == 1

    async def test_another_base_url(self) -> None:
        async with ScriptedServer(OK) as one, ScriptedServer(OK) as other:
            async with AsyncImagesClient(KEY, base_url=one.base_url) as client:
                await client.with_options(base_url=other.base_url, retry=0, validate=False).generate("A")
        assert (len(one.requests), len(other.requests)) == (0, 1)

    def test_what_cannot_be_changed(self) -> None:
        client = AsyncImagesClient(KEY)
        with pytest.raises(ConfigurationError, match="max_connections"):
            client.with_options(max_connections=3)  # type: ignore[call-arg] # on purpose
        with pytest.raises(ConfigurationError, match="timeout"):
            client.with_options(timeout=-1)

    async def test_code_for_the_official_sdk(self) -> None:
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            result = await client.images.generate(prompt="A lighthouse", model="gpt-image-1")
            assert result.data[0].b64_json is not None
        assert server.requests[0].json["prompt"] == "A lighthouse"


class TestClosing:
    async def test_a_closed_client_says_so(self) -> None:
        client = AsyncImagesClient(KEY, base_url=URL)
        await client.aclose()
        await client.close()
        with pytest.raises(ConfigurationError, match="this client was closed"):
            await client.generate("A")

    async def test_requests_under_way_fail(self) -> None:
        async with ScriptedServer(never_answer) as server:
            client = AsyncImagesClient(KEY, base_url=server.base_url)
            task = asyncio.create_task(client.generate("A"))
            await server.wait_until(lambda: server.requests)
            await client.aclose()
            with pytest.raises(APIConnectionError, match="the client was closed meanwhile") as caught:
                await task
            assert caught.value.may_have_been_billed
            await server.wait_until(lambda: server.closed == 1)
        assert len(server.requests) == 1

    async def test_a_link_of_a_closed_client(self) -> None:
        async with ScriptedServer(http_answer(200, {"data": [{"url": "/a.png"}]})) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
                image = (await client.generate("A")).image
            with pytest.raises(DownloadError, match="the client was closed"):
                await image.read()
            with pytest.raises(DownloadError, match="no client"):
                await pickle.loads(pickle.dumps(image)).read()  # it was pickled here


class TestConnections:
    async def test_they_are_reused(self) -> None:
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            for _ in range(3):
                await client.generate("A")
        assert server.connections == 1

    async def test_max_connections_are_under_way_at_once(self) -> None:
        """The others wait, and their waiting doesn't count as `total`."""
        going = 0
        most = 0

        async def count(_: Received, writer: asyncio.StreamWriter) -> None:
            nonlocal going, most
            going += 1
            most = max(most, going)
            await asyncio.sleep(0.01)
            going -= 1
            writer.write(OK)

        async with ScriptedServer(count) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, max_connections=2, timeout=0.05) as client:
                await asyncio.gather(*(client.generate("A") for _ in range(16)))
        assert most == 2

    async def test_no_cap(self) -> None:
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, max_connections=0) as client:
                await asyncio.gather(*(client.generate("A") for _ in range(150)))
        assert len(server.requests) == 150

    async def test_a_cancelled_waiter_gives_its_place_back(self) -> None:
        async with ScriptedServer(never_answer, OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, max_connections=1) as client:
                first = asyncio.create_task(client.generate("A"))
                await server.wait_until(lambda: server.requests)
                waiting = [asyncio.create_task(client.generate("B")) for _ in range(2)]
                await asyncio.sleep(0)
                for task in (waiting[0], first):
                    task.cancel()
                assert (await waiting[1]).image.content == PNG


ONE_CLIENT = """
import asyncio, sys
import aiai_async
client = aiai_async.AsyncImagesClient("sk-test", base_url=sys.argv[1])
async def once():
    await client.generate("A")
for _ in range(3):
    asyncio.run(once())
async def entered():
    async with client:
        await client.generate("A")
asyncio.run(entered())
asyncio.run(entered())
print("done")
"""


class TestLoops:
    async def test_several_loops_one_after_another(self) -> None:
        """A client made at import time, no `async with`: it works, without a warning about anything left open."""
        async with ScriptedServer(OK) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", ONE_CLIENT, server.base_url),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await process.communicate()
        assert (out.decode().strip(), err.decode()) == ("done", "")
        assert server.connections == 5

    async def test_two_loops_at_once(self) -> None:
        """Each has connections of its own; closing from one closes those of the other."""
        async with ScriptedServer(OK) as server:
            client = AsyncImagesClient(KEY, base_url=server.base_url)
            is_used, may_end = asyncio.Event(), anyio.Event()
            loop = asyncio.get_running_loop()
            loops: list[Callable[[], object]] = []

            def in_thread() -> None:
                async def use() -> None:
                    end = asyncio.Event()
                    there = asyncio.get_running_loop()
                    loops.append(lambda: there.call_soon_threadsafe(end.set))
                    await client.generate("A")
                    loop.call_soon_threadsafe(is_used.set)
                    await end.wait()

                asyncio.run(use())

            thread = asyncio.create_task(asyncio.to_thread(in_thread))
            await client.generate("B")
            await is_used.wait()
            assert server.connections == 2
            await client.aclose()
            await server.wait_until(lambda: server.closed == 2)
            loops[0]()
            await thread
            assert not may_end.is_set()

    async def test_leaving_a_client_open_warns_of_nothing_within_a_loop(self) -> None:
        async with ScriptedServer(OK) as server:

            def run() -> None:
                asyncio.run(AsyncImagesClient(KEY, base_url=server.base_url).generate("A"))  # type: ignore[arg-type]

            await asyncio.to_thread(run)
            gc.collect()
            await server.wait_until(lambda: server.closed == 1)

    def test_trio_is_refused_clearly(self) -> None:
        async def main() -> None:
            await AsyncImagesClient(KEY).generate("A")

        with pytest.raises(ConfigurationError, match="trio is not supported yet"):
            trio.run(main)

    def test_anyio(self) -> None:
        async def main() -> None:
            async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(client.generate, "A")
            assert len(server.requests) == 3

        anyio.run(main)


class TestWithAioresponses:
    """Where a mocked session is enough, as in users' own tests."""

    @pytest.fixture
    def mocked(self) -> Any:
        class Response(aiohttp.ClientResponse):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                # aiohttp 3.14 wants a stream writer that aioresponses 0.7.9 doesn't give.
                if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
                    kwargs.setdefault("stream_writer", Mock(output_size=0))
                super().__init__(*args, **kwargs)

        with aioresponses() as mocked:
            yield lambda **arguments: mocked.post(f"{URL}/images/generations/", response_class=Response, **arguments)

    async def test_an_answer(self, mocked: Any) -> None:
        mocked(payload=answer_with(PNG))
        async with AsyncImagesClient(KEY, base_url=URL) as client:
            assert (await client.generate("A")).image.content == PNG

    @pytest.mark.parametrize(
        ("exception", "kind", "billed"),
        [
            (aiohttp.ServerDisconnectedError(), APIConnectionError, True),
            (aiohttp.ClientPayloadError("cut"), APIConnectionError, True),
            (aiohttp.ClientOSError(104, "reset"), APIConnectionError, True),
            (TimeoutError(), APITimeoutError, True),
            (aiohttp.InvalidURL("x"), APIConnectionError, False),
        ],
        ids=lambda value: type(value).__name__,
    )
    async def test_foreign_exceptions_become_ours(
        self, mocked: Any, exception: Exception, kind: type[Exception], billed: bool
    ) -> None:
        mocked(exception=exception, repeat=True)
        retry = RetryPolicy(max_retries=0, instant=0)
        async with AsyncImagesClient(KEY, base_url=URL, retry=retry) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.generate("A")
        assert type(caught.value) is kind
        assert caught.value.may_have_been_billed is billed
        assert caught.value.__cause__ is exception

    async def test_retries(self, mocked: Any) -> None:
        mocked(status=503)
        mocked(status=429)
        mocked(payload=answer_with(PNG))
        async with AsyncImagesClient(KEY, base_url=URL, retry=RetryPolicy(base_delay=0)) as client:
            response = await client.generate("A")
        assert response.http is not None and response.http.attempts == 3


class TestTheEnvironmentsLog:
    @pytest.mark.parametrize(("value", "lines"), [("info", 1), ("DEBUG", 1), ("", 0), ("loud", 0)])
    async def test_aiai_log(self, value: str, lines: int) -> None:
        code = "import asyncio, sys, aiai_async as a\nc = a.AsyncImagesClient('sk-test-77', base_url=sys.argv[1])\n"
        code += "a.AsyncImagesClient('sk-test-77')\nasyncio.run(c.generate('A private prompt'))"
        async with ScriptedServer(OK) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, server.base_url), stderr=subprocess.PIPE, env={"AIAI_LOG": value}
            )
            _, err = await process.communicate()
        assert len(err.decode().splitlines()) == lines
        assert b"sk-test-77" not in err and b"private" not in err
        if lines:
            assert b"POST /v1/images/generations/ 200 in" in err


def test_what_importing_loads() -> None:
    """Neither aiohttp nor cattrs nor an extra, also not by making a client."""
    code = (
        "import sys, aiai_async; from aiai_async import *; aiai_async.AsyncImagesClient('sk-test'); "
        "aiai_async.AiohttpTransport(); "
        "print([n for n in ('aiohttp', 'cattrs', 'PIL', 'typer', 'rich', 'uvloop') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_logger_is_silent_by_default() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("aiai_async").handlers)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_uvloop_does_as_well() -> None:
    """Also where requests wait for each other, and a timer is due at once."""

    async def run() -> tuple[int, int]:
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, max_connections=0) as client:
                answers = await asyncio.gather(*(client.generate("A") for _ in range(300)))
            return len(answers), len(server.requests)

    uvloop: Any = importlib.import_module("uvloop")  # Any: it has no part in type checks
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == (300, 300)
