"""The scanner: whatever the JSON, however it is written and cut, the same tree and the same bytes come out."""

from __future__ import annotations

import base64
import binascii
import json
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Any

import pybase64
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiai_async._errors import APIResponseError
from aiai_async.wire import codec
from aiai_async.wire import images as images_module
from aiai_async.wire.images import Found, ImageBuffer, ImageEnd, ImageScanner, ImageStart, decode_image
from aiai_async.wire.json_text import parse_json

IMAGE = bytes(range(256))
"""Has every byte, so its base64 has every character of the alphabet."""
PLAIN = base64.b64encode(IMAGE).decode()


class Scanned:
    """What came out of a scanner, the images put together."""

    def __init__(self, found: Iterable[Found], text: bytes) -> None:
        self.text = text
        self.images: list[bytes] = []
        self.indexes: list[int] = []
        is_open = False
        for item in found:
            if isinstance(item, ImageStart):
                assert not is_open
                is_open = True
                self.indexes.append(item.index)
                self.images.append(b"")
            elif isinstance(item, ImageEnd):
                assert is_open
                assert self.images[-1]
                is_open = False
            else:
                assert is_open
                assert item
                self.images[-1] += item
        assert not is_open


def scan(pieces: Iterable[bytes], **options: Any) -> Scanned:
    """Feed a scanner and finish it."""
    scanner = ImageScanner(**options)
    found = [item for piece in pieces for item in scanner.feed(piece)]
    return Scanned(found, scanner.finish())


def scan_images_first(pieces: Iterable[bytes], **options: Any) -> Scanned:
    """Feed a scanner as one does that splits lines: of each piece first what goes on with an image."""
    scanner = ImageScanner(**options)
    found: list[Found] = []
    for piece in pieces:
        taken = scanner.feed_image(piece, found)
        assert not {*b"\r\n"} & {*piece[:taken]}
        found += scanner.feed(piece + b'"\\}', taken, len(piece))
    return Scanned(found, scanner.finish())


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a text at the places."""
    ends = sorted(places)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def bytewise(text: bytes) -> list[bytes]:
    """Cut a text into single bytes."""
    return [text[at : at + 1] for at in range(len(text))]


def answer(text: str) -> bytes:
    """Put the text of one image, escapes and all, into an answer."""
    return (
        b'{"created": 1, "data": [{"b64_json": "' + text.encode() + b'", "revised_prompt": "a \\" b"}], "x": [1, {}]}'
    )


def escape_unicode(text: str) -> str:
    """Write every character as a JSON escape."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def in_lines(text: str, end: str) -> str:
    """Break a text into lines of 76 characters, each with its end."""
    return "".join(text[at : at + 76] + end for at in range(0, len(text), 76))


SPELLINGS = {
    "plain": PLAIN,
    "slashes escaped": PLAIN.replace("/", "\\/"),
    "padding escaped": PLAIN.replace("=", "\\u003d"),
    "plus and slash escaped": PLAIN.replace("+", "\\u002B").replace("/", "\\u002f"),
    "every character escaped": escape_unicode(PLAIN),
    "line feeds escaped": in_lines(PLAIN, "\\n"),
    "carriage returns and line feeds escaped": in_lines(PLAIN, "\\r\\n"),
    "line feeds as unicode escapes": in_lines(PLAIN, "\\u000a"),
    "raw line feeds": in_lines(PLAIN, "\n"),
    "tabs and spaces": in_lines(PLAIN, "\\t "),
    "white space first": f"\\n {PLAIN}",
    "data URI": f"data:image/png;base64,{PLAIN}",
    "data URI with parameters": f"data:image/svg-xml;charset=utf-8;base64,{PLAIN}",
    "data URI in capitals": f"DATA:image/PNG;BASE64,{PLAIN}",
    "data URI with escaped slashes": f"data:image\\/png;base64,{PLAIN}".replace("/", "\\/").replace("\\\\/", "\\/"),
    "data URI written in escapes": f"{escape_unicode('data:image/png;base64,')}{PLAIN}",
    "data URI after a line feed": f"\\ndata:image/png;base64,{PLAIN}",
    "no padding": PLAIN.rstrip("="),
    "half of the padding": PLAIN.rstrip("=") + "=",
    "URL-safe alphabet": PLAIN.replace("+", "-").replace("/", "_"),
    "URL-safe alphabet without padding": PLAIN.replace("+", "-").replace("/", "_").rstrip("="),
    "URL-safe alphabet in a data URI": f"data:image/png;base64,{PLAIN.replace('+', '-').replace('/', '_')}",
    "line feed after the padding": f"{PLAIN}\\n",
    "everything at once": f"\\r\\nData:image\\/png;base64,{in_lines(PLAIN.rstrip('='), chr(10))}".replace("+", "-"),
}
"""Ways to write one image, as they stand between the quotes in JSON."""

spelled = pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in SPELLINGS.items()])


@spelled
def test_every_spelling_gives_the_image_however_it_is_cut(text: str) -> None:
    """Whole, byte by byte, and cut in two anywhere: the same bytes, and the same text around them."""
    body = answer(text)
    for pieces in ([body], bytewise(body), *(cut(body, [at]) for at in range(len(body)))):
        for scanned in (scan(pieces), scan_images_first(pieces)):
            assert scanned.images == [IMAGE]
            assert scanned.text == answer("0")


@spelled
def test_the_whole_text_path_gives_the_same_as_the_scanner(text: str) -> None:
    """A small answer is parsed at once: the same image and the same tree with the same placeholder."""
    tree = codec.parse_answer(answer(text))
    assert [image.content for image in codec.take_images(tree)] == [IMAGE]
    assert tree == parse_json(answer("0"))


@pytest.mark.parametrize("length", range(1, 14))
@pytest.mark.parametrize("uri", ["", "data:;base64,"], ids=["plain", "data URI"])
@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "unpadded"])
def test_the_shortest_images_come_out_whole(length: int, uri: str, is_padded: bool) -> None:
    """Images shorter than what is needed to tell base64 from a data URI are no special case to the caller."""
    content = bytes(range(100, 100 + length))
    text = base64.b64encode(content).decode()
    body = answer(uri + (text if is_padded else text.rstrip("=")))
    assert scan([body]).images == scan(bytewise(body)).images == [content]


@pytest.mark.parametrize("text", ["data", "DATA", "datadata", "data+image/png", "dataaaaa"])
def test_base64_that_begins_like_a_data_uri_is_base64(text: str) -> None:
    """The letters "data" are of the alphabet."""
    expected = base64.b64decode(text + "=" * (-len(text) % 4))
    assert scan([answer(text)]).images == scan(bytewise(answer(text))).images == [expected]


GARBAGE = {
    "one character": "Q",
    "five characters": "QUJDR",
    "padding alone": "====",
    "too much padding": "A===",
    "padding in the middle": "QQ==QUJD",
    "padding in the middle of more": "QUJDQUJDQQ==QUJD",
    "two texts glued together": "QUI=QUI=",
    "other characters": "not base64!",
    "outside ASCII": "QUJD\u00e9",
    "a Chinese sentence": "\u4f60\u597d\uff0c\u4e16\u754c",
    "an escape that base64 doesn't have": "QUJD\\u00e9",
    "a backspace": "QUJD\\b",
    "a backslash": "QUJD\\\\QUJD",
    "a backslash before a letter that could be an escape": "QUJD\\\\nQUJD",
    "an escaped backslash before a letter": "QUJD\\u005cnQUJD",
    "a data URI that isn't base64": "data:image/png,hello",
    "a data URI without its comma": "data:image/png;base64",
    "a data URI without its end": f"data:{'a' * 300}",
    "a data URI of garbage": "data:image/png;base64,!!!!",
    "a data URI in the middle": f"{PLAIN[:80]}data:image/png;base64,{PLAIN[80:]}",
    "a link": "https://example.com/a.png",
    "padding, then a line feed, then more": "QUI=\\nQUJD",
    "a NUL": "QUJD\\u0000",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in GARBAGE.items()])
def test_what_is_no_base64_is_refused_by_name(text: str) -> None:
    """The message says which part was wrong; whole, cut anywhere and on the path of small answers alike."""
    body = answer(text)
    for pieces in ([body], bytewise(body), *(cut(body, [at]) for at in range(len(body)))):
        with pytest.raises(APIResponseError) as caught:
            scan(pieces)
        assert caught.value.message.startswith("data[0].b64_json is not base64, near ")
        assert caught.value.may_have_been_billed
    with pytest.raises(APIResponseError) as caught:
        codec.take_images(codec.parse_answer(body))
    assert caught.value.message.startswith("data[0].b64_json is not base64, near ")


@pytest.mark.parametrize(
    ("piece", "taken"),
    [(b"QUJD", 4), (b"QU", 2), (b'QUJD", "x', 5), (b'"', 1), (b"QUJD\r", 0), (b"\n", 0), (b"QUJD\\/", 0), (b"-", 0)],
)
def test_only_plain_text_of_an_image_is_taken_by_who_splits_lines(piece: bytes, taken: int) -> None:
    """Past the closing quote at most; anything odd in it leaves all of it to the ordinary way."""
    scanner, found = ImageScanner(top_level=True), list[Found]()
    assert scanner.feed_image(b"QUJD", found) == 0
    scanner.feed(b'{"b64_json": "QUJDQUJD')
    assert scanner.feed_image(piece, found) == taken
    assert bool(found) == (taken > 2 or piece == b'"')


@pytest.mark.parametrize(
    "text",
    ["QUJD\\", "QUJD\\u", "QUJD\\u00", "QUJD\\u003", "\\", f"{PLAIN}\\"],
    ids=["a backslash", "no digit", "two digits", "three digits", "only a backslash", "after padding"],
)
def test_a_quote_inside_an_escape_does_not_end_an_image(text: str) -> None:
    """What the parser would refuse, or read as a longer string, isn't taken for a whole image."""
    for pieces in ([answer(text)], bytewise(answer(text))):
        with pytest.raises(APIResponseError):
            scan(pieces)


def test_an_excerpt_of_garbage_is_short() -> None:
    """A broken image of megabytes doesn't become a message of megabytes."""
    with pytest.raises(APIResponseError) as caught:
        scan([answer("!" * 1_000_000)])
    assert len(str(caught.value)) < 200


PLACES = {
    "in data": ('{"data": [{"b64_json": "%s"}]}', [0]),
    "after other keys": ('{"data": [{"revised_prompt": "a, b: {c}", "n": [1, 2], "b64_json": "%s"}]}', [0]),
    "second of three": ('{"data": [{"url": "u"}, {"b64_json": "%s"}, null]}', [1]),
    "after a null and a number": ('{"data": [null, 1, [2, 3], "s", {"b64_json": "%s"}]}', [4]),
    "white space everywhere": ('\r\n{\t"data" :\n[ { "b64_json"\t:\r\n "%s" } ] }\n', [0]),
    "a byte-order mark": ('\ufeff{"data": [{"b64_json": "%s"}]}', [0]),
    "key with an escape": ('{"data": [{"b64\\u005fjson": "%s"}]}', [0]),
    "key all escapes": ('{"\\u0064at\\u0061": [{"\\u0062\\u00364\\u005fjso\\u006E": "%s"}]}', [0]),
    "a prompt that quotes the key": ('{"data": [{"p": "\\"b64_json\\": \\"QUJD", "b64_json": "%s"}]}', [0]),
    "data twice": ('{"data": [], "data": [{"b64_json": "%s"}]}', [0]),
    "null before": ('{"data": [{"b64_json": null, "b64_json": "%s"}]}', [0]),
}


@pytest.mark.parametrize(("frame", "indexes"), PLACES.values(), ids=PLACES.keys())
def test_images_are_found_where_they_may_stand(frame: str, indexes: list[int]) -> None:
    """The key is found however it is written and wherever it stands in its object; its place in `data` is told."""
    body = (frame % PLAIN).encode()
    for pieces in ([body], bytewise(body)):
        scanned = scan(pieces)
        assert scanned.images == [IMAGE]
        assert scanned.indexes == indexes
        assert scanned.text == (frame % "0").encode()


ELSEWHERE = {
    "top level": '{"b64_json": "%s", "data": []}',
    "no data": '{"images": [{"b64_json": "%s"}]}',
    "data is an object": '{"data": {"b64_json": "%s"}}',
    "data is an object of objects": '{"data": {"a": {"b64_json": "%s"}}}',
    "deeper": '{"data": [{"image": {"b64_json": "%s"}}]}',
    "in a list within data": '{"data": [[{"b64_json": "%s"}]]}',
    "data deeper": '{"result": {"data": [{"b64_json": "%s"}]}}',
    "top level is a list": '[{"b64_json": "%s"}]',
    "list in a list": '[[{"b64_json": "%s"}]]',
    "a list of it": '{"data": [{"b64_json": ["%s"]}]}',
    "a value, not a key": '{"data": [{"key": "b64_json", "x": "%s"}]}',
    "the text of a prompt": '{"data": [{"revised_prompt": "\\"b64_json\\": \\"%s\\""}]}',
    "a key that ends so": '{"data": [{"my_b64_json": "%s"}]}',
    "a key that ends so after an escaped quote": '{"data": [{"\\"b64_json": "%s"}]}',
    "a key in capitals": '{"data": [{"B64_JSON": "%s"}]}',
    "a key whose escapes are none": '{"data": [{"b64_json\\x": "%s"}]}',
    "the text alone": '"%s"',
    "after a closing bracket too many": '}{"data": "%s"}',
    "after a comma at the top": ',{"data": "%s"}',
}


@pytest.mark.parametrize("frame", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_b64_json_elsewhere_is_text_like_any_other(frame: str) -> None:
    """Only in an object of `data` it is an image; anywhere else not a byte of the text is changed."""
    body = (frame % PLAIN).encode()
    for pieces in ([body], bytewise(body)):
        scanned = scan(pieces)
        assert scanned.images == []
        assert scanned.text == body


def test_the_top_level_of_an_event_holds_an_image_where_that_is_asked_for() -> None:
    """In events of a stream the image stands in the object itself; those of `data` are found as well."""
    body = b'{"type": "x", "b64_json": "QUJD", "data": [{"b64_json": "REVG"}], "y": {"b64_json": "QUJD"}}'
    for pieces in ([body], bytewise(body)):
        scanned = scan(pieces, top_level=True)
        assert scanned.images == [b"ABC", b"DEF"]
        assert scanned.text == body.replace(b'"QUJD", "data', b'"0", "data').replace(b"REVG", b"1")


def test_an_error_in_the_top_level_image_names_it() -> None:
    """It has no place in a list."""
    with pytest.raises(APIResponseError, match=r"^b64_json is not base64"):
        scan([b'{"b64_json": "!!!!!!!!"}'], top_level=True)


@pytest.mark.parametrize("value", ['""', "null", "17", "{}", "[]", "true", '"data:image/png;base64,"', '"\\n"'])
def test_an_image_without_bytes_never_starts(value: str) -> None:
    """Where a url is meant, the other key is empty or null: no sink is asked for, and the placeholder is empty."""
    body = b'{"data": [{"b64_json": %b, "url": "u"}, {"b64_json": "QUJD"}]}' % value.encode()
    for pieces in ([body], bytewise(body)):
        scanned = scan(pieces)
        assert scanned.images == [b"ABC"]
        assert scanned.indexes == [1]
        placeholder = "" if value.startswith('"') else json.loads(value)
        assert json.loads(scanned.text) == {"data": [{"b64_json": placeholder, "url": "u"}, {"b64_json": "0"}]}


def test_placeholders_number_the_images_as_they_came() -> None:
    """The number is not the place in `data`, but that of the image among those that came."""
    assert scan([b'{"data": [{"url": "u"}, {"b64_json": "QUJD"}, {}, {"b64_json": "REVG"}]}']).text == (
        b'{"data": [{"url": "u"}, {"b64_json": "0"}, {}, {"b64_json": "1"}]}'
    )


@pytest.mark.parametrize("tail", [0, 1, 5, 100], ids=lambda count: f"{count} characters")
def test_a_text_that_ends_inside_an_image_raises(tail: int) -> None:
    """Half an image is none, however little of it came; the error says which."""
    scanner = ImageScanner()
    scanner.feed(b'{"data": [{"url": "u"}, {"b64_json": "' + PLAIN[:tail].encode())
    with pytest.raises(APIResponseError, match=r"^the answer ends inside data\[1\]\.b64_json") as caught:
        scanner.finish()
    assert caught.value.may_have_been_billed


def test_the_text_so_far_can_be_looked_at() -> None:
    """To tell early that an answer begins like none."""
    scanner = ImageScanner()
    scanner.feed(b'{"data": [{"b64_json": "QUJD')
    assert scanner.text == b'{"data": [{"b64_json": "'


@pytest.mark.parametrize("pieces", [1, 7, 1000], ids=lambda count: f"pieces of {count}")
def test_text_outside_images_is_bounded(pieces: int) -> None:
    """A broken server can't fill the memory; the bound itself is still allowed."""
    body = b'{"x": "' + b"a" * 91 + b'"}'
    assert len(body) == 100
    texts = [body[at : at + pieces] for at in range(0, 100, pieces)]
    assert scan(texts, max_text_bytes=100).text == body
    with pytest.raises(APIResponseError, match="more than 99 bytes of text outside its images"):
        scan(texts, max_text_bytes=99)


@pytest.mark.parametrize("text", [PLAIN, SPELLINGS["line feeds escaped"]], ids=["plain", "odd"])
def test_one_image_is_bounded(text: str) -> None:
    """By its decoded length; the bound itself is still allowed, and it counts anew for each image."""
    body = b'{"data": [{"b64_json": "%b"}, {"b64_json": "%b"}]}' % (text.encode(), text.encode())
    for pieces in ([body], bytewise(body)):
        assert scan(pieces, max_image_bytes=256).images == [IMAGE, IMAGE]
        with pytest.raises(APIResponseError, match=r"data\[0\]\.b64_json is an image of more than 255 bytes"):
            scan(pieces, max_image_bytes=255)


def test_nesting_is_bounded() -> None:
    """A mebibyte of brackets would take seventy times that in open levels; no parser takes them."""
    assert scan([b"[" * 1024]).text == b"[" * 1024
    with pytest.raises(APIResponseError, match="nested more than 1,024 levels deep"):
        scan([b'{"data":' * 1025])


# Images in any places of any JSON.

_texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"b64_json": "', '\\"b64_json": "', "b64_json", "\\", "\\\\", '"', "data", "{[", ",]}", "\u2028", "\U0001f600"]
)
_keys = _texts.filter(lambda text: text != "b64_json") | st.just("data")
_images = st.binary(max_size=40).map(lambda content: base64.b64encode(content).decode())
_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    _scalars | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _objects(draw: st.DrawFn, extra: Sequence[tuple[str, st.SearchStrategy[Any]]], max_size: int = 4) -> list[Any]:
    """Draw an object as a list of its fields, so that keys can come twice."""
    fields = [st.tuples(st.just(key), value) for key, value in extra]
    return draw(st.lists(st.one_of(st.tuples(_keys, _values), *fields), max_size=max_size))


class Writer:
    """Writes JSON with white space, escapes and duplicate keys as hypothesis draws them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def space(self) -> str:
        return self._draw(st.sampled_from(["", "", "", " ", "\n", "\r\n\t "]))

    def string(self, text: str) -> str:
        style = self._draw(st.sampled_from(["plain", "plain", "ascii", "escapes"]))
        if style == "escapes":
            units = text.encode("utf-16-be", "surrogatepass")
            return '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'
        return json.dumps(text, ensure_ascii=style == "ascii")

    def value(self, value: object) -> str:
        if isinstance(value, Pairs):
            items = [f"{self.string(key)}{self.space()}:{self.value(item)}" for key, item in value.pairs]
            text = "{" + self.space() + ",".join(self.space() + item + self.space() for item in items) + "}"
        elif isinstance(value, list):
            text = "[" + self.space() + ",".join(map(self.value, value)) + "]"
        elif isinstance(value, dict):
            text = self.value(Pairs(list(value.items())))
        else:
            text = self.string(value) if isinstance(value, str) else json.dumps(value)
        return self.space() + text + self.space()


class Pairs:
    """A JSON object whose keys may come twice."""

    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Draw a JSON text with images in `data`, in the top level, and in places where they are none."""
    in_data = _objects([("b64_json", _images), ("b64_json", st.none()), ("url", _texts)]).map(Pairs)
    data = st.lists(in_data | _values, max_size=4)
    nested = st.builds(lambda pairs: Pairs([("data", [Pairs(pairs)])]), _objects([("b64_json", _images)]))
    top = draw(
        _objects([("data", data), ("data", data), ("b64_json", _images), ("b64_json", nested), ("x", nested)], 6)
    )
    return Writer(draw).value(Pairs(top)).encode()


def resolve(tree: Any, images: Sequence[bytes], *, top_level: bool) -> Any:
    """Put the images in the places of their numbers."""
    items = tree["data"] if isinstance(tree.get("data"), list) else []
    for item in [*items, *([tree] if top_level else [])]:
        if isinstance(item, dict) and isinstance(item.get("b64_json"), str):
            text = item["b64_json"]
            item["b64_json"] = images[int(text)] if text else b""
    return tree


def expect(body: bytes, *, top_level: bool) -> Any:
    """Read a whole text with the standard library alone."""
    tree = json.loads(body)
    items = tree["data"] if isinstance(tree.get("data"), list) else []
    for item in [*items, *([tree] if top_level else [])]:
        if isinstance(item, dict) and isinstance(item.get("b64_json"), str):
            item["b64_json"] = base64.b64decode(item["b64_json"], validate=True)
    return tree


@given(body=documents(), top_level=st.booleans(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_document_cut_anywhere_is_what_the_standard_library_reads(
    body: bytes, top_level: bool, data: st.DataObject
) -> None:
    """The tree is that of `json.loads`, the bytes are those of `base64.b64decode`, wherever the network cuts."""
    expected = expect(body, top_level=top_level)
    places = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    for pieces in ([body], bytewise(body), cut(body, places)):
        scanned = scan(pieces, top_level=top_level)
        assert resolve(json.loads(scanned.text), scanned.images, top_level=top_level) == expected


@given(body=documents())
@settings(max_examples=150, deadline=None)
def test_the_whole_text_path_reads_any_document_as_the_scanner_does(body: bytes) -> None:
    """Small and large answers mean the same: their trees with the images put back are equal."""
    scanned = scan([body])
    tree = codec.parse_answer(body)
    contents = [image.content or b"" for image in codec.take_images(tree)]
    by_scanner = resolve(codec.parse_answer(scanned.text), scanned.images, top_level=False)
    assert resolve(tree, contents, top_level=False) == by_scanner


@st.composite
def spellings(draw: st.DrawFn) -> tuple[bytes, str]:
    """Draw an image and one of the odd ways to write it."""
    content = draw(st.binary(min_size=1, max_size=60))
    text = base64.b64encode(content).decode()
    if draw(st.booleans()):
        text = text.replace("+", "-").replace("/", "_")
    if draw(st.booleans()):
        text = text.rstrip("=")
    uri = draw(st.sampled_from(["", "", "data:image/png;base64,", "DATA:;base64,"]))
    breaks = st.sampled_from(["", "", "", "", "\\n", "\\r\\n", "\\t", " ", "\\u000A", "\n"])
    chars = [
        draw(st.sampled_from([char, char, char, f"\\u{ord(char):04x}", f"\\u{ord(char):04X}"]))
        if char != "/"
        else draw(st.sampled_from(["/", "\\/"]))
        for char in uri + text
    ]
    return content, "".join(char + draw(breaks) for char in chars)


@given(spelling=spellings(), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_mixture_of_odd_spellings_comes_out_right_however_it_is_cut(
    spelling: tuple[bytes, str], data: st.DataObject
) -> None:
    """Escapes, line breaks, a data URI, the other alphabet, missing padding: each alone and all at once."""
    content, text = spelling
    body = answer(text)
    places = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    for pieces in ([body], bytewise(body), cut(body, places)):
        for scanned in (scan(pieces), scan_images_first(pieces)):
            assert scanned.images == [content]
            assert scanned.text == answer("0")
    assert decode_image(json.loads(f'"{text}"', strict=False), name="data[0].b64_json") == content


_fragments = st.sampled_from(
    [
        *'{}[]",:\\ \n=',
        "QUJD",
        "QQ==",
        "data",
        '"data"',
        '"b64_json"',
        '{"data":[{"b64_json":"',
        '"}]}',
        "\\u003d",
        "\\",
    ]
)


@given(
    pieces=st.lists(st.binary(max_size=20) | _fragments.map(str.encode), max_size=30),
    top_level=st.booleans(),
)
@example(pieces=[b'{"data":[{"b64_json":"', b"\\", b'"'], top_level=False)
@settings(max_examples=200, deadline=None)
def test_garbage_raises_the_named_error_and_nothing_else(pieces: list[bytes], top_level: bool) -> None:
    """Any bytes, however cut: images and text, or `APIResponseError`; whole and cut they end alike."""
    outcomes: list[object] = []
    for attempt in (pieces, [b"".join(pieces)], bytewise(b"".join(pieces))):
        for feed_all in (scan, scan_images_first):
            try:
                scanned = feed_all(attempt, top_level=top_level)
                outcomes.append((scanned.text, scanned.images, scanned.indexes))
            except APIResponseError:
                outcomes.append("refused")
    assert all(outcome == outcomes[0] for outcome in outcomes)


@given(body=documents(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_cut_text_is_never_taken_for_a_whole_one(body: bytes, data: st.DataObject) -> None:
    """A connection that broke gives no tree: the scanner raises inside an image, the parser elsewhere."""
    body = body.strip()
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises((APIResponseError, ValueError)):
        parse_json(scan([body[:end]]).text)


@pytest.mark.parametrize("text", ["plain", "slashes escaped", "line feeds escaped", "URL-safe alphabet"])
@pytest.mark.parametrize("piece", [1, 61, 4096], ids=lambda count: f"pieces of {count}")
def test_each_character_is_decoded_once(monkeypatch: pytest.MonkeyPatch, text: str, piece: int) -> None:
    """The cost is linear: what is given to the decoder in all is the image's text, and not the same piece again."""
    given_bytes = 0

    def count(data: bytes | memoryview, *, validate: bool) -> bytes:
        nonlocal given_bytes
        given_bytes += len(data)
        return pybase64.b64decode(data, validate=validate)

    class Counting:
        b64decode = staticmethod(count)

    written = SPELLINGS[text].replace("==", "AA") * 40
    body = answer(written)
    monkeypatch.setattr(images_module, "pybase64", Counting)
    assert len(scan([body[at : at + piece] for at in range(0, len(body), piece)]).images) == 1
    # The piece in which the spelling turned out to be odd is tried twice, with the group it belongs to.
    assert given_bytes <= len(written) + 2 * piece + 8


def test_no_more_than_a_piece_is_held() -> None:
    """Eight megabytes pass through in pieces of 64 KiB; what is held at once stays near a piece."""
    line = base64.b64encode(bytes(48 << 10))
    scanner = ImageScanner()
    scanner.feed(b'{"data": [{"b64_json": "')
    scanner.feed(line)
    tracemalloc.start()
    try:
        size_bytes = sum(len(item) for _ in range(170) for item in scanner.feed(line) if isinstance(item, bytes))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size_bytes == 170 * (48 << 10)
    assert peak < 256 << 10


def test_a_whole_text_of_an_image_is_decoded_after_json() -> None:
    """On the path of small answers JSON's escapes are undone already: a backslash is none."""
    assert decode_image("", name="x") == b""
    assert decode_image("QUJD\n", name="x") == b"ABC"
    for text in ("QUJD\\n", "\\u0051UJD", "\ud800", "\u4f60"):
        with pytest.raises(APIResponseError, match=r"^x is not base64"):
            decode_image(text, name="x")


def test_pybase64_refuses_what_the_scanner_relies_on_it_to_refuse() -> None:
    """The switch to the odd way hangs on this refusal."""
    for text in ("QUJ", "QU=D", "QQ==QUJD", "QUJ\n", "QU-_", "QUI=QUI="):
        with pytest.raises(binascii.Error):
            pybase64.b64decode(text, validate=True)


@pytest.mark.parametrize("bound", [None, 0, 10, 11, 4 << 20, 5 << 20], ids=lambda bound: f"bound {bound}")
@pytest.mark.parametrize("pieces", [[b"hello", b"", b" world"], [b"hello", bytes(4 << 20), b" world"]])
def test_a_buffer_gives_what_was_written_whatever_its_bound(bound: int | None, pieces: list[bytes]) -> None:
    """A bound that was too high or too low costs memory, never bytes."""
    buffer = ImageBuffer(bound)
    for piece in pieces:
        buffer.write(piece)
    assert buffer.finish() == b"".join(pieces)


def test_a_presized_buffer_is_filled_in_place() -> None:
    """A large image is written into memory that was set aside, and handed out without a copy."""
    tracemalloc.start()
    try:
        buffer = ImageBuffer(5 << 20)
        for _ in range(80):
            buffer.write(bytes(1 << 16))
        content = buffer.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(content) == 5 << 20
    assert peak < (5 << 20) + (1 << 18)
