"""`aiai-async report`: the page of a job, its path on standard output, and the browser where that is asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiai_async.cli import main, report
from aiai_async.server import LocalServer

from .conftest import Start

Output = pytest.CaptureFixture[str]
SMALL = ["--model", "dall-e-2", "--size", "256x256", "--response-format", "b64_json"]


@pytest.fixture
def job(server: LocalServer, capsys: Output) -> str:
    """A job of two prompts that is done."""
    Path("prompts.txt").write_text("a kite\na fox\n")
    assert main(["batch", "prompts.txt", "--out", "job", *SMALL]) == 0
    capsys.readouterr()
    return "job"


def test_a_page_is_written(job: str, capsys: Output) -> None:
    """Again, also where it was lost."""
    Path(job, "report.html").unlink()
    assert main(["report", job]) == 0
    assert capsys.readouterr() == ("job/report.html\n", "")
    assert "Finished: 2 of 2 items done." in Path(job, "report.html").read_text()


def test_what_is_no_job(capsys: Output) -> None:
    """Is wrong usage, and is told in one line."""
    Path("other").mkdir()
    for name in ("other", "nothing"):
        assert main(["report", name]) == 2
        assert capsys.readouterr() == ("", f"error: {name} is no job: there is no job.sqlite in it\n")
    assert os.listdir("other") == []


def test_a_browser_opens_it(job: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """With the page's address, whatever its path holds."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    os.rename(job, "my job#1")
    assert main(["report", "my job#1", "--open"]) == 0
    assert opened == [f"file://{Path.cwd()}/my%20job%231/report.html"]
    assert capsys.readouterr() == ("my job#1/report.html\n", "")


def test_a_real_browser(job: str, start: Start) -> None:
    """Any program that BROWSER names."""
    program = Path("browser.sh")
    program.write_text('#!/bin/sh\nprintf %s "$1" >opened\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    process = start("report", job, "--open", env={**os.environ, "BROWSER": f"{program.absolute()} %s"})
    assert process.communicate() == (b"job/report.html\n", b"") and process.returncode == 0
    assert Path("opened").read_text() == f"file://{Path.cwd()}/job/report.html"


def test_without_a_browser(job: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """That is said; the page is there."""
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    assert main(["report", job, "--open"]) == 0
    assert "no browser" in capsys.readouterr().err


def test_many_thumbnails_are_told_of(job: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Every few seconds, since they may take minutes."""
    for path in Path(job, "thumbs").iterdir():
        path.unlink()
    monkeypatch.setattr(report, "_EVERY", 0.0)
    assert main(["report", job]) == 0
    found = capsys.readouterr()
    assert found.out == "job/report.html\n" and "2 thumbnails made\n" in found.err
