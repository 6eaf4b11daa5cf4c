"""The key that never shows, and the removal of secrets."""

from __future__ import annotations

import copy
import html
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async._secret import (
    HIDDEN,
    Redactor,
    Secret,
    SecretText,
    find_password,
    is_sensitive_header,
    strip_query,
    strip_userinfo,
)

KEY = "sk-proj-Zq9x7LmPp2Rt5Wv8"


def test_a_secret_shows_only_to_who_asks() -> None:
    """Not in repr, str, a format or a log line."""
    secret = Secret(KEY)
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        repr([secret]),
        repr({1: secret}),
    ):
        assert KEY not in shown
    assert secret.reveal() == KEY
    assert KEY not in repr(secret.reveal())


def test_a_revealed_secret_is_a_string_like_any_other() -> None:
    """It can be put into a header value."""
    text = Secret(KEY).reveal()
    assert isinstance(text, str)
    assert f"Bearer {text}" == f"Bearer {KEY}"
    assert repr(text) == repr(HIDDEN)
    assert repr({"authorization": SecretText(f"Bearer {KEY}")}) == "{'authorization': '***'}"


def test_secrets_compare_by_their_text() -> None:
    """So that queues can be kept by key."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_secret_is_not_pickled() -> None:
    """It would be written to wherever the pickle goes."""
    for copy_it in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copy_it(Secret(KEY))


def test_a_traceback_with_local_variables_does_not_show_it() -> None:
    """As rich and pytest print them."""

    def fail(secret: Secret, authorization: str) -> None:
        raise RuntimeError("x")

    with pytest.raises(RuntimeError) as caught:
        fail(Secret(KEY), SecretText(f"Bearer {KEY}"))
    exception = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    inner = exception.stack[-1]
    assert inner.locals is not None
    assert KEY not in "".join(inner.locals.values())


FAULTS = {
    "none": (KEY, None),
    "one character": ("x", None),
    "every printable one": ("".join(map(chr, range(33, 127))), None),
    "empty": ("", "is empty"),
    "blank": (" \n", "is empty"),
    "a line end": (f"{KEY}\n", "begins or ends with white space, such as the line end of the file it was read from"),
    "a space before": (f" {KEY}", "begins or ends with white space, such as the line end of the file it was read from"),
    "outside ASCII": (f"{KEY}é", "holds a character outside ASCII"),
    "a space inside": (f"{KEY} x", "holds a space, a line break or a control character"),
    "a line break inside": (f"{KEY}\nX-Header: 1", "holds a space, a line break or a control character"),
    "a control character": (f"{KEY}\x7f", "holds a space, a line break or a control character"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_sent_as_a_key_is_told_without_showing_it(text: str, fault: str | None) -> None:
    """In words that follow the name of where it came from."""
    assert Secret(text).find_fault() == fault


URLS = {
    "neither": ("https://e.com/v1?a=1#b", None, "https://e.com/v1?a=1#b", "https://e.com/v1"),
    "user and password": ("https://u:p%40ss@e.com:8/v1", "p%40ss", "https://e.com:8/v1", "https://e.com:8/v1"),
    "an at sign in the password": ("https://u:p@ss@e.com/", "p@ss", "https://e.com/", "https://e.com/"),
    "user alone": ("https://u@e.com/", None, "https://e.com/", "https://e.com/"),
    "an empty password": ("https://u:@e.com/", None, "https://e.com/", "https://e.com/"),
    "a signature": ("https://e.com/a?sig=x", None, "https://e.com/a?sig=x", "https://e.com/a"),
}


@pytest.mark.parametrize(("url", "password", "without_user", "without_query"), URLS.values(), ids=URLS.keys())
def test_urls_lose_what_is_secret(url: str, password: str | None, without_user: str, without_query: str) -> None:
    """User and password, and the query where a signature may stand in it."""
    assert find_password(url) == password
    assert strip_userinfo(url) == without_user
    assert strip_query(url) == without_query


@pytest.mark.parametrize(
    "name", ["Authorization", "PROXY-AUTHORIZATION", "Cookie", "Set-Cookie", "X-Api-Key", "api-key"]
)
def test_headers_that_are_secret_by_their_name(name: str) -> None:
    """In any case."""
    assert is_sensitive_header(name)
    assert Redactor([]).headers({name: "v", "X-Request-Id": "v"}) == {name: HIDDEN, "X-Request-Id": "v"}


def test_names_and_values_of_headers_lose_the_secret() -> None:
    """A server may echo it in either."""
    assert Redactor([KEY]).headers({f"x-{KEY}": f"a {KEY} b"}) == {"x-***": "a *** b"}


def test_a_tree_loses_the_secret_in_keys_and_values() -> None:
    """Everything else stays as it is."""
    tree = {"a": [KEY, 1, None, True, 2.5, {KEY: f"x{KEY}"}], "b": "c"}
    assert Redactor([KEY]).tree(tree) == {"a": [HIDDEN, 1, None, True, 2.5, {HIDDEN: f"x{HIDDEN}"}], "b": "c"}


def test_what_is_nested_too_deeply_is_left_out() -> None:
    """Instead of a RecursionError."""
    tree: object = KEY
    for _ in range(5000):
        tree = [tree]
    shown = Redactor([KEY]).tree(tree)
    assert repr(shown) == "[" * 51 + "'…'" + "]" * 51


def test_every_spelling_of_a_secret_is_removed() -> None:
    """As it stands in a URL, in JSON, in a web page."""
    secret = 'p"ss/w<rd &'
    redactor = Redactor([secret])
    for spelling in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)):
        assert redactor.text(f"a {spelling} b") == "a *** b"


def test_a_secret_that_holds_another_is_removed_whole() -> None:
    """No half of the longer one is left over."""
    assert Redactor(["abcd", "abcdefgh"]).text("x abcdefgh abcd y") == "x *** *** y"


def test_a_secret_too_short_is_left_alone() -> None:
    """It would be found by chance in ordinary words."""
    assert Redactor(["abc", ""]).text("abcdef") == "abcdef"


def test_a_redactor_does_not_show_its_secrets() -> None:
    """It stands in local variables, too."""
    assert repr(Redactor([KEY])) == "Redactor(1 spellings)"


CUTS = {
    "whole": (f"key {KEY}!", "key ***!"),
    "its beginning": (f"key {KEY[:12]}", "key ***"),
    "its end": (f"{KEY[9:]} is wrong", "*** is wrong"),
    "its middle": (f"…{KEY[5:15]}…", "…***…"),
    "two parts": (f"{KEY[:8]}, {KEY[-8:]}", "***, ***"),
    "seven characters": (KEY[:7], KEY[:7]),
    "nothing of it": ("upstream error", "upstream error"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "expected"), CUTS.values(), ids=CUTS.keys())
def test_a_text_that_was_cut_loses_parts_of_a_secret(text: str, expected: str) -> None:
    """An excerpt may begin or end inside one."""
    assert Redactor([KEY]).cut_text(text) == expected


_keys = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=4, max_size=40)


@given(secrets=st.lists(_keys, max_size=3), parts=st.lists(st.text(max_size=10) | st.integers(0, 2), max_size=8))
@settings(max_examples=200)
def test_no_secret_is_left_in_any_text(secrets: list[str], parts: list[str | int]) -> None:
    """However often and in whatever neighbourhood it stands."""
    words = [part if isinstance(part, str) else secrets[part] if part < len(secrets) else "" for part in parts]
    text = "".join(words)
    redactor = Redactor(secrets)
    for secret in secrets:
        assert secret not in redactor.text(text)
        assert secret not in redactor.cut_text(text)
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@given(key=_keys, before=st.text(max_size=5), start=st.integers(0, 39), length=st.integers(8, 40))
def test_no_eight_characters_of_a_secret_are_left_in_an_excerpt(key: str, before: str, start: int, length: int) -> None:
    """Wherever the cuts were."""
    shown = Redactor([key]).cut_text(before + key[start : start + length])
    assert not any(key[at : at + 8] in shown for at in range(len(key) - 7))


def test_a_log_line_with_a_secret_object_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever logs the options of a client."""
    logging.getLogger("a user's program").warning("options: %s", {"key": Secret(KEY)})
    assert KEY not in caplog.text
    assert "***" in caplog.text
