"""From an error answer to its exception: class, facts, words; and no secret in any of them."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiai_async import _errors
from aiai_async._errors import (
    AIAIError,
    APIError,
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
)
from aiai_async._facts import Headers
from aiai_async._secret import Redactor
from aiai_async.wire import codec
from aiai_async.wire.images import ImageScanner
from aiai_async.wire.problems import (
    MAX_ERROR_BYTES,
    AnswerHead,
    Problem,
    find_request_id,
    name_answer,
    read_error_inside,
    read_problem,
    read_refused_redirect,
)

URL = "https://api.example.com/v1/images/generations/"
KEY = "sk-proj-Zq9x7LmPp2Rt5Wv8"
PASSWORD = 'hun"ter/2 & co'
REDACTOR = Redactor([KEY, PASSWORD])


def head(status: int, headers: Mapping[str, str] | None = None) -> AnswerHead:
    """Make the head of an answer."""
    return AnswerHead(status=status, headers=Headers((headers or {}).items()), url=URL)


@pytest.mark.parametrize("name", ["X-RateLimit-Limit-Images", "x-rate-limit-reset", "RateLimit", "ratelimit-policy"])
def test_what_tells_of_limits_is_seen_by_its_name(name: str) -> None:
    """What doesn't isn't read any further."""
    assert head(200, {"date": "x", name: "1"}).may_tell_limits
    assert not head(200, {"x-rate": "1", "retry-after": "ratelimit"}).may_tell_limits


def read(status: int, body: object, headers: Mapping[str, str] | None = None) -> Problem:
    """Read an error answer whose body is bytes, or anything to be written as JSON."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_problem(head(status, headers), text, redactor=REDACTOR, now=0.0)


def error_of(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> APIStatusError:
    """Read an error answer and give its exception."""
    error = read(status, body, headers).error
    assert isinstance(error, APIStatusError)
    return error


def openai(message: str = "m", **fields: object) -> dict[str, object]:
    """Write an error in OpenAI's shape."""
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


CLASSES: dict[str, tuple[int, object, type[APIStatusError]]] = {
    "400": (400, openai(), BadRequestError),
    "400 moderation_blocked": (400, openai(code="moderation_blocked"), ModerationBlockedError),
    "400 content_policy_violation": (400, openai(code="content_policy_violation"), ModerationBlockedError),
    "400 image_generation_user_error": (400, openai(type="image_generation_user_error"), ModerationBlockedError),
    "400 as LiteLLM keeps it": (400, openai(type="image_generation_user_error", code="400"), ModerationBlockedError),
    "400 billing_hard_limit_reached": (400, openai(code="billing_hard_limit_reached"), QuotaExceededError),
    "401": (401, openai(code="invalid_api_key"), AuthenticationError),
    "402": (402, openai(), QuotaExceededError),
    "403": (403, openai(), PermissionDeniedError),
    "403 insufficient_user_quota": (403, openai(code="insufficient_user_quota"), QuotaExceededError),
    "403 insufficient_quota": (403, openai(code="insufficient_quota"), QuotaExceededError),
    "404": (404, openai(), NotFoundError),
    "405": (405, openai(), APIStatusError),
    "408": (408, openai(), APIStatusError),
    "409": (409, openai(), ConflictError),
    "413": (413, openai(), PayloadTooLargeError),
    "422": (422, openai(), UnprocessableEntityError),
    "429": (429, openai(code="rate_limit_exceeded"), RateLimitError),
    "429 insufficient_quota": (429, openai(code="insufficient_quota"), QuotaExceededError),
    "429 insufficient_quota as type": (429, openai(type="insufficient_quota"), QuotaExceededError),
    "429 billing_hard_limit_reached": (429, openai(code="billing_hard_limit_reached"), QuotaExceededError),
    "500": (500, openai(type="server_error"), InternalServerError),
    "501": (501, openai(), InternalServerError),
    "502": (502, b"<html>", InternalServerError),
    "503 model_not_found": (503, openai(code="model_not_found"), InternalServerError),
    "504": (504, b"", InternalServerError),
    "524": (524, b"error code: 524", InternalServerError),
    "529": (529, openai(type="overloaded_error"), InternalServerError),
    "a status that nobody knows": (799, b"", InternalServerError),
    "418": (418, b"", APIStatusError),
}


@pytest.mark.parametrize(("status", "body", "error_class"), CLASSES.values(), ids=CLASSES.keys())
def test_the_class_follows_from_status_and_code(status: int, body: object, error_class: type[APIStatusError]) -> None:
    """The status decides, but for moderation and money."""
    problem = read(status, body)
    assert type(problem.error) is error_class
    assert problem.status == status
    assert isinstance(problem.error, APIStatusError)
    assert problem.error.status_code == status
    assert problem.error.may_have_been_billed is False


SHAPES: dict[str, tuple[bytes | object, tuple[str, str | None, str | None, str | None]]] = {
    "OpenAI's": (
        {
            "error": {
                "message": "Invalid size",
                "type": "invalid_request_error",
                "param": "size",
                "code": "invalid_value",
            }
        },
        ("Invalid size", "invalid_value", "size", "invalid_request_error"),
    ),
    "param missing": ({"error": {"message": "m", "type": "t", "code": "c"}}, ("m", "c", None, "t")),
    "code a number": ({"error": {"message": "m", "code": 400}}, ("m", "400", None, None)),
    "code a whole float": ({"error": {"message": "m", "code": 400.0}}, ("m", "400", None, None)),
    "code a float": ({"error": {"message": "m", "code": 1.5}}, ("m", "1.5", None, None)),
    "code null": ({"error": {"message": "m", "code": None}}, ("m", None, None, None)),
    "code a boolean": ({"error": {"message": "m", "code": True}}, ("m", None, None, None)),
    "code empty": ({"error": {"message": "m", "code": ""}}, ("m", None, None, None)),
    "code an object": ({"error": {"message": "m", "code": {"a": 1}}}, ("m", None, None, None)),
    "error a string": ({"error": "no such model"}, ("no such model", None, None, None)),
    "error a string with a code beside it": ({"error": "m", "code": 7}, ("m", "7", None, None)),
    "message alone": ({"message": "Unauthorized"}, ("Unauthorized", None, None, None)),
    "message with a code": ({"message": "m", "code": "c", "type": "t"}, ("m", "c", None, "t")),
    "detail a string": ({"detail": "Not Found"}, ("Not Found", None, None, None)),
    "detail an object": ({"detail": {"message": "m"}}, ("m", None, None, None)),
    "detail an object with an error": ({"detail": {"error": {"message": "m"}}}, ("m", None, None, None)),
    "detail a list, as FastAPI writes it": (
        {"detail": [{"loc": ["body", "n", 0], "msg": "too big", "type": "x"}, {"msg": "second"}]},
        ("body.n.0: too big; second", None, None, None),
    ),
    "detail a list of strings": ({"detail": ["one", "two", 3]}, ("one; two", None, None, None)),
    "detail a list of nothing": ({"detail": [{}, {"loc": ["body"]}], "msg": "m"}, ("m", None, None, None)),
    "detail with a place that is none": ({"detail": [{"loc": [[["a"]], None], "msg": "m"}]}, ("m", None, None, None)),
    "msg": ({"msg": "m", "code": 1}, ("m", "1", None, None)),
    "an array that holds such an object": ([{"error": {"message": "m", "code": 400}}], ("m", "400", None, None)),
    "an array with other things first": ([5, {}, {"error": "m"}], ("m", None, None, None)),
    "Chinese": ({"error": {"message": "当前分组上游负载已饱和"}}, ("当前分组上游负载已饱和", None, None, None)),
    "Chinese in escapes": (
        b'{"error": {"message": "\\u4f60\\u597d"}}',
        ("你好", None, None, None),
    ),
    "an error without words": ({"error": {"code": "c"}}, ("an error without words", "c", None, None)),
    "an error whose message is null": (
        {"error": {"message": None, "code": "c"}},
        ("an error without words", "c", None, None),
    ),
    "an error whose message is an object": ({"error": {"message": {"message": "m"}}}, ("m", None, None, None)),
    "error null beside a message": ({"error": None, "message": "m"}, ("m", None, None, None)),
    "error empty": ({"error": {}}, ("Bad Request", None, None, None)),
    "error empty text": ({"error": ""}, ("Bad Request", None, None, None)),
    "an object without any of it": ({"status": "failed"}, ("Bad Request", None, None, None)),
    "an empty array": ([], ("Bad Request", None, None, None)),
    "nothing at all": (b"", ("Bad Request", None, None, None)),
    "white space": (b" \r\n", ("Bad Request", None, None, None)),
    "JSON that was cut": (b'{"error": {"mess', ("Bad Request", None, None, None)),
    "a web page with a title": (
        b"\n<!DOCTYPE html><html><head><TITLE>\n 502 Bad\n Gateway &amp; more </TITLE>",
        ("a web page titled '502 Bad Gateway & more' instead of an error of the API", None, None, None),
    ),
    "a web page without a title": (
        b"<html><body>no</body>",
        ("a web page instead of an error of the API", None, None, None),
    ),
    "a web page with an empty title": (
        b"<html><title> </title>",
        ("a web page instead of an error of the API", None, None, None),
    ),
    "a text": (b"upstream connect error\n", ("upstream connect error", None, None, None)),
    "a long text": (b"x" * 5000, ("x" * 200, None, None, None)),
    "no UTF-8": (b"caf\xe9 closed", ("caf\ufffd closed", None, None, None)),
    "control characters": ({"error": "a\x1b[31m\nb\u202e"}, ("a\ufffd[31m b\ufffd", None, None, None)),
    "a byte-order mark": (b'\xef\xbb\xbf{"error": "m"}', ("m", None, None, None)),
    "nested without end": (b"[" * 60_000, ("Bad Request", None, None, None)),
    "an error in an error, deep": (
        {"error": {"error": {"error": {"error": {"error": {"error": "m"}}}}}},
        ("an error without words", None, None, None),
    ),
}


@pytest.mark.parametrize(("body", "said"), SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_of_an_error_is_read(body: object, said: tuple[str, str | None, str | None, str | None]) -> None:
    """Message, code, param and type, wherever a server puts them."""
    error = error_of(400, body)
    assert (error.message, error.code, error.param, error.type) == said


BODIES: dict[str, tuple[bytes, object]] = {
    "JSON": (b'{"error": {"message": "m"}}', {"error": {"message": "m"}}),
    "text": (b"upstream error", "upstream error"),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("text", "expected"), BODIES.values(), ids=BODIES.keys())
def test_the_body_is_kept(text: bytes, expected: object) -> None:
    """Parsed where it is JSON, else as text."""
    assert error_of(400, text).body == expected


def test_what_is_nested_deeply_is_left_out_of_the_body() -> None:
    """An exception with a thousand levels in it could be neither pickled nor shown."""
    error = error_of(400, b'{"a":' * 900 + b"1" + b"}" * 900)
    assert pickle.loads(pickle.dumps(error)).body == error.body
    assert len(repr(error.body)) < 1000


@pytest.mark.parametrize("name", ["retry_after", "detail", "loc"])
def test_deep_nesting_never_ends_in_a_recursion_error(name: str) -> None:
    """Wherever in the body it stands."""
    nested = b"[" * 1000 + b"]" * 1000
    for text in (
        b'{"%b": %b}' % (name.encode(), nested),
        b'{"error": {"%b": %b}}' % (name.encode(), nested),
        b'{"detail": [{"msg": "m", "%b": %b}]}' % (name.encode(), nested),
    ):
        assert type(error_of(400, text)) is BadRequestError


@pytest.mark.parametrize("digits", [5, 5000])
def test_a_code_of_many_digits_is_no_status(digits: int) -> None:
    """It is kept as the text it is."""
    code = "04" + "0" * digits
    problem = read_error_inside(head(200), {"error": {"code": code, "message": "m"}}, redactor=REDACTOR, now=0.0)
    assert type(problem.error) is APIResponseError
    assert problem.error.code is not None
    assert code.startswith(problem.error.code[:7])


_IDS = {
    "x-oneapi-request-id": "one",
    "x-request-id": "two",
    "apim-request-id": "three",
    "x-litellm-call-id": "four",
    "x-generation-id": "five",
    "cf-ray": "six",
}


@pytest.mark.parametrize("missing", range(len(_IDS) + 1))
def test_the_request_id_is_looked_for_in_order(missing: int) -> None:
    """The first header field that is there counts, in the order of their worth; then the end of the message."""
    fields = dict(list(_IDS.items())[missing:])
    expected = next(iter(fields.values()), "20261121abc")
    message = "no channel (request id: 20261121abc)"
    assert find_request_id(Headers(reversed(fields.items())), message) == expected
    assert error_of(500, openai(message), fields).request_id == expected


def test_the_request_id_may_be_missing() -> None:
    """An empty field is none."""
    assert find_request_id(Headers([("X-Request-Id", "")]), "m") is None
    assert error_of(500, openai()).request_id is None


def test_the_case_of_a_header_does_not_matter() -> None:
    """Servers write `X-Oneapi-Request-Id`."""
    assert find_request_id(Headers([("X-Oneapi-Request-Id", "1"), ("X-REQUEST-ID", "2")])) == "1"


RETRY_AFTER: dict[str, tuple[dict[str, str], object, float | None]] = {
    "header": ({"Retry-After": "20"}, openai(), 20.0),
    "body": ({}, {"error": {"message": "m", "retry_after": 1.5}}, 1.5),
    "message": ({}, openai("Please try again in 534ms"), 0.534),
    "nothing": ({}, openai(), None),
}


@pytest.mark.parametrize(("headers", "body", "expected"), RETRY_AFTER.values(), ids=RETRY_AFTER.keys())
def test_a_rate_limit_says_how_long_to_wait(headers: dict[str, str], body: object, expected: float | None) -> None:
    """As a fact of the error, in its words, and beside it for the decision to try again."""
    problem = read(429, body, headers)
    assert isinstance(problem.error, RateLimitError)
    assert problem.retry_after == problem.error.retry_after == expected
    assert ("the server asks to wait" in str(problem.error)) is (expected is not None)


def test_other_errors_pass_the_wait_on_too() -> None:
    """A 503 with Retry-After."""
    assert read(503, openai(), {"retry-after": "7"}).retry_after == 7.0


def test_a_whole_message() -> None:
    """What happened, to which request, what to do."""
    body = openai("Incorrect API key provided", code="invalid_api_key")
    assert str(error_of(401, body, {"x-request-id": "req_7f3"})) == (
        "401 invalid_api_key: Incorrect API key provided [request req_7f3, attempt 1]; "
        "check the key: AIAI_API_KEY, or api_key="
    )


# Errors inside a 200.

INSIDE: dict[str, tuple[object, type[APIError], bool]] = {
    "invalid_request_error": ({"message": "m", "code": "invalid_request_error"}, BadRequestError, False),
    "a number": ({"message": "m", "code": 400}, BadRequestError, False),
    "a number in a string": ({"message": "m", "code": "401"}, AuthenticationError, False),
    "429": ({"message": "m", "code": 429}, RateLimitError, False),
    "rate_limit_exceeded": ({"message": "m", "code": "rate_limit_exceeded"}, RateLimitError, False),
    "moderation": ({"message": "m", "code": "moderation_blocked"}, ModerationBlockedError, False),
    "moderation by its type": (
        {"message": "m", "type": "image_generation_user_error", "code": "400"},
        ModerationBlockedError,
        False,
    ),
    "no money": ({"message": "m", "code": "insufficient_user_quota"}, QuotaExceededError, False),
    "model_not_found": ({"message": "m", "code": "model_not_found"}, NotFoundError, False),
    "500": ({"message": "m", "code": 500}, InternalServerError, True),
    "server_error": ({"message": "m", "code": "server_error"}, InternalServerError, True),
    "bad_response_body": ({"message": "m", "code": "bad_response_body"}, InternalServerError, True),
    "a code that nobody knows": ({"message": "m", "code": "E1234"}, APIResponseError, True),
    "a number that is no status": ({"message": "m", "code": 5000}, APIResponseError, True),
    "no code": ({"message": "m"}, APIResponseError, True),
    "a string": ("something broke", APIResponseError, True),
    "a list": ([1], APIResponseError, True),
}


@pytest.mark.parametrize(("inner", "error_class", "is_billed"), INSIDE.values(), ids=INSIDE.keys())
def test_an_error_inside_a_200_has_the_class_of_its_code(
    inner: object, error_class: type[APIError], is_billed: bool
) -> None:
    """A refusal was not billed, anything else may have been."""
    problem = read_error_inside(head(200, {"x-request-id": "r"}), {"error": inner}, redactor=REDACTOR, now=0.0)
    error = problem.error
    assert type(error) is error_class
    assert error.may_have_been_billed is is_billed
    assert problem.status == 200
    assert error.request_id == "r"
    assert error.body == {"error": inner}


def test_an_error_inside_a_200_means_the_status_of_its_code() -> None:
    """A numeric code is the status; else that of the class."""

    def status(**inner: object) -> int:
        tree = {"error": {"message": "m", **inner}}
        error = read_error_inside(head(200), tree, redactor=REDACTOR, now=0.0).error
        assert isinstance(error, APIStatusError)
        return error.status_code

    assert status(code=418) == 418
    assert status(code="503") == 503
    assert status(code="invalid_api_key") == 401
    assert status(code="500", type="image_generation_user_error") == 400
    assert status(type="insufficient_quota") == 402


def test_an_error_inside_a_200_without_a_known_code_names_the_answer() -> None:
    """So that it can be told from an error status."""
    error = read_error_inside(head(200), {"error": "something broke"}, redactor=REDACTOR, now=0.0).error
    assert error.message == f"200 from {URL}: an error inside the answer: something broke"


# What is no answer, and redirects.


def named(error: APIResponseError, body: bytes = b"", headers: Mapping[str, str] | None = None) -> APIResponseError:
    """Name an error of the codec."""
    return name_answer(error, head(200, headers), body, redactor=REDACTOR)


def test_a_web_page_is_named_with_the_advice_that_helps() -> None:
    """Not a JSON decoding trace."""
    page = b"<!doctype html><title>New API</title>"
    error = named(codec.refuse_text(page), page, {"x-request-id": "r1"})
    assert str(error) == (
        f"200 from {URL}: is a web page, not JSON [request r1, attempt 1]; it may have been billed; "
        "is the base URL missing /v1?"
    )
    assert error.body == page.decode()


def test_the_body_of_what_is_no_answer_is_bounded() -> None:
    """JSON as JSON where it is short, else the beginning of its text."""
    error = APIResponseError("x", may_have_been_billed=False)
    assert named(error, b'{"data": []}').body == {"data": []}
    assert named(error).body is None
    assert named(error, b'"' + b"a" * MAX_ERROR_BYTES + b'"').body == '"' + "a" * (MAX_ERROR_BYTES - 1)
    assert named(error).may_have_been_billed is False


def test_a_refused_redirect_names_both_urls() -> None:
    """And what to do."""
    reason = f"307 from {URL} redirects to https://other.example/x, another origin; the key is not sent there"
    problem = read_refused_redirect(head(307, {"location": "https://other.example/x"}), reason, redactor=REDACTOR)
    assert type(problem.error) is APIStatusError
    assert problem.error.status_code == problem.status == 307
    assert reason in str(problem.error)
    assert "set base_url to where the API really is" in str(problem.error)


# Secrets.


def strings_in(value: object) -> Iterator[str]:
    """Give every text in a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, AIAIError):
        yield str(value)
        yield repr(value)
        yield from strings_in(vars(value))
        yield from strings_in(value.args)
        yield "".join(traceback.format_exception(value))


def assert_hidden(error: APIError) -> None:
    """No secret in anything that an error shows, nor eight characters in a row of one."""
    for shown in strings_in(error):
        for secret in (KEY, PASSWORD):
            assert secret not in shown
        for at in range(len(KEY) - 7):
            assert KEY[at : at + 8] not in shown


ECHOES: dict[str, tuple[bytes, dict[str, str]]] = {
    "in the message": (b'{"error": {"message": "wrong key %b"}}' % KEY.encode(), {}),
    "in code, type, param": (
        b'{"error": {"message": "m", "code": "%b", "type": "%b", "param": "%b"}}' % ((KEY.encode(),) * 3),
        {},
    ),
    "in escapes": (b'{"error": "' + "".join(f"\\u{ord(char):04x}" for char in KEY).encode() + b'"}', {}),
    "in a key of the body": (b'{"%b": 1}' % KEY.encode(), {}),
    "deep in the body": (b'{"a": [[{"b": ["Bearer %b"]}]]}' % KEY.encode(), {}),
    "in a text": (b"Bearer " + KEY.encode() + b" is not known", {}),
    "in a text, where it is cut": (b"x" * 190 + KEY.encode(), {}),
    "in a web page's title": (b"<html><title>" + KEY.encode() + b"</title>", {}),
    "at the end of a body that was cut": (b"x" * (MAX_ERROR_BYTES - 15) + KEY.encode()[:15], {}),
    "in the header fields": (b"", {"x-echo": f"Bearer {KEY}", f"x-{KEY}": "1", "Authorization": "Basic 12345"}),
    "as the request id": (b"", {"x-request-id": KEY}),
    "as the request id in the message": (b'{"error": "m (request id: %b)"}' % KEY.encode(), {}),
    "in JSON that is none": (b'{"error": ' + KEY.encode(), {}),
}


@pytest.mark.parametrize(("body", "headers"), ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("status", [200, 307, 401, 429, 500])
def test_no_echo_of_the_key_is_kept(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Wherever a server puts it: message, attributes, header fields, traceback."""
    answer = head(status, headers)
    assert_hidden(read_problem(answer, body, redactor=REDACTOR, now=0.0).error)
    assert_hidden(read_refused_redirect(answer, f"to {body.decode(errors='replace')}", redactor=REDACTOR).error)
    assert_hidden(name_answer(codec.refuse_text(body), answer, body, redactor=REDACTOR))
    try:
        tree = codec.parse_answer(body)
    except APIResponseError as error:
        assert_hidden(name_answer(error, answer, body, redactor=REDACTOR))
    else:
        assert_hidden(read_error_inside(answer, tree, redactor=REDACTOR, now=0.0).error)


@pytest.mark.parametrize("before", [0, 5, 15, 30, 38])
@pytest.mark.parametrize(
    "frame",
    [
        "%s",
        '{"a": %s',
        '{"data": "%s"}',
        '{"data": [{"b": "%s"}]}',
        '["%s"]',
        '{"%s": 1}',
        '{"data": [{"b64_json": "%s"}]}',
    ],
)
def test_no_excerpt_holds_a_part_of_the_key(frame: str, before: int) -> None:
    """An excerpt may begin or end inside it; the parser's own words, which quote the body too, stay behind."""
    body = (frame % (" " * before + KEY + "!" * 50)).encode()
    try:
        tree = codec.parse_answer(body)
        codec.read_answer(tree, codec.take_images(tree), url=URL)
    except APIResponseError as error:
        assert_hidden(name_answer(error, head(200), body, redactor=REDACTOR))
    assert_hidden(name_answer(codec.refuse_text(body), head(200), body, redactor=REDACTOR))
    scanner = ImageScanner()
    try:
        scanner.feed(body)
    except APIResponseError as error:
        assert_hidden(name_answer(error, head(200), scanner.text, redactor=REDACTOR))


_text = st.text(max_size=12) | st.sampled_from([KEY, PASSWORD, f"a{KEY}b", KEY * 2, KEY[:5], f"(request id: {KEY})"])
_names = _text | st.sampled_from(["error", "message", "detail", "msg", "loc", "code", "type", "param", "retry_after"])
_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=15,
)
_bodies = (
    st.binary(max_size=40)
    | _trees.map(lambda tree: json.dumps(tree).encode())
    | st.lists(_text | st.sampled_from(["<", "<title>", "</title>", "{", '"', "\\"]), max_size=6).map(
        lambda parts: "".join(parts).encode()
    )
)
_header_names = st.sampled_from([*_IDS, "retry-after", "retry-after-ms", "date", "authorization", "x-echo", f"x-{KEY}"])
_tree = [value for value in vars(_errors).values() if isinstance(value, type) and issubclass(value, APIError)]


@given(
    status=st.integers(300, 999),
    body=_bodies,
    headers=st.dictionaries(_header_names, _text | st.sampled_from(["1", "Wed, 21 Oct 2026 07:28:30 GMT"]), max_size=4),
)
@example(status=400, body=b'{"retry_after":' + b"[" * 1000 + b"]" * 1000 + b"}", headers={})
@example(status=400, body=b"[" * 65536, headers={})
@example(status=500, body=b'{"error":' * 7000, headers={})
@settings(max_examples=400, deadline=None)
def test_any_bytes_with_any_status_are_an_exception_of_the_tree(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Which holds no secret and survives pickling, whatever was answered."""
    problem = read_problem(head(status, headers), body, redactor=REDACTOR, now=0.0)
    error = problem.error
    assert type(error) in _tree
    assert isinstance(error, APIStatusError)
    assert error.status_code == status
    for shown in strings_in(error):
        assert KEY not in shown
        assert PASSWORD not in shown
    assert "\n" not in str(error)
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert repr(vars(twin)) == repr(vars(error))


@given(inner=_trees, status=st.sampled_from([200, 201, 299]))
@settings(max_examples=200, deadline=None)
def test_any_error_inside_a_2xx_is_an_exception_of_the_tree(inner: Any, status: int) -> None:
    """Without a secret."""
    error = read_error_inside(head(status), {"error": inner}, redactor=REDACTOR, now=0.0).error
    assert type(error) in _tree
    for shown in strings_in(error):
        assert KEY not in shown
        assert PASSWORD not in shown


@pytest.mark.parametrize("rest", ["x" * 70_000, 2**70, json.loads("[" * 500 + "]" * 500)], ids=["long", "big", "deep"])
def test_of_a_large_answer_with_an_error_inside_no_body_is_kept(rest: object) -> None:
    """An answer's text may have a mebibyte, an error keeps 64 KiB."""
    tree = {"error": {"message": "no"}, "rest": rest}
    problem = read_error_inside(head(200), tree, redactor=Redactor([]), now=0.0)
    assert problem.error.body is None
    assert problem.error.message.endswith("no")
