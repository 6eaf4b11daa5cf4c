"""`aiai-async serve`: as a program of its own, from its first line to the signal that ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from aiai_async.cli.serve import parse_latency, serve
from aiai_async.server.fault_table import FAULTS

PROGRAM = "import typer; from aiai_async.cli.serve import serve; app = typer.Typer(); app.command()(serve); app()"


def run(*arguments: str) -> Result:
    """Run the command in this process; for what ends by itself."""
    app = typer.Typer()
    app.command()(serve)
    return CliRunner().invoke(app, arguments)


class Running:
    """The command as a program that listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        # Its introduction ends with the key; more is written only at the end.
        self.introduction = ""
        while "AIAI_API_KEY" not in self.introduction:
            line = process.stdout.readline()
            assert line, process.communicate(timeout=20)
            self.introduction += line
        found = re.search(r"at (http://\S+/v1) ", self.introduction)
        assert found, self.introduction
        self.base_url = found[1]
        self.port = int(self.base_url.split(":")[2].removesuffix("/v1"))

    def stop(self, how: signal.Signals) -> tuple[int, str, str]:
        """Send a signal and give the exit code and what was still written."""
        self._process.send_signal(how)
        out, err = self._process.communicate(timeout=20)
        return self._process.returncode, out, err


@contextmanager
def started(*arguments: str) -> Iterator[Running]:
    """Start the command as a program, and give it when it listens."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_it_serves_until_it_is_told_to_stop(how: signal.Signals) -> None:
    """With requests in flight too; no trace, no warning, exit code 0."""
    with started("--latency", "3600", "--rpm", "60") as running:
        body = json.dumps({"prompt": "A cat"}).encode()
        head = (
            "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head.encode() + body)
            with urllib.request.urlopen(running.base_url.removesuffix("/v1"), timeout=20) as page:
                assert b"A local image server" in page.read()
            code, out, err = running.stop(how)
    assert (code, err, out.strip()) == (0, "", "stopped")
    assert f"  export AIAI_BASE_URL={running.base_url}\n" in running.introduction
    assert "  export AIAI_API_KEY=anything\n" in running.introduction


def test_faults_limits_and_key_come_from_the_command_line(tmp_path: Path) -> None:
    """What they do is tested elsewhere; here only that they arrive."""
    file = tmp_path / "faults.toml"
    file.write_text('[[fault]]\nname = "overloaded"\nnth = 1\n')
    options = ["--faults", str(file), "--api-key", "sk-1", "--ipm", "5", "--max-concurrent", "2"]
    with started(*options) as running:
        request = urllib.request.Request(
            f"{running.base_url}/images/generations",
            data=b'{"prompt": "A cat", "size": "256x256"}',
            headers={"Authorization": "Bearer sk-1", "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        assert caught.value.code == 503
        caught.value.close()
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["x-ratelimit-remaining-images"] == "4"
        code, out, err = running.stop(signal.SIGTERM)
    assert (code, err) == (0, ""), err
    assert "  export AIAI_API_KEY='the key given to --api-key'\n" in running.introduction
    assert "sk-1" not in running.introduction + out


def test_listening_to_the_network_is_said_loudly() -> None:
    """On standard error, before anything else."""
    with started("--host", "0.0.0.0") as running:
        assert running.base_url.startswith("http://127.0.0.1:")
        code, _, err = running.stop(signal.SIGTERM)
    assert code == 0
    assert err.startswith("WARNING: listening on 0.0.0.0: everyone who can reach this machine can use the server")


def test_a_taken_port_is_one_clear_line() -> None:
    """With what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("--port", port)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: can't listen on 127.0.0.1:{port}: ")
    assert result.stderr.endswith("try another --port\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latency", "soon"], "--latency: 'soon' is neither seconds nor a range such as 10-30"),
        (["--latency", "30-10"], "latency: (30.0, 10.0) is neither seconds nor a range of seconds, low to high"),
        (["--latency", "inf"], "latency: (inf, inf) is neither"),
        (["--rpm", "0"], "requests_per_minute: 0.0 is not a number above 0"),
        (["--limit-style", "leaky"], "limit_style: 'leaky' is not one of bucket"),
        (["--faults", "/nowhere/faults.toml"], "/nowhere/faults.toml: "),
    ],
    ids=str,
)
def test_wrong_usage_is_one_clear_line(arguments: list[str], message: str) -> None:
    """Exit code 2, and nothing is started."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")


def test_the_faults_can_be_listed() -> None:
    """All of them, and nothing is started."""
    result = run("--list-faults")
    assert result.exit_code == 0
    assert all(f"| {name} " in result.stdout for name in FAULTS)


@pytest.mark.parametrize(
    ("text", "latency"), [("20", (20, 20)), ("10-30", (10, 30)), ("0.5-2.5", (0.5, 2.5)), ("0", (0, 0))]
)
def test_a_latency_is_seconds_or_a_range(text: str, latency: tuple[float, float]) -> None:
    """As people write them."""
    assert parse_latency(text) == latency
