"""From a fault's templates to the bytes that go out: what their names stand for, and the pieces they become.

Pure. Names are written as in `string.Template`; one that stands for nothing stays as it is.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiai_async.server.faults import Fault, Piece
from aiai_async.server.refusals import JSONObject, error_object


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
    fault: Fault, values: Mapping[str, str], ordinary: str | bytes = "$answer"
) -> list[tuple[float, bytes]]:
    """Give the pieces of a fault's body as they go out, each with the seconds of silence before it.

    Args:
        fault: what is sent.
        values: what the names in its templates stand for.
        ordinary: the body where the fault has none of its own and means no error.
    """
    rendered: list[tuple[float, bytes]] = []
    for piece in _body_of(fault, ordinary):
        data = piece.data if isinstance(piece.data, bytes) else fill(piece.data, values).encode()
        step = fault.piece_bytes or max(1, len(data))
        parts = [data[start : start + step] for start in range(0, len(data), step)] or [b""]
        rendered.append((piece.gap, parts[0]))
        rendered += [(fault.gap, part) for part in parts[1:]]
    return rendered


def cut_pieces(pieces: Sequence[tuple[float, bytes]], most_bytes: int) -> list[tuple[float, bytes]]:
    """Give the pieces up to so many bytes in all."""
    kept: list[tuple[float, bytes]] = []
    for gap, data in pieces:
        if most_bytes <= 0:
            break
        kept.append((gap, data[:most_bytes]))
        most_bytes -= len(data)
    return kept


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the places of their names; a `$` before anything else stays.

    Example:
        >>> fill("$request_id costs $5", {"request_id": "req_1"})
        'req_1 costs $5'
    """
    return string.Template(text).safe_substitute(values)


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
