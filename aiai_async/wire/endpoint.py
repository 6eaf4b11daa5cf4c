"""Where requests go: the base URL, the path with and without its slash, and which redirects are followed.

The documented path ends in a slash; gateways answer it with a redirect to the other form, or with 404. The key goes to
one origin only: whatever a server says, no URL comes out of here that lies on another.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import attrs

from aiai_async._errors import ConfigurationError
from aiai_async._secret import strip_userinfo

_PATH: Final = "/images/generations/"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

MAX_REDIRECTS: Final = 5
"""Redirects that one attempt follows; a gateway needs one."""

# Codes that say what is wrong with the request; after them the other form of the path would fail in the same way.
_REASONS: Final = frozenset({"model_not_found", "deployment_not_found", "deploymentnotfound"})


class Origin(NamedTuple):
    """Scheme, host and port: what a key may be sent to. A tuple, since each request looks up by its hash.

    Example:
        >>> Origin.of("https://Example.com/v1") == Origin.of("https://example.com:443/other")
        True
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Read the origin of an absolute http or https URL.

        Raises:
            ValueError: it is no such URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Its words aren't passed on: they hold parts of the URL, which may be a password.
            raise ValueError("its host or port can't be read") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("not an absolute http or https URL")
        if port == 0:
            raise ValueError("port 0 can't be connected to")
        return cls(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme])


@attrs.frozen
class Redirect:
    """What to do about a redirect: where to send the request next, or why not."""

    url: str | None
    reason: str = ""
    """Why it isn't followed, in words; both URLs are named in them."""


class Endpoint:
    """The URL that requests go to, and what was learned about it.

    Args:
        base_url: absolute, http or https, usually ending in `/v1`; user and password in it are not kept.

    Raises:
        ConfigurationError: it can't be used; the message says why and never holds its password.

    Example:
        >>> Endpoint("https://api.example.com/v1/").url
        'https://api.example.com/v1/images/generations/'
    """

    __slots__ = ("_url", "base_url", "origin")

    def __init__(self, base_url: str) -> None:
        self.base_url: Final = _check_base_url(base_url)
        self.origin: Final = Origin.of(self.base_url)
        self._url = self.base_url + _PATH

    @property
    def url(self) -> str:
        """Where to send the next request."""
        return self._url

    def remember(self, url: str) -> None:
        """Note that a request to this URL succeeded, so that the next one goes there at once."""
        self._url = url

    def follow(self, url: str, *, status: int, location: str | None) -> Redirect:
        """Decide about a redirect (3xx) that was the answer to a POST to `url`.

        Followed are 307 and 308 on the same origin. One that only drops or adds the slash at the end is taken on our
        origin whatever host it names: behind a TLS terminator servers don't know their own address.

        Source: RFC 9110, 15.4; the absolute Location of Starlette's `redirect_slashes`.
        """
        if location is None:
            return Redirect(None, f"{status} from {url} redirects without saying where to")
        try:
            # "\\" is a slash to some parsers and not to others; no server needs it.
            target = urljoin(url, location.strip().replace("\\", "%5C"))
            origin = Origin.of(target)
        except ValueError:
            return Redirect(None, f"{status} from {url} redirects to {location!r}, which is no http URL")
        shown = strip_userinfo(target)
        if status not in (307, 308):
            return Redirect(None, f"{status} from {url} redirects to {shown}, which turns a POST into a GET")
        ours, theirs = urlsplit(url), urlsplit(target)
        if ours.path != theirs.path and ours.path.rstrip("/") == theirs.path.rstrip("/"):
            return Redirect(_replace(ours, path=theirs.path, query=theirs.query))
        if origin != self.origin:
            return Redirect(
                None, f"{status} from {url} redirects to {shown}, another origin; the key is not sent there"
            )
        return Redirect(_replace(ours, path=theirs.path, query=theirs.query))

    def without_slash(self, url: str, *, status: int, code: str | None) -> str | None:
        """After 404 or 405: give the other form of the path to try once, or None where that would be no use.

        Args:
            url: where the request went.
            status: what was answered.
            code: the error's code in the body, where it had one.
        """
        if status not in (404, 405) or not url.endswith("/") or (code or "").lower() in _REASONS:
            return None
        return url.rstrip("/")


def _replace(parts: SplitResult, *, path: str, query: str) -> str:
    return urlunsplit(parts._replace(path=path, query=query, fragment=""))


def _check_base_url(base_url: str) -> str:
    shown = "base_url"
    if not isinstance(base_url, str):
        raise ConfigurationError(f"base_url is of type {type(base_url).__name__}; give a string")
    if not base_url.strip():
        raise ConfigurationError(
            "base_url is empty; set it, or AIAI_BASE_URL, to something like https://api.aiai.com/v1"
        )
    if base_url != base_url.strip() or not base_url.isprintable() or " " in base_url:
        raise ConfigurationError("base_url holds a space, a line break or a control character; remove it")
    try:
        Origin.of(base_url)
        shown = f"base_url {strip_userinfo(base_url)!r}"
        parts = urlsplit(strip_userinfo(base_url))
    except ValueError as error:
        # The text isn't shown: where it can't be taken apart, a password in it can't be removed.
        raise ConfigurationError(
            f"base_url can't be used ({error}); give something like https://api.aiai.com/v1"
        ) from None
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{shown.partition('?')[0]}… has a query or a fragment; leave it out")
    path = parts.path.rstrip("/")
    if path.endswith(_PATH.rstrip("/")):
        raise ConfigurationError(f"{shown} holds the path of the endpoint; leave out {_PATH.rstrip('/')}")
    return urlunsplit(parts._replace(path=path))
