"""`_words` and `_outcomes`: numbers and other people's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.cli._outcomes import Outcome, Summary, summarize
from aiai_async.cli._words import count, format_size, one_line, shorten


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (999_499, "999 kB"), (999_500, "1.0 MB")],
)
def test_sizes(size: int, expected: str) -> None:
    """Never a thousand of a smaller unit."""
    assert format_size(size) == expected


def test_families_of_emoji_stay_together() -> None:
    """What joins them is invisible, and let through."""
    assert one_line("👨\u200d👩\u200d👧\tand\x07") == "👨\u200d👩\u200d👧 and\N{REPLACEMENT CHARACTER}"


@given(st.text(st.characters()))
def test_any_text_is_safe_to_show(text: str) -> None:
    """One line, without control characters and without what turns the direction of writing."""
    shown = one_line(text).replace("\u200d", "")
    assert shown.isprintable()
    assert len(shorten(text, longest=10)) <= 11


def test_nothing_is_summarized_well() -> None:
    """The plural is right for each number."""
    assert count(0, "image") == "0 images"
    failed = Outcome(index=0, prompt="x", error=ValueError("no"))
    assert summarize(Summary(outcomes=(failed,), elapsed=1.25)) == "saved 0 images in 1.2 s, 1 of 1 prompt failed"
