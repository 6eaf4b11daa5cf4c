"""One call over a real socket: where it goes, what is tried again, what runs out, what cancelling does."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback

import anyio
import pytest

from aiai_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AsyncImagesClient,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    Timeout,
)
from tests.scripted import (
    KEY,
    OK,
    PNG,
    Answer,
    Received,
    ScriptedServer,
    answer_with,
    error_body,
    hang_up,
    http_answer,
    never_answer,
    serving,
)

AT_ONCE = RetryPolicy(base_delay=0)
"""Retries as by default, without waiting."""


def redirect(status: int, location: str | None) -> bytes:
    return http_answer(status, b"<a>Moved</a>", headers={} if location is None else {"Location": location})


class TestWhereItGoes:
    async def test_the_documented_path_with_key_and_body(self) -> None:
        """A POST of JSON with the bearer key to the path with its slash; fields that are not given are not sent."""
        async with serving(OK) as (server, client):
            response = await client.generate("A lighthouse", model="gpt-image-1", n=1, size=None)
        request = server.requests[0]
        assert (request.method, request.path) == ("POST", "/v1/images/generations/")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.json == {"prompt": "A lighthouse", "model": "gpt-image-1", "n": 1}
        assert response.image.content == PNG

    @pytest.mark.parametrize("status", [307, 308])
    async def test_a_relative_redirect_is_followed_and_remembered(self, status: int) -> None:
        """Method, body and key are kept, the connection too, and the second call goes straight to what worked."""
        async with serving(redirect(status, "/v1/images/generations"), OK) as (server, client):
            first = await client.generate("A", model="gpt-image-1")
            await client.generate("B", model="gpt-image-1")
        slash, plain, direct = server.requests
        assert [r.path for r in server.requests] == ["/v1/images/generations/", *["/v1/images/generations"] * 2]
        assert plain.method == "POST" and plain.body == slash.body
        assert plain.headers["authorization"] == f"Bearer {KEY}"
        assert plain.headers["idempotency-key"] == slash.headers["idempotency-key"]
        assert direct.headers["idempotency-key"] != slash.headers["idempotency-key"]
        assert first.http is not None and first.http.attempts == 1
        assert server.connections == 1

    async def test_the_slash_is_dropped_on_our_origin_whatever_host_is_named(self) -> None:
        """Behind a TLS terminator servers name an internal host; the path tells what is meant."""
        async with serving(redirect(307, "http://internal-name:4000/v1/images/generations"), OK) as (server, client):
            await client.generate("A")
        assert [r.path for r in server.requests] == ["/v1/images/generations/", "/v1/images/generations"]

    @pytest.mark.parametrize(
        ("status", "location"),
        [
            pytest.param(301, "/v1/images/generations", id="301"),
            pytest.param(302, "/v1/images/generations", id="302"),
            pytest.param(303, "/v1/images/generations", id="303"),
            pytest.param(307, "http://elsewhere.example/v1/other", id="another-host"),
            pytest.param(308, "https://127.0.0.1/v1/other", id="another-scheme"),
            pytest.param(307, "//elsewhere.example/x", id="without-scheme"),
            pytest.param(307, None, id="no-location"),
            pytest.param(307, "ftp://elsewhere.example/x", id="not-http"),
            pytest.param(307, "http://[broken/x", id="not-a-url"),
        ],
    )
    async def test_other_redirects_are_errors(self, status: int, location: str | None) -> None:
        """The key goes nowhere else; the error has the status and names both URLs."""
        async with serving(redirect(status, location)) as (server, client):
            with pytest.raises(APIStatusError) as caught:
                await client.generate("A")
            error = caught.value
            assert error.status_code == status and type(error) is APIStatusError
            assert f"{server.base_url}/images/generations/" in str(error)
            if location and location.startswith("http") and "broken" not in location:
                assert location in str(error)
        assert len(server.requests) == 1
        assert not error.may_have_been_billed

    async def test_redirects_without_end_are_an_error(self) -> None:
        """A server that redirects in a circle is left after five redirects."""
        async with serving(redirect(307, "/v1/again")) as (server, client):
            with pytest.raises(APIStatusError, match="redirected 6 times"):
                await client.generate("A")
        assert len(server.requests) == 6

    @pytest.mark.parametrize("status", [404, 405])
    async def test_the_path_without_slash_is_tried_once(self, status: int) -> None:
        """Also without any retries; what worked is remembered."""
        missing = http_answer(status, error_body("Invalid URL (POST /v1/images/generations/)", code=""))
        async with serving(missing, OK, retry=0) as (server, client):
            await client.generate("A")
            await client.generate("B")
        assert [r.path for r in server.requests] == ["/v1/images/generations/", *["/v1/images/generations"] * 2]

    async def test_a_404_on_both_paths_is_an_error_and_nothing_is_remembered(self) -> None:
        missing = http_answer(404, error_body())
        async with serving(missing) as (server, client):
            for _ in range(2):
                with pytest.raises(NotFoundError, match="base_url"):
                    await client.generate("A")
        assert [r.path[-1] for r in server.requests] == ["/", "s", "/", "s"]

    async def test_a_404_that_names_the_model_is_final(self) -> None:
        async with serving(http_answer(404, error_body(code="model_not_found"))) as (server, client):
            with pytest.raises(NotFoundError):
                await client.generate("A")
        assert len(server.requests) == 1

    async def test_a_redirect_is_remembered_only_after_a_success(self) -> None:
        async with serving(redirect(307, "/v1/images/generations"), http_answer(400, error_body()), OK) as (
            server,
            client,
        ):
            with pytest.raises(BadRequestError):
                await client.generate("A")
            await client.generate("A")
        assert server.requests[2].path == "/v1/images/generations/"


YES, NO, AMBIGUOUS = "yes", "no", "ambiguous"


class TestWhatIsTriedAgain:
    @pytest.mark.parametrize(
        ("status", "body", "again"),
        [
            *((status, error_body(), NO) for status in (400, 401, 402, 403, 404, 405, 413, 422, 501)),
            *((status, error_body(), YES) for status in (409, 503, 529)),
            *((status, error_body(), AMBIGUOUS) for status in (408, 500, 502, 504, 520, 521, 522, 523, 524)),
            (500, error_body(type="server_error"), YES),
            (500, error_body(code="invalid_request"), NO),
            (500, error_body(code="bad_response_body"), AMBIGUOUS),
            (500, error_body(code="internal_server_error"), AMBIGUOUS),
            (503, error_body(code="model_not_found"), NO),
            (429, error_body(code="insufficient_quota"), NO),
            (429, error_body(type="insufficient_quota"), NO),
            (429, error_body(code="billing_hard_limit_reached"), NO),
            (403, error_body(code="insufficient_user_quota"), NO),
            (500, error_body(code="moderation_blocked"), NO),
        ],
    )
    async def test_the_table(self, status: int, body: dict[str, object], again: str) -> None:
        """What is known to be unbilled is tried again, what is ambiguous only where the caller asks for it."""
        answer = http_answer(status, body)
        never_instant = RetryPolicy(base_delay=0, instant=0)
        asked = RetryPolicy(base_delay=0, instant=0, retry_ambiguous=True)
        for policy, is_sent_again in ((never_instant, again == YES), (asked, again in (YES, AMBIGUOUS))):
            async with serving(answer, retry=policy) as (server, client):
                with pytest.raises(APIStatusError) as caught:
                    await client.generate("A", model="m")
            sent = [r for r in server.requests if status not in (404, 405) or r.path.endswith("/")]
            assert len(sent) == (3 if is_sent_again else 1)
            assert caught.value.attempts == (3 if is_sent_again else 1)
            assert caught.value.may_have_been_billed is (again == AMBIGUOUS)
            assert len({r.headers["idempotency-key"] for r in server.requests}) == 1

    @pytest.mark.parametrize("answer", [http_answer(502), hang_up, b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"])
    async def test_what_fails_within_a_second_was_not_billed(self, answer: Answer) -> None:
        """No server makes an image that fast: a closed connection, a gateway whose upstream refuses."""
        if isinstance(answer, bytes) and b"200" in answer:
            answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 90\r\n\r\n{"
        async with serving(answer, OK) as (server, client):
            response = await client.generate("A")
            assert response.http is not None and response.http.attempts == 2
        async with serving(answer) as (server, client):
            with pytest.raises(APIError) as caught:
                await client.generate("A")
        assert len(server.requests) == 3
        assert not caught.value.may_have_been_billed

    @pytest.mark.parametrize(
        "answer", [hang_up, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 90\r\n\r\n{"]
    )
    async def test_a_cut_connection_is_ambiguous(self, answer: Answer) -> None:
        async with serving(answer, retry=RetryPolicy(instant=0)) as (server, client):
            with pytest.raises(APIConnectionError) as caught:
                await client.generate("A")
        assert len(server.requests) == 1
        assert caught.value.may_have_been_billed
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", server.port)

    async def test_a_refused_connection_is_tried_again_and_names_host_and_port(self) -> None:
        async with ScriptedServer(OK) as server:
            pass
        async with AsyncImagesClient(KEY, base_url=server.base_url, retry=AT_ONCE) as client:
            with pytest.raises(APIConnectionError, match=rf"could not connect to 127\.0\.0\.1:{server.port}") as caught:
                await client.generate("A")
        assert caught.value.attempts == 3
        assert not caught.value.may_have_been_billed
        assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize(
        ("status", "wish", "sent"),
        [(400, "true", 3), (502, "true", 3), (429, "false", 1), (503, "FALSE", 1), (503, "maybe", 3)],
    )
    async def test_the_server_overrules_the_table(self, status: int, wish: str, sent: int) -> None:
        answer = http_answer(status, error_body(), headers={"X-Should-Retry": wish})
        async with serving(answer, retry=RetryPolicy(base_delay=0, instant=0)) as (server, client):
            with pytest.raises(APIStatusError):
                await client.generate("A")
        assert len(server.requests) == sent

    async def test_an_ambiguous_attempt_is_remembered(self) -> None:
        """What the last attempt says is not all that may have been billed."""
        retry = RetryPolicy(base_delay=0, instant=0, retry_ambiguous=True, max_retries=1)
        async with serving(http_answer(504), http_answer(503), retry=retry) as (_, client):
            with pytest.raises(InternalServerError) as caught:
                await client.generate("A")
        assert (caught.value.status_code, caught.value.may_have_been_billed) == (503, True)

    @pytest.mark.parametrize("status", [401, 429])
    async def test_an_error_whose_body_is_cut_is_that_error(self, status: int) -> None:
        answer = http_answer(status, error_body("no"), headers={"Connection": "close"})[:-5]
        async with serving(answer, retry=0) as (server, client):
            with pytest.raises(APIStatusError) as caught:
                await client.generate("A")
        assert caught.value.status_code == status
        assert not caught.value.may_have_been_billed
        assert len(server.requests) == 1

    async def test_the_servers_wish_says_nothing_of_billing(self) -> None:
        answer = http_answer(504, headers={"X-Should-Retry": "false"})
        async with serving(answer, retry=RetryPolicy(instant=0)) as (_, client):
            with pytest.raises(InternalServerError) as caught:
                await client.generate("A")
        assert caught.value.may_have_been_billed

    async def test_no_retries_means_nothing_is_sent_twice(self) -> None:
        for answer in (http_answer(429), http_answer(503), hang_up):
            async with serving(answer, retry=0) as (server, client):
                with pytest.raises(APIError):
                    await client.generate("A")
            assert len(server.requests) == 1

    async def test_a_refusal_by_a_rate_limit_is_no_retry(self) -> None:
        """It waits in the queue again, more often than `max_retries`; with 0 it is raised."""
        refused = http_answer(429, error_body(), headers={"Retry-After-Ms": "1"})
        async with serving(refused, refused, refused, OK, retry=RetryPolicy(max_retries=1)) as (server, client):
            response = await client.generate("A")
        assert response.http is not None and response.http.attempts == 4
        assert len({r.headers["idempotency-key"] for r in server.requests}) == 1

    async def test_the_wait_the_server_asks_for_is_kept(self) -> None:
        """Retry-After wins over a shorter back-off."""
        async with serving(http_answer(429, error_body(), headers={"Retry-After-Ms": "20"}), OK) as (_, client):
            response = await client.generate("A")
        assert response.http is not None and response.http.elapsed >= 0.02

    async def test_a_wait_that_is_too_long_is_raised_at_once(self) -> None:
        async with serving(http_answer(429, error_body("slow down"), headers={"Retry-After": "121"})) as (
            server,
            client,
        ):
            with pytest.raises(RateLimitError, match="max_retry_after=120") as caught:
                await client.generate("A")
        assert caught.value.retry_after == 121
        assert len(server.requests) == 1

    async def test_a_wait_beyond_the_total_is_raised_at_once(self) -> None:
        async with serving(http_answer(409, headers={"Retry-After": "60"}), timeout=30) as (server, client):
            with pytest.raises(ConflictError, match=r"Timeout\.total"):
                await client.generate("A")
        assert len(server.requests) == 1

    async def test_one_key_for_all_attempts_and_the_callers_own(self) -> None:
        async with serving(http_answer(503), OK) as (server, client):
            await client.generate("A", idempotency_key="job-7")
        assert [r.headers["idempotency-key"] for r in server.requests] == ["job-7", "job-7"]

    async def test_a_moderation_block_is_final_and_says_what_to_do(self) -> None:
        body = error_body("Your request was rejected", type="image_generation_user_error", code="moderation_blocked")
        async with serving(http_answer(400, body, headers={"x-request-id": "req_7"})) as (_, client):
            with pytest.raises(ModerationBlockedError) as caught:
                await client.generate("A")
        assert str(caught.value) == (
            "400 moderation_blocked: Your request was rejected [request req_7, attempt 1]; "
            "change the prompt; the same one will be blocked again"
        )

    async def test_quota_is_its_own_error(self) -> None:
        async with serving(http_answer(429, error_body("no money", code="insufficient_quota"))) as (_, client):
            with pytest.raises(QuotaExceededError, match="add credit"):
                await client.generate("A")


class TestWhatRunsOut:
    async def test_first_byte(self) -> None:
        """A server that accepts and never answers; it may be at work, so it isn't asked again."""
        async with serving(never_answer, timeout=Timeout(first_byte=0.03)) as (server, client):
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("A")
            await server.wait_until(lambda: server.closed == 1)
        error = caught.value
        assert (error.phase, error.seconds, error.may_have_been_billed) == ("first_byte", 0.03, True)
        assert len(server.requests) == 1
        assert str(error) == (
            f"no image began to come from 127.0.0.1:{server.port} within 0.03 s of sending [attempt 1]; "
            "it may have been billed; so it is not sent again on its own; raise Timeout.first_byte to wait longer"
        )

    async def test_first_byte_is_not_the_first_byte_of_the_json(self) -> None:
        async def only_the_beginning(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{"created": 1, "data": [{"b64_json": "')
            await asyncio.Event().wait()

        async with serving(only_the_beginning, timeout=Timeout(first_byte=0.03)) as (_, client):
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("A")
        assert caught.value.phase == "first_byte"

    @pytest.mark.parametrize("length", [2000, 900_000], ids=["read-whole", "read-in-pieces"])
    async def test_stall(self, length: int) -> None:
        """Counted from the first piece of an image."""

        async def half(_: Received, writer: asyncio.StreamWriter) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
            writer.write(head + b'{"data": [{"b64_json": "' + b"QUFB" * 100)
            await asyncio.Event().wait()

        async with serving(half, timeout=Timeout(stall=0.03)) as (_, client):
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("A")
        assert (caught.value.phase, caught.value.may_have_been_billed) == ("stall", True)

    async def test_white_space_extends_nothing(self) -> None:
        """A gateway that sends blanks to keep the connection alive doesn't keep the call alive."""

        async def blanks(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1\r\n \r\n")
                await asyncio.sleep(0.002)

        for timeout in (Timeout(first_byte=0.03), Timeout(total=0.03)):
            async with serving(blanks, timeout=timeout) as (_, client):
                with pytest.raises(APITimeoutError) as caught:
                    await client.generate("A")
            assert caught.value.phase == ("first_byte" if timeout.first_byte else "total")

    async def test_total_covers_all_attempts(self) -> None:
        async with serving(http_answer(503), never_answer, timeout=0.05) as (server, client):
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("A")
        assert (caught.value.phase, caught.value.attempts) == ("total", 2)
        assert len(server.requests) == 2

    async def test_connect(self) -> None:
        """Nothing was sent, so it is tried again: a listener whose queue is full never accepts."""
        import socket

        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            async with AsyncImagesClient(KEY, base_url=url, timeout=Timeout(connect=0.03), retry=AT_ONCE) as client:
                with pytest.raises(APITimeoutError, match=r"raise Timeout\.connect") as caught:
                    await client.generate("A")
        finally:
            for each in (listener, *fillers):
                each.close()
        assert (caught.value.phase, caught.value.attempts) == ("connect", 3)
        assert not caught.value.may_have_been_billed

    async def test_a_timeout_of_ours_is_tried_again_where_the_caller_asks_for_it(self) -> None:
        policy = RetryPolicy(retry_ambiguous=True, base_delay=0)
        async with serving(never_answer, OK, retry=policy, timeout=Timeout(first_byte=0.03)) as (_, client):
            response = await client.generate("A")
        assert response.http is not None and response.http.attempts == 2

    async def test_a_timeout_of_one_call(self) -> None:
        async with serving(never_answer, OK) as (_, client):
            with pytest.raises(APITimeoutError):
                await client.generate("A", timeout=0.03)
            await client.generate("A")


class TestCancelling:
    async def test_the_connection_is_cut_and_the_client_goes_on(self) -> None:
        async with serving(never_answer, OK) as (server, client):
            task = asyncio.create_task(client.generate("A"))
            await server.wait_until(lambda: len(server.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.wait_until(lambda: server.closed == 1)
            await client.generate("A")

    async def test_at_every_step(self) -> None:
        """Cancelled after k turns of the loop, for every k that a call takes: no task and no connection is left."""
        written: list[bool] = []

        async def in_parts(_: Received, writer: asyncio.StreamWriter) -> None:
            for at in range(0, len(OK), 400):
                writer.write(OK[at : at + 400])
                await writer.drain()
                await asyncio.sleep(0)
            written.append(True)

        for turns in range(200):
            async with ScriptedServer(in_parts) as server:
                client = AsyncImagesClient(KEY, base_url=server.base_url, retry=0)
                written.clear()
                task = asyncio.create_task(client.generate("A"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.done():
                    task.result()
                    await client.aclose()
                    break
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                # Where the whole answer had come, the connection is free for the next call and not cut.
                await server.wait_until(lambda: written or server.closed == server.connections)
                await client.generate("A")
                await client.aclose()
                await server.wait_until(lambda: server.closed == server.connections)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        else:
            pytest.fail("the call never ended")
        assert turns > 5

    async def test_inside_a_scope_of_anyio(self) -> None:
        async with serving(never_answer, OK) as (server, client):
            with anyio.move_on_after(0.02) as scope:
                await client.generate("A")
            assert scope.cancelled_caught
            await server.wait_until(lambda: server.closed == 1)


class TestSecrets:
    @pytest.mark.parametrize("status", [200, 401, 500])
    async def test_an_echoed_key_shows_nowhere(self, status: int, caplog: pytest.LogCaptureFixture) -> None:
        """Not in the error, its attributes, its traceback with local variables, nor the log."""
        body = error_body(f"Incorrect key {KEY}", code=f"x{KEY}", type=KEY, param=KEY)
        answer = http_answer(status, body, headers={"x-request-id": KEY, "X-Echo": f"Bearer {KEY}"})
        caplog.set_level(logging.DEBUG)
        async with serving(answer) as (_, client):
            with pytest.raises(APIError) as caught:
                await client.generate("A")
            shown = [str(caught.value), repr(caught.value), repr(vars(caught.value)), repr(client)]
        # The frames of this test hold the key themselves.
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        frames = [str(frame.locals) for frame in trace.stack if "/tests/" not in frame.filename]
        assert len(frames) >= 2
        for text in (*shown, *frames, caplog.text):
            assert KEY not in text
        assert "***" in shown[0]

    async def test_a_connection_error_shows_no_key_in_any_frame(self) -> None:
        async with ScriptedServer(OK) as server:
            pass
        async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.generate("A")
        trace: traceback.TracebackException | None
        trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        while trace is not None:
            for frame in trace.stack:
                assert KEY not in str(frame.locals) or "/tests/" in frame.filename
            trace = trace.__cause__

    async def test_a_password_in_the_base_url_shows_nowhere_and_is_not_sent(self) -> None:
        async with ScriptedServer(http_answer(302, headers={"Location": "http://a:hunter22@b.example/"})) as server:
            url = f"http://user:hunter22@127.0.0.1:{server.port}/v1"
            async with AsyncImagesClient(KEY, base_url=url) as client:
                with pytest.raises(APIStatusError) as caught:
                    await client.generate("A")
                assert "hunter22" not in f"{client!r}{caught.value}{vars(caught.value)}"
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


class TestTheLog:
    async def test_one_line_per_attempt(self, caplog: pytest.LogCaptureFixture) -> None:
        """Method, path, status, request id, elapsed, attempt; no body."""
        caplog.set_level(logging.INFO, "aiai_async")
        failure = http_answer(503, error_body("busy"), headers={"x-request-id": "req_1"})
        async with serving(failure, http_answer(200, answer_with(), headers={"x-request-id": "req_2"})) as (_, client):
            await client.generate("secret prompt")
        lines = [re.sub(r"\d+\.\d{3} s", "T", record.message) for record in caplog.records]
        assert lines == [
            "POST /v1/images/generations/ 503 in T [request req_1, attempt 1]",
            "POST /v1/images/generations/ 200 in T [request req_2, attempt 2]",
        ]

    async def test_a_cancelled_and_a_lost_attempt(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "aiai_async")
        async with serving(hang_up, never_answer, retry=0) as (_, client):
            with pytest.raises(APIConnectionError):
                await client.generate("A")
            with anyio.move_on_after(0.02):
                await client.generate("A")
        results = [record.message.split()[2] for record in caplog.records]
        assert results == ["APIConnectionError", "cancelled"]


async def test_a_2xx_that_is_no_answer_is_never_tried_again() -> None:
    """It may have been billed, however fast it came."""
    async with serving(http_answer(200, b"<!doctype html><title>New API</title>")) as (server, client):
        with pytest.raises(APIResponseError) as caught:
            await client.generate("A")
    assert len(server.requests) == 1
    assert caught.value.may_have_been_billed
    assert str(caught.value) == (
        f"200 from {server.base_url}/images/generations/: is a web page, not JSON [attempt 1]; "
        "it may have been billed; is the base URL missing /v1?"
    )
