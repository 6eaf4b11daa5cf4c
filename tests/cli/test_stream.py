"""`aiai-async stream`: what it sends, tells while it comes, saves, and ends with."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from aiai_async.cli import main
from aiai_async.cli import stream as stream_module
from aiai_async.server import LocalServer
from tests.scripted import PNG, Received, answer_with, error_body, http_answer

from .conftest import Script, Start
from .streams import by_prompt, completed, error, held, partial, whole

Output = pytest.CaptureFixture[str]
FINAL = PNG + b"final"
USAGE = {"total_tokens": 7, "input_tokens": 2, "output_tokens": 5}


def files() -> list[str]:
    """Give the files in and below this folder."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def without_times(text: str) -> str:
    """Write dots for the digits of each time."""
    return re.sub(r"\d+\.\d s", "..s", text)


def read_objects(text: str) -> list[dict[str, Any]]:
    """Read what --json wrote."""
    return [json.loads(line) for line in text.splitlines()]


# -- what is sent


def test_every_option_reaches_the_server(server: LocalServer) -> None:
    """By its name on the wire; left out, three partial images are asked for."""
    options = ["--model", "gpt-image-1", "--n", "2", "--size", "1024x1024", "--quality", "low", "--moderation", "low"]
    options += ["--background", "opaque", "--output-format", "webp", "--output-compression", "50", "--user", "me"]
    assert main(["stream", "A kite", *options, "--partial-images", "1"]) == 0
    assert main(["stream", "A kite", "--model", "a-model", "--response-format", "b64_json"]) == 0
    assert [request.body for request in server.requests] == [
        {
            "prompt": "A kite",
            "model": "gpt-image-1",
            "n": 2,
            "size": "1024x1024",
            "quality": "low",
            "background": "opaque",
            "moderation": "low",
            "output_format": "webp",
            "output_compression": 50,
            "partial_images": 1,
            "user": "me",
            "stream": True,
        },
        {"prompt": "A kite", "model": "a-model", "response_format": "b64_json", "partial_images": 3, "stream": True},
    ]


def test_prompts_come_from_standard_input(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `generate`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    assert main(["stream", "-", "three", "--concurrency", "1"]) == 0
    prompts = [request.body["prompt"] for request in server.requests if isinstance(request.body, dict)]
    assert prompts == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "dall-e-3"], "--model: dall-e-3 doesn't stream; use a gpt-image model, or aiai-async generate"),
        (["--model", "gpt-image-1", "--partial-images", "4"], "partial_images: 4 is not accepted by gpt-image-1"),
        (["--out", "x.png", "--n", "2"], "--out: x.png is the name of one file, but 2 images are asked for"),
        (["--style", "vivid"], "No such option: --style"),
    ],
)
def test_wrong_usage(server: LocalServer, arguments: list[str], expected: str, capsys: Output) -> None:
    """Is found before anything is sent."""
    assert main(["stream", "A kite", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and expected in err
    assert server.requests == () and files() == []


def test_dry_run_shows_that_it_is_a_stream(server: LocalServer, capsys: Output) -> None:
    """And sends nothing."""
    assert main(["stream", "A kite", "--dry-run", "--json", "--partial-images", "0"]) == 0
    (shown,) = read_objects(capsys.readouterr().out)
    assert shown["body"] == {"prompt": "A kite", "partial_images": 0, "stream": True}
    assert server.requests == ()


def test_local_needs_no_key(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """The server of --local takes its time, so that there is something to see."""
    assert stream_module.LOCAL_LATENCY > 1
    monkeypatch.setattr(stream_module, "LOCAL_LATENCY", 0.1)
    assert main(["stream", "--local", "A kite", "--json"]) == 0
    *_, last, outcome = read_objects(capsys.readouterr().out)
    assert last["type"] == "image_generation.completed" and last["elapsed"] >= 0.1
    assert outcome["paths"] == [last["path"]] == files()


# -- what is told and saved


def test_a_line_for_each_event(script: Script, capsys: Output) -> None:
    """With the time, the prompt and the size; only the final image is saved; there is no escape code."""
    script(whole(partial(0), partial(1), completed(FINAL, usage=USAGE)))
    assert main(["stream", "A [red]kite[/red]\x1b[31m"]) == 0
    out, err = capsys.readouterr()
    name = "A [red]kite[/red]\N{REPLACEMENT CHARACTER}[31m"
    assert err == ""
    assert without_times(out).splitlines() == [
        "asking for 1 image",
        f"    ..s  {name}: partial image 0 (png, 1 kB)",
        f"    ..s  {name}: partial image 1 (png, 1 kB)",
        f"✓   ..s  {name}: final image, images/a-red-kite-red-31m-1.png (png, 1 kB), 7 tokens",
        "saved 1 image in ..s, 7 tokens used",
    ]
    assert files() == ["images/a-red-kite-red-31m-1.png"]
    assert Path(files()[0]).read_bytes() == FINAL


def test_partial_images_are_saved_beside_the_final_one(script: Script, capsys: Output) -> None:
    """Where that is asked for."""
    script(whole(partial(0), partial(1, PNG + b"1"), completed(FINAL)))
    assert main(["stream", "A kite", "--save-partials"]) == 0
    assert files() == ["images/a-kite-1.partial-0.png", "images/a-kite-1.partial-1.png", "images/a-kite-1.png"]
    assert [Path(name).read_bytes() for name in files()] == [PNG, PNG + b"1", FINAL]
    *_, last_partial, final, end = without_times(capsys.readouterr().out).splitlines()
    assert last_partial == "    ..s  A kite: partial image 1, images/a-kite-1.partial-1.png (png, 1 kB)"
    assert final == "✓   ..s  A kite: final image, images/a-kite-1.png (png, 1 kB)"
    assert end == "saved 1 image and 2 partial images in ..s"


def test_several_prompts_at_once(script: Script, capsys: Output) -> None:
    """Each line says which prompt it is of, whose beginning suffices; one failure does not hurt the others."""
    long = "long " * 20
    script(by_prompt(lambda prompt: whole(partial(0), completed()) if "x" not in prompt else http_answer(400, {})))
    assert main(["stream", "one", long, "x"]) == 1
    out, err = capsys.readouterr()
    first, *events, last = without_times(out).splitlines()
    assert first == "asking for 3 images" and last == "saved 2 images in ..s, 1 of 3 prompts failed"
    shown = "long long long long long long long long…"
    assert sorted(events) == [
        f"    ..s  {shown}: partial image 0 (png, 1 kB)",
        "    ..s  one: partial image 0 (png, 1 kB)",
        f"✓   ..s  {shown}: final image, images/{'-'.join(['long'] * 12)}-1.png (png, 1 kB)",
        "✓   ..s  one: final image, images/one-1.png (png, 1 kB)",
    ]
    assert err.startswith("error: x: 400") and err.count("\n") == 1


def test_json_has_an_object_for_each_event_and_outcome(script: Script, capsys: Output) -> None:
    """In ASCII, and nothing else; the outcome is that of `generate` with two fields more."""
    script(whole(partial(0), completed(FINAL, usage=USAGE)))
    assert main(["stream", "灯塔", "--json", "--save-partials"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.isascii()
    objects = read_objects(out)
    assert all(isinstance(found.pop("elapsed"), float) for found in objects)
    same = {"index": 0, "prompt": "灯塔"}
    kind = {"media_type": "image/png"}
    assert objects == [
        {
            "type": "image_generation.partial_image",
            **same,
            "partial_image_index": 0,
            **kind,
            "size_bytes": len(PNG),
            "path": "images/灯塔-1.partial-0.png",
        },
        {
            "type": "image_generation.completed",
            **same,
            "usage": USAGE,
            **kind,
            "size_bytes": len(FINAL),
            "path": "images/灯塔-1.png",
        },
        {
            "type": "outcome",
            **same,
            "paths": ["images/灯塔-1.png"],
            "partial_paths": ["images/灯塔-1.partial-0.png"],
            "usage": USAGE,
            "cost_usd": None,
            "cost_source": None,
            "prices_date": None,
            "request_id": "req_7",
        },
    ]


def test_an_event_is_told_before_the_next_comes(script: Script, start: Start, portal: BlockingPortal) -> None:
    """The server goes on when the line of its first partial image was read."""
    seen = asyncio.Event()
    script(held(partial(0), until=seen, then=completed()))
    process = start("stream", "A kite", "--json", "--save-partials")
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    assert found["type"] == "image_generation.partial_image"
    assert Path(found["path"]).read_bytes() == PNG
    portal.call(seen.set)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["image_generation.completed", "outcome"]


@pytest.mark.parametrize(
    "images",
    [
        [partial(0), partial(0), partial(1), partial(1), completed(), completed()],
        [partial(0), partial(1), completed(), partial(0), partial(1), completed()],
    ],
    ids=["together", "one by one"],
)
def test_several_images_of_a_prompt(script: Script, images: list[bytes]) -> None:
    """Each has its partial images beside it, in whatever order the server makes them."""
    script(whole(*images))
    assert main(["stream", "A kite", "--n", "2", "--save-partials", "--out", "x"]) == 0
    names = [f"x/a-kite-{k}{end}.png" for k in (1, 2) for end in ("", ".partial-0", ".partial-1")]
    assert sorted(files()) == sorted(names)


@pytest.mark.parametrize("out", ["x", "x/a-kite.png"], ids=["folder", "file"])
def test_no_file_is_ever_replaced(script: Script, out: str) -> None:
    """A name that any file has already begins no series, be that of another kind; three at once get three names."""
    script(whole(partial(0), partial(0), completed()))
    for _ in range(2):
        assert main(["stream", "A kite", "--save-partials", "--out", out]) == 0
    taken = sorted({Path(name).name.partition(".")[0] for name in files()})
    assert len(taken) == 4 and len(files()) == 6
    Path("x/a-kite-9.webp").touch()
    if out == "x":
        assert main(["stream", *["A kite"] * 6, "--save-partials", "--out", out]) == 0
        assert not [name for name in files() if "a-kite-9" in name and not name.endswith(".webp")]
        assert len(files()) == 7 + 6 * 3
    assert all(Path(name).stat().st_size for name in files() if not name.endswith(".webp"))


def test_a_plain_answer_is_as_good(script: Script, capsys: Output) -> None:
    """From a server that does not stream."""
    script(http_answer(200, answer_with(PNG, FINAL, usage=USAGE)))
    assert main(["stream", "A kite", "--n", "2"]) == 0
    assert files() == ["images/a-kite-1.png", "images/a-kite-2.png"]
    assert capsys.readouterr().out.splitlines()[-1].endswith(", 7 tokens used")


# -- what goes wrong


def test_a_stream_that_ends_too_early(script: Script, capsys: Output) -> None:
    """What completed is saved, and the error says so; the exit code is 1."""
    answer = whole(partial(0), partial(0), completed(FINAL, usage=USAGE))
    script(answer.replace(b"\r\n\r\n", b"\r\nContent-Length: 99999\r\n\r\n", 1))
    assert main(["stream", "A kite", "--n", "2", "--save-partials", "--retries", "0"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: A kite: ") and err.count("\n") == 1
    assert "the stream ended after 2 partial and 1 final images" in err
    assert err.endswith("; it may have been billed; saved before that: 1 image and 2 partial images\n")
    assert ".partial_images" not in err
    assert files() == ["images/a-kite-1.partial-0.png", "images/a-kite-1.png", "images/a-kite-2.partial-0.png"]
    assert without_times(out).splitlines()[-1] == (
        "saved 1 image and 2 partial images in ..s, 7 tokens used, 1 of 1 prompt failed"
    )


def test_an_error_event(script: Script, capsys: Output) -> None:
    """Has the class of its code; what completed before is saved and in the outcome, with what it cost."""
    script(whole(completed(usage=USAGE), error("no", code="moderation_blocked")))
    assert main(["stream", "A kite", "--n", "2", "--json"]) == 1
    event, outcome = read_objects(capsys.readouterr().out)
    assert event["path"] == "images/a-kite-1.png" and outcome["paths"] == [event["path"]]
    assert outcome["usage"] == USAGE and outcome["request_id"] == "req_7"
    assert outcome["error"]["type"] == "ModerationBlockedError" and outcome["error"]["may_have_been_billed"] is True


def test_what_would_fail_in_the_same_way_is_not_sent(script: Script, capsys: Output) -> None:
    """As in `generate`."""
    server = script(http_answer(429, error_body("no money", code="insufficient_quota")))
    assert main(["stream", "one", "two", "--concurrency", "1"]) == 1
    assert len(server.requests) == 1
    assert "2 of 2 prompts failed, 1 of them not sent" in capsys.readouterr().out


def test_a_final_image_whose_link_is_dead(script: Script, capsys: Output) -> None:
    """Is told, without a file, and said with its link; a partial image that is a link needs no file at all."""
    server = script(http_answer(404, b""))
    url = f"{server.base_url}/x.png"
    server.answers.insert(
        0, whole(partial(0, b""), completed(b"")).replace(b'"b64_json": ""', b'"url": "%b"' % url.encode())
    )
    assert main(["stream", "A kite"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: A kite: the image was made and paid for, but its link can't be fetched: ")
    assert err.endswith(f"try it yourself: {url}\n")
    assert without_times(out).splitlines()[1:] == [
        "    ..s  A kite: partial image 0 (a link)",
        "    ..s  A kite: final image (a link)",
        "saved 0 images in ..s, 1 of 1 prompt failed",
    ]


def test_partial_images_that_cannot_be_saved(script: Script, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Don't keep the final one from coming, which goes where temporary files go, since it was paid for."""
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd()))
    monkeypatch.setattr("aiai_async.cli._output.PlainOutput.began", lambda *_, **__: Path("gone").rmdir())
    script(whole(partial(0), completed(FINAL)))
    assert main(["stream", "A kite", "--save-partials", "--out", "gone"]) == 1
    out, err = capsys.readouterr()
    assert err == "error: A kite: a partial image can't be written to gone: No such file or directory\n"
    assert "partial image 0 (png, 1 kB)" in out and "final image (png, 1 kB)" in out
    (rescued,) = files()
    assert Path(rescued).read_bytes() == FINAL


@pytest.mark.parametrize(
    ("ending", "expected"),
    [(b"", "; saved before that: 0 images; the image was made"), (error("no"), "; the image was made")],
    ids=["incomplete", "error event"],
)
def test_an_image_that_went_elsewhere_is_told_although_the_stream_broke(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: Output, ending: bytes, expected: str
) -> None:
    """Two things went wrong then, and only the line that says so leads to the image."""
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd()))
    monkeypatch.setattr("aiai_async.cli._output.PlainOutput.began", lambda *_, **__: Path("gone").rmdir())
    answer = whole(completed(FINAL), ending)
    script(answer if ending else answer.replace(b"\r\n\r\n", b"\r\nContent-Length: 99999\r\n\r\n", 1))
    assert main(["stream", "A kite", "--n", "2", "--out", "gone", "--retries", "0"]) == 1
    err = capsys.readouterr().err
    (rescued,) = files()
    assert err.count("\n") == 1 and expected in err and err.endswith(f"; it is in {Path(rescued).resolve()} instead\n")


def test_an_image_that_went_elsewhere_is_told_after_ctrl_c(
    script: Script, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, portal: BlockingPortal
) -> None:
    """Beside the line that counts."""
    go_on = asyncio.Event()

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(partial(0)))
        await go_on.wait()
        writer.write(completed(FINAL))
        await asyncio.Event().wait()

    script(answer)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    process = start("stream", "A kite", "--n", "2", "--out", "gone", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    (tmp_path / "gone").rmdir()
    portal.call(go_on.set)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (rescued,) = files()
    assert str(Path(rescued).resolve()) in json.loads(out)["error"]["message"]


def test_ctrl_c_keeps_what_came(script: Script, start: Start, portal: BlockingPortal) -> None:
    """Partial images too, where that was asked for; the request is cut at once."""
    server = script(held(partial(0), partial(0), completed(FINAL), until=asyncio.Event()))
    process = start("stream", "A kite", "--n", "2", "--save-partials", "--json")
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == (
        b"interrupted: 1 image and 2 partial images saved, 1 request cut off, which may be billed all the same\n"
    )
    outcome = json.loads(out)
    assert outcome["error"]["type"] == "InterruptedRequest"
    assert sorted([*outcome["paths"], *outcome["partial_paths"]]) == sorted(found["path"] for found in told) == files()
    portal.call(server.wait_until, lambda: server.closed == 1)
