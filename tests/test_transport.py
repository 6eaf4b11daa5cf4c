"""The transport over aiohttp: sockets, TLS, proxies, tracing; and a transport of the user's own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme

from aiai_async import AiohttpTransport, APIConnectionError, AsyncImagesClient, ConfigurationError, RetryPolicy
from aiai_async._aiohttp import Pool
from aiai_async._exchange import TransportRequest
from aiai_async._facts import Headers
from tests.scripted import OK, PNG, ScriptedServer, answer_with, http_answer

KEY = "sk-test-0123456789"


@contextlib.asynccontextmanager
async def tunnelling_proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A real HTTP proxy that knows only CONNECT; gives its address, and the heads of what it was asked."""
    heads: list[bytes] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        port = int(head.split()[1].rpartition(b":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


class TestSockets:
    async def test_tcp_keep_alive_is_on(self) -> None:
        """Image calls are silent for minutes, and middle boxes forget silent connections."""
        async with ScriptedServer(OK[:-1]) as server:
            pool = Pool(connector_factory=None, trace_configs=())
            url = f"{server.base_url}/images/generations/"
            response = await pool.send(TransportRequest(method="POST", url=url, headers={}, body=b"{}"))
            connection = response._answer._connection
            assert connection is not None and connection.transport is not None
            made: socket.socket = connection.transport.get_extra_info("socket")
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert 0 < made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
            response.close()
            await pool.aclose()

    async def test_cookies_are_not_kept(self) -> None:
        answer = http_answer(200, answer_with(), headers={"Set-Cookie": "session=1; Path=/"})
        async with ScriptedServer(answer) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            for _ in range(2):
                await client.generate("A")
        assert "cookie" not in server.requests[1].headers

    async def test_what_is_not_http(self) -> None:
        async with ScriptedServer(b"SSH-2.0-OpenSSH_9.2\r\nConnection: close\r\n\r\n") as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
                with pytest.raises(APIConnectionError, match="what the server sent is not HTTP"):
                    await client.generate("A")

    async def test_a_host_that_does_not_exist(self) -> None:
        async with AsyncImagesClient(KEY, base_url="http://no-such-host.invalid/v1", retry=0) as client:
            with pytest.raises(APIConnectionError, match=r"could not connect to no-such-host\.invalid:80") as caught:
                await client.generate("A")
        assert not caught.value.may_have_been_billed

    async def test_no_file_descriptor_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing was sent, so it is tried again."""
        real = socket.socket
        failures = [1, 1]

        def scarce(*args: object, **kwargs: object) -> socket.socket:
            if failures:
                failures.pop()
                raise OSError(24, "Too many open files")
            return real(*args, **kwargs)  # type: ignore[arg-type] # as they came

        async with ScriptedServer(OK) as server:
            monkeypatch.setattr("aiai_async._connector.socket.socket", scarce)
            retry = RetryPolicy(base_delay=0)
            async with AsyncImagesClient(KEY, base_url=server.base_url, retry=retry) as client:
                response = await client.generate("A")
                assert response.http is not None and response.http.attempts == 3
                monkeypatch.undo()


class TestTLS:
    async def test_a_context_of_the_users(self, authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with ScriptedServer(OK, tls=server_tls) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, ssl=context) as client:
                assert (await client.generate("A")).image.content == PNG

    async def test_a_certificate_that_is_not_trusted(self, server_tls: ssl.SSLContext) -> None:
        """Nothing was sent over it."""
        async with ScriptedServer(OK, tls=server_tls) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
                with pytest.raises(
                    APIConnectionError, match=r"the certificate was not accepted: .*local issuer"
                ) as caught:
                    await client.generate("A")
                assert not caught.value.may_have_been_billed
                await client.with_options(ssl=False).generate("A")
        assert len(server.requests) == 1

    async def test_a_server_without_tls(self) -> None:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with AsyncImagesClient(KEY, base_url=url, retry=0) as client:
                with pytest.raises(APIConnectionError, match="could not connect") as caught:
                    await client.generate("A")
        assert not caught.value.may_have_been_billed


class TestProxies:
    async def test_plain_http_through_a_proxy(self) -> None:
        """The server plays the proxy: the request names the whole URL, and only the proxy gets the proxy's password."""
        async with ScriptedServer(OK) as proxy:
            url = f"http://user:hunter22@127.0.0.1:{proxy.port}"
            async with AsyncImagesClient(KEY, base_url="http://api.example/v1", proxy=url) as client:
                await client.generate("A")
        request = proxy.requests[0]
        assert request.path == "http://api.example/v1/images/generations/"
        assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:hunter22").decode()

    async def test_the_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with ScriptedServer(OK) as proxy, ScriptedServer(OK) as server:
            monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            async with AsyncImagesClient(KEY, base_url="http://api.example/v1") as client:
                await client.generate("A")
                monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
                await client.generate("B")  # the environment was read once
                await client.with_options(base_url=server.base_url).generate("C")
        assert [len(proxy.requests), len(server.requests)] == [2, 1]

    async def test_a_proxy_that_cannot_be_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("all_proxy", "socks5://user:hunter22@127.0.0.1:1080")
        async with AsyncImagesClient(KEY, base_url="http://api.example/v1") as client:
            with pytest.raises(ConfigurationError, match=r"socks5://127\.0\.0\.1, and only http") as caught:
                await client.generate("A")
        assert "hunter22" not in str(caught.value)

    async def test_tls_through_a_tunnel(self, authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
        """The proxy sees host and port, and no key."""
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with tunnelling_proxy() as (address, heads), ScriptedServer(OK, tls=server_tls) as server:
            async with AsyncImagesClient(
                KEY, base_url=server.base_url, ssl=context, proxy=f"http://{address}"
            ) as client:
                assert (await client.generate("A")).image.content == PNG
        assert heads[0].startswith(b"CONNECT localhost:")
        assert KEY.encode() not in heads[0]

    async def test_a_proxy_that_refuses(self) -> None:
        async with ScriptedServer(http_answer(407, headers={"Connection": "close"})) as proxy:
            url = f"http://user:hunter22@127.0.0.1:{proxy.port}"
            async with AsyncImagesClient(KEY, base_url="https://api.example/v1", proxy=url, retry=0) as client:
                with pytest.raises(APIConnectionError, match="the proxy answered 407") as caught:
                    await client.generate("A")
        assert "hunter22" not in str(caught.value)
        assert "hunter22" not in repr(caught.value.__cause__)
        assert base64.b64encode(b"user:hunter22").decode() not in repr(caught.value.__cause__)
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert f"through the proxy 127.0.0.1:{proxy.port}" in str(caught.value)
        assert not caught.value.may_have_been_billed


class TestConnects:
    """The TCP connect tells how soon a refusal would have come, so the scheduler is told how long it took."""

    @staticmethod
    async def send(pool: Pool, url: str, **options: Any) -> list[float]:
        told: list[float] = []
        request = TransportRequest(method="POST", url=url, headers={}, body=b"{}", on_connected=told.append, **options)
        response = await pool.send(request)
        while await response.read():
            pass
        response.close()
        return told

    async def test_each_connection_is_told_of_once(self) -> None:
        """A new connection with its own request, one that is used again with none."""
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            url = f"{server.base_url}/images/generations/"
            first, second = await self.send(pool, url), await self.send(pool, url)
            await pool.aclose()
        assert server.connections == 1
        assert len(first) == 1 and 0 < first[0] < 1
        assert second == []

    async def test_each_of_several_at_once(self) -> None:
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            url = f"{server.base_url}/images/generations/"
            told = await asyncio.gather(*(self.send(pool, url) for _ in range(5)))
            await pool.aclose()
        assert sum(map(len, told)) == server.connections == 5

    async def test_looking_the_host_up_is_no_part_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolve = aiohttp.DefaultResolver.resolve

        async def resolve_slowly(*args: Any, **kwargs: Any) -> list[Any]:
            await asyncio.sleep(0.2)
            return await resolve(*args, **kwargs)

        monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve_slowly)
        pool = Pool(connector_factory=None, trace_configs=())
        async with ScriptedServer(OK) as server:
            (told,) = await self.send(pool, f"http://localhost:{server.port}/v1/images/generations/")
            await pool.aclose()
        assert 0 < told < 0.2

    async def test_over_tls_and_a_connector_of_the_users(
        self, authority: trustme.CA, server_tls: ssl.SSLContext
    ) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        pool = Pool(connector_factory=lambda: aiohttp.TCPConnector(limit=3), trace_configs=())
        async with ScriptedServer(OK, tls=server_tls) as server:
            told = await self.send(pool, f"{server.base_url}/images/generations/", ssl=context)
            await pool.aclose()
        assert len(told) == 1 and 0 < told[0] < 1

    async def test_a_connection_that_is_refused(self) -> None:
        """There is nothing to tell."""
        pool = Pool(connector_factory=None, trace_configs=())
        told: list[float] = []
        with pytest.raises(APIConnectionError):
            await pool.send(
                TransportRequest(
                    method="POST", url="http://127.0.0.1:1/v1", headers={}, body=b"{}", on_connected=told.append
                )
            )
        await pool.aclose()
        assert told == []


class TestTuning:
    async def test_a_connector_and_traces_of_the_users(self) -> None:
        made: list[aiohttp.TCPConnector] = []
        seen: list[str] = []

        def make() -> aiohttp.TCPConnector:
            made.append(aiohttp.TCPConnector(limit=3))
            return made[-1]

        async def note(session: object, context: object, params: aiohttp.TraceRequestEndParams) -> None:
            seen.append(f"{params.method} {params.response.status}")

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(note)
        transport = AiohttpTransport(connector_factory=make, trace_configs=[trace])
        async with ScriptedServer(OK) as server:
            async with AsyncImagesClient(KEY, base_url=server.base_url, transport=transport) as client:
                await client.generate("A")
        assert (len(made), seen) == (1, ["POST 200"])
        assert made[0].closed


class CannedResponse:
    """An answer without a network."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers = Headers([("Content-Type", "application/json"), ("X-Request-Id", "canned")])
        self.pieces = [body]
        self.is_closed = False

    async def read(self) -> bytes:
        return self.pieces.pop() if self.pieces else b""

    def close(self) -> None:
        self.is_closed = True


class CannedTransport:
    """A transport as a user would write it for tests."""

    def __init__(self, *responses: CannedResponse) -> None:
        self.responses = list(responses)
        self.requests: list[TransportRequest] = []
        self.is_closed = False

    async def send(self, request: TransportRequest) -> CannedResponse:
        self.requests.append(request)
        if not self.responses:
            raise APIConnectionError("unplugged", may_have_been_billed=False)
        return self.responses.pop(0)

    async def aclose(self) -> None:
        self.is_closed = True


class TestAnotherTransport:
    async def test_no_socket_is_needed(self) -> None:
        body = OK.partition(b"\r\n\r\n")[2]
        responses = CannedResponse(503, b""), CannedResponse(200, body)
        transport = CannedTransport(*responses)
        async with AsyncImagesClient(KEY, transport=transport, retry=RetryPolicy(base_delay=0)) as client:
            response = await client.generate("A lighthouse")
        assert response.image.content == PNG
        assert response.http is not None and (response.http.request_id, response.http.attempts) == ("canned", 2)
        request = transport.requests[1]
        assert (request.method, urlsplit(request.url).path) == ("POST", "/v1/images/generations/")
        assert request.body == b'{"prompt":"A lighthouse"}'
        assert transport.is_closed and all(each.is_closed for each in responses)
        assert KEY not in repr(request)

    async def test_its_errors(self) -> None:
        async with AsyncImagesClient(KEY, transport=CannedTransport(), retry=RetryPolicy(base_delay=0)) as client:
            with pytest.raises(APIConnectionError, match="unplugged") as caught:
                await client.generate("A")
        assert caught.value.attempts == 3
