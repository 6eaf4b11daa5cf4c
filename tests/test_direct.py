"""The short way past aiohttp's session: what goes it, what doesn't, and that neither can be told from the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from aiai_async import AiohttpTransport, APIConnectionError, APIStatusError, AsyncImagesClient
from aiai_async._aiohttp import Pool
from aiai_async._direct import DirectAnswer
from aiai_async._exchange import TransportRequest
from tests.scripted import KEY, OK, PNG, ScriptedServer, answer_with, http_answer


class Sessions:
    """Counts the requests that go through aiohttp's session, as tracing and mocks would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        real = aiohttp.ClientSession._request

        async def request(session: Any, *args: Any, **kwargs: Any) -> Any:
            self.requests += 1
            return await real(session, *args, **kwargs)

        monkeypatch.setattr(aiohttp.ClientSession, "_request", request)


def to(server: ScriptedServer, **fields: Any) -> TransportRequest:
    """A request to the server's endpoint."""
    url = f"{server.base_url}/images/generations/"
    return TransportRequest(**{"method": "POST", "url": url, "headers": {}, "body": b"{}", **fields})


class TestWays:
    async def test_usual_requests_go_the_short_way(self) -> None:
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            for _ in range(2):
                response = await pool.send(to(server))
                assert isinstance(response._answer, DirectAnswer)
                while await response.read():
                    pass
                response.close()
            await pool.aclose()
        assert server.connections == 1

    async def test_both_ways_send_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each field once, whatever its order."""
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, default_headers={"X-Team": "a"}) as client:
                await client.generate("A", idempotency_key="k")
                sessions = Sessions(monkeypatch)
                await client.generate("A", idempotency_key="k")
        assert sessions.requests == 1
        direct, through_session = server.requests
        assert direct.headers == through_session.headers
        assert (direct.method, direct.path, direct.body) == (
            through_session.method,
            through_session.path,
            through_session.body,
        )

    async def test_what_stands_in_for_aiohttp_sees_every_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where connections are open already."""
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            await client.generate("A")
            sessions = Sessions(monkeypatch)
            await client.generate("B")
            monkeypatch.undo()
            await client.generate("C")
        assert (sessions.requests, server.connections) == (1, 1)

    async def test_tracing_that_is_put_into_every_session_sees_every_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That is how tools for observing programs do it."""
        seen: list[str] = []

        async def note(session: object, context: object, params: aiohttp.TraceRequestStartParams) -> None:
            seen.append(params.method)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(note)
        real = aiohttp.ClientSession.__init__

        def make(session: Any, **kwargs: Any) -> None:
            real(session, **{**kwargs, "trace_configs": [*(kwargs.get("trace_configs") or ()), trace]})

        monkeypatch.setattr(aiohttp.ClientSession, "__init__", make)
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            await client.generate("A")
        assert seen == ["POST"]

    async def test_long_bodies_go_through_the_session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It reads while it writes, so that an answer that comes early is seen."""
        sessions = Sessions(monkeypatch)
        monkeypatch.setattr("aiai_async._aiohttp._is_watched", lambda session: False)
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            await client.generate("ü" * 15_000)
            assert sessions.requests == 0
            await client.generate("ü" * 20_000)
        assert sessions.requests == 1
        assert [len(str(request.json["prompt"])) for request in server.requests] == [15_000, 20_000]

    async def test_so_do_connectors_of_the_users(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sessions = Sessions(monkeypatch)
        monkeypatch.setattr("aiai_async._aiohttp._is_watched", lambda session: False)
        transport = AiohttpTransport(connector_factory=aiohttp.TCPConnector)
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, transport=transport) as client:
                await client.generate("A")
        assert sessions.requests == 1


class TestExchanges:
    async def test_fields_of_the_users_come_once(self) -> None:
        async with ScriptedServer(OK) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            await client.generate("A", extra_headers={"Accept-Encoding": "identity", "Host": "images.example"})
        headers = server.requests[0].headers
        assert (headers["accept-encoding"], headers["host"]) == ("identity", "images.example")

    @pytest.mark.parametrize("value", ["a\r\nx-b: 1", "a\nx", "a\rx", "a\0"])
    async def test_no_field_can_begin_another(self, value: str) -> None:
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            with pytest.raises(ValueError, match="a line break or a zero byte"):
                await pool.send(to(server, headers={"x-a": value}))
            await server.wait_until(lambda: server.closed == 1)
            await pool.aclose()
        assert (server.requests, pool.under_way) == ([], 0)

    async def test_what_goes_wrong_with_one_leaves_the_others_of_its_turn_alone(self) -> None:
        pool = Pool(connector_factory=None, trace_configs=())

        def fail() -> None:
            raise RuntimeError("mine")

        async with ScriptedServer(OK) as server:
            pool.under_way += 100
            sends = [pool.send(to(server, on_sent=fail if number == 1 else list)) for number in range(4)]
            results = await asyncio.gather(*sends, return_exceptions=True)
            assert [isinstance(each, RuntimeError) for each in results] == [False, True, False, False]
            for each in results:
                if not isinstance(each, BaseException):
                    each.close()
            with pytest.raises(ValueError, match="a lone surrogate"):
                await pool.send(to(server, headers={"x-a": "\ud800"}))
            await pool.aclose()

    async def test_interim_answers_are_passed_over(self) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        async with ScriptedServer(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
                assert (await client.generate("A")).image.content == PNG

    async def test_a_server_that_wants_another_protocol(self) -> None:
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        async with ScriptedServer(answer) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
                with pytest.raises(APIStatusError, match="Switching Protocols"):
                    await client.generate("A")

    async def test_what_is_closed_in_the_turn_of_the_request_sends_nothing(self) -> None:
        """So it can't have been billed."""
        sent: list[str] = []
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            response = await pool.send(to(server))
            while await response.read():
                pass
            response.close()
            # As if many others were under way: then what is sent in one turn of the loop goes out at its end.
            pool.under_way += 100
            task = asyncio.create_task(pool.send(to(server, on_sent=lambda: sent.append("sent"))))
            await asyncio.sleep(0)
            await pool.aclose()
            with pytest.raises(APIConnectionError, match="the client was closed") as caught:
                await task
        assert (sent, len(server.requests)) == ([], 1)
        assert not caught.value.may_have_been_billed

    async def test_a_connection_that_is_gone_before_the_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connect = aiohttp.TCPConnector.connect

        async def connect_and_lose(*args: Any, **kwargs: Any) -> Any:
            connection = await connect(*args, **kwargs)
            connection.transport.abort()
            return connection

        monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_lose)
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
                with pytest.raises(APIConnectionError, match="was closed before the request was sent") as caught:
                    await client.generate("A")
        assert server.requests == []
        assert not caught.value.may_have_been_billed

    async def test_reads_are_as_long_as_answers(self) -> None:
        """A connection that brought a long one goes back to short reads with the next request."""
        long = http_answer(200, answer_with(PNG * 100))
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        pool = Pool(connector_factory=None, trace_configs=())
        sizes: list[int] = []
        async with ScriptedServer(OK, long, OK, chunked) as server:
            for _ in range(4):
                response = await pool.send(to(server))
                assert isinstance(response._answer, DirectAnswer)
                transport: Any = response._answer._connection.transport
                sizes.append(transport.max_size >> 10)
                while await response.read():
                    pass
                response.close()
            await pool.aclose()
        assert (sizes, server.connections) == ([64, 256, 64, 256], 1)
