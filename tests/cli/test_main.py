"""`aiai_async.cli.main`, `_app`, `_debug`: how a command is found, and how its end becomes a line and an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aiai_async import __version__
from aiai_async.cli import generate as generate_module
from aiai_async.cli import main

from .conftest import Start

Output = pytest.CaptureFixture[str]


def test_it_says_its_version(capsys: Output) -> None:
    """And nothing else."""
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"aiai-async {__version__}\n", "")


def test_without_a_command_it_shows_the_help(capsys: Output) -> None:
    """It is wrong usage all the same."""
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(command in out for command in ("generate", "stream", "serve"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["generat"], "No such command 'generat'. Did you mean 'generate'?; see aiai-async --help"),
        (["generate"], "Missing argument 'PROMPT'; see aiai-async generate --help"),
        (["generate", "--nope", "a cat"], "No such option: --nope"),
        (["generate", "--api-key", "sk-secret", "a cat"], "No such option: --api-key"),
        (["generate", "--n", "two", "a cat"], "Invalid value for '--n'"),
        (["generate", "--concurrency", "0", "a cat"], "Invalid value for '--concurrency'"),
        (["generate", "--local", "--base-url", "http://x/v1", "a cat"], "leave out --base-url, or --local"),
        (["generate", "--local", "--timeout", "0", "a cat"], "error: timeout: "),
        (["generate", "--local", "--retries", "-1", "a cat"], "Invalid value for '--retries'"),
        (["generate", "a cat"], "there is no API key: set AIAI_API_KEY"),
        (["serve", "--port", "x"], "Invalid value for '--port'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], expected: str, capsys: Output) -> None:
    """On standard error; the exit code is 2, and no secret shows."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and expected in err
    assert err.count("\n") == 1 and err.endswith("\n")
    assert "sk-secret" not in err


@pytest.mark.parametrize(
    "arguments", [["--debug", "generate", ""], ["generate", "", "--debug"]], ids=["before the command", "after it"]
)
def test_debug_shows_the_traceback(arguments: list[str], capsys: Output) -> None:
    """Below the line that everyone gets; the next command in the same process has none."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: prompt: '' is not accepted by the API")
    assert "Traceback (most recent call last)" in err
    assert main(["generate", ""]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_nobody_foresaw_is_a_line_too(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """That says how to learn more."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(generate_module, "choose_destination", fail)
    assert main(["generate", "a cat"]) == 1
    assert capsys.readouterr().err == "error: unexpected RuntimeError: two lines; --debug shows where\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Whatever it is asked for."""
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--version"]) == 2
    words = f"error: the command line needs {missing}, which is not installed: pip install 'aiai-async[cli]'\n"
    assert capsys.readouterr() == ("", words)


def test_without_the_extra_the_program_starts_all_the_same() -> None:
    """So that it can say so: nothing of it is imported before."""
    blocked = "import sys; sys.modules['typer'] = sys.modules['rich'] = None"
    run = "import runpy; runpy.run_module('aiai_async', run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", f"{blocked}; {run}"], capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install 'aiai-async[cli]'" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["generate", "--local", "a cat"], ["stream", "--local", "a cat"], ["serve"]],
    ids=["generate", "stream", "serve"],
)
def test_without_pillow_the_local_server_says_what_to_install(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The rest goes without."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "pip install 'aiai-async[server]'" in err


def test_an_interruption_while_loading_has_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """Nothing was begun then."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupt)
    assert main(["--version"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_help_of_a_stream(start: Start) -> None:
    """It names each option of the issue, and how many partial images there are by default."""
    process = start("stream", "--help")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"") and b"\x1b" not in out
    assert all(f"--{option} ".encode() in out for option in ("partial-images", "save-partials", "local", "json", "n"))
    assert b"[default: 3]" in out


def test_help_in_a_pipe_has_no_escape_codes(start: Start) -> None:
    """It names each option of the issue; `python -m aiai_async` is the program."""
    process = start("generate", "--help")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert b"\x1b" not in out
    options = "model n size quality background moderation style output-format output-compression response-format user"
    for option in [*options.split(), "out", "local", "json", "dry-run", "timeout", "retries", "base-url", "debug"]:
        assert f"--{option} ".encode() in out
    assert b"AIAI_API_KEY" in out
