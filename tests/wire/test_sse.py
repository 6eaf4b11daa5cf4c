"""The decoder: whatever the stream and however it is cut, the same events and the same image bytes come out."""

from __future__ import annotations

import base64
import functools
import itertools
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import pybase64
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiai_async._errors import APIResponseError
from aiai_async.wire import images as images_module
from aiai_async.wire import sse as sse_module
from aiai_async.wire.images import MAX_TEXT_BYTES, Found, ImageEnd, ImageScanner, ImageStart
from aiai_async.wire.sse import EventImageStart, ServerSentEvent, SSEDecoder

BOM = b"\xef\xbb\xbf"
IMAGE = bytes(range(256))
"""Has every byte, so its base64 has every character of the alphabet."""
B64 = base64.b64encode(IMAGE)

Said = tuple[str, bytes, str]
"""The type, the data and the id of an event."""


class Decoded:
    """What came out of a decoder, the images put together and each with its event."""

    def __init__(self) -> None:
        self.events: list[ServerSentEvent] = []
        self.images: list[list[bytes]] = []
        """Of each event its images."""
        self.fault: APIResponseError | None = None
        self.retry: int | None = None

    @property
    def said(self) -> list[Said]:
        """The events, without their images."""
        return [(event.event, event.data, event.id) for event in self.events]

    @property
    def whole(self) -> list[tuple[ServerSentEvent, list[bytes]]]:
        """The events, each with its images."""
        return list(zip(self.events, self.images, strict=True))

    def take(self, found: Iterable[Found | ServerSentEvent]) -> None:
        """Take what was found; the order in which it may come is checked here."""
        images: list[bytes] = []
        is_open = False
        try:
            for item in found:
                if isinstance(item, ServerSentEvent):
                    # A bare line may say why the image broke off.
                    assert not is_open or item.is_bare
                    self.events.append(item)
                    self.images.append(images)
                    images = []
                elif isinstance(item, ImageStart):
                    assert isinstance(item, EventImageStart)
                    assert not is_open
                    is_open = True
                    images.append(b"")
                elif isinstance(item, ImageEnd):
                    assert is_open
                    assert images[-1]
                    is_open = False
                else:
                    assert is_open
                    assert item
                    images[-1] += item
        except APIResponseError as fault:
            self.fault = fault
        else:
            assert not images


def decode(pieces: Iterable[bytes]) -> Decoded:
    """Feed a decoder and finish it."""
    decoder, decoded = SSEDecoder(), Decoded()

    def give() -> Iterator[Found | ServerSentEvent]:
        for piece in pieces:
            yield from decoder.feed(piece)
        yield from decoder.finish()

    decoded.take(give())
    decoded.retry = decoder.retry
    return decoded


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a stream at the places."""
    ends = sorted(places)
    return [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]


def bytewise(stream: bytes) -> list[bytes]:
    """Cut a stream into single bytes."""
    return [stream[at : at + 1] for at in range(len(stream))]


def decode_all_ways(stream: bytes) -> Decoded:
    """Decode a stream whole, byte by byte, and cut in two at every place: it must be the same."""
    whole = decode([stream])
    for pieces in (bytewise(stream), *(cut(stream, [at]) for at in range(len(stream) + 1))):
        decoded = decode(pieces)
        assert decoded.whole == whole.whole
        assert decoded.retry == whole.retry
        assert (decoded.fault is None) == (whole.fault is None)
    return whole


@attrs.frozen
class Case:
    """A stream and its events."""

    stream: bytes
    expected: list[Said]
    retry: int | None = None
    ours: tuple[Said, ...] = ()
    """Events that the standard would not give and this package gives on purpose, at the end."""


def message(*datas: bytes) -> list[Said]:
    """Say events that have nothing but data."""
    return [("", data, "") for data in datas]


# What the browsers are tested with; each is named after its file in web-platform-tests, folder `eventsource`.
# The server of those tests ends each message by blank lines, unless it is about the missing one.
# Source: https://github.com/web-platform-tests/wpt/tree/master/eventsource
PUBLISHED: Mapping[str, Case] = {
    "format-bom: dropped at the start only": Case(
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n\n", message(b"1", b"3")
    ),
    "format-bom-2: only one is dropped": Case(BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n\n", message(b"2", b"3")),
    "format-comments": Case(
        b"data:1\r:\0\n:\r\ndata:2\n:" + b"x" * 2048 + b"\rdata:3\n:data:fail\r:" + b"x" * 2048 + b"\ndata:4\n\n",
        message(b"1\n2\n3\n4"),
    ),
    "format-data-before-final-empty-line": Case(
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2\n",
        message(b"test1"),
        retry=1000,
        ours=(("", b"test2", "test"),),
    ),
    "format-field-data": Case(b"data:\n\ndata\ndata\n\ndata:test\n\n\n", message(b"", b"\n", b"test")),
    "format-field-event": Case(b"event:test\ndata:x\n\ndata:x\n\n\n", [("test", b"x", ""), ("", b"x", "")]),
    "format-field-event-empty": Case(b"event: \ndata:data\n\n\n", message(b"data")),
    "format-field-id": Case(
        "id: …\nretry: 200\ndata: hello\n\ndata: …\n\n".encode(),
        [("", b"hello", "…"), ("", "…".encode(), "…")],
        retry=200,
    ),
    **{
        f"format-field-id-null: {value!r}": Case(b"id: %b\nretry: 200\ndata: hello\n\n" % value, message(b"hello"), 200)
        for value in (b"\0\0", b"x\0", b"\0x", b"x\0x", b" \0")
    },
    "format-field-id-3: persists": Case(
        b"id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata:3\n\ndata:4\n\n",
        [("", b"1", "1"), ("", b"2", "1"), ("", b"3", "2"), ("", b"4", "2")],
    ),
    "format-field-id-3: resets": Case(
        b"id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n", [("", b"1", "1"), ("", b"2", ""), ("", b"3", "")]
    ),
    "format-field-id-3: resets without a colon": Case(
        b"id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n", [("", b"1", "1"), ("", b"2", ""), ("", b"3", "")]
    ),
    "format-field-parsing": Case(
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\n"
        b"da-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        message(b"\0\n 2\n1\n3\n\n4"),
    ),
    "format-field-retry: no octal number": Case(b"retry:03000\ndata:x\n\n\n", message(b"x"), 3000),
    "format-field-retry-bogus": Case(b"retry:3000\nretry:1000x\ndata:x\n\n\n", message(b"x"), 3000),
    "format-field-retry-empty": Case(b"retry\ndata:test\n\n\n", message(b"test")),
    "format-field-unknown": Case(
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n\n",
        message(b"test\n\ntest"),
    ),
    "format-leading-space: one, and no tab": Case(b"data:\ttest\rdata: \ndata:test\n\n\n", message(b"\ttest\n\ntest")),
    "format-newlines": Case(b"data:test\r\ndata\ndata:test\r\n\r\n", message(b"test\n\ntest")),
    "format-null-character": Case(b"data:\0\n\n\n\n", message(b"\0")),
    "format-utf-8": Case("data:ok…\n\n\n".encode(), message("ok…".encode())),
    "event-data": Case(
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        message(b"msg\nmsg", b"", b"end"),
    ),
    # The examples of WHATWG HTML, 9.2.6.
    "standard: several lines": Case(b"data: YHOO\ndata: +2\ndata: 10\n\n", message(b"YHOO\n+2\n10")),
    "standard: four blocks": Case(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        [("", b"first event", "1"), ("", b"second event", "")],
        ours=(("", b" third event", ""),),
    ),
    "standard: empty data": Case(b"data\n\ndata\ndata\n\ndata:", message(b"", b"\n"), ours=(("", b"", ""),)),
    "standard: the space is optional": Case(b"data:test\n\ndata: test\n\n", message(b"test", b"test")),
    # What follows from the algorithm and isn't among those.
    "every line end between every other": Case(
        b"data:1\n\rdata:2\r\rdata:3\r\n\ndata:4\n\r\ndata:5\r\r\ndata:6\r\n\r\ndata:7\n\n",
        message(b"1", b"2", b"3", b"4", b"5", b"6", b"7"),
    ),
    "CR and LF around a comment are two line ends": Case(b"data:1\r:\n\ndata:2\r\n:\r\r", message(b"1", b"2")),
    "an event without data is none, and its type is forgotten": Case(
        b"event:a\n\nid:7\n\ndata:x\n\n", [("", b"x", "7")]
    ),
    "the last type counts": Case(b"event:a\ndata:x\nevent:b\n\n", [("b", b"x", "")]),
    "a name that begins like a known one is another": Case(b"dat:1\ndatas:2\neventually:3\nretrying\n\n", []),
    "a name that goes on behind the known one is another": Case(b"data\0\0\0\0\0\0\0:1\nretry_:1\nids\n\n", []),
    "a colon in the value": Case(b"data::a:b\n\n", message(b":a:b")),
    "an event's type of several words": Case(b"event:  two words \ndata:x\n\n", [(" two words ", b"x", "")]),
    "bytes that are no UTF-8 in the type": Case(
        b"event:a\xff\ndata:\xff\n\n", [("a\N{REPLACEMENT CHARACTER}", b"\xff", "")]
    ),
    "digits that aren't ASCII": Case("retry:٣\ndata:x\n\n".encode(), message(b"x")),
    "more digits than a time has": Case(b"retry:%b\n\n" % (b"9" * 5000), [], 999_999_999),
    "nothing": Case(b"", []),
    "blank lines only": Case(b"\n\r\r\n\n", []),
}


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_a_published_stream_gives_the_published_events(case: Case) -> None:
    """But for the end without a blank line, which completes an event here."""
    decoded = decode_all_ways(case.stream)
    assert decoded.said == [*case.expected, *case.ours]
    assert not any(event.is_bare for event in decoded.events)
    assert decoded.retry == case.retry
    assert decoded.fault is None


ERROR = b'{"error": {"message": "overloaded"}}'


@attrs.frozen
class Real:
    """A stream as servers of this API send it, and its events with their images."""

    stream: bytes
    expected: list[tuple[ServerSentEvent, list[bytes]]]


def event(data: bytes, *images: bytes, **facts: Any) -> tuple[ServerSentEvent, list[bytes]]:
    """Say an event and its images."""
    return ServerSentEvent(data=data, **facts), list(images)


def bare(data: bytes, **facts: Any) -> tuple[ServerSentEvent, list[bytes]]:
    """Say a line of JSON without a field's name."""
    return event(data, is_bare=True, **facts)


PARTIAL = b'event: image_generation.partial_image\ndata: {"n": 0, "b64_json": "%b", "x": 1}\n\n' % B64
PARTIAL_EVENT = event(b'{"n": 0, "b64_json": "0", "x": 1}', IMAGE, event="image_generation.partial_image")

REAL: Mapping[str, Real] = {
    "an image": Real(PARTIAL, [PARTIAL_EVENT]),
    "two events": Real(PARTIAL + PARTIAL, [PARTIAL_EVENT, PARTIAL_EVENT]),
    "CRLF": Real(PARTIAL.replace(b"\n", b"\r\n"), [PARTIAL_EVENT]),
    "lone CR": Real(PARTIAL.replace(b"\n", b"\r"), [PARTIAL_EVENT]),
    "no spaces behind the colons": Real(PARTIAL.replace(b"a: {", b"a:{"), [PARTIAL_EVENT]),
    "a byte order mark": Real(BOM + PARTIAL, [PARTIAL_EVENT]),
    "comments": Real(
        b": PING\n\n:keepalive\n" + PARTIAL.replace(b"\ndata", b"\n: PING\ndata") + b": PING\n\n", [PARTIAL_EVENT]
    ),
    "retry and id": Real(
        b"retry: 3000\nid: 7\n" + PARTIAL + b"retry: 1\n\n", [(attrs.evolve(PARTIAL_EVENT[0], id="7"), [IMAGE])]
    ),
    "[DONE]": Real(PARTIAL + b"data: [DONE]\n\n", [PARTIAL_EVENT, event(b"[DONE]")]),
    "[DONE] as the end of the body": Real(PARTIAL + b"data: [DONE]", [PARTIAL_EVENT, event(b"[DONE]")]),
    "no event line": Real(b'data: {"b64_json": "%b"}\n\n' % B64, [event(b'{"b64_json": "0"}', IMAGE)]),
    "the event line behind the data": Real(
        b'data: {"b64_json": "%b"}\nevent: x\n\n' % B64, [event(b'{"b64_json": "0"}', IMAGE, event="x")]
    ),
    "one line end instead of two at the end": Real(PARTIAL[:-1], [PARTIAL_EVENT]),
    "no line end at the end": Real(PARTIAL[:-2], [PARTIAL_EVENT]),
    "one CR at the end": Real(PARTIAL[:-2] + b"\r", [PARTIAL_EVENT]),
    "several lines of data": Real(
        b'data: {"n": 0,\ndata:  "b64_json":\r\ndata:"%b",\ndata\ndata: "x": "\xe2\x80\xa6"}\n\n' % B64,
        [event(b'{"n": 0,\n "b64_json":\n"0",\n\n"x": "\xe2\x80\xa6"}', IMAGE)],
    ),
    "an image over several lines of data": Real(
        b'data: {"b64_json": "%b\ndata: %b\r\ndata:%b\ndata\ndata: "}\n\n' % (B64[:100], B64[100:101], B64[101:]),
        [event(b'{"b64_json": "0"}', IMAGE)],
    ),
    "a comment within an image": Real(
        b'data: {"b64_json": "%b\n: PING\ndata: %b"}\n\n' % (B64[:77], B64[77:]), [event(b'{"b64_json": "0"}', IMAGE)]
    ),
    "several images in one event": Real(
        b'data: {"b64_json": "%b", "data": [{"b64_json": "QUJD"}, {"b64_json": ""}], "b64_json": "REVG"}\n\n' % B64,
        [
            event(
                b'{"b64_json": "0", "data": [{"b64_json": "1"}, {"b64_json": ""}], "b64_json": "2"}',
                IMAGE,
                b"ABC",
                b"DEF",
            )
        ],
    ),
    "an image where none belongs is text": Real(
        b'data: {"x": {"b64_json": "QUJD"}}\n\n', [event(b'{"x": {"b64_json": "QUJD"}}')]
    ),
    "a bare line of JSON": Real(ERROR + b"\n", [bare(ERROR)]),
    "a bare line as the end of the body": Real(ERROR, [bare(ERROR)]),
    "a bare line behind a byte order mark": Real(BOM + ERROR, [bare(ERROR)]),
    "a bare line with CRLF": Real(ERROR + b"\r\n\r\n", [bare(ERROR)]),
    "a bare line between events": Real(PARTIAL + ERROR + b"\n" + PARTIAL, [PARTIAL_EVENT, bare(ERROR), PARTIAL_EVENT]),
    "a bare line behind the id": Real(b"id: 7\n\n" + ERROR, [bare(ERROR, id="7")]),
    "a bare line behind an event without its blank line": Real(PARTIAL[:-1] + ERROR, [PARTIAL_EVENT, bare(ERROR)]),
    "bare lines between the lines of an event": Real(
        b'event: a\n{"x": 1}\ndata: {"b64_json":\n{"x": 2}\n{}\ndata: "QUJD"}\n{"x": 3}\n\ndata: 1\n\n',
        [
            bare(b'{"x": 1}'),
            event(b'{"b64_json":\n"0"}', b"ABC", event="a"),
            bare(b'{"x": 2}'),
            bare(b"{}"),
            bare(b'{"x": 3}'),
            event(b"1"),
        ],
    ),
    "a bare line is told by its brace only": Real(b' {"x": 1}\n[1]\n"x"\nx{}\n', []),
    "a bare line's image is text": Real(b'{"b64_json": "QUJD"}\n', [bare(b'{"b64_json": "QUJD"}')]),
}


@pytest.mark.parametrize("case", REAL.values(), ids=REAL.keys())
def test_what_real_servers_send_is_understood_however_it_is_cut(case: Real) -> None:
    """Cut inside line ends, byte order marks, characters and images too."""
    decoded = decode_all_ways(case.stream)
    assert decoded.whole == case.expected
    assert decoded.fault is None


SPELLINGS: Mapping[str, bytes] = {
    "plain": B64,
    "unpadded": B64.rstrip(b"="),
    "escaped": B64.replace(b"/", b"\\/").replace(b"+", b"\\u002b").replace(b"=", b"\\u003d"),
    "URL-safe": base64.urlsafe_b64encode(IMAGE),
    "line breaks": b"\\r\\n".join([B64[:76], B64[76:152], B64[152:]]),
    "data URI": b"data:image/png;base64," + B64,
    "data URI, escaped": b"data:image\\/png;base64," + B64.replace(b"/", b"\\/"),
}


@pytest.mark.parametrize("written", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_an_image_comes_out_however_it_is_written(written: bytes) -> None:
    """The same bytes, whole, byte by byte, and cut anywhere."""
    decoded = decode_all_ways(b'data: {"b64_json": "%b", "size": "auto"}\n\n' % written)
    assert decoded.whole == [event(b'{"b64_json": "0", "size": "auto"}', IMAGE)]


@pytest.mark.parametrize("url", [b"https://a/b.png", b""], ids=["a url", "an empty url"])
def test_an_event_without_an_image_has_none(url: bytes) -> None:
    """Empty or null beside a url is no image; its string stays empty."""
    for image in (b'""', b"null", b'"data:image/png;base64,"'):
        [(got, images)] = decode([b'data: {"b64_json": %b, "url": "%b"}\n\n' % (image, url)]).whole
        assert images == []
        assert got.data in (b'{"b64_json": %b, "url": "%b"}' % (image, url), b'{"b64_json": "", "url": "%b"}' % url)


# The bytes of which streams are made here: what the algorithm looks at is frequent, and so is what breaks an image.
LINES = st.sampled_from(
    [
        PARTIAL[:-2],
        b'data: {"b64_json": "QUJD", "b64_json": "data:;base64,RE\\/G"}',
        b'data: {"b64_json": "QUJD',
        b"data: QUJD",
        b'data:"}',
        b'data: {"b64_json": "!!!!!!!!"}',
        b'data: {"b64_json": "QQ==QQ=="}',
        b'data: {"b64_json": "QUI',
        b"data",
        b"data:",
        b"data: [DONE]",
        b"data: 1",
        "data: 好".encode(),
        b"event: a",
        b"event",
        b"id: 1",
        b"id: \0",
        b"id",
        b"retry: 5",
        b"retry: x",
        b": PING",
        b":",
        b"unknown: x",
        b"unknown",
        BOM + b"data: 2",
        ERROR,
        b"{",
        b"",
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b""])
STREAMS = st.builds(
    lambda mark, lines, tail: mark + b"".join(itertools.chain.from_iterable(lines)) + tail,
    st.sampled_from([b"", b"", BOM, BOM[:2]]),
    st.lists(st.tuples(LINES, ENDS), max_size=12),
    st.one_of(st.just(b""), LINES, st.binary(max_size=8)),
)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 2000)))
@example(stream=PARTIAL[:-1] + b'data: {"b64_json": "!!!!!!!!"}\n\n', cuts=[])
@example(stream=b'data: 1\n\ndata: {"b64_json": "QUJD\n' + ERROR + b"\n\n", cuts=[9])
def test_events_do_not_depend_on_where_the_bytes_are_cut(stream: bytes, cuts: list[int]) -> None:
    """However the network cuts the bytes, the same events with the same images come out, also before a fault."""
    whole = decode([stream])
    for pieces in (cut(stream, (min(at, len(stream)) for at in cuts)), bytewise(stream)):
        decoded = decode(pieces)
        assert decoded.whole == whole.whole
        assert decoded.retry == whole.retry
        assert (decoded.fault is None) == (whole.fault is None)


@given(stream=st.binary() | STREAMS, image=st.binary(min_size=1, max_size=300), cuts=st.lists(st.integers(0, 2000)))
def test_an_image_behind_any_event_comes_out_whole(stream: bytes, image: bytes, cuts: list[int]) -> None:
    """What came before, unless it was a fault, does no harm; and arbitrary bytes raise nothing but the named error."""
    before = decode([stream + b"\n\n\n"])
    text = b'data: {"b64_json": "%b"}\n\n' % base64.b64encode(image)
    stream += b"\n\n\n" + text
    decoded = decode(cut(stream, (min(at, len(stream)) for at in cuts)))
    if before.fault is None:
        assert decoded.fault is None
        assert decoded.whole[:-1] == before.whole
        last, images = decoded.whole[-1]
        assert last.data == b'{"b64_json": "0"}'
        assert images == [image]
    else:
        assert decoded.fault is not None
        assert decoded.fault.may_have_been_billed


FAULTS: Mapping[str, tuple[bytes, str]] = {
    "no base64": (b'data: {"b64_json": "!!!!!!!!!!!!"}\n\n', "b64_json is not base64, near '!!!!!!!!!!!!'"),
    "two texts in one": (b'data: {"b64_json": "QQ==QQ==QQ=="}\n\n', "b64_json is not base64"),
    "a blank line inside an image": (b'data: {"b64_json": "QUJDQUJDQUJD\n\n', "the answer ends inside b64_json"),
    "the end of the body inside an image": (b'data: {"b64_json": "QUJDQUJD', "the answer ends inside b64_json"),
    "too many levels": (b"data: " + b"[" * 1025 + b"\n\n", "the answer is nested more than 1,024 levels deep"),
    "too much text": (
        b"data: " + b"x" * (MAX_TEXT_BYTES + 1),
        "the answer holds more than 1,048,576 bytes of text outside its images",
    ),
}


@pytest.mark.parametrize(("stream", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_what_was_whole_before_a_fault_is_not_lost(stream: bytes, words: str) -> None:
    """Also where both came in one chunk: it was paid for."""
    stream = PARTIAL + ERROR + b"\n" + PARTIAL + stream
    for pieces in ([stream], [stream[at : at + 1000] for at in range(0, len(stream), 1000)]):
        decoded = decode(pieces)
        assert decoded.whole == [PARTIAL_EVENT, bare(ERROR), PARTIAL_EVENT]
        assert decoded.fault is not None
        assert decoded.fault.message.startswith(words)
        assert decoded.fault.may_have_been_billed


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\ndata: !!!!!!!!!\n\n"], ids=repr)
def test_a_bare_line_behind_half_an_image_is_not_lost(end: bytes) -> None:
    """It says why the image breaks off, so it comes before the fault."""
    decoded = decode([b'data: {"b64_json": "QUJDQUJDQUJD\n' + ERROR + end])
    assert decoded.said == [("", ERROR, "")]
    assert decoded.fault is not None


def test_nothing_is_taken_before_the_result_is_iterated() -> None:
    """And after that everything."""
    decoder = SSEDecoder()
    found = decoder.feed(b"data: 1\n\nid: 2")
    assert decoder.data_bytes == 0
    assert list(found) == [ServerSentEvent(data=b"1")]
    assert list(decoder.finish()) == []


def test_the_event_that_is_being_read_is_known_so_far() -> None:
    """For errors, and to tell a partial image from a final one."""
    decoder = SSEDecoder()
    assert (decoder.event, decoder.text) == ("", b"")
    assert list(decoder.feed(b'event: a\ndata: {"x": 1, "b64_json": "QUJDQUJD')) == [
        EventImageStart(0, "a", b'{"x": 1, "b64_json": "'),
        b"ABCABC",
    ]
    assert (decoder.event, decoder.text) == ("a", b'{"x": 1, "b64_json": "')
    assert list(decoder.feed(b'REVG", "y')) == [b"DEF", ImageEnd()]
    assert decoder.text == b'{"x": 1, "b64_json": "0", "y'
    assert list(decoder.feed(b'": 2}\n\n')) == [ServerSentEvent(event="a", data=b'{"x": 1, "b64_json": "0", "y": 2}')]
    assert (decoder.event, decoder.text) == ("", b"")


def test_what_an_image_start_says_is_of_its_own_event() -> None:
    """Of the first image it says the text; another one in the same event says none, which spares copying it anew."""
    image = b'{"b64_json": "%b"' % B64
    stream = b"event: a\ndata: " + image + b", " + image[1:] + b"}\n\ndata: " + image + b"}\n\n"
    decoder = SSEDecoder()
    starts = [item for piece in bytewise(stream) for item in decoder.feed(piece) if isinstance(item, ImageStart)]
    assert starts == [
        EventImageStart(0, "a", b'{"b64_json": "'),
        EventImageStart(0, "a", b""),
        EventImageStart(0, "", b'{"b64_json": "'),
    ]


PROGRESS: Mapping[str, tuple[bytes, bool]] = {
    "a comment": (b": PING\n\n", False),
    "an empty comment": (b":\n", False),
    "blank lines": (b"\n\r\n\r", False),
    "a name without a colon yet": (b"dat", False),
    "an unknown field": (b"unknown: x\n", False),
    "data": (b"data: x\n", True),
    "data without a value": (b"data:\n", False),
    "data without a colon": (b"data\n", False),
    "a type": (b"event: x\n", False),
    "an id": (b"id: x\n", False),
    "a bare line": (b"{", False),
    "a piece of an image": (b'data: {"b64_json": "QUJDQUJD', True),
}


@pytest.mark.parametrize(("stream", "expected"), PROGRESS.values(), ids=PROGRESS.keys())
def test_only_data_counts_as_progress(stream: bytes, expected: bool) -> None:
    """Comments and other fields show that the server lives, and nothing else."""
    for pieces in ([stream], bytewise(stream)):
        decoder = SSEDecoder()
        for piece in pieces:
            list(decoder.feed(piece))
        assert (decoder.data_bytes > 0) is expected


def test_a_comment_in_the_middle_of_an_image_is_no_progress() -> None:
    """What came before and comes after is."""
    decoder = SSEDecoder()
    counts: list[int] = []
    for piece in (b'data: {"b64_json": "QUJDQUJD\n', b": PING\n: PING", b" PING\n", b"data: QUJD"):
        list(decoder.feed(piece))
        counts.append(decoder.data_bytes)
    assert counts[0] == counts[1] == counts[2] < counts[3]


class Counted(bytes):
    """A chunk that counts the bytes which are searched in it and cut out of it."""

    cost = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:  # as bytes.find
        """Count what was looked at."""
        end = len(self) if end is None else end
        place = super().find(sub, start, end)
        Counted.cost += (end if place < 0 else place + 1) - start
        return place

    def __getitem__(self, key: Any) -> Any:  # an int or bytes, as of bytes
        """Count what was copied."""
        piece = super().__getitem__(key)
        Counted.cost += len(piece) if isinstance(key, slice) else 1
        return piece

    def __add__(self, other: Any) -> bytes:
        """Not to be used: chunks are not joined."""
        raise AssertionError(other)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Count what is searched and copied in chunks, given to the scanner, and decoded."""

    class CountedScanner(ImageScanner):
        def feed(self, chunk: bytes, at: int = 0, end: int | None = None) -> list[Found]:
            Counted.cost += (len(chunk) if end is None else end) - at
            return super().feed(chunk, at, end)

        @property
        def text(self) -> bytes:
            text = ImageScanner.text.__get__(self)
            Counted.cost += len(text)
            return bytes(text)

    class CountedBase64:
        @staticmethod
        def b64decode(data: bytes | memoryview, *, validate: bool) -> bytes:
            Counted.cost += len(data)
            return pybase64.b64decode(data, validate=validate)

    monkeypatch.setattr(sse_module, "ImageScanner", CountedScanner)
    monkeypatch.setattr(images_module, "pybase64", CountedBase64)
    Counted.cost = 0
    yield
    Counted.cost = 0


def count(chunks: Iterable[bytes]) -> int:
    """Decode a stream, throw everything away, and give what it cost."""
    Counted.cost = 0
    decoder = SSEDecoder()
    for _ in decoder.feed(b": the first bytes may be a byte order mark, so they are joined\n"):
        raise AssertionError
    for chunk in chunks:
        for _ in decoder.feed(Counted(chunk)):
            pass
    for _ in decoder.finish():
        pass
    return Counted.cost


BLOCK = base64.b64encode(bytes(range(192)) * 64)
"""16 KiB of base64, which may be repeated."""
BEGINNING = b'event: image_generation.completed\ndata: {"type": "image_generation.completed", "b64_json": "'
ENDING = b'", "size": "1024x1024", "usage": {"total_tokens": 100}}\n\n'


@pytest.mark.usefixtures("cost")
def test_an_event_of_any_size_costs_the_same_for_each_byte() -> None:
    """Counted: bytes searched, copied, scanned and decoded. An event of 32 MB costs what sixteen of 2 MB cost."""
    costs = {blocks: count([BEGINNING, *itertools.repeat(BLOCK, blocks), ENDING]) for blocks in (128, 2048)}
    # Only where an image goes on lines aren't searched for, so its beginning and end cost a little more.
    assert 15.8 < costs[2048] / costs[128] < 16.1
    assert costs[2048] < 3 * 2048 * len(BLOCK)


@pytest.mark.usefixtures("cost")
def test_a_chunk_of_any_size_costs_the_same_for_each_byte() -> None:
    """Pieces of 10 bytes, of 16 KiB and everything at once."""
    stream = BEGINNING + BLOCK * 8 + ENDING
    for size in (10, 1 << 14, len(stream)):
        assert count(stream[at : at + size] for at in range(0, len(stream), size)) < 6 * len(stream)


SHORT_LINES: Mapping[str, bytes] = {
    "line feeds": b"\n",
    "carriage returns": b"\r",
    "both": b"\r\n",
    "comments": b":\n",
    "data": b"data: 1\n\n",
    "data without a value": b"data\r\r",
    "ids": b"id: 1\r\n",
    "unknown": b"unknown\n",
    "bare lines": b"{}\n",
}


@pytest.mark.usefixtures("cost")
@pytest.mark.parametrize("line", SHORT_LINES.values(), ids=SHORT_LINES.keys())
def test_many_short_lines_in_one_chunk_cost_no_more(line: bytes) -> None:
    """The end that doesn't occur is searched once, not once for each line."""
    for chunks in ([line * 20_000], [line * 10, b": no line end " * 10_000, b"\n", line * 10_000]):
        assert count(chunks) < 6 * sum(map(len, chunks))


@pytest.mark.usefixtures("cost")
def test_many_images_in_one_event_cost_no_more() -> None:
    """The text around them is copied for the first of them, not for each."""
    images = b'"b64_json":"QUJD",' * 20_000
    assert count([b"data: {" + images + b'"x": 1}\n\n']) < 8 * len(images)


@pytest.mark.usefixtures("cost")
def test_an_event_of_many_lines_costs_no_more() -> None:
    """Its data is not joined anew for each line."""
    assert count([b"data: 1,\n" * 1000] * 10) < 6 * 90_000


def peak_of(chunks: Iterable[bytes], decoder: SSEDecoder) -> int:
    """Decode, throw everything away, and give the most memory that it took."""
    tracemalloc.start()
    try:
        for chunk in chunks:
            for _ in decoder.feed(chunk):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak


def test_an_event_of_30_mb_keeps_its_text_only() -> None:
    """In chunks of 16 KiB, the image's bytes given away as they come."""
    decoder = SSEDecoder()
    peak = peak_of(itertools.chain([BEGINNING], itertools.repeat(BLOCK, 1900)), decoder)
    assert decoder.text == BEGINNING.partition(b"data: ")[2]
    assert peak < 128 << 10
    assert list(decoder.feed(ENDING))[-1:] == [
        ServerSentEvent(
            event="image_generation.completed",
            data=BEGINNING.partition(b"data: ")[2] + b"0" + ENDING.strip(),
        )
    ]


ENDLESS: Mapping[str, tuple[bytes, bytes]] = {
    "text in a line of data": (b"data: ", b"x"),
    "text in many lines of data": (b"", b"data: x\n"),
    "many lines of data without a value": (b"", b"data\n"),
    "text behind an image": (b'data: {"b64_json": "QUJD", "x": "', b"x"),
    "the key of an object": (b'data: {"', b"x"),
    "images": (b"data: {", b'"b64_json": "QUJD",'),
    "a type": (b"event: ", b"x"),
    "an id": (b"id: ", b"x"),
    "a time": (b"retry: ", b"1"),
    "a bare line": (b"", b"{"),
    "bare lines within an event": (b"data: 1\n", b'{"x": 1}\n'),
}


@pytest.mark.parametrize(("beginning", "line"), ENDLESS.values(), ids=ENDLESS.keys())
def test_what_does_not_end_is_refused_before_it_fills_the_memory(
    beginning: bytes, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound, which is 16 KiB here, since the short lines of 1 MiB take their time."""
    monkeypatch.setattr(sse_module, "ImageScanner", functools.partial(ImageScanner, max_text_bytes=1 << 14))
    monkeypatch.setattr(sse_module, "MAX_TEXT_BYTES", 1 << 14)
    decoder = SSEDecoder()
    chunks = itertools.repeat(line * (1024 // len(line)), 200)
    with pytest.raises(APIResponseError) as caught:
        peak_of(itertools.chain([beginning], chunks), decoder)
    assert "more than" in caught.value.message
    assert caught.value.may_have_been_billed
    assert len(decoder.text) <= (1 << 14) + 1024


@pytest.mark.parametrize("beginning", [b"data: ", b'data: {"', b"event: ", b"id: ", b"{"], ids=repr)
def test_a_long_line_of_text_is_refused_at_1_mib(beginning: bytes) -> None:
    """Little more than that is held of it until then."""
    decoder = SSEDecoder()
    chunk = b"x" * (1 << 14)
    assert peak_of(itertools.chain([beginning], itertools.repeat(chunk, 63)), decoder) < 3 << 20
    with pytest.raises(APIResponseError):
        peak_of([chunk, chunk], decoder)


def test_a_line_that_is_too_long_is_called_so() -> None:
    """With the bound."""
    with pytest.raises(APIResponseError) as caught:
        list(SSEDecoder().feed(b"id: " + b"x" * (MAX_TEXT_BYTES + 1)))
    assert caught.value.message == "a line of the stream has more than 1,048,576 bytes"
    assert list(SSEDecoder().feed(b"id: " + b"x" * MAX_TEXT_BYTES)) == []


def test_too_many_bare_lines_within_an_event_are_called_so() -> None:
    """One of those that came may say why, so they come first; between events there may be any number."""
    decoded = decode([b"data: 1\n" + (ERROR + b"\n") * 20])
    assert decoded.said == [("", ERROR, "")] * 17
    assert decoded.fault is not None
    assert decoded.fault.message == "an event of the stream has more than 16 lines of JSON between its own"
    assert decode([b"data: 1\n" + (ERROR + b"\n") * 16]).said == [("", b"1", ""), *[("", ERROR, "")] * 16]
    assert decode([(ERROR + b"\n") * 20]).said == [("", ERROR, "")] * 20


@pytest.mark.parametrize(
    ("beginning", "line"),
    [
        (b":", b"x"),
        (b"", b": PING\n\n"),
        (b"", b"\n"),
        (b"unknown: ", b"x"),
        (b"", b"x"),
        (b"", b"unknown: x\n"),
        (b"data: 1\n", b": PING\n"),
        (b'data: {"b64_json": "QUJDQUJD\n', b": PING\n"),
        (b'data: {"b64_json": "QUJDQUJD\n', b"data\n"),
        (b'data: {"b64_json": "QUJDQUJD', b" "),
        (b"", b"data: 1\n\n"),
    ],
    ids=[
        "a comment",
        "comments",
        "blank lines",
        "an unknown field",
        "a name",
        "unknown fields",
        "comments within an event",
        "comments within an image",
        "empty lines within an image",
        "blanks within an image",
        "events",
    ],
)
def test_what_is_passed_over_takes_no_memory(beginning: bytes, line: bytes) -> None:
    """A server may send it for hours."""
    chunk = line * (512 // len(line))
    decoder = SSEDecoder()
    assert peak_of(itertools.chain([beginning], itertools.repeat(chunk, 300)), decoder) < 64 << 10
    assert len(decoder.text) < 50


def test_an_image_above_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it comes, not when it is whole."""
    monkeypatch.setattr(sse_module, "ImageScanner", functools.partial(ImageScanner, max_image_bytes=100_000))
    decoder = SSEDecoder()
    assert sum(len(piece) for piece in decoder.feed(BEGINNING + BLOCK * 8) if isinstance(piece, bytes)) == 98_304
    with pytest.raises(APIResponseError) as caught:
        list(decoder.feed(BLOCK))
    assert caught.value.message == "b64_json is an image of more than 100,000 bytes"
    assert caught.value.may_have_been_billed


def test_several_images_may_pass_the_bound_of_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted anew for each."""
    monkeypatch.setattr(sse_module, "ImageScanner", functools.partial(ImageScanner, max_image_bytes=256))
    assert decode([PARTIAL * 5]).whole == [PARTIAL_EVENT] * 5
