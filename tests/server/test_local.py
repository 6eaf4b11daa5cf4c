"""Starting, stopping, and what comes in that no client would send."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket

import anyio
import pytest

from aiai_async._errors import ConfigurationError
from aiai_async.server import Fault, LocalServer
from aiai_async.server.incoming import MOST_BODY_BYTES
from aiai_async.server.local import is_loopback

from .conftest import raw_request, talk, until

HEAD = (
    b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
)


# -- starting and stopping


async def test_ports_are_free_ones_unless_given() -> None:
    """Two at once don't meet; a given one is taken."""
    async with LocalServer() as one, LocalServer() as other:
        assert one.port != other.port
        assert one.base_url == f"http://127.0.0.1:{one.port}/v1"
        port = other.port
    async with LocalServer(port=port) as again:
        assert again.port == port


async def test_a_taken_port_is_an_error_and_leaves_nothing() -> None:
    """The server can be tried again."""
    async with LocalServer() as first:
        second = LocalServer(port=first.port)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        with pytest.raises(ConfigurationError, match="not started"):
            assert second.port
    async with second:
        assert second.port


async def test_start_and_close_may_be_called_again() -> None:
    """The second time nothing happens; what was received stays."""
    server = LocalServer()
    assert repr(server) == "<LocalServer, not started>"
    await server.start()
    port = server.port
    await server.start()
    assert server.port == port
    await talk(server, raw_request())
    await server.aclose()
    await server.aclose()
    assert len(server.requests) == 1
    async with server:
        await talk(server, raw_request())
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "settings",
    [{"latency": 3600}, {"faults": [Fault(part=0.5, ending="hang")]}, {"faults": [Fault(status=503, delay=3600)]}],
    ids=["waiting", "hanging", "delayed"],
)
async def test_closing_cuts_what_is_under_way(settings: dict[str, object]) -> None:
    """At once, and without a word in the log."""
    async with LocalServer(**settings) as server:  # type: ignore[arg-type] # parametrized
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
        for _, writer in connections:
            writer.write(raw_request())
        await until(lambda: server.in_flight == 5)
    assert server.in_flight == 0
    for reader, writer in connections:
        with anyio.fail_after(5):
            await reader.read()
        writer.close()


async def test_closing_doesnt_wait_for_idle_and_half_open_connections() -> None:
    """Neither for one that says nothing, nor for one in the middle of its body."""
    async with LocalServer() as server:
        _, idle = await asyncio.open_connection("127.0.0.1", server.port)
        _, half = await asyncio.open_connection("127.0.0.1", server.port)
        half.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        await until(lambda: server.in_flight == 1)
    assert server.in_flight == 0
    idle.close()
    half.close()


def test_one_server_in_several_loops() -> None:
    """One after another, as in tests that each run a loop."""
    server = LocalServer()

    async def use() -> None:
        async with server:
            assert (await talk(server, raw_request())).startswith(b"HTTP/1.1 200")

    for _ in range(2):
        asyncio.run(use())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit_style": "leaky"}, "limit_style: 'leaky' is not one of"),
        ({"latency": -1}, "latency: -1 is neither"),
        ({"latency": (3, 2)}, r"latency: \(3, 2\) is neither"),
        ({"faults": ["no_such"]}, "'no_such' is no fault"),
        ({"port": 99_999}, "port: 99999 is not from 0 to 65535"),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(settings: dict[str, object], message: str) -> None:
    """When the server is made, not when it is used."""
    with pytest.raises(ConfigurationError, match=message):
        LocalServer(**settings)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_told_from_the_rest(host: str, is_local: bool) -> None:
    """A name that isn't known as local counts as not."""
    assert is_loopback(host) is is_local
    assert is_loopback("example.com") is False


async def test_listening_to_the_network_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """And the base URL is one that can be called."""
    async with LocalServer(host="0.0.0.0") as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        assert (await talk(server, raw_request())).startswith(b"HTTP/1.1 200")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "everyone who can reach this machine can use it" in record.getMessage()


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
async def test_an_ipv6_address_stands_in_brackets() -> None:
    """As URLs have it."""
    server = LocalServer(host="::1")
    try:
        await server.start()
    except OSError:
        pytest.skip("the loopback has no IPv6 address here")
    assert server.base_url == f"http://[::1]:{server.port}/v1"
    await server.aclose()


# -- what no client would send


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b"Content-Length: 1\r\nConnection: close\r\n\r\n{", 400),
        (HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\n[1,2]", 400),
        (HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n", 400),
        (HEAD.replace(b"application/json", b"text/plain") + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", 415),
        (HEAD + b"Content-Length: 1000000000\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b" " * 2**20 + b"\r\n1\r\n \r\n0\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
        (HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n", 400),
        (HEAD + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
    ],
    ids=[
        "broken json",
        "array",
        "empty",
        "label",
        "gigabyte",
        "chunked megabyte",
        "bad chunk",
        "headers",
        "long header",
        "long path",
        "tls",
        "no http",
        "version",
    ],
)
async def test_bad_input_gets_a_4xx_and_no_trace(
    server: LocalServer, data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is; and nothing is logged that would fill a disk."""
    received, is_reset = b"", False
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    with anyio.fail_after(5):
        try:
            while not received.partition(b"\r\n\r\n")[2] and (piece := await reader.read(65536)):
                received += piece
        except ConnectionResetError:
            # The server closed while more was coming, and its answer may have been lost with it.
            is_reset = True
    writer.close()
    assert received.partition(b" ")[2].startswith(b"%d" % status) or (is_reset and not received)
    assert b"Traceback" not in received
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await talk(server, raw_request())).startswith(b"HTTP/1.1 200")


async def test_a_body_as_large_as_may_be_is_read(server: LocalServer) -> None:
    """To the byte."""
    body = b'{"prompt": "A cat", "size": "256x256"'.ljust(MOST_BODY_BYTES - 1) + b"}"
    assert (await talk(server, raw_request(body))).startswith(b"HTTP/1.1 200")
    assert (await talk(server, raw_request(body + b" "))).startswith(b"HTTP/1.1 413")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In its body, or before the answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
    await until(lambda: server.in_flight == 1)
    writer.transport.abort()
    await until(lambda: server.in_flight == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_never_ends_is_refused(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stops in the middle, and one whose later chunks are nonsense: neither stays for good."""
    monkeypatch.setattr("aiai_async.server.incoming.BODY_TIMEOUT", 0.01)
    for field, body in ((b"Content-Length: 9", b"{"), (b"Transfer-Encoding: chunked", b"nonsense\r\n")):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HEAD + field + b"\r\n\r\n")
        await until(lambda: server.in_flight == 1)
        writer.write(body)
        with anyio.fail_after(5):
            assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 408")
        writer.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b'{"prompt": "A cat", "size": "256x256"}'), 200),
        (b"this is no gzip", 400),
        (gzip.compress(b" " * 50 * MOST_BODY_BYTES), 413),
    ],
    ids=["good", "nonsense", "bomb"],
)
async def test_a_compressed_body_is_bounded_by_what_it_holds(server: LocalServer, body: bytes, status: int) -> None:
    """A bomb of fifty megabytes is fifty kilobytes on the wire."""
    data = raw_request(body).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    with anyio.fail_after(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 %d" % status)
    writer.close()
