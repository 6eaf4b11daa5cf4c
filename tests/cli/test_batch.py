"""`aiai-async batch`: what it says, leaves and ends with; its signals in a process and on a terminal."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import BlockingPortal

from aiai_async import RateLimits
from aiai_async.bulk import Progress
from aiai_async.cli import _connection, _job_output, main
from aiai_async.cli._file_limit import raise_file_limit
from aiai_async.cli._job_words import describe_progress
from aiai_async.server import Fault, LocalServer

from .conftest import Start
from .test_terminal import CODES, Terminal

Output = pytest.CaptureFixture[str]
SMALL = ["--model", "dall-e-2", "--size", "256x256", "--response-format", "b64_json"]


def write_prompts(count: int = 5) -> str:
    """A file of prompts in the working folder."""
    Path("prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(count)))
    return "prompts.txt"


def read_lines(path: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def events(text: str, kind: str) -> list[dict[str, Any]]:
    """The events of one type."""
    found = [json.loads(line) for line in text.splitlines()]
    return [event for event in found if event["type"] == kind]


def test_a_job_and_the_same_command_again(server: LocalServer, capsys: Output) -> None:
    """All is there and said; then nothing is sent, and that is said."""
    command = ["batch", write_prompts(), "--out", "job", *SMALL, "--n", "2", "--user", "me"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"5 of 5 items done, 10 images in job, \$0\.16 spent; this run took \d\.\d s\n", out)
    assert len(list(Path("job/images").iterdir())) == 10
    assert server.requests[0].body == {
        "prompt": "prompt 0",
        "model": "dall-e-2",
        "n": 2,
        "size": "256x256",
        "response_format": "b64_json",
        "user": "me",
    }
    assert main(command) == 0
    found = capsys.readouterr()
    assert found.out == "job is finished: 5 of 5 items done, 10 images in job; nothing was sent\n"
    assert found.err == "" and len(server.requests) == 5


def test_links_are_downloaded(server: LocalServer) -> None:
    """As dall-e answers with them."""
    assert main(["batch", write_prompts(), "--out", "job", "--model", "dall-e-3"]) == 0
    assert len(server.downloads) == 5
    first = read_lines("job/results.jsonl")[0]
    assert first["revised_prompt"] and Path("job", first["images"][0]["path"]).read_bytes()[:4] == b"\x89PNG"


def test_a_rows_own_field_wins(server: LocalServer) -> None:
    """Over the options; the report holds nothing that a row can break out of."""
    rows = [{"prompt": "<script>alert(1)</script>", "n": 2, "custom_id": "a/../<b>"}, {"prompt": "b"}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    server.set_faults(Fault(nth=2, status=400, body='{"error": {"message": "<b>bad</b>"}}'))
    assert main(["batch", "rows.jsonl", "--out", "job", "--n", "1", "--concurrency", "1", *SMALL]) == 1
    assert [request.body["n"] for request in server.requests if isinstance(request.body, dict)] == [2, 1]
    assert sorted(os.listdir("job/images")) == ["000000-a-b-0.png", "000000-a-b-1.png"]
    report = Path("job/report.html").read_text()
    assert "<script>" not in report and "&lt;script&gt;" in report
    assert "<b>bad" not in report and "&lt;b&gt;bad" in report
    assert 'href="images/000000-a-b-0.png"' in report and "req_" in report


def test_standard_input(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON lines are known by their first character."""
    for _ in range(2):
        text = b'{"prompt": "a"}\n{"prompt": "b"}\n'
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="ascii"))
        assert main(["batch", "-", "--out", "job", *SMALL]) == 0
    assert len(server.requests) == 2


def test_going_on_with_standard_input(server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Takes the same input; where nothing went wrong, nobody is sent to look what did."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n"), encoding="ascii"))
    assert main(["batch", "-", "--out", "job", *SMALL, "--max-images", "1", "--concurrency", "1"]) == 3
    err = capsys.readouterr().err
    assert "to go on, raise --max-images, with the same input: aiai-async batch - --out job" in err
    assert "what went wrong" not in err


def test_events_of_links(server: LocalServer, capsys: Output) -> None:
    """Hold what the answer told: request id, attempts, time."""
    assert main(["batch", write_prompts(2), "--out", "job", "--model", "dall-e-3", "--json"]) == 0
    for event in events(capsys.readouterr().out, "item"):
        assert event["request_id"].startswith("req_") and event["attempts"] == 1 and event["elapsed"] >= 0
        assert len(event["paths"]) == 1


def test_bad_rows(server: LocalServer, capsys: Output) -> None:
    """Are told together with their lines, and nothing is sent; or the others go on."""
    Path("rows.csv").write_text("custom_id,prompt,n\nx,good,1\ny,bad,99\nx,again,1\nz,,1\n")
    command = ["batch", "rows.csv", "--out", "job", *SMALL]
    told = [
        "line 3: n: 99 is not accepted by dall-e-2; use 1 to 10",
        "line 4: custom_id: 'x' is that of line 2 too",
        "line 5: prompt: None is not accepted by dall-e-2; say what the image shows",
    ]
    assert main(command) == 2
    found = capsys.readouterr()
    assert found.err.splitlines()[:3] == told
    assert found.err.splitlines()[3].startswith("error: rows.csv can't be used: line 3: n: 99 is not accepted")
    assert not Path("job").exists() and server.requests == ()
    assert main([*command, "--json"]) == 2
    assert [event["line"] for event in events(capsys.readouterr().out, "bad_row")] == [3, 4, 5]
    assert main([*command, "--dry-run", "--skip-invalid"]) == 0
    found = capsys.readouterr()
    assert found.err.splitlines() == told
    assert found.out.splitlines()[0] == "1 row, 1 image (dall-e-2: 1), 3 bad rows left out; nothing was sent"
    assert main([*command, "--skip-invalid"]) == 0
    assert [row["custom_id"] for row in read_lines("job/results.jsonl")] == ["x"]
    # The same file needs no second check.
    assert main(command) == 0


def test_a_dry_run(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks and counts without a key, a folder, or a request."""
    assert main(["batch", write_prompts(3), "--out", "job", "--n", "4", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("3 rows, 12 images (no model named: 3); nothing was sent\n")
    assert main(["batch", "prompts.txt", "--out", "job", "--dry-run", "--json", "--model", "m"]) == 0
    (event,) = events(capsys.readouterr().out, "rows")
    counted = {name: event[name] for name in ("rows", "images", "models", "bad_rows")}
    assert counted == {"rows": 3, "images": 3, "models": {"m": 3}, "bad_rows": 0}
    assert os.listdir() == ["prompts.txt"]


def test_without_a_key(capsys: Output) -> None:
    """It is said before anything is read; the local server needs none."""
    assert main(["batch", write_prompts(2), "--out", "job"]) == 2
    assert "there is no API key" in capsys.readouterr().err and not Path("job").exists()
    assert main(["batch", "prompts.txt", "--out", "job", "--local", *SMALL]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--retry", "some"], "--retry: 'some' is not one of failed, unknown, all"),
        (["--format", "xml"], "--format: 'xml' is not one of text, csv, jsonl"),
        (["--rpm", "0"], "--rpm, --ipm, --tpm: requests_per_minute: 0.0 is not a number above 0"),
        (["--local", "--base-url", "http://x"], "leave out --base-url, or --local"),
        (["--concurrency", "0"], "Invalid value for '--concurrency'"),
    ],
    ids=str,
)
def test_wrong_usage(options: list[str], words: str, capsys: Output) -> None:
    """Ends with 2."""
    assert main(["batch", write_prompts(), "--out", "job", *options]) == 2
    assert words in capsys.readouterr().err


def test_limits_reach_the_client(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RateLimits; without them there are none, and they are learned."""
    seen: list[object] = []

    class Client(_connection.AsyncImagesClient):
        def __init__(self, *arguments: Any, limits: RateLimits | None = None, **options: Any) -> None:
            seen.append(limits)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(_connection, "AsyncImagesClient", Client)
    limits = ["--rpm", "600", "--ipm", "500", "--tpm", "1e6", "--concurrency", "2"]
    assert main(["batch", write_prompts(2), "--out", "job", *SMALL, *limits]) == 0
    assert main(["batch", "prompts.txt", "--out", "job", *SMALL]) == 0
    assert seen == [
        RateLimits(requests_per_minute=600, images_per_minute=500, tokens_per_minute=1e6, concurrency=2),
        None,
    ]


def test_budget_and_quota(server: LocalServer, capsys: Output) -> None:
    """End with 3 and say so; what to do is said too."""
    command = ["batch", write_prompts(), "--out", "job", *SMALL, "--concurrency", "1"]
    assert main([*command, "--max-images", "2"]) == 3
    found = capsys.readouterr()
    assert "error: the budget of 2 images leaves no room for the next item, which asks for 1" in found.err
    assert "to go on, raise --max-images: aiai-async batch prompts.txt --out job" in found.err
    server.set_faults("insufficient_quota")
    assert main(command) == 3
    found = capsys.readouterr()
    assert "insufficient_quota" in found.err and "2 of 5 items done" in found.out
    assert len(server.requests) == 3


def test_failures(server: LocalServer, capsys: Output) -> None:
    """Have a line each and end with 1; --retry asks again."""
    server.set_faults(Fault(nth=1, status=400, body='{"error": {"message": "no [b]\\u001b[31m"}}'))
    command = ["batch", write_prompts(3), "--out", "job", *SMALL, "--concurrency", "1"]
    assert main([*command, "--json"]) == 1
    found = capsys.readouterr()
    (failed,) = [event for event in events(found.out, "item") if event["outcome"] != "done"]
    assert (failed["index"], failed["outcome"], failed["error"]["type"]) == (0, "failed", "BadRequestError")
    (result,) = events(found.out, "result")
    assert (result["done"], result["failed"], result["exit_code"], result["resume"]) == (2, 1, 1, None)
    assert main(command) == 1
    found = capsys.readouterr()
    assert found.out.startswith("job has nothing left to send: 2 of 3 items done, 2 images in job, 1 failed for good")
    assert "--retry failed asks again" in found.err
    server.set_faults(Fault(status=400, body='{"error": {"message": "no [b]\\u001b[31m"}}'))
    assert main([*command, "--retry", "failed"]) == 1
    assert re.search(r"error: prompt 0: failed for good: 400: no \[b\].?\[31m", capsys.readouterr().err)
    server.set_faults()
    assert main([*command, "--retry", "failed"]) == 0


def test_another_job_in_the_folder(server: LocalServer, capsys: Output) -> None:
    """Is refused with the difference, unless --extend."""
    assert main(["batch", write_prompts(2), "--out", "job", *SMALL]) == 0
    assert main(["batch", "prompts.txt", "--out", "job", *SMALL, "--quality", "standard"]) == 2
    assert "quality: not set before, standard now" in capsys.readouterr().err
    write_prompts(3)
    assert main(["batch", "prompts.txt", "--out", "job", *SMALL]) == 2
    assert "has 1 row that it doesn't have, the first on line 3 ('prompt 2')" in capsys.readouterr().err
    assert main(["batch", "prompts.txt", "--out", "job", *SMALL, "--extend"]) == 0
    assert len(server.requests) == 3


def test_lines_without_a_terminal(server: LocalServer, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """One every few seconds; after twenty failures they are only counted."""
    monkeypatch.setattr(_job_output.PlainJobOutput, "_every", 0.0)
    server.set_faults(Fault(status=400))
    assert main(["batch", write_prompts(25), "--out", "job", *SMALL]) == 1
    found = capsys.readouterr()
    assert "0 of 25 done, 0 in flight, 0.0 images/min" in found.out
    assert found.err.count("failed for good: 400") == 20 and "more failures are only counted" in found.err


def test_one_number_is_in_flight(server: LocalServer, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's own, beside why it waits."""
    process = ["batch", write_prompts(3), "--out", "job", *SMALL, "--rpm", "1", "--json"]
    has_waited = threading.Event()
    write = _job_output.JSONJobOutput._write_progress

    def note(self: _job_output.JSONJobOutput, progress: Progress) -> None:
        write(self, progress)
        if progress.waiting:
            has_waited.set()

    monkeypatch.setattr(_job_output.JSONJobOutput, "_write_progress", note)
    monkeypatch.setattr(_job_output.JSONJobOutput, "_every", 0.0)

    def interrupt() -> None:
        wait_for(server, 1)
        has_waited.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert main(process) == 130
    thread.join()
    waits = [event["waiting"] for event in events(capsys.readouterr().out, "progress") if event["waiting"]]
    assert any(re.fullmatch(r"waiting \d+ s for requests per minute", words) for words in waits), waits
    assert not any("in flight" in words for words in waits if not words.startswith("stopping"))


def test_words_of_progress() -> None:
    """Everything that is known, on one line."""
    progress = Progress(
        total=1000,
        done=600,
        failed=3,
        unknown=2,
        in_flight=50,
        images=600,
        elapsed=10.0,
        rate=71.25,
        eta=3700.0,
        waiting="images per minute used up\nfor 12 s",
    )
    assert describe_progress(progress) == (
        "600 of 1,000 done, 3 failed, 2 unknown, 50 in flight, 71.2 images/min, 1 h 01 min left; "
        "images per minute used up for 12 s"
    )


def test_the_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the hard one allows."""
    limits, refused = [(256, 4096)], [65536]

    def set_limit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] in refused:
            raise ValueError("macOS")
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    raise_file_limit()
    raise_file_limit()
    assert limits == [(256, 4096), (4096, 4096)]
    limits.append((256, resource.RLIM_INFINITY))
    raise_file_limit()
    assert limits[-1] == (10240, resource.RLIM_INFINITY)
    monkeypatch.setitem(sys.modules, "resource", None)
    raise_file_limit()


# -- signals


def wait_for(server: LocalServer, requests: int) -> None:
    """Wait until so many requests came."""
    deadline = time.monotonic() + 20
    while len(server.requests) < requests:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def slow(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], LocalServer]:
    """A local server that takes so long for each request."""

    def start_slow(latency: float) -> LocalServer:
        server = LocalServer(latency=latency)
        portal.call(server.start)
        monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
        monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
        return server

    return start_slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_runs(
    slow: Callable[[float], LocalServer], portal: BlockingPortal, start: Start, number: int
) -> None:
    """Nothing more is sent, the line that resumes is printed, and it works."""
    server = slow(0.5)
    command = ["batch", write_prompts(9), "--out", "the job", *SMALL, "--concurrency", "2"]
    process = start(*command, text=True)
    wait_for(server, 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "2 of 9 items done" in out and len(server.requests) == 2
    assert "what is in flight is finished" in err and "Traceback" not in err
    line = re.search(r"to go on: aiai-async (batch prompts.txt --out 'the job' .*)", err)
    assert line is not None
    assert len(read_lines("the job/results.jsonl")) == 2
    portal.call(server.aclose)


def test_the_second_signal_cuts_off(slow: Callable[[float], LocalServer], portal: BlockingPortal, start: Start) -> None:
    """At once, and the next run asks for what was cut off under the same keys."""
    server = slow(60.0)
    command = ["batch", write_prompts(4), "--out", "job", *SMALL, "--concurrency", "2"]
    process = start(*command, text=True)
    wait_for(server, 2)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "Ctrl-C again stops at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "under the same keys" in err and "to go on: aiai-async batch" in err
    assert [row["outcome"] for row in read_lines("job/errors.jsonl")] == ["unfinished"] * 2 + ["pending"] * 2
    keys = {request.headers["idempotency-key"] for request in server.requests}
    process = start(*command, text=True)
    wait_for(server, 4)
    assert {request.headers["idempotency-key"] for request in server.requests[2:4]} == keys
    # Not killed: coverage's file of it would be cut off.
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "Ctrl-C again stops at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    portal.call(server.aclose)


async def test_sigterm_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service manager kills after a while: what isn't there by then is cut off, and asked for again."""
    module = importlib.import_module("aiai_async.cli.batch")
    monkeypatch.setattr(module, "_TERM_SECONDS", 0.01)
    calls: list[str] = []
    cut_off = anyio.Event()

    class Job:
        def stop(self) -> None:
            calls.append("stop")

        def abort(self) -> None:
            calls.append("abort")
            cut_off.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(module._listen, Job(), _job_output.PlainJobOutput())
        await anyio.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGTERM)
        await cut_off.wait()
        tasks.cancel_scope.cancel()
    assert calls == ["stop", "abort"]


def test_ctrl_c_while_the_input_is_awaited(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends at once, and leaves nothing behind."""
    monkeypatch.setenv("AIAI_API_KEY", "sk")
    process = start("batch", "-", "--out", "job", stdin=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not Path("job/input.part").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    # Until it waits for the pipe.
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted: nothing was sent\n")
    assert not Path("job").exists()


def test_on_a_terminal(
    slow: Callable[[float], LocalServer], portal: BlockingPortal, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts are drawn anew; Ctrl-C drains, and the command that resumes comes out whole."""
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    server = slow(0.5)
    server.set_faults(Fault(nth=1, status=400, body='{"error": {"message": "no [b]"}}'))
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "20"}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    found = Terminal(start("batch", write_prompts(30), "--out", "job", *SMALL, "--concurrency", "3", **streams), ours)
    os.close(theirs)
    found.read_until(" in flight")
    # As the terminal driver does it.
    found.process.send_signal(signal.SIGINT)
    found.read_to_end()
    os.close(ours)
    shown = CODES.sub("", found.text)
    assert found.process.returncode == 130, shown
    assert re.search(r"of 30 done, (1 failed, )?\d in flight, [\d.]+ images/min", shown)
    # The first that reaches the server is refused: one of the three that go at once.
    assert re.search(r"error: prompt [012]: failed for good: 400: no \[b\]", shown)
    assert "\x1b[1;31merror:" in found.text
    assert "stopping: what is in flight is finished; Ctrl-C again stops at once" in shown
    assert f"to go on: aiai-async batch prompts.txt --out job {' '.join(SMALL)} --concurrency 3\r\n" in shown
    assert "Traceback" not in shown
    assert found.text.rindex("\x1b[?25h") > found.text.rindex("\x1b[?25l")
    portal.call(server.aclose)


def test_an_error_of_our_own_ends_the_command(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With its own words, after what was in flight was finished."""

    def fail(*_: object) -> None:
        raise LookupError("mine")

    monkeypatch.setattr(_job_output.PlainJobOutput, "finished", fail)
    assert main(["batch", write_prompts(1), "--out", "job", *SMALL]) == 1
    assert "error: unexpected LookupError: mine" in capsys.readouterr().err
    assert len(read_lines("job/results.jsonl")) == 1


def test_a_signal_before_the_job_runs(server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Whatever it interrupts, the folder is free afterwards and the command goes on."""

    async def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    command = ["batch", write_prompts(2), "--out", "job", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("aiai_async.cli.batch"), "_run_job", interrupt)
        assert main(command) == 130
    assert "to go on: aiai-async batch" in capsys.readouterr().err
    assert main(command) == 0
