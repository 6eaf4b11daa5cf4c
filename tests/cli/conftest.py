"""What the tests of the command line share: a server that runs beside them, and the program as a process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from aiai_async.server import LocalServer
from tests.scripted import Answer, ScriptedServer

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
def portal() -> Iterator[BlockingPortal]:
    """A thread with a loop for servers, since a command has a loop of its own."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def server(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The local server; the environment points to it."""
    with portal.wrap_async_context_manager(LocalServer("sk-secret")) as server:
        monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
        monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
        yield server


Script = Callable[..., ScriptedServer]


@pytest.fixture
def script(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Start a server that gives these answers; the environment points to it."""
    with contextlib.ExitStack() as stack:

        def start(*answers: Answer) -> ScriptedServer:
            server = stack.enter_context(portal.wrap_async_context_manager(ScriptedServer(*answers)))
            monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
            monkeypatch.setenv("AIAI_API_KEY", "sk-secret")
            return server

        yield start


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
