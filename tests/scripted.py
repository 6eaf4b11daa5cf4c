"""A real server on loopback whose every byte a test decides, and which tells what it was sent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from aiai_async import AsyncImagesClient, RetryPolicy

KEY = "sk-test-0123456789"

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
"""What begins like a PNG; nothing here draws."""


class Received:
    """One request as it came."""

    def __init__(self, head: bytes, body: bytes, connection: int) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = line.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self.body = body
        self.connection = connection
        """Number of the connection it came on, from 0."""

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)  # type: ignore[no-any-return] # what the client sends is an object


Script = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
Answer = bytes | Script


class ScriptedServer:
    """Answers requests with the given answers in turn, the last one again and again.

    An answer is the bytes to send, or an async function that writes them. A connection is kept unless the answer says
    `Connection: close` or the function closed it.
    """

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[Received] = []
        self.connections = 0
        self.closed = 0
        self._tls = tls
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.host = "localhost" if self._tls else "127.0.0.1"
        self.base_url = f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for a request, a connection or a close that makes it true; fails after five seconds."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        number, self.connections = self.connections, self.connections + 1
        ahead = b""
        try:
            while True:
                head = (ahead + await reader.readuntil(b"\r\n\r\n"))[:-4]
                request = Received(head, b"", number)
                request.body = await reader.readexactly(int(request.headers.get("content-length", "0")))
                self.requests.append(request)
                self._changed.set()
                ahead = await self._answer(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            # The server is being left; asyncio's stream callback would log this as an error.
            pass
        finally:
            self.closed += 1
            self._changed.set()
            writer.close()

    async def _answer(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Send one answer; give what was read of the next request meanwhile."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer.partition(b"\r\n\r\n")[0].lower():
                raise ConnectionResetError
            return b""
        # A client that goes away ends the script, as it ends a real server's request.
        script = asyncio.ensure_future(answer(request, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((script, gone), return_when=asyncio.FIRST_COMPLETED)
            if script.done():
                script.result()
        finally:
            script.cancel()
            gone.cancel()
            await asyncio.gather(script, gone, return_exceptions=True)
        ahead = b"" if gone.cancelled() else gone.result()
        if script.cancelled() or writer.is_closing() or (gone.done() and not gone.cancelled() and not ahead):
            raise ConnectionResetError
        return ahead


def http_answer(
    status: int = 200, body: bytes | object = b"", *, headers: Mapping[str, str] | None = None, length: bool = True
) -> bytes:
    """Write an answer; a body that isn't bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **(headers or {})}
    if length:
        fields["Content-Length"] = str(len(content))
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def answer_with(*images: bytes, **fields: object) -> dict[str, object]:
    """Make the JSON of a plain answer with these images."""
    data = [{"b64_json": base64.b64encode(image).decode()} for image in images or (PNG,)]
    return {"created": 1713833628, "data": data, **fields}


def error_body(message: str = "no", **fields: object) -> dict[str, object]:
    """Make the JSON of an error in OpenAI's shape."""
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


OK = http_answer(200, answer_with(PNG))


async def never_answer(request: Received, writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""
    await asyncio.Event().wait()


async def hang_up(request: Received, writer: asyncio.StreamWriter) -> None:
    """Take the request and close the connection."""
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(*answers: Answer, **options: Any) -> AsyncIterator[tuple[ScriptedServer, AsyncImagesClient]]:
    """A server with these answers and a client of it, which tries again without waiting."""
    options = {"retry": RetryPolicy(base_delay=0), **options}
    async with (
        ScriptedServer(*answers) as server,
        AsyncImagesClient(KEY, base_url=server.base_url, **options) as client,
    ):
        yield server, client
