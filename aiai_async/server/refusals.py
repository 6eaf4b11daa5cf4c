"""What the server refuses, in OpenAI's words and shape.

Pure. Whatever is refused raises a `Refusal`; the application turns it into an answer at one place. No key stands in a
message but masked.

Source: Error in https://github.com/openai/openai-openapi; the texts are those of api.openai.com.
"""

from __future__ import annotations

from collections.abc import Mapping

JSONObject = dict[str, object]


def error_object(
    message: str, *, type: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> JSONObject:
    """Give the body of an error: all four fields, null where there is nothing to say.

    Example:
        >>> error_object("Rate limit reached", type="requests", code="rate_limit_exceeded")["error"]["code"]
        'rate_limit_exceeded'
    """
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        message: what is wrong and what to do, for a person.
        type: OpenAI's kind of error.
        param: the field of the request that is wrong.
        code: what a program may look at.
        headers: header fields of the answer besides the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_object(message, type=type, param=param, code=code)
        self.headers = dict(headers or {})


def no_key() -> Refusal:
    """Refuse a request without a bearer key."""
    return Refusal(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def wrong_key(key: str) -> Refusal:
    """Refuse a key that is not the server's."""
    return Refusal(
        401,
        f"Incorrect API key provided: {mask(key)}. This local server accepts only the key it was started with.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def no_such_path(method: str, path: str) -> Refusal:
    """Refuse a path that the server hasn't got."""
    return Refusal(
        404,
        f"Invalid URL ({method} {path[:200]}). This server has POST /v1/images/generations; the page at / says more.",
    )


def wrong_method(method: str, path: str, allowed: str) -> Refusal:
    """Refuse a method that the path hasn't got."""
    message = f"Not allowed to {method} on {path[:200]} (HINT: Perhaps you meant to use {allowed}?)"
    return Refusal(405, message, headers={"Allow": allowed})


def body_too_large(most: int) -> Refusal:
    """Refuse a body that is longer than any request needs."""
    return Refusal(413, f"The request body is larger than {most:,} bytes, which is all that this server reads.")


def body_too_slow(seconds: float) -> Refusal:
    """Refuse a body that doesn't come to its end."""
    return Refusal(408, f"The request body did not arrive within {seconds:g} seconds, or is not well-formed.")


def mask(key: str) -> str:
    """Show a key so that its owner recognizes it and nobody else can use it: at most a quarter of it.

    Example:
        >>> mask("sk-proj-0123456789abcdef"), mask("secret")
        ('sk-***ef', '***')
    """
    return f"{key[:3]}***{key[-2:]}" if len(key) >= 20 and key.isascii() and key.isprintable() else "***"
