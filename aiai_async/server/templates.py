"""From a fault's templates to the bytes that go out: what their names stand for, and the parts they become.

Pure. Names are written as in `string.Template`; one that stands for nothing stays as it is.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import attrs

from aiai_async.server.faults import ANSWER_VALUES, Fault, Piece, names_in
from aiai_async.server.refusals import JSONObject, error_object


@attrs.frozen(kw_only=True)
class Part:
    """Bytes that are sent by themselves."""

    data: bytes
    gap: float = 0.0
    """Seconds of silence before it."""
    due: float = 0.0
    """It is not sent before so many seconds have passed since the request was let in."""


class Values(Mapping[str, str]):
    """What the names in a template stand for, each made when it is first asked for: some are megabytes."""

    def __init__(self, makers: Mapping[str, Callable[[], str]]) -> None:
        self._makers: Final = makers

    def __getitem__(self, name: str) -> str:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def with_more(self, makers: Mapping[str, Callable[[], str]]) -> Values:
        """Give these values and others."""
        return Values({**self._makers, **makers})


def picture_values(b64: str, media_type: str, url: Callable[[], str]) -> Values:
    """Make the values of one picture.

    Args:
        b64: the picture in base64.
        media_type: its media type.
        url: makes a link to it when one is asked for.
    """

    def lines() -> str:
        # As MIME has it, 76 characters a line; escaped, since it goes into a JSON string.
        return "\\r\\n".join(b64[start : start + 76] for start in range(0, len(b64), 76))

    def path() -> str:
        return "/" + url().split("/", 3)[3]

    return Values(
        {
            "b64": lambda: b64,
            "b64_lines": lines,
            "b64_unpadded": lambda: b64.rstrip("="),
            "b64_urlsafe": lambda: b64.translate({ord("+"): "-", ord("/"): "_"}),
            "b64_escaped": lambda: b64.replace("/", "\\/"),
            "media_type": lambda: media_type,
            "url": url,
            "url_path": path,
        }
    )


def answer_values(answer: Mapping[str, Any], fault: Fault, pictures: Sequence[Values], request_id: str) -> Values:
    """Make the values of a whole answer, with the elements of `data` as the fault has them.

    Args:
        answer: the ordinary answer, as JSON values (which is why the type of its parts is Any).
        fault: what may say how an element of `data` looks.
        pictures: the values of each picture.
        request_id: the id of the request.
    """

    def elements() -> list[str]:
        if fault.image is None:
            return [json.dumps(element) for element in answer["data"]]
        return [fill(fault.image, values) for values in pictures]

    def whole() -> str:
        # What a server's JSON encoder would write, with the elements put in as text: they may be no proper JSON.
        head, _, tail = json.dumps({**answer, "data": ["$"]}).partition('"$"')
        return head + ", ".join(elements()) + tail

    return Values(
        {
            "answer": whole,
            "created": lambda: json.dumps(answer["created"]),
            "images": lambda: ", ".join(elements()),
            "first": lambda: elements()[0],
            "usage": lambda: json.dumps(answer.get("usage")),
            "request_id": lambda: request_id,
        }
    )


def render_body(
    fault: Fault,
    values: Mapping[str, str],
    ordinary: str | bytes = "$answer",
    *,
    events: Mapping[str, Sequence[Part]] = MappingProxyType({}),
    due: float = 0.0,
) -> list[Part]:
    """Give the parts of a fault's body as they go out.

    Args:
        fault: what is sent.
        values: what the names in its templates stand for.
        ordinary: the body where the fault has none of its own and means no error.
        events: what other names stand for: events that are each sent by themselves.
        due: when the ordinary answer is due, and what holds something of it.
    """
    parts = [part for piece in _body_of(fault, ordinary) for part in _render_piece(piece, values, events, due)]
    if fault.piece_bytes is None:
        return parts
    return [smaller for part in parts for smaller in _split(part, fault.piece_bytes, fault.gap)]


def cut_parts(parts: Sequence[Part], most_bytes: int) -> list[Part]:
    """Give the parts up to so many bytes in all."""
    kept: list[Part] = []
    for part in parts:
        if most_bytes <= 0:
            break
        kept.append(attrs.evolve(part, data=part.data[:most_bytes]))
        most_bytes -= len(part.data)
    return kept


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the places of their names; a `$` before anything else stays.

    Example:
        >>> fill("$request_id costs $5", {"request_id": "req_1"})
        'req_1 costs $5'
    """
    return string.Template(text).safe_substitute(values)


def _render_piece(
    piece: Piece, values: Mapping[str, str], events: Mapping[str, Sequence[Part]], due: float
) -> Iterator[Part]:
    if isinstance(piece.data, bytes):
        yield Part(data=piece.data, gap=piece.gap)
        return
    gap = piece.gap
    for text, name in _split_at_names(piece.data, events):
        if text or not piece.data:
            needs_answer = names_in(text).intersection(ANSWER_VALUES)
            yield Part(data=fill(text, values).encode(), gap=gap, due=due if needs_answer else 0.0)
            gap = 0.0
        if name is not None:
            for part in events[name]:
                yield attrs.evolve(part, gap=gap + part.gap)
                gap = 0.0


def _split_at_names(text: str, names: Container[str]) -> Iterator[tuple[str, str | None]]:
    """Give the text before each of these names, and the name; at the end what is left, and None."""
    start = 0
    for match in string.Template.pattern.finditer(text):
        name = match["named"] or match["braced"]
        if name in names:
            yield text[start : match.start()], name
            start = match.end()
    yield text[start:], None


def _split(part: Part, most_bytes: int, gap: float) -> Iterator[Part]:
    yield attrs.evolve(part, data=part.data[:most_bytes])
    for start in range(most_bytes, len(part.data), most_bytes):
        yield Part(data=part.data[start : start + most_bytes], gap=gap)


def _body_of(fault: Fault, ordinary: str | bytes) -> tuple[Piece, ...]:
    if fault.body is not None:
        return fault.body
    if fault.needs_answer:
        return (Piece(ordinary),)
    status = fault.status or 500
    if status < 400:
        return (Piece(b""),)
    return (Piece(json.dumps(_ordinary_error(status)).encode()),)


def _ordinary_error(status: int) -> JSONObject:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"Status {status}"
    kind = "server_error" if status >= 500 else "requests" if status == 429 else "invalid_request_error"
    code = "rate_limit_exceeded" if status == 429 else None
    return error_object(f"{phrase} (a fault that this local server was told to make)", type=kind, code=code)
