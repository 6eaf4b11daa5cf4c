"""Every fault over a real socket: what goes out, in what pieces, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import aiohttp
import anyio
import pytest

from aiai_async.server import Fault, LocalServer, Piece, named
from aiai_async.server.fault_table import FAULTS

from .conftest import raw_request, talk, until

PNG = b"\x89PNG\r\n\x1a\n"
BODY = {"prompt": "A cat", "size": "256x256", "response_format": "b64_json", "n": 2}
WHOLE = [name for name, fault in FAULTS.items() if fault.ending == "whole" and fault.on == "generate"]
SLASH = [name for name, fault in FAULTS.items() if fault.on == "slash"]


async def ask(
    http: aiohttp.ClientSession, server: LocalServer, *, suffix: str = "", body: dict[str, Any] | None = None
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Send an ordinary request, follow no redirect, and read the answer to its end."""
    url = f"{server.base_url}/images/generations{suffix}"
    headers = {"Authorization": "Bearer sk-any"}
    async with http.post(url, json=body or BODY, headers=headers, allow_redirects=False) as answer:
        return answer, await answer.read()


def first_element(content: bytes) -> dict[str, str]:
    """Give the first element of an answer's data."""
    element: dict[str, str] = json.loads(content)["data"][0]
    return element


def split(received: bytes) -> tuple[int, dict[str, str], bytes]:
    """Split what came over a bare socket into status, header fields and the rest."""
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}, rest


# -- the ready-made ones


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_fault_has_its_status_and_is_over(http: aiohttp.ClientSession, name: str) -> None:
    """Each comes to its end, with an id, and the next request finds the server well."""
    async with LocalServer(faults=[named(name, nth=1)]) as server:
        answer, content = await ask(http, server)
        assert answer.status == (FAULTS[name].status or 200)
        assert "x-request-id" in answer.headers or name == "gateway_request_id"
        for field, value in FAULTS[name].headers.items():
            assert "$" in value or answer.headers[field] == value
        answer, content = await ask(http, server)
        assert (answer.status, len(json.loads(content)["data"])) == (200, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data_uri", r"data:image/png;base64,iVBOR[^\s]*\Z"),
        ("base64_lines", r"[^\s]{76}\r\n(?s:.*)"),
        ("base64_unpadded", r"[^=\s]*\Z"),
        ("base64_urlsafe", r"[^+/]*\Z"),
        ("base64_escaped", r"iVBOR[^\s]*\Z"),
        ("unused_empty", r"iVBOR[^\s]*\Z"),
        ("unused_null", r"iVBOR[^\s]*\Z"),
        ("unknown_fields", r"iVBOR[^\s]*\Z"),
    ],
)
async def test_odd_base64_is_a_real_picture(http: aiohttp.ClientSession, name: str, expected: str) -> None:
    """Whoever reads it as it is written gets the image."""
    async with LocalServer(faults=[name]) as server:
        _, content = await ask(http, server)
    text = first_element(content)["b64_json"]
    assert re.match(expected, text)
    data = text.rpartition(",")[2].replace("\r\n", "").translate(str.maketrans("-_", "+/"))
    assert base64.b64decode(data + "=" * (-len(data) % 4)).startswith(PNG)


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("created_float", "created", float),
        ("created_string", "created", str),
        ("usage_null", "usage", type(None)),
    ],
)
async def test_odd_fields_have_the_types_they_are_named_for(
    http: aiohttp.ClientSession, name: str, field: str, expected: type
) -> None:
    """What the name says is what is sent."""
    async with LocalServer(faults=[name]) as server:
        _, content = await ask(http, server)
    assert isinstance(json.loads(content)[field], expected)


async def test_fields_that_are_left_away(http: aiohttp.ClientSession) -> None:
    """Of the body and of the head."""
    async with LocalServer(faults=[named("no_created", nth=1), named("short_data", nth=2)]) as server:
        _, content = await ask(http, server)
        assert "created" not in json.loads(content)
        _, content = await ask(http, server)
        assert len(json.loads(content)["data"]) == 1
    async with LocalServer(faults=[named("no_content_type", nth=1), named("gateway_request_id", nth=2)]) as server:
        answer, _ = await ask(http, server)
        assert "Content-Type" not in answer.headers
        answer, _ = await ask(http, server)
        assert "x-request-id" not in answer.headers
        assert answer.headers["X-Oneapi-Request-Id"].startswith("req_")


async def test_the_request_id_can_stand_in_the_message(http: aiohttp.ClientSession) -> None:
    """The same one as in the header, in words that are not English."""
    async with LocalServer(faults=["error_chinese"]) as server:
        answer, content = await ask(http, server)
    message = json.loads(content)["error"]["message"]
    assert message == f"请求参数错误 (request id: {answer.headers['x-request-id']})"


async def test_links_of_odd_kinds(http: aiohttp.ClientSession) -> None:
    """A relative one leads to the picture, a dead one doesn't."""
    async with LocalServer(faults=[named("relative_url", nth=1), named("dead_url", nth=2)]) as server:
        origin = f"http://127.0.0.1:{server.port}"
        _, content = await ask(http, server)
        link = first_element(content)["url"]
        assert link.startswith("/images/")
        async with http.get(origin + link) as download:
            assert (await download.read()).startswith(PNG)
        _, content = await ask(http, server)
        async with http.get(first_element(content)["url"]) as download:
            assert download.status == 404


@pytest.mark.parametrize("name", SLASH)
async def test_faults_of_the_slash_path_leave_the_other_alone(http: aiohttp.ClientSession, name: str) -> None:
    """The path without the slash answers."""
    async with LocalServer(faults=[name]) as server:
        answer, _ = await ask(http, server, suffix="/")
        assert answer.status == FAULTS[name].status
        assert answer.headers.get("Location") == FAULTS[name].headers.get("Location")
        answer, _ = await ask(http, server)
        assert answer.status == 200


@pytest.mark.parametrize(("name", "status"), [("download_expired", 403), ("download_busy", 503)])
async def test_faults_of_downloads(http: aiohttp.ClientSession, name: str, status: int) -> None:
    """They befall the fetching of a picture, and not its making."""
    async with LocalServer(faults=[named(name, nth=1)]) as server:
        _, content = await ask(http, server, body={"prompt": "A cat", "size": "256x256"})
        link = first_element(content)["url"]
        for expected in (status, 200):
            async with http.get(link) as download:
                assert download.status == expected


async def test_a_download_that_breaks_off(http: aiohttp.ClientSession) -> None:
    """The length is said, and half of it comes."""
    async with LocalServer(faults=["download_cut"]) as server:
        _, content = await ask(http, server, body={"prompt": "A cat", "size": "256x256"})
        async with http.get(first_element(content)["url"]) as download:
            assert (download.status, download.content_type) == (200, "image/png")
            with pytest.raises(aiohttp.ClientPayloadError):
                await download.read()


# -- endings


async def test_cut_sends_half_of_what_it_promised() -> None:
    """The connection is closed, as a server does that stops."""
    async with LocalServer(faults=["cut"]) as server:
        status, headers, rest = split(await talk(server, raw_request()))
        assert server.requests[0].status == 200
    assert status == 200
    assert len(rest) == pytest.approx(int(headers["content-length"]) / 2, abs=1)


async def test_cut_at_end_lacks_only_the_last_chunk() -> None:
    """Everything is there but the word that it is."""
    async with LocalServer(faults=["cut_at_end"]) as server:
        _, headers, rest = split(await talk(server, raw_request()))
    assert headers["transfer-encoding"] == "chunked"
    assert not rest.endswith(b"0\r\n\r\n")
    assert rest.endswith(b"}\r\n")


async def test_close_says_nothing_at_all() -> None:
    """Not even a status; and the record doesn't say one."""
    async with LocalServer(faults=["close"]) as server:
        assert await talk(server, raw_request()) == b""
        assert server.requests[0].status is None


@pytest.mark.parametrize("name", ["reset", "reset_at_once"])
async def test_a_reset_is_a_reset(name: str) -> None:
    """RST, not FIN: the reader gets an error."""
    async with LocalServer(faults=[name]) as server:
        with pytest.raises(ConnectionResetError):
            await talk(server, raw_request())


@pytest.mark.parametrize(("name", "most"), [("hang", 100_000), ("hang_at_once", 0)])
async def test_a_hang_lasts_until_the_client_leaves(name: str, most: int) -> None:
    """What was sent before is there; nothing follows; and nothing is left when the client has gone."""
    async with LocalServer(faults=[name]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw_request())
        received = b"" if most == 0 else await reader.readuntil(b"\r\n\r\n")
        await until(lambda: server.in_flight == 1)
        assert (received != b"") == (most > 0)
        writer.close()
        await until(lambda: server.in_flight == 0)


async def test_pieces_go_out_one_by_one() -> None:
    """As chunks of the size that the record says."""
    async with LocalServer(faults=[Fault(body="0123456789", piece_bytes=4)]) as server:
        _, _, rest = split(await talk(server, raw_request()))
    assert rest == b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"


async def test_a_gap_keeps_the_rest_back() -> None:
    """The first piece is there while the second is still an hour away."""
    fault = Fault(body=["first", Piece("second", gap=3600)])
    async with LocalServer(faults=[fault]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw_request())
        assert (await reader.readuntil(b"first\r\n")).startswith(b"HTTP/1.1 200")
        assert server.in_flight == 1
        writer.close()


async def test_a_delay_comes_before_the_status() -> None:
    """Nothing is there while it lasts."""
    async with LocalServer(faults=[Fault(status=503, delay=3600)]) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw_request())
        await until(lambda: server.in_flight == 1 and server.requests[0].body != b"")
        assert server.requests[0].status is None
        writer.close()


async def test_an_old_client_gets_pieces_without_chunks() -> None:
    """HTTP/1.0 has none: the end of the connection is the end of the body."""
    async with LocalServer(faults=[Fault(body="0123456789", piece_bytes=4)]) as server:
        _, headers, rest = split(await talk(server, raw_request().replace(b"HTTP/1.1", b"HTTP/1.0")))
    assert "transfer-encoding" not in headers
    assert rest == b"0123456789"


# -- when


async def test_faults_can_be_changed_while_the_server_runs(http: aiohttp.ClientSession) -> None:
    """Counting begins anew; none at all heals it."""
    async with LocalServer(faults=["overloaded"]) as server:
        assert (await ask(http, server))[0].status == 503
        server.set_faults(named("rate_limited", nth=2))
        assert [(await ask(http, server))[0].status for _ in range(3)] == [200, 429, 200]
        server.set_faults()
        assert (await ask(http, server))[0].status == 200


async def test_a_fault_without_an_answer_asks_nothing_of_the_request(http: aiohttp.ClientSession) -> None:
    """No validation, no latency; one with an answer has both."""
    faults = [Fault(nth=1, status=502), named("data_uri", nth=2)]
    async with LocalServer(faults=faults, latency=3600) as server:
        with anyio.fail_after(5):
            assert (await ask(http, server, body={"n": 99}))[0].status == 502
            assert (await ask(http, server, body={"n": 99}))[0].status == 400
