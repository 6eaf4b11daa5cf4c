"""A request to JSON bytes, and a plain answer to an ImagesResponse.

Servers of this API differ in nearly every field of the answer; whatever can be understood is taken, and what is left
unknown is kept in `extra`. Only an answer without a single image is none.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast
from urllib.parse import urljoin

import attrs
import orjson

from aiai_async._errors import APIResponseError, InvalidRequestError
from aiai_async._facts import TokenDetails, Usage
from aiai_async._schemas import Fetch, HTTPInfo, Image, ImagesResponse, Tariff, sniff_media_type
from aiai_async.wire.images import decode_image
from aiai_async.wire.json_text import NotJSON, parse_json

if TYPE_CHECKING:
    import cattrs

_KNOWN: Final = frozenset({"created", "data", "usage", "background", "output_format", "quality", "size", "error"})
_DETAIL_NAMES: Final = frozenset(field.name for field in attrs.fields(TokenDetails)) - {"extra"}
_USAGE_NAMES: Final = frozenset({"total_tokens", "input_tokens", "output_tokens"})
_COUNT_TYPES: Final = frozenset({int, type(None)})
_BOM: Final = b"\xef\xbb\xbf"
# Above that many seconds (the year 5138) a time is meant in milliseconds.
_MOST_SECONDS: Final = 1e11


def encode_request(fields: Mapping[str, object]) -> bytes:
    """Write a request's fields as JSON.

    Raises:
        InvalidRequestError: a field can't be written as JSON; it says which.

    Example:
        >>> encode_request({"prompt": "A lighthouse", "n": 2})
        b'{"prompt":"A lighthouse","n":2}'
    """
    try:
        return orjson.dumps(fields)
    except TypeError as error:
        name = next(name for name, value in fields.items() if not _is_json({name: value}))
        raise InvalidRequestError(
            f"{name}: can't be written as JSON: {error}", field=str(name), value=fields[name]
        ) from error


def _is_json(fields: Mapping[str, object]) -> bool:
    try:
        orjson.dumps(fields)
    except TypeError:
        return False
    return True


def may_be_answer(text: bytes) -> bool:
    """Tell by its first character that is not blank whether a body may be a JSON answer."""
    return text[:1] == b"{" or text.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")


def refuse_text(text: bytes) -> APIResponseError:
    """Say what a 2xx is that doesn't begin like JSON.

    Args:
        text: the beginning of the body; empty where there is none.
    """
    text = text.removeprefix(_BOM).lstrip()
    beginning = text.lower()
    hint = None
    if not beginning:
        what = "the body is empty"
    elif beginning.startswith(b"<"):
        what = "is a web page, not JSON"
        hint = "is the base URL missing /v1?"
    elif beginning.startswith((b"data:", b"event:", b":", b"id:", b"retry:")):
        what = "is a stream of events, which was not asked for"
    else:
        excerpt = text[:40].decode(errors="replace")
        what = f"is not JSON; it begins {excerpt!r}"
    return APIResponseError(what, hint=hint, may_have_been_billed=True)


def parse_answer(text: bytes) -> dict[str, object]:
    """Parse the text of a plain answer.

    Raises:
        APIResponseError: it is no JSON object.
    """
    try:
        tree = parse_json(text)
    except NotJSON as error:
        raise APIResponseError(f"is not JSON: {error}", may_have_been_billed=True) from error
    if not isinstance(tree, dict):
        raise APIResponseError(f"is JSON, but no object; it begins {_excerpt(text)}", may_have_been_billed=True)
    return cast("dict[str, object]", tree)


def has_begun(text: bytes) -> bool:
    """Tell whether anything but blanks has come of a body."""
    return bool(text.strip()) and not _BOM.startswith(text)


def refuse_length(most: int) -> APIResponseError:
    """Say that a body is longer than `max_answer_bytes`."""
    return APIResponseError(
        f"the answer has more than max_answer_bytes={most:,}",
        hint="ask for fewer images at once, or raise max_answer_bytes",
        may_have_been_billed=True,
    )


def find_error_line(text: bytes) -> dict[str, object] | None:
    """Give the object of a first line that is an error in JSON, whatever comes behind it; None where it is none."""
    try:
        tree = parse_json(text.partition(b"\n")[0])
    except NotJSON:
        return None
    return cast("dict[str, object]", tree) if isinstance(tree, dict) and tree.get("error") else None


def find_error(tree: dict[str, object]) -> dict[str, object] | None:
    """Give the answer where it holds an error, in whose stead no image came; None where it doesn't."""
    return tree if tree.get("error") and not tree.get("data") else None


def take_images(tree: Mapping[str, object]) -> list[Image]:
    """Decode the images of a whole answer, and leave in their places what the scanner would have left there.

    Raises:
        APIResponseError: an image isn't base64.
    """
    images: list[Image] = []
    for index, item in enumerate(_list(tree.get("data"))):
        fields = _dict(item)
        text = fields.get("b64_json")
        if isinstance(text, str):
            content = decode_image(text, name=f"data[{index}].b64_json")
            fields["b64_json"] = str(len(images)) if content else ""
            if content:
                images.append(Image(content=content, media_type=sniff_media_type(content), size_bytes=len(content)))
    return images


def find_places(tree: Mapping[str, object]) -> list[int]:
    """Give the places in `data` of the images that `take_images` took."""
    return [place for place, item in enumerate(_list(tree.get("data"))) if _dict(item).get("b64_json")]


def read_answer(
    tree: Mapping[str, object],
    images: Sequence[Image],
    *,
    url: str,
    fetch: Fetch | None = None,
    http: HTTPInfo | None = None,
    tariff: Tariff | None = None,
) -> ImagesResponse:
    """Turn a parsed answer into an ImagesResponse.

    Args:
        tree: the answer; the `b64_json` of an image holds the number of that image in `images`.
        images: the images that were decoded, in the order they came.
        url: where the request went, for links that are relative.
        fetch: what fetches images that are links.
        http: how the answer came.
        tariff: knows what it cost.

    Raises:
        APIResponseError: there is no image in it; it says which part is wrong.
    """
    data = tree.get("data")
    if data is None:
        raise _refuse(f"has no `data`; its fields are {', '.join(map(repr, list(tree)[:10])) or 'none'}")
    if not isinstance(data, list):
        raise _refuse(f"`data` is no list; it begins {_excerpt(data)}")
    items = cast("list[object]", data)
    if not items:
        raise _refuse("`data` is empty: no image was made")
    # Something without an image beside others that have one is passed over: what was paid for is not thrown away.
    found = [image for item in items if (image := read_image(_dict(item), images, url=url, fetch=fetch)) is not None]
    if not found:
        raise _refuse(f"`data[0]` holds neither `b64_json` nor `url`; it begins {_excerpt(items[0])}")
    return ImagesResponse(data=tuple(found), http=http, tariff=tariff, **read_settings(tree, known=_KNOWN))


class Settings(TypedDict):
    """What stands beside the images of an answer or an event."""

    created: dt.datetime | None
    usage: Usage | None
    background: str | None
    output_format: str | None
    quality: str | None
    size: str | None
    extra: dict[str, object]


def read_settings(tree: Mapping[str, object], *, known: Set[str]) -> Settings:
    """Read what stands beside the images of an answer or an event.

    Args:
        tree: the answer or the event.
        known: names of fields that don't go to `extra`.
    """
    get = tree.get
    return {
        "created": _read_time(get("created")),
        "usage": _read_usage(get("usage")),
        "background": _read_text(get("background")),
        "output_format": _read_text(get("output_format")),
        "quality": _read_text(get("quality")),
        "size": _read_text(get("size")),
        "extra": {} if tree.keys() <= known else {name: value for name, value in tree.items() if name not in known},
    }


def read_image(
    fields: Mapping[str, object], images: Sequence[Image], *, url: str, fetch: Fetch | None = None
) -> Image | None:
    """Read one image: an element of an answer's `data`, or an event.

    Args:
        fields: its fields; `b64_json` holds the number of the image in `images`.
        images: the images that were decoded, in the order they came.
        url: where the request went, for a link that is relative.
        fetch: what fetches the image, where it is a link.

    Returns:
        The image; None where there is neither one nor a link to one.
    """
    text, link = fields.get("b64_json"), fields.get("url")
    image = images[int(text)] if isinstance(text, str) and text else None
    link = _join(url, link) if isinstance(link, str) and link else None
    revised_prompt = _read_text(fields.get("revised_prompt"))
    if link is None:
        return image if image is None or revised_prompt is None else attrs.evolve(image, revised_prompt=revised_prompt)
    return attrs.evolve(image or Image(), url=link, revised_prompt=revised_prompt, fetch=fetch)


def _refuse(words: str) -> APIResponseError:
    return APIResponseError(words, may_have_been_billed=True)


def _join(url: str, link: str) -> str | None:
    try:
        return urljoin(url, link)
    except ValueError:
        # No URL, such as "http://[": nothing could be fetched from it.
        return None


def _read_usage(value: object) -> Usage | None:
    if not value:
        return None
    try:
        return _take_usage(value)
    except _Odd:
        # Usage | None is a type to cattrs, which mypy doesn't see.
        return cast("Usage | None", _converter().structure(value, Usage | None))  # type: ignore[arg-type]


class _Odd(Exception):
    """Something isn't as it is documented: it is read by the converter."""


def _take_usage(value: object) -> Usage:
    """Take a usage that the converter would leave as it is, in 2 us instead of 10: every field known, every number one.

    Raises:
        _Odd: it is another.
    """
    if type(value) is not dict:
        raise _Odd
    counts: dict[str, Any] = {**value}
    asked, made = counts.pop("input_tokens_details", None), counts.pop("output_tokens_details", None)
    _check_counts(counts, _USAGE_NAMES)
    return Usage(**counts, input_tokens_details=_take_details(asked), output_tokens_details=_take_details(made))


def _take_details(value: Any) -> TokenDetails | None:
    # Any: it comes out of JSON.
    if not value:
        return None
    _check_counts(value, _DETAIL_NAMES)
    return TokenDetails(**value)


def _check_counts(value: object, names: Set[str]) -> None:
    if type(value) is not dict or not value.keys() <= names or not _COUNT_TYPES.issuperset(map(type, value.values())):
        raise _Odd


@functools.cache
def _converter() -> cattrs.Converter:
    # cattrs takes longer to import than all of this package, and only answers that are written oddly need it.
    import cattrs.gen

    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook_func(lambda kind: kind == int | None, lambda value, _: _read_count(value))
    converter.register_structure_hook_func(lambda kind: kind == Mapping[str, object], lambda value, _: value)
    for kind in (TokenDetails, Usage):
        structure = cattrs.gen.make_dict_structure_fn(kind, converter)
        converter.register_structure_hook_func(_is_optional(kind), _with_extra(kind, structure))
    return converter


def _is_optional(kind: type) -> Callable[[object], bool]:
    return lambda other: other == kind | None


def _with_extra(kind: type, structure: Callable[[Mapping[str, Any], type], object]) -> Callable[[Any, Any], object]:
    names = {field.name for field in attrs.fields(kind)} - {"extra"}

    def read(value: object, _: object) -> object:
        fields = _dict(value)
        if not fields:
            return None
        known = {name: item for name, item in fields.items() if name in names}
        return structure({**known, "extra": {k: v for k, v in fields.items() if k not in names}}, kind)

    return read


def _read_count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if math.isfinite(value) else None


def _read_text(value: object) -> str | None:
    if value is None or type(value) is str:
        return value or None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value) or None


def _read_time(value: object) -> dt.datetime | None:
    """Read Unix seconds or milliseconds, as a number or as text, or an ISO 8601 date; None where it is none of them."""
    if type(value) is int and 0 <= value <= _MOST_SECONDS:
        return dt.datetime.fromtimestamp(value, dt.UTC)
    if isinstance(value, str):
        text = value
        try:
            value = float(text)
        except ValueError:
            return _read_iso(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = value / 1000 if value > _MOST_SECONDS else value
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _read_iso(text: str) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


# Any: what isinstance tells of is a list or a dict of JSON values; cast() is a call at run time.
def _list(value: Any) -> list[object]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _excerpt(value: object) -> str:
    # reprlib cuts what is long and what is nested deeply.
    return reprlib.repr(value[:60].decode(errors="replace") if isinstance(value, bytes) else value)
