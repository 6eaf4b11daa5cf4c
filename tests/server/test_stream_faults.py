"""Every fault of streams over a real socket: what goes out, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import anyio
import pytest

from aiai_async.server import Fault, LocalServer, Piece, named
from aiai_async.server.events import COMPLETED, PARTIAL
from aiai_async.server.fault_table import FAULTS

from .conftest import raw_request, talk, until

STREAM_FAULTS = {name: fault for name, fault in FAULTS.items() if fault.on == "stream"}
WHOLE = [name for name, fault in STREAM_FAULTS.items() if fault.ending == "whole"]
BODY = {"prompt": "A cat", "model": "gpt-image-2", "size": "64x64", "stream": True, "partial_images": 2, "n": 2}
RAW = raw_request(json.dumps(BODY).encode())
HEADERS = {"Authorization": "Bearer k"}
SUCCEEDED = "image_generation.partial_succeeded"
ALL = [PARTIAL] * 4 + [COMPLETED] * 2

Events = list[tuple[str | None, Any]]


def parse(body: bytes) -> Events:
    """Read server-sent events in the plainest way that knows the whole standard: name and JSON of each.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, but that the end
    of the body ends an event too.
    """
    events: Events = []
    name: str | None = None
    data: list[str] = []
    for line in [*re.split("\r\n|\n|\r", body.decode("utf-8-sig")), ""]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "" and data:
            text = "\n".join(data)
            events.append((name, text if text == "[DONE]" else json.loads(text)))
        if line == "":
            name, data = None, []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
    return events


def kinds(events: Events) -> list[str]:
    """Give the types that the data of events name."""
    return [data["type"] for _, data in events]


def images(events: Events) -> list[str]:
    """Give the base64 of each event that holds an image."""
    return [data["b64_json"] for _, data in events if "b64_json" in data]


async def ask(
    http: aiohttp.ClientSession, *faults: str | Fault, body: Mapping[str, object] = BODY
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Ask a server with these faults for a stream and read it to its end."""
    async with LocalServer(faults=faults) as server:
        url = f"{server.base_url}/images/generations"
        async with http.post(url, json=body, headers=HEADERS) as answer:
            return answer, await answer.read()


async def start(server: LocalServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream over a bare socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(RAW)
    return reader, writer


@pytest.fixture
async def ordinary(http: aiohttp.ClientSession) -> Events:
    """The events of a stream with which nothing is wrong."""
    return parse((await ask(http))[1])


# -- all of them


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_fault_comes_to_its_end(http: aiohttp.ClientSession, name: str) -> None:
    """With an id; it leaves plain requests alone, and the next stream finds the server well."""
    async with LocalServer(faults=[named(name, nth=1)]) as server:
        url = f"{server.base_url}/images/generations"
        async with http.post(url, json={**BODY, "stream": False, "partial_images": None}, headers=HEADERS) as answer:
            assert len((await answer.json())["data"]) == 2
        async with http.post(url, json=BODY, headers=HEADERS) as answer:
            content = await answer.read()
            assert answer.status == (STREAM_FAULTS[name].status or 200)
            assert answer.headers["x-request-id"].startswith("req_")
            assert "Content-Length" not in answer.headers or name == "stream_ignored"
            assert b"$" not in content
        async with http.post(url, json=BODY, headers=HEADERS) as answer:
            assert kinds(parse(await answer.read())) == ALL


# -- frames, chunks and labels: the same events


SAME = [
    "crlf",
    "cr",
    "no_event_line",
    "no_space",
    "data_lines",
    "id_retry",
    "no_last_blank_line",
    "no_last_line_end",
    "comments",
    "bom",
    "pieces",
    "bytes",
    "split",
    "labelled_json",
    "unlabelled",
]


@pytest.mark.parametrize("name", SAME)
async def test_odd_frames_hold_the_same_events(http: aiohttp.ClientSession, name: str, ordinary: Events) -> None:
    """Whoever reads them as the standard says gets the same images."""
    _, content = await ask(http, f"stream_{name}")
    events = parse(content)
    assert images(events) == images(ordinary)
    assert kinds(events) == ALL
    assert [event for event, _ in events] == ([None] * 6 if name == "no_event_line" else ALL)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("crlf", rb"\A(?:[^\r\n]*\r\n)+\Z"),
        ("cr", rb"\A[^\n]+\r\r\Z"),
        ("no_event_line", rb"\Adata: "),
        ("no_space", rb"\Aevent:image_generation"),
        ("data_lines", rb"\Aevent: .*\ndata: .*\ndata: .*\ndata: .*\n\n"),
        ("id_retry", rb"\Aid: 1\nretry: 3000\nevent: .*\ndata: .*\n\nid: 2\n"),
        ("no_last_blank_line", rb"[^\n]\n\Z"),
        ("no_last_line_end", rb"\}\Z"),
        ("comments", rb"\A: PING\n\n: keepalive\nevent: (?s:.*)\n\n: keepalive\n\n\Z"),
        ("bom", rb"\A\xef\xbb\xbfevent: "),
        ("done", rb"\n\ndata: \[DONE\]\n\n\Z"),
        ("split", rb"\A: \xe5\x9b\xbe\r\nevent: "),
    ],
)
async def test_odd_frames_are_what_they_are_named_for(http: aiohttp.ClientSession, name: str, pattern: bytes) -> None:
    """On the wire, before anyone has read it as events."""
    _, content = await ask(http, f"stream_{name}")
    assert re.search(pattern, content)


@pytest.mark.parametrize(("name", "most"), [("pieces", 97), ("bytes", 1)])
async def test_small_chunks_are_small(name: str, most: int) -> None:
    """As the body of the connection has them."""
    async with LocalServer(faults=[f"stream_{name}"]) as server:
        received = await talk(server, RAW)
    sizes: list[int] = []
    rest = received.partition(b"\r\n\r\n")[2]
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        sizes.append(int(line, 16))
        rest = rest[sizes[-1] + 2 :]
    assert (max(sizes), sizes[-1]) == (most, 0)
    assert len(sizes) > 100


async def test_chunks_end_inside_a_character_and_inside_line_ends() -> None:
    """Each piece of the event by itself."""
    async with LocalServer(faults=["stream_split"]) as server:
        received = await talk(server, RAW)
    assert b"\r\n4\r\n: \xe5\x9b\r\n2\r\n\xbe\r\r\n" in received
    assert b"\r\n2\r\n\n\r\r\n1\r\n\n\r\n" in received


async def test_after_the_events_comes_done(http: aiohttp.ClientSession) -> None:
    """No event, but the end."""
    *events, last = parse((await ask(http, "stream_done"))[1])
    assert (kinds(events), last) == (ALL, (None, "[DONE]"))


async def test_events_of_unknown_types_stand_between(http: aiohttp.ClientSession) -> None:
    """With data, and none of them an image."""
    events = parse((await ask(http, "stream_unknown_events"))[1])
    assert [event for event, _ in events if event in ALL] == ALL
    assert {event for event, _ in events} - set(ALL) == {"image_generation.progress", "ping"}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("labelled_json", "application/json"),
        ("unlabelled", None),
        ("ignored", "application/json"),
        ("ignored_labelled", "text/event-stream"),
        ("json_error", "text/event-stream"),
        ("json_error_200", "text/event-stream"),
        ("error_event", "text/event-stream"),
        ("crlf", "text/event-stream"),
    ],
)
async def test_labels_are_no_sign_of_what_comes(http: aiohttp.ClientSession, name: str, label: str | None) -> None:
    """What the name says, and what a stream has otherwise."""
    answer, content = await ask(http, f"stream_{name}")
    assert answer.headers.get("Content-Type") == label
    if name.startswith("ignored"):
        assert len(json.loads(content)["data"]) == 2
    if name.startswith("json_error"):
        assert json.loads(content)["error"]["code"] == "server_error"


# -- errors and images


@pytest.mark.parametrize(("prefix", "before"), [("", []), ("late_", [PARTIAL])])
async def test_errors_come_in_five_shapes(http: aiohttp.ClientSession, prefix: str, before: list[str]) -> None:
    """Before any image, and after the first partial image."""
    error: Any = None
    for name in ("event", "object", "data"):
        *events, last = parse((await ask(http, f"stream_{prefix}error_{name}"))[1])
        assert kinds(events) == before
        error = {"event": last[1].get("error"), "object": last[1], "data": last[1].get("error")}[name]
        assert last[0] == (None if name == "data" else "error")
        assert set(error) == {"message", "type", "param", "code"}
    for name, end in (("line", b"\n"), ("end", b"")):
        _, content = await ask(http, f"stream_{prefix}error_{name}")
        line = json.dumps({"error": error}).encode() + end
        assert content.endswith(line)
        assert kinds(parse(content.removesuffix(line))) == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fewer_partials", [PARTIAL, COMPLETED, COMPLETED]),
        ("no_partials", [COMPLETED, COMPLETED]),
        ("no_completed", [PARTIAL] * 4),
        ("fewer_completed", [PARTIAL] * 4 + [COMPLETED]),
        ("empty_completed", ALL),
        ("lost_image", ALL),
        ("url", ALL),
        ("empty", []),
    ],
)
async def test_streams_that_lack_something(http: aiohttp.ClientSession, name: str, expected: list[str]) -> None:
    """Events, or images in them."""
    events = parse((await ask(http, f"stream_{name}"))[1])
    assert kinds(events) == expected
    without = {"empty_completed": 2, "lost_image": 1, "url": 2}.get(name, 0)
    assert len(images(events)) == len(events) - without


async def test_the_image_can_stand_in_an_event_of_another_name(http: aiohttp.ClientSession, ordinary: Events) -> None:
    """One for each image, then a `completed` for all, which has the usage and none of them."""
    *events, done = parse((await ask(http, "stream_partial_succeeded"))[1])
    assert kinds(events) == [PARTIAL] * 4 + [SUCCEEDED] * 2 + [COMPLETED]
    assert images(events) == images(ordinary)
    assert [data["image_index"] for _, data in events if data["type"] == SUCCEEDED] == [0, 1]
    assert events[-1][1]["usage"]["output_tokens"] > 0
    assert done[1] == "[DONE]"


async def test_a_link_in_completed_leads_to_the_image(http: aiohttp.ClientSession) -> None:
    """With all other fields there."""
    async with LocalServer(faults=["stream_url"]) as server:
        async with http.post(f"{server.base_url}/images/generations", json=BODY, headers=HEADERS) as answer:
            last = parse(await answer.read())[-1][1]
        assert {"created_at", "size", "quality", "background", "output_format", "usage"} <= set(last)
        async with http.get(last["url"]) as download:
            assert (await download.read()).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "is_odd"),
    [
        ("data_uri", lambda data: data["b64_json"].startswith("data:image/png;base64,iVBOR")),
        ("unused_null", lambda data: data["url"] is None and data["b64_json"].startswith("iVBOR")),
        ("always_url", lambda data: data["url"].startswith("http://") and "b64_json" not in data),
    ],
    ids=["data_uri", "unused_null", "always_url"],
)
async def test_odd_images_are_odd_in_streams_too(
    http: aiohttp.ClientSession, name: str, is_odd: Callable[[Any], bool]
) -> None:
    """The faults of plain answers that only say how an image looks."""
    answer, content = await ask(http, name)
    assert answer.content_type == "text/event-stream"
    events = parse(content)
    assert kinds(events) == ALL
    assert all(is_odd(data) for _, data in events)


async def test_a_fault_with_a_plain_body_answers_a_stream_plainly(http: aiohttp.ClientSession) -> None:
    """It says all of what is sent."""
    answer, content = await ask(http, "no_usage")
    assert answer.content_type == "application/json"
    assert len(json.loads(content)["data"]) == 2


# -- endings


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("stream_cut", rb"(?:event: \S+partial_image\n.*\n\n){4}\Z"),
        ("stream_cut_in_partial", rb'\Aevent: \S+partial_image\ndata: [^\n]*"b64_json": "[\w+/]{100,}\Z'),
        ("stream_cut_in_image", rb'(?:.*\n){15}event: \S+completed\ndata: [^\n]*"b64_json": "[\w+/]{100,}\Z'),
        ("stream_cut_at_end", rb"\}\n\n\Z"),
        ("cut", rb'"b64_json": "[\w+/]+\Z'),
    ],
)
async def test_a_cut_stream_says_no_end(http: aiohttp.ClientSession, name: str, pattern: bytes) -> None:
    """What came before is there; the last chunk isn't."""
    received = b""
    async with LocalServer(faults=[name]) as server:
        async with http.post(f"{server.base_url}/images/generations", json=BODY, headers=HEADERS) as answer:
            assert answer.headers["Transfer-Encoding"] == "chunked"
            with pytest.raises(aiohttp.ClientPayloadError):  # what came before is looked at
                while True:
                    received += await answer.content.readany()
    assert re.search(pattern, received)


async def test_a_reset_stream_is_a_reset() -> None:
    """RST, not FIN: the reader gets an error."""
    async with LocalServer(faults=["stream_reset"]) as server:
        with pytest.raises(ConnectionResetError):
            await talk(server, RAW)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("stream_hang", b'"size": "64x64"}\n\n'),
        ("stream_hang_in_image", b"image_generation.completed"),
        ("hang", b"image_generation.partial_image"),
    ],
)
async def test_a_stream_that_stalls_lasts_until_the_client_leaves(name: str, last: bytes) -> None:
    """And leaves nothing."""
    async with LocalServer(faults=[name]) as server:
        reader, writer = await start(server)
        await reader.readuntil(last)
        assert server.in_flight == 1
        writer.close()
        await until(lambda: server.in_flight == 0)


@pytest.mark.parametrize(
    ("name", "before"), [("stream_heartbeats", b"\r\n\r\n"), ("stream_late_heartbeats", b'"size": "64x64"}\n\n')]
)
async def test_heartbeats_come_for_ever(name: str, before: bytes) -> None:
    """More than any count, until the client leaves; and closing the server ends them too."""
    fast = named(name, heartbeat=Piece(b": keepalive\n\n", gap=0.001))
    async with LocalServer(faults=[fast]) as server:
        reader, writer = await start(server)
        await reader.readuntil(before)
        with anyio.fail_after(5):
            for _ in range(50):
                assert await reader.readuntil(b": keepalive\n\n")
        writer.close()
        await until(lambda: server.in_flight == 0)
        reader, writer = await start(server)
        await reader.readuntil(before)
    assert server.in_flight == 0
    writer.close()


async def test_the_ready_made_heartbeat_is_a_second() -> None:
    """A text takes that gap."""
    assert named("stream_heartbeats").heartbeat == Piece(": keepalive\n\n", gap=1.0)
    async with LocalServer(faults=[named("stream_heartbeats", heartbeat=Piece("beat", gap=0.001))]) as server:
        reader, writer = await start(server)
        assert await reader.readuntil(b"beat\r\n4\r\nbeat")
        writer.close()
