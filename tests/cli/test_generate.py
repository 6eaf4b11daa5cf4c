"""`aiai-async generate` in this process: what it sends, saves, says and ends with."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from aiai_async.cli import main
from aiai_async.server import Fault, LocalServer

from .conftest import Start

Output = pytest.CaptureFixture[str]


def give_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put bytes on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


def read_objects(text: str) -> list[dict[str, object]]:
    """Read what --json wrote, in the order of the prompts."""
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda found: found["index"])


# -- what is sent


def test_every_option_reaches_the_server(server: LocalServer) -> None:
    """By its name on the wire, and nothing that was not given."""
    options = ["--model", "gpt-image-1", "--n", "2", "--size", "1024x1024", "--quality", "low", "--moderation", "low"]
    options += ["--background", "opaque", "--output-format", "webp", "--output-compression", "50", "--user", "me"]
    assert main(["generate", "A kite", *options]) == 0
    dalle = ["--model", "dall-e-3", "--style", "natural", "--response-format", "b64_json"]
    assert main(["generate", "A kite", *dalle]) == 0
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
            "user": "me",
        },
        {"prompt": "A kite", "model": "dall-e-3", "style": "natural", "response_format": "b64_json"},
    ]


def test_prompts_come_from_standard_input(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, in any line ends, as UTF-8 whatever the locale; blank lines are none."""
    give_input(monkeypatch, "\ufeffone\r\n\n  two \u2028 halves\r灯塔".encode())
    assert main(["generate", "first", "-", "last", "--concurrency", "1"]) == 0
    prompts = [request.body["prompt"] for request in server.requests if isinstance(request.body, dict)]
    assert prompts == ["first", "one", "two \u2028 halves", "灯塔", "last"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b" \n\n", "standard input has no prompts"), (b"bad \xff", "standard input is not UTF-8: byte 4")],
)
def test_useless_standard_input_is_wrong_usage(
    content: bytes, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Found before a key is looked for."""
    give_input(monkeypatch, content)
    assert main(["generate", "-"]) == 2
    assert expected in capsys.readouterr().err


def test_an_invalid_request_is_not_sent(server: LocalServer, capsys: Output) -> None:
    """Nor are the others of the same command; it says which it is."""
    assert main(["generate", "good", "x" * 1001, "--model", "dall-e-2"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: prompt 2 ('xxxxx") and "use at most 1,000 characters, this one has 1,001" in err
    assert main(["generate", "good", "also good", "--model", "dall-e-2", "--size", "1x1"]) == 2
    assert capsys.readouterr().err == (
        "error: size: '1x1' is not accepted by dall-e-2; use 256x256, 512x512 or 1024x1024\n"
    )
    assert server.requests == ()
    assert list(Path().iterdir()) == []


def test_concurrency_bounds_what_is_under_way(server: LocalServer) -> None:
    """With one at a time the requests come in order, and one has been answered when the next comes."""
    assert main(["generate", *"abcde", "--concurrency", "1", "--size", "256x256"]) == 0
    prompts = [request.body["prompt"] for request in server.requests if isinstance(request.body, dict)]
    assert prompts == list("abcde")


# -- what is saved


@pytest.mark.parametrize(
    ("out", "options", "expected"),
    [
        (None, [], "images/a-kite-1.png"),
        ("deep/er", [], "deep/er/a-kite-1.png"),
        ("x.png", [], "x.png"),
        ("deep/x.JPG", ["--model", "gpt-image-1"], "deep/x.JPG"),
        ("x.jpeg", ["--model", "gpt-image-1", "--output-format", "jpeg"], "x.jpeg"),
        ("x.webp", ["--model", "gpt-image-1"], "x.webp"),
        ("x.jpg", ["--model", "dall-e-2"], "x.png"),
        ("x.png/", [], "x.png/a-kite-1.png"),
        ("folder", ["--model", "gpt-image-1", "--output-format", "jpeg"], "folder/a-kite-1.jpg"),
    ],
)
def test_images_go_where_out_says(
    server: LocalServer, out: str | None, options: list[str], expected: str, capsys: Output
) -> None:
    """The suffix tells what the file is; a name's suffix chooses the format where the model has several."""
    where = [] if out is None else ["--out", out]
    assert main(["generate", "A kite", *where, *options]) == 0
    content = Path(expected).read_bytes()
    begins = {".png": b"\x89PNG", ".webp": b"RIFF"}.get(Path(expected).suffix, b"\xff\xd8\xff")
    assert content.startswith(begins)
    assert [path for path in Path().rglob("*") if path.is_file()] == [Path(expected)]
    assert f"           {expected} (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("x.png", ["x-2.png", "x-3.png", "x.png"]),
        ("x", ["x/a-kite-1.png", "x/a-kite-2.png", "x/a-kite-3.png"]),
    ],
    ids=["file", "folder"],
)
def test_no_file_is_ever_replaced(server: LocalServer, out: str, expected: list[str]) -> None:
    """Images of an earlier run were paid for too."""
    for _ in expected:
        assert main(["generate", "A kite", "--out", out, "--size", "256x256", "--model", "dall-e-2"]) == 0
    assert sorted(str(path) for path in Path().rglob("*") if path.is_file()) == expected
    assert all(Path(path).stat().st_size for path in expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a", "b", "--out", "x.png"], "--out: x.png is the name of one file, but 2 images are asked for"),
        (["a", "--n", "3", "--out", "x.webp"], "--out: x.webp is the name of one file, but 3 images are asked for"),
        (["a", "--out", "a-file"], "--out: a-file is a file and no image"),
        (["a", "--out", "a-file/x.png"], "--out: a-file/x.png can't be written: "),
        (["a", "--out", f"{'x' * 255}.png"], "can't be written: File name too long"),
        (["a", "--out", ""], "--out: give a folder, or a file name that ends in"),
        (["a", "--out", "x.png", "--output-format", "webp"], "means png, but --output-format is webp"),
    ],
)
def test_an_impossible_out_is_found_before_sending(
    server: LocalServer, arguments: list[str], expected: str, capsys: Output
) -> None:
    """An image that can't be saved must not be paid for."""
    Path("a-file").write_text("not empty")
    assert main(["generate", *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert server.requests == ()


def test_an_image_that_cannot_be_saved_goes_elsewhere(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    """The folder goes away while the image is made: it is put where temporary files go, and that is said."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "gone"
    # What the output is told first is that the folder was found fit.
    monkeypatch.setattr("aiai_async.cli._output.PlainOutput.began", lambda *_, **__: folder.rmdir())
    assert main(["generate", "A kite", "--out", "gone"]) == 1
    err = capsys.readouterr().err
    (rescued,) = tmp_path.rglob("*.png")
    assert rescued.read_bytes().startswith(b"\x89PNG")
    assert err == (
        "error: A kite: the image was made and paid for, but it can't be written to gone: No such file or directory; "
        f"it is in {rescued} instead\n"
    )


def test_an_image_whose_link_is_dead_is_said_with_the_link(server: LocalServer, capsys: Output) -> None:
    """It was paid for; the other image of the same answer is saved."""
    server.set_faults(Fault(on="download", nth=1, status=403))
    assert main(["generate", "A kite", "--n", "2", "--model", "dall-e-2", "--json"]) == 1
    (found,) = read_objects(capsys.readouterr().out)
    assert found["paths"] == ["images/a-kite-1.png"]
    error = found["error"]
    assert isinstance(error, dict)
    assert error["type"] == "SavingError" and error["may_have_been_billed"] is True
    assert str(error["url"]).startswith(server.base_url.removesuffix("v1"))
    assert str(error["url"]) in str(error["message"])


# -- what is said


def test_plain_lines(server: LocalServer, capsys: Output) -> None:
    """No terminal: lines without escape codes; nothing is interpreted as markup."""
    assert main(["generate", "A [red]kite[/red] :smile:\nand more", "--model", "gpt-image-1", "--out", "x"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, made, path, last = out.splitlines()
    assert first == "asking for 1 image"
    assert made[:2] == "✓ " and "s  A [red]kite[/red] :smile: and more (" in made and made.endswith(" tokens, $0.0423)")
    assert path.startswith("           x/a-red-kite-red-smile-and-more-1.png (png, ")
    assert last.startswith("saved 1 image in ") and " tokens used, $0.0423 spent by prices of 20" in last


def test_one_failure_does_not_hurt_the_others(server: LocalServer, capsys: Output) -> None:
    """Exit code 1, one line with the request's id and a hint on standard error, and the count at the end."""
    server.set_faults(Fault(nth=1, status=400, body='{"error": {"message": "no [b]\\u001b[31m", "code": "bad"}}'))
    assert main(["generate", "one", "two", "--concurrency", "1"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: one: 400 bad: no [b]\N{REPLACEMENT CHARACTER}[31m [request req_")
    assert err.count("\n") == 1
    assert "images/two-1.png" in out and out.splitlines()[-1].endswith(", 1 of 2 prompts failed")


@pytest.mark.parametrize("fault", ["insufficient_quota", "invalid_api_key"])
def test_what_would_fail_in_the_same_way_is_not_sent(server: LocalServer, fault: str, capsys: Output) -> None:
    """Nothing succeeds on a key without money or a wrong one; what is not sent is counted."""
    server.set_faults(fault)
    assert main(["generate", "one", "two", "three", "--concurrency", "1"]) == 1
    out, err = capsys.readouterr()
    assert err.count("error: ") == 1 and err.startswith("error: one: ")
    assert out.splitlines()[-1].endswith(
        ", 3 of 3 prompts failed, 2 of them not sent, since they would have failed in the same way"
    )
    assert len(server.requests) == 1


def test_json_is_one_object_per_prompt(server: LocalServer, capsys: Output) -> None:
    """On standard output, in ASCII, and nothing else anywhere."""
    server.set_faults(Fault(nth=1, status=429, headers={"Retry-After": "3600"}))
    assert main(["generate", "one", "灯塔", "--json", "--concurrency", "1", "--model", "gpt-image-1"]) == 1
    out, err = capsys.readouterr()
    assert err == "" and out.isascii()
    failed, made = read_objects(out)
    assert failed["prompt"] == "one" and failed["paths"] == [] and failed["usage"] is None
    error = failed["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["status_code"], error["retry_after"]) == ("RateLimitError", 429, 3600.0)
    assert error["may_have_been_billed"] is False and error["was_sent"] is True
    assert "error" not in made
    assert made["prompt"] == "灯塔" and made["paths"] == ["images/灯塔-1.png"]
    assert str(made["request_id"]).startswith("req_") and isinstance(made["elapsed"], float)
    usage = made["usage"]
    assert isinstance(usage, dict) and set(usage) == {
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "input_tokens_details",
        "output_tokens_details",
    }
    assert "extra" not in str(usage)


def test_debug_shows_where_a_request_failed(server: LocalServer, capsys: Output) -> None:
    """Without the key; in JSON too, on standard error."""
    server.set_faults("invalid_api_key")
    for arguments in (["--debug"], ["--debug", "--json"]):
        assert main(["generate", "one", *arguments]) == 1
        err = capsys.readouterr().err
        assert "Traceback (most recent call last)" in err and "AuthenticationError" in err
        assert "sk-secret" not in err


# -- dry run


def test_dry_run_shows_the_request_without_the_key(server: LocalServer, capsys: Output) -> None:
    """Nothing is sent, and no folder is made."""
    assert main(["generate", "A \x9bkite", "--size", "1024x1024", "--model", "gpt-image-1", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "sk-secret" not in out
    head, _, body = out.partition("\n\n")
    lines = head.splitlines()
    assert lines[0] == f"POST {server.base_url}/images/generations/"
    assert "authorization: Bearer ***" in lines and "content-type: application/json" in lines
    assert body == '{\n  "prompt": "A \\x9bkite",\n  "model": "gpt-image-1",\n  "size": "1024x1024"\n}\n'
    assert server.requests == () and list(Path().iterdir()) == []


def test_dry_run_needs_no_key_and_gives_json(capsys: Output) -> None:
    """One object for each request; what is wrong is still found."""
    assert main(["generate", "one", "two", "--dry-run", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [request["body"] for request in found] == [{"prompt": "one"}, {"prompt": "two"}]
    assert found[0]["method"] == "POST" and found[0]["url"] == "https://api.aiai.com/v1/images/generations/"
    assert found[0]["headers"]["authorization"] == "Bearer *** (AIAI_API_KEY is not set)"
    assert main(["generate", "one", "--n", "11", "--dry-run"]) == 2


def test_local_needs_no_key_and_keeps_the_users_own(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """The environment's key and URL are for another service."""
    monkeypatch.setenv("AIAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert main(["generate", "--local", "A kite"]) == 0
    monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
    assert main(["generate", "--local", "A kite", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "images/a-kite-1.png" in out and "POST http://127.0.0.1:" in out and ":1/v1" not in out


# -- as a process


def test_a_pipe_that_nobody_reads_costs_no_image(server: LocalServer, start: Start) -> None:
    """All are saved, the exit code tells, and there is no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start("generate", "one", "two", "--concurrency", "1", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")
    assert sorted(path.name for path in Path("images").iterdir()) == ["one-1.png", "two-1.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_cannot_be_written_costs_no_image(server: LocalServer, start: Start) -> None:
    """As on a full disk."""
    with open("/dev/full", "wb") as full:
        process = start("generate", "one", stdout=full)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == b"error: can't write to standard output: No space left on device; images are saved all the same\n"
    assert Path("images/one-1.png").exists()


def test_ctrl_c_keeps_what_came(server: LocalServer, start: Start) -> None:
    """It ends with 130 and without a trace; the request under way is cut off, and its server told."""
    server.set_faults(Fault(nth=2, body="", part=0, ending="hang"))
    process = start("generate", "one", "two", "three", "--concurrency", "2", "--json")
    assert process.stdout is not None
    # Two of them are answered, in whatever order; the second request hangs.
    done = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"interrupted: 2 images saved, 1 request cut off, which may be billed all the same\n"
    cut_off = json.loads(out)
    assert {found["prompt"] for found in [*done, cut_off]} == {"one", "two", "three"}
    assert cut_off["error"]["type"] == "InterruptedRequest" and cut_off["error"]["may_have_been_billed"] is True
    assert sorted(path.name for path in Path("images").iterdir()) == sorted(Path(d["paths"][0]).name for d in done)
