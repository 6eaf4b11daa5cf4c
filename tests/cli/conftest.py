"""What the tests of the command line share: a server that runs beside them, and the program as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from aiai_async.server import LocalServer

# They tell rich, which Typer's help uses, to write escape codes to pipes.
_FORCING = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "NO_COLOR", "COLUMNS", "LINES", "TERM")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in _FORCING:
        monkeypatch.delenv(name, raising=False)
    # The package may be imported from the sources, and the processes run in another folder.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server in a thread of its own, since a command has a loop of its own; the environment points to it."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(LocalServer("sk-secret")) as server:
        monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
        monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
        yield server


Start = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program as a process; it is ended with the test."""
    processes: list[subprocess.Popen[Any]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[Any]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command = [sys.executable, "-W", "error", "-m", "aiai_async", *arguments]
        processes.append(subprocess.Popen(command, **{**pipes, **options}))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
