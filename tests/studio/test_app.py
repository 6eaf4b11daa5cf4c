"""The studio over real sockets, as a program sees it: what is refused, what is told, what is cut."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from aiai_async import AsyncImagesClient, ConfigurationError, RateLimits
from aiai_async.server import Fault, LocalServer
from aiai_async.studio import Studio
from aiai_async.studio.guard import SECURITY_HEADERS
from aiai_async.studio.pages import read_files
from tests.scripted import PNG, Received, ScriptedServer, error_body, http_answer, never_answer

from .conftest import KEY, Tab, open_tab, read_token, until

Start = Callable[..., Any]
PROTECTED = [
    ("GET", "api/models"),
    ("POST", "api/estimate"),
    ("POST", "api/runs"),
    ("POST", "api/runs/x/cut"),
    ("DELETE", "api/runs/x"),
    ("GET", "api/runs/x/copies"),
    ("GET", "api/events?tab=tab-of-a-test"),
    ("GET", "api/job-events?folder=x"),
]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# -- who is refused


@pytest.mark.parametrize("path", ["", "static/studio.js", "jobs/x", "api/models", "images/x", "nowhere"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
async def test_others_sites_are_refused_whatever_they_ask_for(
    studio: Studio, session: aiohttp.ClientSession, path: str, headers: dict[str, str]
) -> None:
    """403 and why, without anything of the page; also where there is no such path."""
    token = await read_token(session, studio.url)
    async with session.get(studio.url + path, headers={"X-Studio-Token": token, **headers}) as response:
        assert response.status == 403
        text = await response.text()
    assert "refused" in text
    assert token not in text


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_without_the_token_nothing_is_done_or_told(
    studio: Studio, session: aiohttp.ClientSession, method: str, path: str, token: str | None
) -> None:
    """Neither by header nor as what a WebSocket offers."""
    headers = {} if token is None else {"X-Studio-Token": token}
    async with session.request(method, studio.url + path, headers=headers, json={}) as response:
        assert response.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(studio.url + path, protocols=("aiai-studio", f"token.{token}"))
    assert caught.value.status == 403


async def test_a_socket_from_another_site_is_refused(studio: Studio, session: aiohttp.ClientSession) -> None:
    """Browsers let any page open one: the Origin is all that tells."""
    token = await read_token(session, studio.url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(
            f"{studio.url}api/events?tab=tab-of-a-test",
            protocols=("aiai-studio", f"token.{token}"),
            headers={"Origin": "http://evil.example"},
        )
    assert caught.value.status == 403


async def test_each_studio_has_a_token_of_its_own(client: AsyncImagesClient, session: aiohttp.ClientSession) -> None:
    """One that was started anew doesn't know the pages of the one before."""
    studio = Studio(client)
    tokens: set[str] = set()
    for _ in range(2):
        async with studio:
            tokens.add(await read_token(session, studio.url))
    assert len(tokens) == 2
    assert all(len(token) >= 43 for token in tokens)


@pytest.mark.parametrize("path", ["", "jobs/x", "static/studio.css", "api/models", "nowhere", "images/nothing"])
async def test_every_answer_forbids_the_browser_what_isnt_needed(
    studio: Studio, session: aiohttp.ClientSession, path: str
) -> None:
    """Errors too; and what is told is never kept."""
    async with session.get(studio.url + path) as response:
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
        assert response.headers["Cache-Control"] == "no-store"


async def test_it_listens_on_loopback_only(studio: Studio) -> None:
    """There is no way to ask for anything else."""
    assert studio.url == f"http://127.0.0.1:{studio.port}/"
    with pytest.raises(TypeError):
        Studio(AsyncImagesClient(KEY), host="0.0.0.0")  # type: ignore[call-arg] # which is what is tested


async def test_the_key_is_in_nothing_that_the_browser_gets(tab: Tab, server: LocalServer) -> None:
    """Pages, scripts, events, code to copy, and the error of a server that echoes it."""
    server.set_faults(Fault(status=401, body=f'{{"error": {{"message": "wrong key {KEY}", "code": "x"}}}}'))
    run = await tab.begin("A kite")
    ended = await tab.until_ended(run)
    assert "wrong key ***" in ended["failures"][0]["message"]
    texts = [str(ended), str(tab.hello), str(await tab.send("GET", f"api/runs/{run['id']}/copies"))]
    for path in ("", "jobs/x", *(f"static/{name}" for name in read_files())):
        async with tab.session.get(tab.url + path) as response:
            texts.append(await response.text())
    assert not any(KEY in text for text in texts)


# -- pages


def test_the_pages_scripts_parse_no_markup_and_load_nothing_from_elsewhere() -> None:
    """What is shown is text; the policy would refuse the rest, and is not all there is."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|eval\(|new Function"
        r"|setAttribute\(.style|style=|onclick=|javascript:"
    )
    for name, file in read_files().items():
        text = file.content.decode()
        assert not forbidden.search(text), name
        links = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not links, name


async def test_what_is_no_file_of_the_page_is_not_sent(studio: Studio, session: aiohttp.ClientSession) -> None:
    """Neither pages without their token nor what lies around them."""
    for name in ("studio.html", "..%2Fapp.py", "%2e%2e%2fapp.py", "nothing.js"):
        async with session.get(f"{studio.url}static/{name}") as response:
            assert response.status == 404
    for path in ("static/icon.svg", "favicon.ico"):
        async with session.get(studio.url + path) as response:
            assert response.content_type == "image/svg+xml"


@pytest.mark.parametrize("name", ["X-Studio-Token", "Sec-WebSocket-Protocol"])
async def test_a_token_that_is_no_text_is_refused(studio: Studio, name: str) -> None:
    """Bytes that are no UTF-8, in the header field as among what a WebSocket offers."""
    upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\n" if name.startswith("Sec") else ""
    head = f"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\n{upgrade}{name}: token."
    async with await anyio.connect_tcp("127.0.0.1", studio.port) as stream:
        await stream.send(head.encode() + b"\xff\xfe\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 403 ")


async def test_a_malformed_request_is_no_trace(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    """It is somebody's mistake, and the studio goes on."""

    def talk() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=10)
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", "a\x00b")
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    assert await anyio.to_thread.run_sync(talk) in (400, 403)
    assert "Traceback" not in caplog.text


# -- runs


async def test_a_run_is_told_as_it_comes(tab: Tab, client: AsyncImagesClient) -> None:
    """Partial pictures, then the final one, whose bytes are those that the client alone gets."""
    assert (tab.hello["runs"], tab.hello["server"]) == ([], client.base_url)
    run = await tab.begin("A kite", partial_images=2, size="1024x1024")
    ended = await tab.until_ended(run)
    assert ended["status"] == "done"
    [steps] = ended["images"]
    assert [step["partial"] for step in steps] == [0, 1, None]
    assert [step["elapsed"] for step in steps] == sorted(step["elapsed"] for step in steps)
    assert ended["usage"]["total_tokens"] > 0
    assert ended["cost"]["usd"] > 0
    async with tab.session.get(f"{tab.url}images/{steps[-1]['name']}") as response:
        content = await response.read()
        assert (response.status, response.content_type) == (200, "image/png")
    alone = await client.generate("A kite", model="gpt-image-1", size="1024x1024")
    assert hashlib.sha256(content).hexdigest() == alone.image.sha256


async def test_a_model_that_does_not_stream_is_asked_plainly(tab: Tab, server: LocalServer) -> None:
    """Its links are fetched here, without the key, as the page may load from the studio only."""
    run = await tab.begin("A kite", model="dall-e-3")
    ended = await tab.until_ended(run)
    assert (ended["status"], ended["streams"]) == ("done", False)
    assert ended["revised_prompt"]
    assert "stream" not in server.requests[0].body
    [[step]] = ended["images"]
    async with tab.session.get(f"{tab.url}images/{step['name']}") as response:
        assert response.content_type == "image/png"


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("moderation_blocked", "ModerationBlockedError", "400 moderation_blocked"),
        ("insufficient_quota", "QuotaExceededError", "429 insufficient_quota"),
        ("web_page", "APIResponseError", "is a web page, not JSON"),
        ("invalid_api_key", "AuthenticationError", "401 invalid_api_key"),
    ],
)
async def test_errors_are_told_in_the_exceptions_own_words(
    tab: Tab, server: LocalServer, fault: str, kind: str, words: str
) -> None:
    """With the class that a program would catch."""
    server.set_faults(fault)
    ended = await tab.until_ended(await tab.begin("A kite"))
    assert ended["status"] == "failed"
    [failure] = ended["failures"]
    assert failure["type"] == kind
    assert words in failure["message"]


async def test_a_link_that_leads_nowhere_is_told_with_the_image(tab: Tab, server: LocalServer) -> None:
    """It was made and paid for: whoever is quick can still fetch it."""
    server.set_faults("dead_url")
    ended = await tab.until_ended(await tab.begin("A kite", model="dall-e-2"))
    assert ended["status"] == "failed"
    assert ended["cost"]["usd"] > 0
    [failure] = ended["failures"]
    assert failure["type"] == "DownloadError"
    assert failure["message"].startswith("the image was made and paid for")
    assert failure["link"].startswith("http://")


async def test_a_stream_that_breaks_leaves_what_came(tab: Tab, server: LocalServer) -> None:
    """The partial pictures stay, and it is said that it may have been billed."""
    server.set_faults(Fault(on="stream", part=0.6, ending="reset"))
    ended = await tab.until_ended(await tab.begin("A kite", partial_images=3))
    assert ended["status"] == "failed"
    assert [step["partial"] for step in ended["images"][0]] == [0, 1][: len(ended["images"][0])]
    assert ended["images"][0]
    assert ended["failures"][0]["type"] == "IncompleteStreamError"
    assert ended["failures"][0]["may_have_been_billed"] is True


@pytest.mark.parametrize(
    ("body", "status", "field", "words"),
    [
        ({"prompt": " "}, 422, "prompt", "say what the image shows"),
        (
            {"prompt": "A kite", "model": "dall-e-3", "size": "1x1"},
            422,
            "size",
            "use 1024x1024, 1792x1024 or 1024x1792",
        ),
        ({"prompt": "A kite", "n": 11}, 422, "n", "use 1 to 10"),
        (["A kite"], 422, None, "no JSON object"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_said_and_not_sent(
    tab: Tab, server: LocalServer, body: object, status: int, field: str | None, words: str
) -> None:
    """At the field that it is about, before anything costs money."""
    code, tree = await tab.send("POST", "api/runs", body)
    assert (code, tree["error"]["field"]) == (status, field)
    assert words in tree["error"]["message"]
    assert server.requests == ()


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"prompt": "\\ud800"}', "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"x" * 600_000, "application/json", 413),
    ],
    ids=["cut", "surrogate", "deep", "form", "long"],
)
async def test_bodies_that_are_none(tab: Tab, content: bytes, kind: str, status: int) -> None:
    """A form of another site can't send JSON; and no body fills the memory."""
    headers = {**tab.headers, "Content-Type": kind}
    async with tab.session.post(f"{tab.url}api/runs", data=content, headers=headers) as response:
        assert response.status == status


async def test_half_an_emoji_is_said_at_the_prompt(tab: Tab) -> None:
    """A browser sends what was cut in two; the rules have the words, and the price is not asked for."""
    options = {"data": b'{"prompt": "A kite \\ud83d"}', "headers": {**tab.headers, "Content-Type": "application/json"}}
    async with tab.session.post(f"{tab.url}api/runs", **options) as response:
        tree = await response.json()
    assert (response.status, tree["error"]["field"]) == (422, "prompt")
    assert "surrogate" in tree["error"]["message"]
    async with tab.session.post(f"{tab.url}api/estimate", **options) as response:
        assert await response.json() is None


async def test_no_answer_keeps_others_from_being_told(start: Start) -> None:
    """Half a surrogate pair and a number of 20 digits are told as they are, to a tab that comes later too."""
    usage = {"total_tokens": 98765432109876543210, "input_tokens": 1, "output_tokens": 2}
    image = {"b64_json": base64.b64encode(PNG).decode(), "revised_prompt": "A kite \ud83d"}
    answer = {"created": 1, "data": [image], "usage": usage}
    server, studio = await start()
    server.set_faults(Fault(status=200, body=json.dumps(answer)))
    async with open_tab(studio) as tab:
        ended = await tab.until_ended(await tab.begin("A kite", model="dall-e-3"))
        assert ended["status"] == "done", ended
    async with open_tab(studio, name="a-later-tab") as tab:
        [run] = tab.hello["runs"]
        assert (run["revised_prompt"], run["usage"]["total_tokens"]) == ("A kite \ud83d", 98765432109876543210)


async def test_a_prompt_of_the_longest_kind_is_sent(tab: Tab, server: LocalServer) -> None:
    """Each character six bytes of JSON."""
    prompt = "\x01" * 32_000
    assert (await tab.until_ended(await tab.begin(prompt)))["status"] == "done"
    assert server.requests[0].body["prompt"] == prompt


async def test_only_a_page_that_is_open_can_begin_a_run(tab: Tab) -> None:
    """Else nobody's closing could cut it."""
    for name in ("another-tab", ""):
        headers = {"X-Studio-Token": tab.token, "X-Studio-Tab": name}
        async with tab.session.post(f"{tab.url}api/runs", json={"prompt": "A kite"}, headers=headers) as response:
            assert response.status == 409
    async with tab.session.get(f"{tab.url}api/events?tab=%0a", headers=tab.headers) as response:
        assert response.status == 400


async def test_so_many_at_once_are_no_persons_doing(start: Start) -> None:
    """The rest is told where to go."""
    _, studio = await start(latency=3600)
    async with open_tab(studio) as tab:
        for _ in range(50):
            await tab.begin("A kite")
        code, tree = await tab.send("POST", "api/runs", {"prompt": "A kite"})
    assert code == 429
    assert "aiai-async batch" in tree["error"]["message"]


# -- cutting


async def test_cancelling_cuts_the_request(start: Start) -> None:
    """The server sees the connection end; the run says what that means for the bill."""
    server, studio = await start(latency=3600)
    async with open_tab(studio) as tab:
        run = await tab.begin("A kite", partial_images=3)
        await tab.until(lambda message: message["type"] == "run" and message["run"]["is_answered"])
        assert server.in_flight == 1
        assert await tab.send("POST", f"api/runs/{run['id']}/cut") == (204, None)
        ended = await tab.until_ended(run)
        await until(lambda: server.in_flight == 0)
    assert ended["status"] == "cut"
    assert ended["failures"][0]["message"] == "Cut off here; it may be billed all the same."


async def test_what_is_cut_while_it_waits_was_not_sent(start: Start) -> None:
    """And it says so, after it said what it waited for."""
    server, studio = await start(limits=RateLimits(requests_per_minute=1))
    async with open_tab(studio) as tab:
        await tab.until_ended(await tab.begin("A kite"))
        run = await tab.begin("Another kite")
        told = await tab.until(lambda message: message["type"] == "limits" and run["id"] in message["limits"]["waits"])
        assert re.match(r"waiting for requests", told["limits"]["waits"][run["id"]])
        assert told["limits"]["queues"][0]["limits"][0]["name"] == "requests"
        await tab.send("POST", f"api/runs/{run['id']}/cut")
        ended = await tab.until_ended(run)
    assert ended["failures"][0]["message"] == "Cut off here while it waited: nothing was sent."
    assert len(server.requests) == 1


async def test_what_is_cut_after_others_were_put_back_may_be_billed() -> None:
    """One that began before waits again after a refusal; the other is under way, and each says so of itself."""
    refused = asyncio.Event()
    under_way: list[str] = []

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        under_way.append(str(request.json["prompt"]))
        if under_way[-1] == "A kite":
            await refused.wait()
            writer.write(http_answer(429, error_body("slow down"), headers={"Retry-After": "60"}))
        else:
            await never_answer(request, writer)

    async with (
        ScriptedServer(answer, answer) as server,
        AsyncImagesClient(KEY, base_url=server.base_url) as client,
        Studio(client, grace=0) as studio,
        open_tab(studio) as tab,
    ):
        first = await tab.begin("A kite")
        await until(lambda: under_way == ["A kite"])
        second = await tab.begin("A lighthouse")
        await until(lambda: len(under_way) == 2)
        refused.set()
        told = await tab.until(lambda message: message["type"] == "limits" and message["limits"]["waits"])
        assert set(told["limits"]["waits"]) == {first["id"]}
        for run, words in (
            (second, "Cut off here; it may be billed all the same."),
            (
                first,
                "Cut off here while it waited to be tried again: what was sent was refused, which costs nothing.",
            ),
        ):
            await tab.send("POST", f"api/runs/{run['id']}/cut")
            [failure] = (await tab.until_ended(run))["failures"]
            assert (failure["message"], failure["may_have_been_billed"]) == (words, run is second)


async def test_a_closed_tab_cuts_what_it_began_and_nothing_else(start: Start) -> None:
    """The other tab sees it happen, and goes on."""
    server, studio = await start(latency=3600)
    async with open_tab(studio, name="tab-that-stays") as staying:
        await staying.begin("A lighthouse")
        async with open_tab(studio, name="tab-that-goes") as going:
            run = await going.begin("A kite")
            assert [each["request"]["prompt"] for each in going.hello["runs"]] == ["A lighthouse"]
            await until(lambda: server.in_flight == 2)
        ended = await staying.until_ended(run)
        await until(lambda: server.in_flight == 1)
    assert ended["failures"][0]["message"].startswith("Cut off: the tab that began it was closed")
    await until(lambda: server.in_flight == 0)


async def test_a_reloaded_tab_goes_on(start: Start) -> None:
    """What it began is there again, still under way, and it is the same tab's."""
    server, studio = await start(latency=3600, grace=3600)
    async with open_tab(studio) as tab:
        run = await tab.begin("A kite")
        await until(lambda: server.in_flight == 1)
    async with open_tab(studio) as tab:
        [again] = tab.hello["runs"]
        assert (again["id"], again["status"], again["tab"]) == (run["id"], "running", tab.name)
        assert server.in_flight == 1


async def test_a_tab_that_vanishes_without_a_word_is_gone_too(start: Start) -> None:
    """As when the browser is killed."""
    server, studio = await start(latency=3600)
    async with open_tab(studio) as tab:
        await tab.begin("A kite")
        await until(lambda: server.in_flight == 1)
        transport = tab.socket._response.connection.transport  # type: ignore[union-attr] # there is no public way
        transport.abort()
        await until(lambda: server.in_flight == 0)


async def test_stopping_cuts_everything_and_closes_the_tabs(client: AsyncImagesClient) -> None:
    """Nothing is left running or billed without end; and it may be started anew."""
    async with LocalServer(latency=3600) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
        studio = Studio(client)
        async with studio, open_tab(studio) as tab:
            await tab.begin("A kite")
            await until(lambda: server.in_flight == 1)
            await studio.aclose()
            await until(lambda: server.in_flight == 0)
            while True:
                message = await tab.socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
            assert message.type is aiohttp.WSMsgType.CLOSE
        await studio.start()
        await studio.start()
        await studio.aclose()
        await studio.aclose()


async def test_nothing_begins_while_it_is_stopped(studio: Studio, tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be cut in the next moment, after it was sent."""
    stopping, may_go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> None:
        stopping.set()
        await may_go_on.wait()

    monkeypatch.setattr("aiai_async.studio.maker.Maker.aclose", wait)
    fields = {**tab.headers, "Host": f"127.0.0.1:{studio.port}", "Content-Type": "application/json"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    async with await anyio.connect_tcp("127.0.0.1", studio.port) as stream, anyio.create_task_group() as tasks:
        await stream.send(f"POST /api/runs HTTP/1.1\r\n{head}Content-Length: 20\r\n\r\n".encode())
        # So that the studio is at work on it; it answers requests in the order of their first bytes.
        await tab.send("GET", "api/models")
        tasks.start_soon(studio.aclose)
        await stopping.wait()
        await stream.send(b'{"prompt": "A kite"}')
        assert (await stream.receive()).startswith(b"HTTP/1.1 503 ")
        may_go_on.set()


async def test_the_server_is_called_by_its_name(client: AsyncImagesClient) -> None:
    """Where it has one that says more than its address."""
    async with Studio(client, server="the local server inside") as studio, open_tab(studio) as tab:
        assert tab.hello["server"] == "the local server inside"


# -- what is remembered


async def test_the_history_is_there_for_a_tab_that_comes_later(studio: Studio) -> None:
    """With its pictures, as long as the studio runs; until it is removed."""
    async with open_tab(studio) as tab:
        run = await tab.until_ended(await tab.begin("A kite"))
    async with open_tab(studio, name="a-later-tab") as tab:
        assert [each["id"] for each in tab.hello["runs"]] == [run["id"]]
        [[step]] = tab.hello["runs"][0]["images"]
        async with tab.session.get(f"{tab.url}images/{step['name']}") as response:
            assert response.status == 200
        assert await tab.send("DELETE", f"api/runs/{run['id']}") == (204, None)
        await tab.until(lambda message: message == {"type": "forgotten", "id": run["id"]})
        async with tab.session.get(f"{tab.url}images/{step['name']}") as response:
            assert response.status == 404
        for method, path in (("DELETE", ""), ("POST", "/cut"), ("GET", "/copies")):
            assert (await tab.send(method, f"api/runs/{run['id']}{path}"))[0] == 404


async def test_what_is_under_way_can_not_be_removed(start: Start) -> None:
    """It would be billed without anybody seeing it."""
    _, studio = await start(latency=3600)
    async with open_tab(studio) as tab:
        run = await tab.begin("A kite")
        code, tree = await tab.send("DELETE", f"api/runs/{run['id']}")
    assert (code, tree["error"]["message"]) == (409, "it is still under way; cut it off first")


async def test_the_oldest_pictures_are_dropped_and_that_is_said(start: Start) -> None:
    """Where there is room for one only."""
    _, studio = await start(most_bytes=1)
    async with open_tab(studio) as tab:
        first = await tab.until_ended(await tab.begin("A kite"))
        await tab.begin("Another kite")
        told = await tab.until(lambda message: message["type"] == "run" and '"is_dropped": true' in json.dumps(message))
        assert told["run"]["id"] == first["id"]


async def test_the_code_of_a_run(tab: Tab, client: AsyncImagesClient) -> None:
    """With the address that is in use here."""
    run = await tab.begin("It's a kite", partial_images=1)
    _, copies = await tab.send("GET", f"api/runs/{run['id']}/copies")
    assert client.base_url in copies["python"]
    assert f"{client.base_url}/images/generations/" in copies["curl"]
    assert copies["batch"].startswith('{"custom_id": "studio-1", ')


async def test_what_a_request_may_cost_is_said_before(tab: Tab) -> None:
    """By the client's own prices; nothing is said of what isn't known, nor of what can't be sent."""
    fields = {"prompt": "A kite", "model": "gpt-image-1", "quality": "low", "size": "1024x1024"}
    status, low = await tab.send("POST", "api/estimate", fields)
    _, more = await tab.send("POST", "api/estimate", {**fields, "n": 3, "partial_images": 3})
    assert status == 200
    assert 0 < low["usd"] < more["usd"]
    assert low["priced_on"]
    for nothing in ({"prompt": "A kite", "model": "nobodys-model"}, {"prompt": ""}):
        assert await tab.send("POST", "api/estimate", nothing) == (200, None)


# -- the front door


async def test_a_taken_port_is_an_error_of_the_system(client: AsyncImagesClient, studio: Studio) -> None:
    """And the second one is as if it had never been started."""
    second = Studio(client, port=studio.port)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    with pytest.raises(ConfigurationError, match="is not started"):
        _ = second.port
    assert repr(second) == "<Studio, not started>"
    assert repr(studio) == f"<Studio {studio.url}>"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 65536}, "port: 65536 is not from 0 to 65535"),
        ({"grace": -1.0}, "grace: -1.0 is no number of seconds"),
        ({"most_bytes": 0}, "most_bytes: 0 is not above 0"),
    ],
    ids=str,
)
def test_arguments_that_can_not_be_used(options: dict[str, Any], words: str) -> None:
    """Are told when it is made."""
    with pytest.raises(ConfigurationError) as caught:
        Studio(AsyncImagesClient(KEY), **options)
    assert str(caught.value) == words


async def test_a_mistake_of_its_own_is_no_trace_on_the_page(
    tab: Tab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes to the log."""

    def fail() -> None:
        raise ZeroDivisionError("the studio's own")

    monkeypatch.setattr("aiai_async.studio.app.describe_models", fail)
    status, tree = await tab.send("GET", "api/models")
    assert (status, tree["error"]["message"]) == (500, "the studio failed to answer this; AIAI_LOG=info shows why")
    assert "ZeroDivisionError" in caplog.text


async def test_more_runs_than_are_remembered(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten with its pictures, and the page is told."""
    monkeypatch.setattr("aiai_async.studio.runs.MOST_RUNS", 1)
    async with AsyncImagesClient(KEY, base_url=tab.hello["server"]) as client, Studio(client) as studio:
        async with open_tab(studio) as other:
            first = await other.until_ended(await other.begin("A kite"))
            await other.begin("Another kite")
            await other.until(lambda message: message == {"type": "forgotten", "id": first["id"]})
            name = first["images"][0][-1]["name"]
            async with other.session.get(f"{studio.url}images/{name}") as response:
                assert response.status == 404


async def test_cutting_twice_is_cutting_once(start: Start) -> None:
    """The first reason stands, and what has ended stays as it is."""
    _, studio = await start(latency=3600)
    async with open_tab(studio) as tab:
        run = await tab.begin("A kite")
        for _ in range(3):
            assert (await tab.send("POST", f"api/runs/{run['id']}/cut"))[0] == 204
        ended = await tab.until_ended(run)
        assert (await tab.send("POST", f"api/runs/{run['id']}/cut"))[0] == 204
    assert len(ended["failures"]) == 1
