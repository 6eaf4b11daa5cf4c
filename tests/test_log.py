"""The logger and the environment variable that turns it on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from aiai_async._log import LOGGER, configure_from_environment


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    level, handlers = LOGGER.level, list(LOGGER.handlers)
    yield
    LOGGER.setLevel(level)
    LOGGER.handlers[:] = handlers


@pytest.mark.parametrize(
    ("value", "level"), [("info", logging.INFO), ("debug", logging.DEBUG), (" DEBUG ", logging.DEBUG)]
)
def test_the_variable_turns_the_log_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, level: int
) -> None:
    """On standard error, at that level, each line once however many clients are made."""
    monkeypatch.setenv("AIAI_LOG", value)
    configure_from_environment()
    configure_from_environment()
    assert LOGGER.level == level
    LOGGER.info("POST /v1 %d", 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("INFO aiai_async: POST /v1 200\n") == 1


@pytest.mark.parametrize("value", [None, "", "warning", "1"])
def test_without_it_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None
) -> None:
    """The program's own logging decides; and without any nothing is printed."""
    if value is not None:
        monkeypatch.setenv("AIAI_LOG", value)
    before = LOGGER.level, list(LOGGER.handlers)
    configure_from_environment()
    assert (LOGGER.level, LOGGER.handlers) == before
    LOGGER.info("x")
    assert capsys.readouterr() == ("", "")


def test_a_program_that_logs_by_itself_gets_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Under the name of the package."""
    with caplog.at_level(logging.DEBUG, logger="aiai_async"):
        LOGGER.debug("x")
    assert [(record.name, record.message) for record in caplog.records] == [("aiai_async", "x")]
