"""What came in, for assertions: frozen records in the order of arrival, the latest so many.

Pure. A record stands from the moment of arrival; what becomes known later replaces it by one that says more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from aiai_async._facts import Headers
from aiai_async._secret import is_sensitive_header


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """One request as it came in."""

    method: str
    path: str
    """With its query, as it was sent."""
    headers: Headers
    """Without those that carry a key."""
    has_key: bool
    """True where an Authorization header came along."""
    body: Any
    """Parsed, where it is JSON (which is why the type is Any); else the bytes. Empty where it was not read."""
    received_at: float
    """Seconds of the event loop's clock."""
    status: int | None = None
    """What it was answered; None while it is not, or where the client left before or the connection was broken."""


class Received:
    """The records of the latest requests.

    Args:
        most: how many are kept; the oldest are forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._count = 0
        self._records: dict[int, ReceivedRequest] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, method: str, path: str, headers: Mapping[str, str], now: float) -> int:
        """Note a request whose body is still to come, and give the number to speak of it by."""
        self._count += 1
        self._records[self._count] = ReceivedRequest(
            method=method,
            path=path,
            headers=Headers((name, value) for name, value in headers.items() if not is_sensitive_header(name)),
            has_key="Authorization" in headers,
            body=b"",
            received_at=now,
        )
        if len(self._records) > self._most:
            del self._records[next(iter(self._records))]
        return self._count

    def note_body(self, number: int, content_type: str, body: bytes) -> None:
        """Note what a request's body was."""
        parsed: Any = body
        if content_type == "application/json":
            try:
                parsed = orjson.loads(body)
            except orjson.JSONDecodeError:
                parsed = body
        self._change(number, body=parsed)

    def note_status(self, number: int, status: int) -> None:
        """Note what a request was answered."""
        self._change(number, status=status)

    def all(self) -> tuple[ReceivedRequest, ...]:
        """Give the records, oldest first."""
        return tuple(self._records.values())

    def _change(self, number: int, **fields: Any) -> None:
        if number in self._records:
            self._records[number] = attrs.evolve(self._records[number], **fields)
