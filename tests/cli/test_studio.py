"""`aiai-async studio`: as a program of its own, from its first line to the signal that ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aiai_async.cli._app import app, run


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the program, and give it with the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aiai_async", "studio", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"studio at (http://127\.0\.0\.1:\d+/) for (.+) \(Ctrl-C stops it\)\n", line)
        assert found, (line, process.communicate(timeout=20))
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_it_shows_the_page_until_it_is_told_to_stop(how: signal.Signals) -> None:
    """With the server inside; no trace, no warning, exit code 0."""
    with started("--local") as (process, url):
        with urllib.request.urlopen(url, timeout=20) as page:
            assert b"aiai_async studio" in page.read()
        process.send_signal(how)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_without_a_key_it_says_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    """And starts nothing."""
    assert run(["studio"]) == 2
    assert "there is no API key: set AIAI_API_KEY" in capfd.readouterr().err


def test_local_and_another_server_contradict_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    """As with the other commands."""
    assert run(["studio", "--local", "--base-url", "http://127.0.0.1:1/v1"]) == 2
    assert "--local starts a server of its own" in capfd.readouterr().err


def test_a_taken_port_is_one_clear_line() -> None:
    """With what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(app, ["studio", "--local", "--port", port])
    assert found.exit_code == 1
    assert found.stderr.startswith(f"error: can't listen on 127.0.0.1:{port}: Address already in use")
    assert found.stderr.endswith("; try another --port\n")


def test_what_fails_later_is_not_the_ports_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system while it runs is told as what it is."""

    def fail(_: str) -> bool:
        raise OSError("no browser at all")

    monkeypatch.setattr("webbrowser.open", fail)
    found = CliRunner().invoke(app, ["studio", "--local", "--port", "0", "--open"])
    assert str(found.exception) == "no browser at all"
    assert "can't listen" not in found.output


@pytest.mark.skipif(os.name == "nt", reason="BROWSER is what programs go by elsewhere")
def test_it_opens_the_page(tmp_path: Path) -> None:
    """In the browser that the environment names; where there is none it says so and goes on."""
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part\nmv {opened}.part {opened}\n')
    browser.chmod(0o755)
    with started("--local", "--open", BROWSER=f"{browser} %s") as (process, url):
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (out, err) == ("stopped\n", "")
    assert opened.read_text() == url
