"""The ready-made faults of streams: what servers of this API were seen to send in place of an orderly stream.

They are part of the table in `fault_table`, and count only requests that ask for a stream. Pure.

Source: what was read in gateways' sources and seen on the wire, as in the tests of the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiai_async.server.faults import EVENT_FRAME, Fault, Piece

_ERROR: Final = (
    '{"message": "a fault that this local server was told to make", "type": "server_error", '
    '"param": null, "code": "server_error"}'
)
_KEEPALIVE: Final = ": keepalive\n\n"
# A chunk that follows at once would be read together with the one before it.
_APART: Final = 0.002


def stream_faults() -> Iterator[Fault]:
    """Make the records."""
    for group in (_frames, _chunks, _labels, _errors, _endings, _images):
        yield from group()


def _stream(name: str, doc: str, **more: Any) -> Fault:
    """Make a record; more are fields of Fault, which checks them."""
    return Fault(name=f"stream_{name}", doc=doc, on="stream", **more)


def _frames() -> Iterator[Fault]:
    for name, doc, frame in (
        ("crlf", "lines end in CRLF", "event: $type\r\ndata: $data\r\n\r\n"),
        ("cr", "lines end in CR alone", "event: $type\rdata: $data\r\r"),
        ("no_event_line", "no `event:` line; the type in the data tells", "data: $data\n\n"),
        ("no_space", "no space after the colons", "event:$type\ndata:$data\n\n"),
        ("data_lines", "several `data:` lines in one event", "event: $type\n$data_lines\n\n"),
        ("id_retry", "fields `id:` and `retry:`", f"id: $number\nretry: 3000\n{EVENT_FRAME}"),
        (
            "unknown_events",
            "events of types that nobody knows",
            'event: image_generation.progress\ndata: {"type": "image_generation.progress", "progress": 0.5}\n\n'
            f"event: ping\ndata: {{}}\n\n{EVENT_FRAME}",
        ),
        # The blank line that ends an event comes before the next one.
        ("no_last_blank_line", "the body ends without the last blank line", "\nevent: $type\ndata: $data\n"),
        ("no_last_line_end", "the body ends in the middle of the last line", "\n\nevent: $type\ndata: $data"),
    ):
        yield _stream(name, doc, event=frame)
    comments = f": PING\n\n: keepalive\n{EVENT_FRAME}"
    yield _stream("comments", "comments before, in and after events", event=comments, body="$stream" + _KEEPALIVE)
    yield _stream("bom", "a UTF-8 byte order mark at the beginning", body="\ufeff$stream")
    yield _stream("done", "`data: [DONE]` at the end", body="${stream}data: [DONE]\n\n")


def _chunks() -> Iterator[Fault]:
    yield _stream("pieces", "in chunks of 97 bytes", piece_bytes=97)
    yield _stream("bytes", "byte by byte; takes a while with a large picture", piece_bytes=1)
    yield _stream(
        "split",
        "chunks that end inside a CRLF and inside a UTF-8 character",
        event=[
            Piece(b": \xe5\x9b", gap=_APART),
            Piece(b"\xbe\r", gap=_APART),
            Piece("\nevent: $type\r", gap=_APART),
            Piece("\ndata: $data\r", gap=_APART),
            Piece("\n\r", gap=_APART),
            Piece("\n", gap=_APART),
        ],
    )


def _labels() -> Iterator[Fault]:
    json_label = {"Content-Type": "application/json"}
    yield _stream("labelled_json", "a stream labelled application/json", headers=json_label)
    yield _stream("unlabelled", "a stream without a label", without=("content-type",))
    yield _stream(
        "ignored", "plain JSON with all images, as if no stream was asked for", body="$answer", headers=json_label
    )
    yield _stream("ignored_labelled", "the same, labelled text/event-stream", body="$answer")
    body = f'{{"error": {_ERROR}}}'
    yield _stream("json_error", "a JSON error with its status, labelled text/event-stream", status=400, body=body)
    yield _stream("json_error_200", "a JSON error in a 200, labelled text/event-stream", body=f"{body}\n\n")


def _errors() -> Iterator[Fault]:
    for name, doc, text in (
        ("error_event", "an error event", f'event: error\ndata: {{"type": "error", "error": {_ERROR}}}\n\n'),
        ("error_object", "an error event, the error not wrapped", f"event: error\ndata: {_ERROR}\n\n"),
        ("error_data", "an error in the data of an event without a name", f'data: {{"error": {_ERROR}}}\n\n'),
        ("error_line", "an error on a line that is no field", f'{{"error": {_ERROR}}}\n'),
        ("error_end", "the same as the end of the body, without a line end", f'{{"error": {_ERROR}}}'),
    ):
        yield _stream(name, f"{doc}, before any image", body=text)
        yield _stream(f"late_{name}", f"{doc}, after the first partial image", body="${first_partial}" + text)


def _endings() -> Iterator[Fault]:
    yield _stream("cut", "closes the connection after the partial images", body="$partials", ending="cut")
    yield _stream(
        "cut_in_partial", "closes it inside the first partial image", body="$first_partial", part=0.5, ending="cut"
    )
    # The last twentieth of a stream is of a final image, however many partial images came before.
    yield _stream("cut_in_image", "closes it inside a final image", part=0.95, ending="cut")
    yield _stream("cut_at_end", "every event is there, the last chunk is not", ending="cut")
    yield _stream("reset", "resets the connection after the partial images", body="$partials", ending="reset")
    yield _stream("hang", "falls silent after the first partial image", body="$first_partial", ending="hang")
    yield _stream("hang_in_image", "falls silent inside a final image", part=0.95, ending="hang")
    beat = {"ending": "hang", "heartbeat": _KEEPALIVE}
    yield _stream("heartbeats", "keep-alive comments, and nothing else for ever", body=_KEEPALIVE, **beat)
    yield _stream(
        "late_heartbeats", "the same after the first partial image", body=f"${{first_partial}}{_KEEPALIVE}", **beat
    )
    yield _stream("empty", "a stream without any event", body="")


def _images() -> Iterator[Fault]:
    yield _stream("fewer_partials", "one partial image, however many were asked for", body="$first_partial$completed")
    yield _stream("no_partials", "no partial image, however many were asked for", body="$completed")
    yield _stream("no_completed", "ends after the partial images, as if that was all", body="$partials")
    yield _stream("fewer_completed", "one final image, however many were asked for", body="$partials$first_completed")
    bare = 'event: $type\ndata: {"type": "$type", $settings}\n\n'
    yield _stream("empty_completed", "`completed` without an image", final=bare)
    yield _stream(
        "lost_image",
        "one final image, then `completed` without one",
        body="$partials${first_completed}event: image_generation.completed\n"
        'data: {"type": "image_generation.completed", "created_at": $created}\n\n',
    )
    yield _stream("url", "`completed` with a link", final=bare.replace("$settings", '"url": "$url", $settings'))
    yield _stream(
        "partial_succeeded",
        "each image in an event of another name, then one `completed` without any",
        final="event: image_generation.partial_succeeded\n"
        'data: {"type": "image_generation.partial_succeeded", "image_index": $index, "b64_json": "$b64"}\n\n',
        body="${stream}event: image_generation.completed\n"
        'data: {"type": "image_generation.completed", "created": $created, "usage": $usage}\n\ndata: [DONE]\n\n',
    )
