"""Text that comes into a page stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk.report.markup import Markup, join, raw, tag

from .jobs import HOSTILE


class Reader(HTMLParser):
    """Reads what a browser would."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=st.one_of(st.text(), st.sampled_from(HOSTILE)))
def test_text_comes_out_as_it_went_in(text: str) -> None:
    """Between tags and within one; nothing becomes a tag or an attribute."""
    read = Reader(tag("p", text, title=text))
    assert read.tags == ["p"] and read.attributes == [("title", text)] and read.text == text


def test_markup_within_markup() -> None:
    """Is not escaped again; what is not there leaves nothing."""
    made = tag("div", raw("<br>"), None, tag("b", 1), "<", hidden=True, id=None, data_x=1.5)
    assert made == '<div hidden data-x="1.5"><br><b>1</b>&lt;</div>'
    assert isinstance(made, Markup) and join() == ""


@pytest.mark.parametrize("name", ["br", "img"])
def test_tags_without_an_end(name: str) -> None:
    """Have none."""
    assert tag(name) == f"<{name}>"
