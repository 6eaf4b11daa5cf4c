"""Where requests go, and where the key never goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async._errors import ConfigurationError
from aiai_async.wire.endpoint import Endpoint, Origin

BASE = "https://api.example.com/v1"
SLASH = f"{BASE}/images/generations/"
NO_SLASH = f"{BASE}/images/generations"

BASE_URLS = {
    "as documented": (BASE, SLASH),
    "with a slash": (f"{BASE}/", SLASH),
    "with a port": ("http://127.0.0.1:8765/v1", "http://127.0.0.1:8765/v1/images/generations/"),
    "without a path": ("https://api.example.com", "https://api.example.com/images/generations/"),
    "IPv6": ("http://[::1]:80/v1", "http://[::1]:80/v1/images/generations/"),
    "a longer path": ("https://example.com/proxy/openai/v1", "https://example.com/proxy/openai/v1/images/generations/"),
    "with a password": ("https://user:hunter2@api.example.com/v1", SLASH),
}


@pytest.mark.parametrize(("base_url", "url"), BASE_URLS.values(), ids=BASE_URLS.keys())
def test_the_documented_path_ends_in_a_slash(base_url: str, url: str) -> None:
    """It is put after the base URL; user and password are not kept."""
    assert Endpoint(base_url).url == url


WRONG = {
    "empty": ("", "is empty"),
    "blank": ("  ", "is empty"),
    "a space before": (f" {BASE}", "holds a space"),
    "a line break after": (f"{BASE}\n", "holds a space, a line break"),
    "a space inside": ("https://api example.com/v1", "holds a space"),
    "a control character": ("https://api.example.com/\x00v1", "control character"),
    "no scheme": ("api.example.com/v1", "can't be used"),
    "another scheme": ("ftp://api.example.com/v1", "can't be used"),
    "no host": ("https:///v1", "can't be used"),
    "a port that is none": ("https://api.example.com:http/v1", "can't be used"),
    "a port too high": ("https://api.example.com:65536/v1", "can't be used"),
    "port 0": ("https://api.example.com:0/v1", "can't be used"),
    "a broken IPv6 address": ("https://[::1/v1", "can't be used"),
    "a query": (f"{BASE}?key=1", "has a query or a fragment"),
    "a fragment": (f"{BASE}#x", "has a query or a fragment"),
    "the endpoint's own path": (NO_SLASH, "holds the path of the endpoint"),
    "the endpoint's own path with its slash": (SLASH, "holds the path of the endpoint"),
}


@pytest.mark.parametrize(("base_url", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_base_url_that_cannot_be_used_is_refused(base_url: str, words: str) -> None:
    """When the client is made, with words that say what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint(base_url)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:hunter2@/v1",
        "https://user:hunter2@api.example.com:x/v1",
        "https://user:hunter2@api.example.com/v1?a",
        "https://user:hunter2@api.example.com/v1#a",
        "https://user:hunter2#a@api.example.com/v1",
        "https://user:hunter2/a@api.example.com/v1",
        "https://user:hunter2\u2100@api.example.com/v1",
        "https://user:hunter2@api.example.com/v1/images/generations",
        "ftp://user:hunter2@api.example.com/v1",
        "https://user:hunter2@[::1/v1",
        "https://user:hunter2 @api.example.com/v1",
    ],
)
def test_no_message_about_a_base_url_holds_its_password(base_url: str) -> None:
    """Not even where a character in the password makes the URL unreadable."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint(base_url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


FOLLOWED = {
    "relative, without the slash": (SLASH, 307, "/v1/images/generations", NO_SLASH),
    "relative, 308": (SLASH, 308, "/v1/images/generations", NO_SLASH),
    "relative to the path": (SLASH, 307, "../generations", NO_SLASH),
    "absolute, same origin": (SLASH, 307, NO_SLASH, NO_SLASH),
    "the default port spelled out": (SLASH, 307, "https://api.example.com:443/v1/images/generations", NO_SLASH),
    "the host in capitals": (SLASH, 307, "https://API.example.com/v2/images", "https://api.example.com/v2/images"),
    "an internal name behind a TLS terminator": (SLASH, 307, "http://litellm:4000/v1/images/generations", NO_SLASH),
    "https to http, without the slash": (SLASH, 307, "http://api.example.com/v1/images/generations", NO_SLASH),
    "the slash added": (NO_SLASH, 307, "http://internal/v1/images/generations/", SLASH),
    "another path on our origin": (SLASH, 308, "/api/v1/images", "https://api.example.com/api/v1/images"),
    "with a query": (SLASH, 307, "/v1/images/generations?a=1", f"{NO_SLASH}?a=1"),
    "a fragment is dropped": (SLASH, 307, "/v1/images/generations#a", NO_SLASH),
    "white space around": (SLASH, 307, " /v1/images/generations ", NO_SLASH),
}


@pytest.mark.parametrize(("url", "status", "location", "target"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_redirects_that_are_followed(url: str, status: int, location: str, target: str) -> None:
    """On our own origin only, whatever the Location calls it."""
    assert Endpoint(BASE).follow(url, status=status, location=location).url == target


REFUSED = {
    "301": (301, "/v1/images/generations", "https://api.example.com/v1/images/generations"),
    "302": (302, "/v1/images/generations", "https://api.example.com/v1/images/generations"),
    "303": (303, "/v1/images/generations", "https://api.example.com/v1/images/generations"),
    "302 to another host": (302, "https://login.example.com/", "https://login.example.com/"),
    "another host": (307, "https://other.example.com/v1/images", "https://other.example.com/v1/images"),
    "another host, the same path": (308, SLASH.replace("api", "other"), SLASH.replace("api", "other")),
    "https to http": (307, "http://api.example.com/v2/images", "http://api.example.com/v2/images"),
    "https to http, the same path": (308, SLASH.replace("https", "http"), SLASH.replace("https", "http")),
    "another port": (307, "https://api.example.com:8443/v2/images", "https://api.example.com:8443/v2/images"),
    "another host without a scheme": (307, "//other.example.com/x", "https://other.example.com/x"),
    "backslashes for slashes": (307, "\\\\other.example.com/v1", None),
    "another scheme": (307, "ftp://api.example.com/v1", "ftp://api.example.com/v1"),
    "a host in the user's place": (307, "https://api.example.com@evil.example/x", "https://evil.example/x"),
    "no URL": (307, "http://[", "http://["),
    "a port that is none": (307, "https://api.example.com:x/", "https://api.example.com:x/"),
}


@pytest.mark.parametrize(("status", "location", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_redirects_that_are_not_followed(status: int, location: str, named: str | None) -> None:
    """The words name both URLs; the key goes to none but our origin."""
    redirect = Endpoint(BASE).follow(SLASH, status=status, location=location)
    if named is None:
        assert redirect.url is None or redirect.url.startswith("https://api.example.com/")
        return
    assert redirect.url is None
    assert SLASH in redirect.reason
    assert named in redirect.reason
    assert str(status) in redirect.reason


def test_an_upgrade_to_https_is_another_origin() -> None:
    """A base URL with http where the server wants https: both URLs are named, so that it can be mended."""
    endpoint = Endpoint("http://api.example.com/v1")
    redirect = endpoint.follow(endpoint.url, status=308, location=SLASH)
    assert redirect.url is None
    assert endpoint.url in redirect.reason
    assert SLASH in redirect.reason


def test_a_redirect_without_a_location_says_so() -> None:
    """And is not followed anywhere."""
    redirect = Endpoint(BASE).follow(SLASH, status=307, location=None)
    assert (redirect.url, redirect.reason) == (None, f"307 from {SLASH} redirects without saying where to")


@given(
    location=st.text(max_size=40)
    | st.text(st.sampled_from("/\\:@.?#[]%htps apievil-\t\n℀"), max_size=40)
    | st.tuples(st.sampled_from(["http://", "https://", "//", "/\\", "https:"]), st.text(max_size=20)).map("".join),
    status=st.sampled_from([301, 302, 307, 308]),
)
@settings(max_examples=300)
def test_whatever_a_server_says_the_key_stays_on_its_origin(location: str, status: int) -> None:
    """Every URL that comes out lies on the origin of the base URL; what doesn't is refused in words."""
    endpoint = Endpoint(BASE)
    redirect = endpoint.follow(SLASH, status=status, location=location)
    if redirect.url is None:
        assert redirect.reason
    else:
        assert Origin.of(redirect.url) == endpoint.origin
        assert status in (307, 308)


ORIGINS = {
    "the same": ("https://a.example/x", "https://a.example/y", True),
    "the default port": ("https://a.example", "https://a.example:443", True),
    "the default port of http": ("http://a.example:80", "http://a.example", True),
    "capitals": ("HTTPS://A.example", "https://a.EXAMPLE", True),
    "user and password": ("https://u:p@a.example", "https://a.example", True),
    "another scheme": ("http://a.example:443", "https://a.example:443", False),
    "another port": ("https://a.example:444", "https://a.example", False),
    "a subdomain": ("https://b.a.example", "https://a.example", False),
}


@pytest.mark.parametrize(("one", "other", "expected"), ORIGINS.values(), ids=ORIGINS.keys())
def test_origins(one: str, other: str, expected: bool) -> None:
    """Scheme, host and port."""
    assert (Origin.of(one) == Origin.of(other)) is expected


WITHOUT_SLASH = {
    "404": (SLASH, 404, None, NO_SLASH),
    "405": (SLASH, 405, None, NO_SLASH),
    "404 with a code that is no reason": (SLASH, 404, "invalid_url", NO_SLASH),
    "404 from the form without the slash": (NO_SLASH, 404, None, None),
    "model_not_found": (SLASH, 404, "model_not_found", None),
    "DeploymentNotFound": (SLASH, 404, "DeploymentNotFound", None),
    "400": (SLASH, 400, None, None),
    "401": (SLASH, 401, None, None),
    "500": (SLASH, 500, None, None),
}


@pytest.mark.parametrize(("url", "status", "code", "expected"), WITHOUT_SLASH.values(), ids=WITHOUT_SLASH.keys())
def test_the_form_without_the_slash_is_tried_once(
    url: str, status: int, code: str | None, expected: str | None
) -> None:
    """After 404 and 405, unless the body names a reason of the API."""
    assert Endpoint(BASE).without_slash(url, status=status, code=code) == expected


def test_what_worked_is_remembered() -> None:
    """So that the second request costs no redirect."""
    endpoint = Endpoint(BASE)
    endpoint.remember(NO_SLASH)
    assert endpoint.url == NO_SLASH
