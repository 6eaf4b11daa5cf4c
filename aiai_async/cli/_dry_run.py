"""`--dry-run`: the requests as they would be sent, seen at the place where they would leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from aiai_async import ImageRequest
from aiai_async._secret import HIDDEN, is_sensitive_header
from aiai_async._transport import TransportRequest
from aiai_async.cli._connection import Connection, has_key


class _Seen(Exception):
    """Carries a request back from where it would be sent."""

    def __init__(self, request: TransportRequest) -> None:
        super().__init__()
        self.request = request


class _Window:
    """A transport that sends nothing."""

    async def send(self, request: TransportRequest) -> NoReturn:
        raise _Seen(request)

    async def aclose(self) -> None:
        pass


async def show_requests(
    requests: Sequence[ImageRequest], connection: Connection, *, stream: bool = False
) -> list[dict[str, Any]]:
    """Give each request as an object: method, URL, headers without the key, body. Nothing is sent.

    Args:
        requests: already checked.
        connection: where they would go.
        stream: whether their answers would be streamed.

    Raises:
        ConfigurationError: the client can't be made.
    """
    # Any: it is JSON.
    shown: list[dict[str, Any]] = []
    # Without a key the request can be shown all the same, since the key isn't.
    async with connection.open(transport=_Window(), fallback_key="none") as client:
        for request in requests:
            try:
                # The type depends on `stream`, and what is neither true nor false by its type has none.
                await (client.generate(request, stream=True) if stream else client.generate(request))
            except _Seen as seen:
                shown.append(_to_object(seen.request, hidden=_describe_key(connection)))
    return shown


def to_text(request: dict[str, Any]) -> str:
    """Write a request that `show_requests` gave as HTTP shows it, its body on several lines."""
    headers = "\n".join(f"{name}: {value}" for name, value in request["headers"].items())
    body = json.dumps(request["body"], indent=2, ensure_ascii=False)
    text = f"{request['method']} {request['url']}\n{headers}\n\n{body}"
    # JSON escapes control characters, but not those beyond ASCII, which terminals obey too.
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _describe_key(connection: Connection) -> str:
    return HIDDEN if connection.local or has_key() else f"{HIDDEN} (AIAI_API_KEY is not set)"


def _to_object(request: TransportRequest, *, hidden: str) -> dict[str, Any]:
    headers = {
        name: f"Bearer {hidden}" if name == "authorization" else HIDDEN if is_sensitive_header(name) else value
        for name, value in request.headers.items()
    }
    assert request.body is not None
    return {"method": request.method, "url": request.url, "headers": headers, "body": json.loads(request.body)}
