"""The tree of errors: its shape, its words, and that each survives pickling with its fields."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aiai_async
from aiai_async import _errors
from aiai_async._errors import (
    AIAIError,
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DownloadError,
    IncompleteStreamError,
    InternalServerError,
    InvalidRequestError,
    ModerationBlockedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
    UnprocessableEntityError,
    clean,
)
from aiai_async._facts import Headers

PARENTS: dict[type[AIAIError], tuple[type[BaseException], ...]] = {
    AIAIError: (Exception,),
    ConfigurationError: (AIAIError,),
    InvalidRequestError: (AIAIError, ValueError),
    APIError: (AIAIError,),
    APIConnectionError: (APIError,),
    APITimeoutError: (APIConnectionError,),
    APIStatusError: (APIError,),
    BadRequestError: (APIStatusError,),
    ModerationBlockedError: (BadRequestError,),
    AuthenticationError: (APIStatusError,),
    PermissionDeniedError: (APIStatusError,),
    NotFoundError: (APIStatusError,),
    ConflictError: (APIStatusError,),
    PayloadTooLargeError: (APIStatusError,),
    UnprocessableEntityError: (APIStatusError,),
    QuotaExceededError: (APIStatusError,),
    RateLimitError: (APIStatusError,),
    InternalServerError: (APIStatusError,),
    APIResponseError: (APIError,),
    StreamError: (APIError,),
    IncompleteStreamError: (StreamError,),
    DownloadError: (AIAIError,),
}
"""The tree of the design, which is public."""


def walk(base: type[AIAIError]) -> Iterator[type[AIAIError]]:
    """Give a class and all below it, the private ones of other modules too."""
    yield base
    for child in base.__subclasses__():
        yield from walk(child)


def facts_of(error_class: type[AIAIError]) -> dict[str, Any]:
    """Give a value for every field of a class."""
    values: dict[str, Any] = {
        "may_have_been_billed": True,
        "field": "size",
        "value": ["1000x1000", 5],
        "allowed": ("1024x1024", "auto"),
        "hint": "do this",
        "code": "a_code",
        "param": "size",
        "type": "a_type",
        "body": {"error": {"message": "m", "code": None}},
        "request_id": "req_1",
        "attempts": 3,
        "host": "api.example.com",
        "port": 443,
        "phase": "stall",
        "seconds": 120.5,
        "status_code": 418,
        "headers": Headers([("X-Request-Id", "req_1")]),
        "retry_after": 20.5,
        "partial_images": ("a", "b"),
        "completed": ("c",),
        "url": "https://cdn.example.com/a.png",
    }
    names = {name for parent in error_class.__mro__ for name in getattr(parent, "__annotations__", {})}
    return {name: value for name, value in values.items() if name in names}


def make(error_class: type[AIAIError]) -> AIAIError:
    """Make an error with every field filled."""
    error = error_class("what happened")
    for name, value in facts_of(error_class).items():
        assert hasattr(error, name)
        setattr(error, name, value)
    return error


# Those of the edges are left to the edges' tests: whether they are loaded hangs on which tests run.
CLASSES = [each for each in walk(AIAIError) if each.__module__.startswith("aiai_async._")]
every_class = pytest.mark.parametrize("error_class", CLASSES, ids=lambda each: each.__name__)


def test_the_tree_is_that_of_the_design() -> None:
    """No class is missing, none is elsewhere, and all are public."""
    defined = {each for each in vars(_errors).values() if isinstance(each, type) and issubclass(each, AIAIError)}
    assert defined == set(PARENTS)
    for error_class, parents in PARENTS.items():
        assert error_class.__bases__ == parents
        assert getattr(aiai_async, error_class.__name__) is error_class
        assert error_class.__name__ in aiai_async.__all__


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@every_class
def test_every_exception_survives_pickling_with_its_fields(error_class: type[AIAIError], protocol: int) -> None:
    """So that it can come back from another process."""
    error = make(error_class)
    error.add_note("a note")
    error.__cause__ = make(AIAIError)
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is error_class
    assert vars(twin) == vars(error)
    assert (twin.args, str(twin), repr(twin)) == (error.args, str(error), repr(error))
    assert twin.__notes__ == ["a note"]
    assert vars(twin.__cause__) == vars(error.__cause__)
    assert facts_of(error_class).items() <= vars(twin).items()


@pytest.mark.parametrize("copy_it", [copy.copy, copy.deepcopy])
@every_class
def test_every_exception_survives_copying_with_its_fields(error_class: type[AIAIError], copy_it: Any) -> None:
    """A shallow copy is another exception, and changing it doesn't change the first."""
    error = make(error_class)
    twin = copy_it(error)
    assert twin is not error
    assert type(twin) is error_class
    assert vars(twin) == vars(error)
    twin.may_have_been_billed = False
    assert error.may_have_been_billed is True


@every_class
def test_every_exception_can_be_made_from_a_message_alone(error_class: type[AIAIError]) -> None:
    """As tests of users do; its facts then say nothing, and it survives pickling like that."""
    error = error_class("what happened")
    assert "what happened" in str(error)
    assert error.may_have_been_billed is False
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
    assert isinstance(error_class(), AIAIError)


def test_a_foreign_cause_stays_behind() -> None:
    """Not all of them survive pickling, and the error must."""
    error = APIConnectionError("m")
    error.__cause__ = RuntimeError(threading.Lock())
    assert pickle.loads(pickle.dumps(error)).__cause__ is None


class Unpicklable:
    """As a value of a caller may be."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "<a value>"


def test_a_value_that_cannot_be_pickled_is_sent_as_its_repr() -> None:
    """What can't be written as JSON can often not be pickled either; the error must arrive all the same."""
    error = InvalidRequestError("m", field="seed", value=Unpicklable(), allowed="give a number")
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.field, twin.value, twin.allowed) == ("seed", "<a value>", "give a number")
    assert isinstance(error.value, Unpicklable)


def test_an_invalid_request_is_a_value_error_too() -> None:
    """So that who checks input in general catches it."""
    with pytest.raises(ValueError):
        raise InvalidRequestError("m")


WORDS = {
    "an error of the API": (APIError("it broke"), "it broke [attempt 1]"),
    "with a request id": (APIError("it broke", request_id="req_1", attempts=3), "it broke [request req_1, attempt 3]"),
    "billed": (APIError("it broke", may_have_been_billed=True), "it broke [attempt 1]; it may have been billed"),
    "with a hint": (APIError("it broke", hint="mend it"), "it broke [attempt 1]; mend it"),
    "a status": (NotFoundError("no such path"), "404: no such path [attempt 1]"),
    "a status with a code": (
        RateLimitError("slow down", code="rate_limit_exceeded", type="t"),
        "429 rate_limit_exceeded: slow down [attempt 1]",
    ),
    "a status with a type": (APIStatusError("m", status_code=418, type="t"), "418 t: m [attempt 1]"),
    "a status whose code is the status": (BadRequestError("m", code="400"), "400: m [attempt 1]"),
    "a status without words": (InternalServerError(status_code=502), "502 [attempt 1]"),
}


@pytest.mark.parametrize(("error", "words"), WORDS.values(), ids=WORDS.keys())
def test_the_words_are_built_from_the_facts(error: AIAIError, words: str) -> None:
    """What happened, to which request, what to do."""
    assert str(error) == words


STATUS_CODES = {
    BadRequestError: 400,
    ModerationBlockedError: 400,
    AuthenticationError: 401,
    QuotaExceededError: 402,
    PermissionDeniedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    PayloadTooLargeError: 413,
    UnprocessableEntityError: 422,
    RateLimitError: 429,
    InternalServerError: 500,
}


@pytest.mark.parametrize(
    ("error_class", "status"), STATUS_CODES.items(), ids=lambda each: getattr(each, "__name__", each)
)
def test_a_class_of_a_status_has_it(error_class: type[APIStatusError], status: int) -> None:
    """Unless another is given."""
    assert error_class("m").status_code == status
    assert error_class("m", status_code=599).status_code == 599
    assert error_class("m").headers == {}


CLEANED = {
    "plain": ("a b", "a b"),
    "line breaks": ("a\r\nb\tc", "a  b c"),
    "escape codes": ("\x1b[31mred", "\ufffd[31mred"),
    "text direction": ("a\u202eb", "a\ufffdb"),
    "a lone surrogate": ("a\ud800b", "a\ufffdb"),
    "Chinese": ("当前分组上游负载已饱和", "当前分组上游负载已饱和"),
    "long": ("x" * 1001, f"{'x' * 1000}… (1001 characters)"),
    "white space at the ends": ("\nwords\n", "words"),
    "empty": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), CLEANED.values(), ids=CLEANED.keys())
def test_text_of_a_server_is_made_safe_to_show(text: str, expected: str) -> None:
    """On one line, without control characters, not endless; in the message as in code, param, type and request id."""
    assert clean(text) == expected
    error = APIError(text, code=text, param=text, type=text, request_id=text)
    assert {error.message, error.code, error.param, error.type, error.request_id} == {expected}
    assert str(error).isprintable()
    assert str(DownloadError(text)) == expected
