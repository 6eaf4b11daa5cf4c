"""The server's application: routes, keys, bounds, and the order in which a request meets them.

A request for images is checked for its key, gets its fault where one is due, is validated, let in by the limits, waits
the latency, and is drawn, or is streamed meanwhile. What each of these decides is decided in their own modules; here
they are only called, and what they refuse becomes an answer at one place. It shares no wire code with the client.
"""

from __future__ import annotations

import asyncio
import functools
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import anyio
import attrs
import orjson
import pybase64
from aiohttp import web

from aiai_async._facts import RateLimits
from aiai_async._log import LOGGER
from aiai_async._secret import Secret
from aiai_async.server import refusals
from aiai_async.server.answers import count_tokens, make_answer, revise_prompt
from aiai_async.server.delivery import send_fault, send_stream
from aiai_async.server.events import EVENT_STREAM, make_fields, schedule
from aiai_async.server.faults import Fault, FaultPlan, On
from aiai_async.server.incoming import MOST_BODY_BYTES, origin_of, read_body, read_key
from aiai_async.server.limits import Cost, Limiter, LimitStyle
from aiai_async.server.page import make_page
from aiai_async.server.painter import Painter
from aiai_async.server.received import Received
from aiai_async.server.refusals import JSONObject, Refusal
from aiai_async.server.store import PictureStore
from aiai_async.server.stream_templates import DrawnEvent, frame_events
from aiai_async.server.templates import Values, answer_values, picture_values
from aiai_async.server.validate import CheckedRequest, asks_for_stream, check_request, parse_body

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.frozen(kw_only=True)
class Settings:
    """How the server behaves; the arguments of `LocalServer`, checked."""

    api_key: Secret | None
    limits: RateLimits | None
    limit_style: LimitStyle
    latency: tuple[float, float]
    seed: int
    url_lifetime: float
    keep_requests: int


class _Exchange:
    """What is known of the request that the current task answers."""

    def __init__(self, note_status: Callable[[int], None]) -> None:
        self.note_status: Final = note_status
        self.request_id = f"req_{secrets.token_hex(16)}"
        self.headers: dict[str, str] = {}
        """Header fields of the answer, where it has none of that name."""
        self.left_away: tuple[str, ...] = ()
        """Header fields that the answer must not have."""


# aiohttp answers each request in a task of its own, from the first middleware to the last byte. A key of the request
# would be nicer, but aiohttp 3.14 warns of the only kind that older ones have.
_exchange: ContextVar[_Exchange] = ContextVar("exchange")


class Service:
    """Answers requests. Its state: what came in, the pictures behind links, the limits, the faults, and its dice."""

    def __init__(self, settings: Settings, faults: tuple[Fault, ...]) -> None:
        self._settings = settings
        self._limiter = Limiter(settings.limits, settings.limit_style)
        self._pictures = PictureStore(lifetime=settings.url_lifetime)
        self._dice = random.Random(f"{settings.seed}/latency")
        self._painter = Painter(seed=settings.seed)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.faults = FaultPlan(faults, seed=settings.seed)
        self.requests = Received(settings.keep_requests)
        self.downloads = Received(settings.keep_requests)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return len(self._tasks)

    def make_application(self) -> web.Application:
        """Make the aiohttp application; a new one for each start, since aiohttp uses one only once."""
        application = web.Application(
            # One more than may be: older versions of aiohttp already refuse what is as long as this.
            client_max_size=MOST_BODY_BYTES + 1,
            middlewares=[self._answer_whatever_happens],
        )
        for path in ("/v1/images/generations", "/v1/images/generations/"):
            application.router.add_post(path, self._generate)
            application.router.add_route("*", path, self._refuse_method)
        application.router.add_get("/", self._show_page)
        application.router.add_get("/images/{name}", self._download)
        application.router.add_route("*", "/{path:.*}", self._refuse_path)
        application.on_response_prepare.append(_complete_headers)
        application.on_shutdown.append(self._drop_everything)
        return application

    # -- around every request

    @web.middleware
    async def _answer_whatever_happens(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        received = self.downloads if request.path.startswith("/images/") else self.requests
        number = received.add(request.method, request.path_qs, request.headers, anyio.current_time())
        _exchange.set(_Exchange(lambda status: received.note_status(number, status)))
        self._tasks.add(task)
        try:
            received.note_body(number, request.content_type, await read_body(request))
            return await handler(request)
        except Refusal as refusal:
            response = _to_json(refusal.body, status=refusal.status, headers=refusal.headers)
            if refusal.status in (408, 413):
                # What is still to come of the body would be taken for the next request.
                response.force_close()
            return response
        except ConnectionError:
            # The client left while something was written to it, which aiohttp knows how to take.
            raise
        except Exception:
            # A mistake of the server itself; a client never sees its trace.
            LOGGER.exception("the local server failed at %s %s", request.method, request.path)
            body = refusals.error_object("The server had an error while processing your request.", type="server_error")
            return _to_json(body, status=500)
        finally:
            self._tasks.discard(task)

    async def _drop_everything(self, _: web.Application) -> None:
        """Cancel what is under way: nobody should wait for a slow answer of a server that is told to stop."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            # Waited for, so that aiohttp, which goes on to close the connections, finds nobody at work on them.
            await asyncio.wait(tasks, timeout=1)

    # -- images

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        exchange = _exchange.get()
        limits = self._limiter.of(read_key(request, self._settings.api_key))
        exchange.headers = limits.headers(anyio.current_time())
        body = await request.read()
        fault = self.faults.next(*_kinds_of(request.path, body))
        if fault is not None and not fault.needs_answer:
            kind = EVENT_STREAM if fault.on == "stream" else "application/json"
            return await self._send_fault(request, fault, {"request_id": exchange.request_id}, content_type=kind)
        wanted = check_request(parse_body(request.content_type, body))
        tokens = count_tokens(wanted, partial_images=wanted.partial_images).total
        now = anyio.current_time()
        limits.admit(Cost(images=wanted.n, tokens=tokens, model=wanted.model), now)
        try:
            # Stamped here, as a gateway does: an answer half a minute later tells what was left when it was let in.
            exchange.headers = limits.headers(now)
            latency = self._dice.uniform(*self._settings.latency)
            if wanted.stream:
                return await self._stream(request, wanted, fault, latency)
            await anyio.sleep(latency)
            return await self._answer(request, wanted, fault)
        finally:
            limits.release()

    async def _answer(self, request: web.Request, wanted: CheckedRequest, fault: Fault | None) -> web.StreamResponse:
        contents = [await self._painter.draw(wanted, index) for index in range(wanted.n)]
        answer = self._put_together(request, wanted, contents)
        if fault is None:
            return _to_json(answer)
        pictures = [self._values_of(request, wanted, content) for content in contents]
        values = answer_values(answer, fault, pictures, _exchange.get().request_id)
        return await self._send_fault(request, fault, values)

    async def _stream(
        self, request: web.Request, wanted: CheckedRequest, fault: Fault | None, latency: float
    ) -> web.StreamResponse:
        created, started_at = int(time.time()), anyio.current_time()
        moments = schedule(wanted, latency)
        if fault is None:
            write_event = functools.partial(self._painter.write_event, wanted, created=created)
            return await send_stream(request, moments, write_event)
        contents = [await self._painter.draw(wanted, moment.image, moment.partial) for moment in moments]
        pictures = [self._values_of(request, wanted, content) for content in contents]
        events = [
            DrawnEvent(moment=moment, fields=make_fields(wanted, moment, created=created), picture=picture)
            for moment, picture in zip(moments, pictures, strict=True)
        ]
        # The final images come last, and are what a plain answer would show.
        answer = self._put_together(request, wanted, contents[-wanted.n :])
        is_stream = fault.on == "stream" or fault.body is None
        return await self._send_fault(
            request,
            fault,
            answer_values(answer, fault, pictures[-wanted.n :], _exchange.get().request_id),
            content_type=EVENT_STREAM if is_stream else "application/json",
            ordinary="$stream",
            events=frame_events(fault, events),
            started_at=started_at,
            latency=latency,
        )

    def _put_together(self, request: web.Request, wanted: CheckedRequest, contents: Sequence[bytes]) -> JSONObject:
        if wanted.response_format == "url":
            images: list[JSONObject] = [{"url": self._link_to(request, wanted, content)} for content in contents]
        else:
            images = [{"b64_json": pybase64.b64encode(content).decode()} for content in contents]
        if wanted.model.startswith("dall-e-3"):
            images = [{"revised_prompt": revise_prompt(wanted), **image} for image in images]
        return make_answer(wanted, images, created=int(time.time()))

    def _values_of(self, request: web.Request, wanted: CheckedRequest, content: bytes) -> Values:
        return picture_values(
            pybase64.b64encode(content).decode(),
            f"image/{wanted.output_format}",
            lambda: self._link_to(request, wanted, content),
        )

    def _link_to(self, request: web.Request, wanted: CheckedRequest, content: bytes) -> str:
        name = self._pictures.put(content, wanted.output_format, anyio.current_time())
        return f"{origin_of(request)}/images/{name}"

    async def _send_fault(
        self, request: web.Request, fault: Fault, values: Mapping[str, str], **ordinary: Any
    ) -> web.StreamResponse:
        # ordinary is what send_fault says it is, which checks it.
        _exchange.get().left_away = fault.without
        return await send_fault(request, fault, values, **ordinary)

    # -- everything else

    async def _download(self, request: web.Request) -> web.StreamResponse:
        picture = self._pictures.get(request.match_info["name"], anyio.current_time())
        fault = self.faults.next("download")
        if fault is not None and (picture is not None or not fault.needs_answer):
            values = {"request_id": _exchange.get().request_id}
            kind, content = (picture.media_type, picture.content) if picture else ("application/json", b"")
            return await self._send_fault(request, fault, values, content_type=kind, ordinary=content)
        if picture is None:
            raise Refusal(404, "There is no such image: it has expired, or never was.", code="image_not_found")
        return web.Response(body=picture.content, content_type=picture.media_type)

    async def _show_page(self, request: web.Request) -> web.StreamResponse:
        page = make_page(origin_of(request), needs_key=self._settings.api_key is not None)
        return web.Response(text=page, content_type="text/html")

    async def _refuse_method(self, request: web.Request) -> web.StreamResponse:
        raise refusals.wrong_method(request.method, request.path, "POST")

    async def _refuse_path(self, request: web.Request) -> web.StreamResponse:
        raise refusals.no_such_path(request.method, request.path)


async def _complete_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer has; called when aiohttp has set its own fields and before anything is sent."""
    exchange = _exchange.get()
    for name, value in {"x-request-id": exchange.request_id, **exchange.headers}.items():
        response.headers.setdefault(name, value)
    for name in exchange.left_away:
        response.headers.popall(name, None)
    if request.transport is not None and not request.transport.is_closing():
        exchange.note_status(response.status)


def _kinds_of(path: str, body: bytes) -> list[On]:
    kinds: list[On] = ["generate"]
    if path.endswith("/"):
        kinds.append("slash")
    if asks_for_stream(body):
        kinds.append("stream")
    return kinds


def _to_json(body: JSONObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")
