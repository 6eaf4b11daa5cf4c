"""Who may talk to the studio: a table of header fields."""

from __future__ import annotations

import pytest

from aiai_async._facts import Headers
from aiai_async.studio.guard import SECURITY_HEADERS, Guard

GUARD = Guard(port=8766, token="the-token")
CROSS_NAVIGATION = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("fields", "path", "fault"),
    [
        pytest.param({"Host": "127.0.0.1:8766"}, "/", None, id="its-address"),
        pytest.param({"Host": "localhost:8766"}, "/", None, id="its-name"),
        pytest.param({"Host": "LOCALHOST:8766"}, "/", None, id="its-name-in-capitals"),
        pytest.param({"Host": "[::1]:8766"}, "/", None, id="its-address-of-version-6"),
        pytest.param({}, "/", "the Host '' is", id="no-host"),
        pytest.param({"Host": "127.0.0.1"}, "/", "the Host '127.0.0.1' is", id="no-port"),
        pytest.param({"Host": "127.0.0.1:80"}, "/", "the Host", id="another-port"),
        pytest.param({"Host": "evil.example:8766"}, "/", "the Host", id="rebound-name"),
        pytest.param({"Host": "localhost.evil.example:8766"}, "/", "the Host", id="name-that-begins-alike"),
        pytest.param({"Host": "127.0.0.1:8766", "Origin": "http://127.0.0.1:8766"}, "/", None, id="own-origin"),
        pytest.param({"Host": "localhost:8766", "Origin": "http://localhost:8766"}, "/", None, id="own-origin-by-name"),
        pytest.param({"Host": "127.0.0.1:8766", "Origin": "http://evil.example"}, "/", "the Origin", id="another-site"),
        pytest.param({"Host": "127.0.0.1:8766", "Origin": "null"}, "/", "the Origin 'null'", id="no-site"),
        pytest.param({"Host": "127.0.0.1:8766", "Origin": "http://127.0.0.1:8765"}, "/", "the Origin", id="neighbour"),
        pytest.param({"Host": "127.0.0.1:8766", "Origin": "https://127.0.0.1:8766"}, "/", "the Origin", id="https"),
        pytest.param({"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "same-origin"}, "/images/x", None, id="own-picture"),
        pytest.param(
            {"Host": "127.0.0.1:8766", "Origin": "http://127.0.0.1:8766", "Sec-Fetch-Site": "cross-site"},
            "/",
            None,
            id="own-socket",
        ),
        pytest.param({"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "none"}, "/jobs/x", None, id="typed-address"),
        pytest.param(
            {"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "cross-site"}, "/images/x", "the page of", id="embedded"
        ),
        pytest.param({"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "same-site"}, "/", "the page of", id="other-port"),
        pytest.param({"Host": "127.0.0.1:8766", **CROSS_NAVIGATION}, "/", None, id="link-to-the-front-page"),
        pytest.param({"Host": "127.0.0.1:8766", **CROSS_NAVIGATION}, "/jobs/x", "the page of", id="link-to-a-job"),
        pytest.param(
            {"Host": "127.0.0.1:8766", **CROSS_NAVIGATION, "Sec-Fetch-Dest": "iframe"}, "/", "the page of", id="framed"
        ),
    ],
)
def test_requests_are_judged_by_their_header_fields(fields: dict[str, str], path: str, fault: str | None) -> None:
    """Only the studio's own address and pages pass; whatever is missing is no reason to pass."""
    found = GUARD.find_fault(Headers(fields.items()), path=path)
    assert found is None if fault is None else found is not None and found.startswith(fault)


def test_on_the_port_of_http_browsers_name_none() -> None:
    """Both ways of writing it are its own."""
    guard = Guard(port=80, token="t")
    assert guard.find_fault({"Host": "localhost"}, path="/") is None
    assert guard.find_fault({"Host": "localhost:80"}, path="/") is None


@pytest.mark.parametrize(
    ("token", "is_known"),
    [("the-token", True), ("the-toke", False), ("", False), (None, False), ("日本", False), ("\udcff\ud83d", False)],
)
def test_the_token(token: str | None, is_known: bool) -> None:
    """The whole of it, and no error for what it can't be."""
    assert GUARD.knows(token) is is_known
    assert GUARD.knows_any(f"aiai-studio, token.{token}") is is_known
    assert not GUARD.knows_any(str(token))


def test_pages_may_load_from_the_studio_only() -> None:
    """Neither text nor a number in the policy lets anything else in."""
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
