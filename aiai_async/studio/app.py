"""The studio's application: routes, and the order in which a request meets them.

Every request is judged by the guard first, every answer has its header fields. A tab is told what changes over a
WebSocket: a browser opens only six other connections to one server, so the seventh tab would wait without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from aiohttp import web

from aiai_async import AsyncImagesClient, InvalidRequestError, __version__, estimate_cost
from aiai_async._log import LOGGER
from aiai_async.studio.choices import describe_models, read_request, streams
from aiai_async.studio.copies import write_batch_line, write_curl, write_python
from aiai_async.studio.gallery import Gallery
from aiai_async.studio.guard import PROTOCOL, SECURITY_HEADERS, TAB_HEADER, TOKEN_HEADER, Guard
from aiai_async.studio.job_pages import JobPages
from aiai_async.studio.maker import CUT_BY_USER, Maker
from aiai_async.studio.pages import make_page, read_files
from aiai_async.studio.plain import read_json, write_json
from aiai_async.studio.runs import Run, cost_to_plain
from aiai_async.studio.tabs import Mailbox, Tabs

# A prompt has at most 32,000 characters, each of them six bytes where JSON escapes it.
_MOST_BODY_BYTES: Final = 512 * 1024
# So many at once are no person's doing.
_MOST_RUNNING: Final = 50
_SECONDS_BETWEEN_LOOKS: Final = 0.5
_LIMITS: Final = "limits"
"""What a mailbox calls them; runs have longer names."""
_TAB: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
# Their names can't be guessed, and what is behind one never changes.
_PICTURE_CACHING: Final = "private, max-age=3600, immutable"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """A request can't be answered as asked: a status, and why."""

    def __init__(self, status: int, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status: Final = status
        self.field: Final = field


class Service:
    """Answers requests. Its state: the runs, their pictures, the open tabs.

    Args:
        client: sends the requests.
        guard: judges what comes in.
        token: what the pages hold.
        grace: seconds that a tab may take to come back.
        most_bytes: of pictures that are kept.
        server: what the page calls the server.
    """

    def __init__(
        self, client: AsyncImagesClient, *, guard: Guard, token: str, grace: float, most_bytes: int, server: str
    ) -> None:
        self._client: Final = client
        self._server: Final = server
        self._guard: Final = guard
        self._token: Final = token
        self._gallery: Final = Gallery(most_bytes=most_bytes)
        self._tabs: Final = Tabs(grace=grace, on_gone=self._cut_tab)
        self._maker: Final = Maker(client, self._gallery, self._tabs.note)
        self._jobs: Final = JobPages()
        self._limits: dict[str, Any] = {}
        self._connections: Final[set[asyncio.Task[Any]]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_closing = False

    def make_application(self) -> web.Application:
        """Make the aiohttp application; used once."""
        application = web.Application(client_max_size=_MOST_BODY_BYTES, middlewares=[self._answer_whatever_happens])
        router = application.router
        router.add_get("/", self._show_studio)
        router.add_get("/jobs", self._show_job)
        router.add_get("/jobs/{folder:.*}", self._show_job)
        router.add_get("/static/{name}", self._send_file)
        router.add_get("/favicon.ico", self._send_icon)
        router.add_get("/images/{name}", self._send_picture)
        router.add_get("/job-images/{view}/{item:[0-9]{1,15}}/{k:[0-9]{1,9}}", self._send_job_image)
        router.add_get("/api/events", self._follow_runs)
        router.add_get("/api/job-events", self._follow_job)
        router.add_get("/api/models", self._list_models)
        router.add_post("/api/estimate", self._estimate)
        router.add_post("/api/runs", self._start_run)
        router.add_post("/api/runs/{id}/cut", self._cut_run)
        router.add_delete("/api/runs/{id}", self._forget_run)
        router.add_get("/api/runs/{id}/copies", self._copy_run)
        application.on_response_prepare.append(_complete_headers)
        application.on_startup.append(self._begin)
        return application

    async def _begin(self, _: web.Application) -> None:
        self._watching = asyncio.create_task(self._watch_limits())

    async def aclose(self) -> None:
        """Cut off what runs, tell the tabs, and close their connections; nothing is begun any more.

        Called before aiohttp closes its own: from then on it listens to nobody, and a browser's goodbye would be waited
        for in vain.
        """
        self._is_closing = True
        if self._watching is not None:
            self._watching.cancel()
        self._tabs.close()
        await self._maker.aclose()
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            # Waited for, so that aiohttp, which goes on to close the sockets, finds nobody at work on them.
            await asyncio.wait(tasks, timeout=1)

    # -- around every request

    @web.middleware
    async def _answer_whatever_happens(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            fault = self._guard.find_fault(request.headers, path=request.path)
            if fault is not None:
                raise Refusal(403, f"refused: {fault}")
            if request.path.startswith("/api/"):
                self._require_token(request)
            return await handler(request)
        except Refusal as refusal:
            return _to_error(refusal.status, str(refusal), field=refusal.field)
        except InvalidRequestError as error:
            return _to_error(422, str(error), field=error.field)
        except web.HTTPException as error:
            return _to_error(error.status, error.reason)
        except ConnectionError:
            # The browser left while something was written to it, which aiohttp knows how to take.
            raise
        except Exception:
            # A mistake of the studio itself; the page never sees its trace.
            LOGGER.exception("the studio failed at %s %s", request.method, request.path)
            return _to_error(500, "the studio failed to answer this; AIAI_LOG=info shows why")

    def _require_token(self, request: web.Request) -> None:
        is_known = (
            self._guard.knows_any(request.headers.get("Sec-WebSocket-Protocol", ""))
            if request.headers.get("Upgrade", "").lower() == "websocket"
            else self._guard.knows(request.headers.get(TOKEN_HEADER))
        )
        if not is_known:
            raise Refusal(403, "refused: the token is not this studio's; it was started anew, so reload the page")

    # -- pages and files

    async def _show_studio(self, _: web.Request) -> web.StreamResponse:
        return self._to_page("studio.html")

    async def _show_job(self, _: web.Request) -> web.StreamResponse:
        # Which job it is the page reads from its own address: so the answer holds nothing of what was asked.
        return self._to_page("job.html")

    def _to_page(self, name: str) -> web.Response:
        return web.Response(text=make_page(name, token=self._token, version=__version__), content_type="text/html")

    async def _send_file(self, request: web.Request) -> web.StreamResponse:
        file = read_files().get(request.match_info["name"])
        if file is None or file.media_type == "text/html":
            raise Refusal(404, "there is no such file")
        return web.Response(body=file.content, content_type=file.media_type, charset="utf-8")

    async def _send_icon(self, _: web.Request) -> web.StreamResponse:
        icon = read_files()["icon.svg"]
        return web.Response(body=icon.content, content_type=icon.media_type)

    async def _send_picture(self, request: web.Request) -> web.StreamResponse:
        picture = self._gallery.get(request.match_info["name"])
        if picture is None:
            raise Refusal(404, "this picture is not kept any more")
        return _to_picture(picture.content, picture.media_type)

    async def _send_job_image(self, request: web.Request) -> web.StreamResponse:
        place = request.match_info
        found = await self._jobs.read_image(place["view"], int(place["item"]), int(place["k"]))
        if found is None:
            raise Refusal(404, "there is no such image in this job")
        return _to_picture(found.content, found.media_type)

    # -- runs

    async def _list_models(self, _: web.Request) -> web.StreamResponse:
        return _to_json(describe_models())

    async def _start_run(self, request: web.Request) -> web.StreamResponse:
        tab = request.headers.get(TAB_HEADER, "")
        if tab not in self._tabs:
            raise Refusal(409, "this page is not connected to the studio; reload it")
        if len(self._maker.history.running()) >= _MOST_RUNNING:
            raise Refusal(429, f"{_MOST_RUNNING} runs are under way; wait for some, or use aiai-async batch")
        wanted = read_request(await _read_tree(request))
        if self._is_closing:
            raise Refusal(503, "the studio is being stopped")
        run = self._maker.start(wanted, tab=tab)
        return _to_json(run.to_plain(anyio.current_time()), status=201)

    async def _estimate(self, request: web.Request) -> web.StreamResponse:
        try:
            wanted = read_request(await _read_tree(request))
        except InvalidRequestError:
            # What is wrong is said when it is to be sent, not while it is typed.
            return _to_json(None)
        return _to_json(cost_to_plain(estimate_cost(wanted, prices=self._client.prices, stream=streams(wanted))))

    async def _cut_run(self, request: web.Request) -> web.StreamResponse:
        self._maker.cut(self._find_run(request), CUT_BY_USER)
        return web.Response(status=204)

    async def _forget_run(self, request: web.Request) -> web.StreamResponse:
        run = self._find_run(request)
        if run.is_running:
            raise Refusal(409, "it is still under way; cut it off first")
        self._maker.forget(run)
        return web.Response(status=204)

    async def _copy_run(self, request: web.Request) -> web.StreamResponse:
        run = self._find_run(request)
        base_url = self._client.base_url
        return _to_json(
            {
                "python": write_python(run.request, base_url=base_url, stream=run.streams),
                "curl": write_curl(run.request, base_url=base_url, stream=run.streams),
                "batch": write_batch_line(run.request, custom_id=f"studio-{run.number}"),
            }
        )

    def _find_run(self, request: web.Request) -> Run:
        run = self._maker.history.get(request.match_info["id"])
        if run is None:
            raise Refusal(404, "this run is not remembered any more")
        return run

    def _cut_tab(self, tab: str) -> None:
        self._maker.cut_tab(tab)

    # -- what changes

    async def _follow_runs(self, request: web.Request) -> web.StreamResponse:
        tab = request.query.get("tab", "")
        if not _TAB.fullmatch(tab):
            raise Refusal(400, "the tab has no name")
        async with self._connect(request) as socket:
            mailbox = self._tabs.enter(tab)
            try:
                await self._greet(socket)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tell, socket, mailbox)
                    # Nothing is said by the page; this ends when it leaves.
                    async for _ in socket:
                        pass
                    tasks.cancel_scope.cancel()
            finally:
                self._tabs.leave(tab, mailbox)
        return socket

    async def _follow_job(self, request: web.Request) -> web.StreamResponse:
        async with self._connect(request) as socket, anyio.create_task_group() as tasks:
            tasks.start_soon(self._jobs.follow, request.query.get("folder", ""), socket.send_bytes)
            async for _ in socket:
                pass
            tasks.cancel_scope.cancel()
        return socket

    @asynccontextmanager
    async def _connect(self, request: web.Request) -> AsyncGenerator[web.WebSocketResponse]:
        """Take up a WebSocket; closed with the block, and by the studio's end."""
        task = asyncio.current_task()
        assert task is not None
        socket = web.WebSocketResponse(protocols=(PROTOCOL,), timeout=1.0, compress=False, max_msg_size=1024)
        self._connections.add(task)
        try:
            await socket.prepare(request)
            # Who leaves while it is told something is gone, which is all there is to say of it.
            with contextlib.suppress(ConnectionError):
                yield socket
        finally:
            self._connections.discard(task)
            with anyio.move_on_after(1, shield=True):
                await socket.close(message=b"the studio was stopped")

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        now = anyio.current_time()
        self._limits = self._maker.describe_limits()
        await _say(
            socket,
            {
                "type": "hello",
                "server": self._server,
                "most_bytes": self._gallery.most_bytes,
                "runs": [run.to_plain(now) for run in self._maker.history],
                "limits": self._limits,
            },
        )

    async def _tell(self, socket: web.WebSocketResponse, mailbox: Mailbox) -> None:
        # Who left while it was told something is noticed by whoever listens to it.
        with contextlib.suppress(ConnectionError):
            while True:
                for what in await mailbox.take():
                    await _say(socket, self._describe(what))

    def _describe(self, what: str) -> dict[str, Any]:
        if what == _LIMITS:
            return {"type": "limits", "limits": self._limits}
        run = self._maker.history.get(what)
        if run is None:
            return {"type": "forgotten", "id": what}
        return {"type": "run", "run": run.to_plain(anyio.current_time())}

    async def _watch_limits(self) -> None:
        while True:
            await anyio.sleep(_SECONDS_BETWEEN_LOOKS)
            if len(self._tabs):
                limits = self._maker.describe_limits()
                if limits != self._limits:
                    self._limits = limits
                    self._tabs.note(_LIMITS)


async def _read_tree(request: web.Request) -> object:
    if request.content_type != "application/json":
        raise Refusal(415, "the request is not JSON")
    try:
        return read_json(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the request is not JSON: {error}") from error


async def _say(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    await socket.send_bytes(write_json(message))


async def _complete_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    # Pages hold the token, and what they are told is old a moment later.
    response.headers.setdefault("Cache-Control", "no-store")


def _to_json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=write_json(value), status=status, content_type="application/json")


def _to_error(status: int, message: str, *, field: str | None = None) -> web.Response:
    return _to_json({"error": {"message": message, "field": field}}, status=status)


def _to_picture(content: bytes, media_type: str | None) -> web.Response:
    response = web.Response(body=content, content_type=media_type or "application/octet-stream")
    response.headers["Cache-Control"] = _PICTURE_CACHING
    if media_type is None:
        # Whatever it is, the browser shall not show it.
        response.headers["Content-Disposition"] = "attachment"
    return response
