"""JSON text to Python values: fast where it is strict JSON, tolerant where a server was careless."""

from __future__ import annotations

import json

import orjson


class NotJSON(ValueError):
    """The text is no JSON; the message says why, and near what."""


def parse_json(text: bytes) -> object:
    """Parse a JSON text.

    What orjson refuses is tried with the standard library, which also takes NaN, lone surrogates, control characters in
    strings, whole numbers of any size and bytes that aren't UTF-8: an answer was paid for, so it is not thrown away for
    a blemish.

    Raises:
        NotJSON: neither could.

    Example:
        >>> parse_json(b'\\xef\\xbb\\xbf{"created": NaN}')
        {'created': nan}
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    decoded = text.decode(errors="replace")
    try:
        return json.loads(decoded, strict=False)
    except json.JSONDecodeError as error:
        excerpt = decoded[max(0, error.pos - 20) : error.pos + 20]
        raise NotJSON(f"{error.msg}, near {excerpt!r}") from error
    except (RecursionError, ValueError) as error:
        # Very deep nesting, and whole numbers of more than 4,300 digits.
        raise NotJSON("it is nested too deeply, or holds a number too long") from error
