"""The ready-made faults by name: what servers of this API were seen to do; and the file that faults are read from.

The table is the documentation: `describe_faults` makes the text from it. Pure but for reading the file.

Source: what was read in gateways' sources and seen on the wire, as in the tests of the client.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from aiai_async._errors import ConfigurationError
from aiai_async.server.faults import Fault, Piece
from aiai_async.server.refusals import error_object
from aiai_async.server.stream_faults import stream_faults

_MESSAGE: Final = "a fault that this local server was told to make"


def _error(
    name: str, status: int, doc: str, *, code: object = None, type: str = "invalid_request_error", **more: Any
) -> Fault:
    """Make a record whose body is an error; more are fields of Fault, which checks them."""
    body: dict[str, Any] = error_object(more.pop("message", _MESSAGE), type=type)
    # Some servers put a number there, which no error of OpenAI's has.
    body["error"]["code"] = code
    return Fault(name=name, doc=doc, status=status, body=orjson.dumps(body), **more)


def _shape(name: str, doc: str, body: str, **more: Any) -> Fault:
    """Make a record of an answer in another shape; more are fields of Fault, which checks them."""
    return Fault(name=name, doc=doc, body=body, **more)


def _odd_answers() -> Iterator[Fault]:
    yield _shape("no_created", "no `created`", '{"data": [$images], "usage": $usage}')
    yield _shape("created_float", "`created` as a float", '{"created": $created.25, "data": [$images]}')
    yield _shape("created_string", "`created` as a string", '{"created": "$created", "data": [$images]}')
    yield _shape("no_usage", "no `usage` and no settings", '{"created": $created, "data": [$images]}')
    yield _shape("usage_null", "`usage: null`", '{"created": $created, "data": [$images], "usage": null}')
    yield _shape("short_data", "one image, however many were asked for", '{"created": $created, "data": [$first]}')
    yield _shape(
        "unknown_fields",
        "fields that nobody knows, everywhere",
        '{"object": "list", "created": $created, "data": [$images], "trace": {"b64_json": "no image"}}',
        image='{"b64_json": "$b64", "seed": 42, "safety": {"score": 0.1}, "finish_reason": null}',
    )
    for name, doc, image in (
        ("unused_empty", "both keys, the unused one empty", '{"b64_json": "$b64", "url": "", "revised_prompt": ""}'),
        ("unused_null", "both keys, the unused one null", '{"url": null, "b64_json": "$b64", "revised_prompt": null}'),
        ("data_uri", "`b64_json` as a whole data URI", '{"b64_json": "data:$media_type;base64,$b64"}'),
        ("base64_lines", "base64 with line breaks", '{"b64_json": "$b64_lines"}'),
        ("base64_unpadded", "base64 without padding", '{"b64_json": "$b64_unpadded"}'),
        ("base64_urlsafe", "base64 in the URL-safe alphabet", '{"b64_json": "$b64_urlsafe"}'),
        ("base64_escaped", "base64 with escaped slashes, as PHP writes JSON", '{"b64_json": "$b64_escaped"}'),
        ("relative_url", "a link without scheme and host", '{"url": "$url_path"}'),
        ("always_url", "links from a model that never gives them", '{"url": "$url"}'),
        ("dead_url", "a link that leads nowhere", '{"url": "$url.gone"}'),
    ):
        yield Fault(name=name, doc=doc, image=image)
    yield Fault(
        name="cost_header", doc="LiteLLM says the price in a header", headers={"x-litellm-response-cost": "0.042"}
    )
    yield Fault(
        name="gateway_request_id",
        doc="the request id in the header of the one-api gateways",
        headers={"X-Oneapi-Request-Id": "$request_id"},
        without=("x-request-id",),
    )
    yield Fault(name="no_content_type", doc="an answer without a label", without=("content-type",))
    yield Fault(name="text_content_type", doc="JSON labelled as text", headers={"Content-Type": "text/plain"})


def _no_answers() -> Iterator[Fault]:
    yield _error("error_in_200", 200, "an error inside a 200", code="bad_response", type="upstream_error")
    yield _error("numeric_error_in_200", 200, "an error inside a 200, its code a number", code=429)
    yield _shape("empty_data", "no image at all", '{"created": 1713833628, "data": []}')
    yield _shape(
        "broken_json", "JSON that stops in the middle", '{"created": 1713833628, "data": [{"b64_json": "iVBORw0KG'
    )
    yield _shape("empty_body", "a 200 with nothing in it", "")
    yield _shape(
        "web_page",
        "the gateway's web page, as when the base URL lacks /v1",
        "<!doctype html>\n<title>API gateway</title>\n<h1>Welcome</h1>\n",
        headers={"Content-Type": "text/html; charset=utf-8"},
    )


def _error_shapes() -> Iterator[Fault]:
    for name, doc, body in (
        ("error_text", "the error is a text", '{"error": "no channel is available"}'),
        ("error_message", "only a message", '{"message": "no channel is available"}'),
        ("error_detail", "only a detail, as FastAPI writes", '{"detail": [{"loc": ["body", "n"], "msg": "too many"}]}'),
        ("error_array", "an array that holds the error", '[{"error": {"message": "upstream", "code": 400}}]'),
        ("error_html", "a page of a proxy", "<html><body><h1>400 Bad Request</h1></body></html>"),
        ("error_empty", "nothing but the status", ""),
        (
            "error_chinese",
            "Chinese, with the request id at the end",
            '{"error": {"message": "请求参数错误 (request id: $request_id)", "type": "new_api_error", "code": null}}',
        ),
    ):
        kind = "text/html" if body.startswith("<") else "application/json"
        yield _shape(name, doc, body, status=400, headers={"Content-Type": kind})


def _errors() -> Iterator[Fault]:
    user = "image_generation_user_error"
    yield _error("moderation_blocked", 400, "refused by moderation", code="moderation_blocked", type=user)
    yield _error("content_policy", 400, "refused by moderation, as dall-e says it", code="content_policy_violation")
    yield _error("litellm_moderation", 400, "refused by moderation, as LiteLLM says it", code="400", type=user)
    yield _error("invalid_api_key", 401, "the key is not accepted", code="invalid_api_key")
    yield _error("payment_required", 402, "no money")
    yield _error("model_not_allowed", 403, "the key may not use the model", code="model_not_allowed")
    yield _error("insufficient_user_quota", 403, "no money, as gateways say it", code="insufficient_user_quota")
    yield _error("insufficient_quota", 429, "no money, as a 429", code="insufficient_quota", type="insufficient_quota")
    yield _error("billing_hard_limit", 429, "no money, by the user's own limit", code="billing_hard_limit_reached")
    yield _error("conflict", 409, "at odds with another request")
    yield _error("model_not_found", 503, "a model that the gateway lacks: final", code="model_not_found")
    yield _error("overloaded", 503, "overloaded", type="server_error")
    yield _error("overloaded_wait", 503, "overloaded, with a time", type="server_error", headers={"Retry-After": "1"})
    yield _error("overloaded_529", 529, "overloaded, as some upstreams say it", type="overloaded_error")
    yield _error("server_error", 500, "OpenAI's own error, not billed", type="server_error", code="server_error")
    yield _error("invalid_request_500", 500, "a wrong request, as older gateways say it", code="invalid_request")
    yield _error(
        "bad_response_body", 500, "failed after the image was made", code="bad_response_body", type="new_api_error"
    )
    yield _error(
        "internal_server_error", 500, "LiteLLM after the upstream made it", code="500", type="internal_server_error"
    )
    for status in (404, 405, 413, 422, 501):
        yield _error(f"status_{status}", status, "refused for good")
    for status in (408, 502, 504, 520, 521, 522, 523, 524):
        yield Fault(name=f"status_{status}", doc="a gateway lost its upstream: may be billed", status=status, body="")
    yield _error("should_retry", 400, "a refusal that may be repeated", headers={"x-should-retry": "true"})
    yield _error("should_not_retry", 503, "overloaded, and not to be repeated", headers={"x-should-retry": "false"})


def _rate_limits() -> Iterator[Fault]:
    limit: dict[str, Any] = {"code": "rate_limit_exceeded", "type": "requests"}
    yield _error("rate_limited", 429, "too many, and not a word about when", **limit)
    for name, doc, headers in (
        ("rate_limited_seconds", "too many, Retry-After in seconds", {"Retry-After": "1"}),
        ("rate_limited_fraction", "too many, Retry-After with a fraction", {"Retry-After": "0.25"}),
        ("rate_limited_ms", "too many, retry-after-ms", {"retry-after-ms": "250"}),
        ("rate_limited_past", "too many, until a date in the past", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        ("rate_limited_hour", "too many, for an hour", {"Retry-After": "3600"}),
    ):
        yield _error(name, 429, doc, headers=headers, **limit)
    yield _error(
        "rate_limited_message", 429, "too many, the time in the text", message="Please try again in 250ms.", **limit
    )
    yield Fault(
        name="limits_ietf",
        doc="limits as the IETF drafts have them",
        headers={"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
    )
    yield Fault(
        name="limits_unnamed",
        doc="limits of nothing in particular, the reset in epoch seconds",
        headers={"x-ratelimit-limit": "60", "x-ratelimit-remaining": "59", "x-ratelimit-reset": "$created"},
    )
    yield Fault(
        name="limits_unknown",
        doc="limits of -1 and of nothing",
        headers={
            "x-ratelimit-limit-requests": "-1",
            "x-ratelimit-remaining-requests": "",
            "x-ratelimit-limit-input-images": "",
        },
    )


def _redirects() -> Iterator[Fault]:
    path = "/v1/images/generations"
    for name, status, doc, location in (
        ("slash_redirect", 307, "the slash path leads to the other, as gin does it", path),
        ("slash_redirect_internal", 307, "the same with a host's internal name", f"http://internal-name:8080{path}"),
        ("slash_moved", 301, "the slash path is moved, which a POST can't follow", path),
        ("slash_elsewhere", 307, "the slash path leads to another host", "http://elsewhere.example/v2/pictures"),
    ):
        yield Fault(
            name=name, doc=doc, on="slash", status=status, headers={"Location": location}, without=("content-type",)
        )
    yield Fault(name="slash_not_found", doc="the slash path is unknown", on="slash", status=404)
    yield Fault(name="slash_not_allowed", doc="the slash path takes no POST", on="slash", status=405)


def _connections() -> Iterator[Fault]:
    yield Fault(name="close", doc="closes the connection and answers nothing", body="", part=0, ending="cut")
    yield Fault(name="reset_at_once", doc="resets the connection and answers nothing", body="", part=0, ending="reset")
    yield Fault(name="hang_at_once", doc="never answers", body="", part=0, ending="hang")
    yield Fault(name="cut", doc="closes the connection in the middle of the answer", part=0.5, ending="cut")
    yield Fault(name="cut_at_end", doc="the answer is there, its last chunk is not", ending="cut")
    yield Fault(name="reset", doc="resets the connection in the middle of the answer", part=0.5, ending="reset")
    yield Fault(name="hang", doc="falls silent in the middle of the answer", part=0.5, ending="hang")
    yield Fault(name="pieces", doc="the answer in chunks of 1,000 bytes", piece_bytes=1000)
    yield Fault(
        name="white_space_first",
        doc="line breaks to keep the connection awake, then the answer",
        body=[Piece("\n", gap=0.01), Piece("\n", gap=0.01), Piece("$answer", gap=0.01)],
    )
    yield Fault(name="download_expired", doc="links to pictures have expired", on="download", status=403)
    yield Fault(name="download_busy", doc="the host of the pictures is overloaded", on="download", status=503)
    yield Fault(name="download_cut", doc="a picture breaks off in the middle", on="download", part=0.5, ending="cut")


FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for group in (
        _odd_answers,
        _no_answers,
        _error_shapes,
        _errors,
        _rate_limits,
        _redirects,
        _connections,
        stream_faults,
    )
    for fault in group()
}
"""The ready-made faults by name."""


def named(name: str, **changes: Any) -> Fault:
    """Give a ready-made fault, with other fields where wanted.

    Args:
        name: a name of the table; `-` and `_` are the same.
        changes: fields of `Fault`, such as `nth=2`.

    Raises:
        ConfigurationError: there is no such fault, or no such field, or the field can't hold that.

    Example:
        >>> named("cut", nth=2).ending
        'cut'
    """
    fault = FAULTS.get(name.replace("-", "_"))
    if fault is None:
        raise ConfigurationError(
            f"{name!r} is no fault of the local server; `aiai-async serve --list-faults` shows them"
        )
    try:
        return attrs.evolve(fault, **changes)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"fault {name!r}: {exc}") from exc


def read_faults(path: Path) -> tuple[Fault, ...]:
    """Read faults from a TOML file: tables `[[fault]]` with the fields of `Fault`.

    One whose `name` is in the table of ready-made faults is that one, changed by the other fields. A piece of a body,
    an event or a heartbeat may be a text or a table `{data = "…", gap = 0.5}`.

    Raises:
        ConfigurationError: the file can't be read, or isn't like this; the message says where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    entries = document.pop("fault", [])
    if document or not isinstance(entries, list):
        raise ConfigurationError(f"{path}: only tables [[fault]] are known here")
    return tuple(_from_table(entry, f"{path}, fault {number}") for number, entry in enumerate(entries, 1))


def _from_table(entry: Any, where: str) -> Fault:
    # Any: what stands in the file may be anything.
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where}: not a table")
    try:
        for field in ("body", "event", "final"):
            if isinstance(entry.get(field), list):
                entry[field] = [Piece(**part) if isinstance(part, dict) else part for part in entry[field]]
        if isinstance(entry.get("heartbeat"), dict):
            entry["heartbeat"] = Piece(**entry["heartbeat"])
        name = entry.get("name", "")
        ready = FAULTS.get(str(name).replace("-", "_"))
        return attrs.evolve(ready, **entry) if ready else Fault(**entry)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"{where}: {exc}") from exc


def describe_faults(faults: Iterable[Fault] = FAULTS.values()) -> str:
    """Make the table of ready-made faults, in Markdown, widths even so that it can be read as it is."""
    rows = [("name", "on", "status", "what the server does"), *((f.name, f.on, _status(f), f.doc) for f in faults)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _status(fault: Fault) -> str:
    return "none" if fault.is_silent else str(fault.status or 200)
