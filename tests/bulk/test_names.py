"""File names that every file system takes, whatever a prompt or an id holds."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiai_async.bulk.names import make_name

NASTY = [
    "../../etc/passwd",
    "C:\\windows\\system32",
    "CON",
    "nul.txt",
    "a\0b",
    "x" * 5000,
    "日本語" * 100,
    "e\u0301" * 100,
    "\u202egnp.exe",
    "\ud800",
    "- -rf ~",
    'a/b:c*d?e"f<g>h|i',
    " . ",
    "",
    "\r\n\t",
    "😀" * 70,
    "$(rm -rf /)`x`",
    "%2e%2e%2f",
]


@given(text=st.text(), index=st.integers(0, 10**9), k=st.integers(0, 9))
@example(text="İ" * 70, index=0, k=0)
def test_names_are_safe(text: str, index: int, k: int) -> None:
    """ASCII letters, digits and hyphens, never long, and told apart by their number alone."""
    name = make_name(index, text, k, "image/png")
    assert re.fullmatch(rf"{index:06d}-[a-z0-9]+(-[a-z0-9]+)*-{k}\.png", name)
    assert len(name) < 100


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_nasty_names(text: str) -> None:
    """Those that people think of."""
    assert re.fullmatch(r"000001-[a-z0-9-]+-0\.webp", make_name(1, text, 0, "image/webp"))


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp"), ("image/avif", "avif"), (None, "bin")],
)
def test_suffixes(media_type: str | None, suffix: str) -> None:
    """Say what the bytes are, not what was asked for."""
    assert make_name(12, "A kite", 3, media_type) == f"000012-a-kite-3.{suffix}"


def test_long_text_is_cut_between_words() -> None:
    """Where it has any."""
    assert (
        make_name(0, "lighthouse " * 20, 0, None)
        == "000000-lighthouse-lighthouse-lighthouse-lighthouse-lighthouse-0.bin"
    )
    assert make_name(0, "x" * 200, 0, None) == f"000000-{'x' * 60}-0.bin"
