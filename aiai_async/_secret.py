"""The key that never shows, and the removal of secrets from text, headers and URLs.

A secret is wrapped in `Secret` where it enters the package and unwrapped where it is sent, nowhere between. What a
server says is passed through a `Redactor` before it becomes part of an error or a log line, since servers echo keys.
This module knows nothing of HTTP clients or of errors.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast
from urllib.parse import quote, urlsplit, urlunsplit

HIDDEN: Final = "***"
"""What stands in the place of a secret."""

_SENSITIVE_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token"}
)
# A shorter one would be found by chance in ordinary words, and removing it would only make the text unreadable.
_SHORTEST_REMOVED: Final = 4
_SHORTEST_PART: Final = 8
# Errors of servers have three levels; parsers take a thousand, which is where Python's own stack ends.
_DEEPEST_SHOWN: Final = 50


class SecretText(str):
    """A string that is used like any other but whose repr is hidden.

    Header values with the key are of this class: frames of the HTTP library hold them in local variables, and
    tracebacks that show local variables show their repr.

    Example:
        >>> SecretText("Bearer sk-1")
        '***'
        >>> "" + SecretText("Bearer sk-1") == "Bearer sk-1"
        True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


class Secret:
    """Holds a key or a password; shows it only to who asks by `reveal`.

    Example:
        >>> Secret("sk-1")
        Secret('***')
    """

    __slots__ = ("_text", "bearer")

    def __init__(self, text: str) -> None:
        self._text: Final = SecretText(text)
        self.bearer: Final = SecretText(f"Bearer {text}")
        """The value of the header field that carries it."""

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled; make the client anew where it is needed")

    def reveal(self) -> SecretText:
        """Give the text itself, as a string whose repr is still hidden."""
        return self._text

    def find_fault(self) -> str | None:
        """Say in words why this can't be sent as a bearer key, or None where it can; the words don't hold it."""
        text = self._text
        if not text.strip():
            return "is empty"
        if text != text.strip():
            return "begins or ends with white space, such as the line end of the file it was read from"
        if not text.isascii():
            return "holds a character outside ASCII"
        if not text.isprintable() or " " in text:
            return "holds a space, a line break or a control character"
        return None


def is_sensitive_header(name: str) -> bool:
    """Tell whether a header of this name usually carries a secret."""
    return name.lower() in _SENSITIVE_HEADERS


def strip_userinfo(url: str) -> str:
    """Remove user and password from a URL.

    Example:
        >>> strip_userinfo("https://user:hunter2@example.com/v1")
        'https://example.com/v1'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def strip_query(url: str) -> str:
    """Remove user, password, query and fragment: links to images carry their signature in the query.

    Example:
        >>> strip_query("https://example.com/a.png?sig=abc")
        'https://example.com/a.png'
    """
    return urlunsplit(urlsplit(strip_userinfo(url))._replace(query="", fragment=""))


def find_password(url: str) -> str | None:
    """Give the password in a URL, as it is written there, or None."""
    _, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    return password or None


# As `html.escape` does it; `html` brings the names of 2,000 characters, which take 2 ms to load.
_HTML_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


# A redactor is made for each call, mostly of the same few secrets.
@functools.lru_cache(maxsize=64)
def _spell(secret: str) -> tuple[str, ...]:
    """Give a secret as it is, and as it stands in a URL, in a JSON string and in a web page."""
    spellings = str(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], secret.translate(_HTML_ESCAPES)
    return tuple(map(SecretText, spellings))


class Redactor:
    """Replaces known secrets in anything that may be shown.

    Args:
        secrets: what must not show; those shorter than four characters are left alone, since they would be found by
            chance in ordinary words.

    Example:
        >>> Redactor(["sk-12345"]).text("wrong key sk-12345")
        'wrong key ***'
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST_REMOVED:
                spellings.update(_spell(secret))
        # The longest goes first: where one secret is a part of another, no half of it is left over.
        self._secrets: Final = tuple(SecretText(text) for text in sorted(spellings, key=len, reverse=True))

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} spellings)"

    def text(self, text: str) -> str:
        """Give the text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def cut_text(self, text: str) -> str:
        """Give a text that was cut out of a longer one, without the secrets and what the cuts left of them.

        Eight characters in a row of a secret are taken for a part of it.

        Example:
            >>> Redactor(["sk-1234567890"]).cut_text("near 'wrong key sk-1234567'")
            "near 'wrong key ***'"
        """
        text = self.text(text)
        is_hidden = bytearray(len(text))
        for secret in self._secrets:
            for start in range(len(secret) - _SHORTEST_PART + 1):
                part, at = secret[start : start + _SHORTEST_PART], -1
                while (at := text.find(part, at + 1)) >= 0:
                    is_hidden[at : at + _SHORTEST_PART] = b"\x01" * _SHORTEST_PART
        shown, end = "", 0
        for run in re.finditer(rb"\x01+", is_hidden):
            shown += text[end : run.start()] + HIDDEN
            end = run.end()
        return shown + text[end:]

    def is_needed(self, names: Iterable[str], by_lower_name: Mapping[str, str]) -> bool:
        """Tell whether header fields hold a secret or are secret by their name.

        Args:
            names: their names as they are written.
            by_lower_name: their values by lower-case name.
        """
        if not _SENSITIVE_HEADERS.isdisjoint(by_lower_name):
            return True
        # One text for all of them: looking each field through takes five times as long, and mostly finds nothing.
        text = "\n".join((*names, *by_lower_name.values()))
        for secret in self._secrets:  # noqa: SIM110 # a generator for any() is twice as slow, and this is done for each answer
            if secret in text:
                return True
        return False

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Give the headers without the secrets, and without the values of headers that are secret by their name."""
        return {
            self.text(name): HIDDEN if is_sensitive_header(name) else self.text(value)
            for name, value in headers.items()
        }

    def tree(self, value: object, *, depth: int = 0) -> object:
        """Give a parsed JSON value without the secrets, in keys as in values; what is nested too deeply is left out."""
        if depth > _DEEPEST_SHOWN:
            return "…"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = cast("dict[str, object]", value).items()
            return {self.text(key): self.tree(item, depth=depth + 1) for key, item in items}
        if isinstance(value, list):
            return [self.tree(item, depth=depth + 1) for item in cast("list[object]", value)]
        return value
