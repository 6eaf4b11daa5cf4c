"""How a command says what its requests wait for."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from aiai_async.cli import _live, _output
from aiai_async.cli._live import LiveOutput
from aiai_async.cli._output import JSONOutput, PlainOutput
from aiai_async.cli._picture_output import PictureOutput

WORDS = "waiting 12 s for images per minute, 3 in flight"


class TestPlainLines:
    def test_now_and_then(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """It is asked for twice a second, and said every ten seconds, for as long as something waits."""
        now = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        output = PlainOutput()
        for _ in range(42):
            output.waits(WORDS)
            now[0] += 0.5
        output.waits(None)
        assert capsys.readouterr().out.splitlines() == [WORDS] * 3

    def test_not_among_objects(self, capsys: pytest.CaptureFixture[str]) -> None:
        JSONOutput().waits(WORDS)
        assert capsys.readouterr().out == ""


class TestOnATerminal:
    @pytest.fixture
    def console(self) -> Iterator[Console]:
        with io.StringIO() as file:
            yield Console(file=file, width=60, height=20)

    @staticmethod
    def draw(rows: _live.Rows, console: Console) -> list[str]:
        with console.capture() as captured:
            console.print(rows)
        return [line.strip() for line in captured.get().splitlines() if line.strip()]

    def test_below_what_is_under_way(self, console: Console) -> None:
        """As long as it waits, and as long as anything is under way; cut to the terminal's width."""
        rows = _live.Rows("-")
        rows.expect(1)
        rows.add(0, "A lighthouse")
        rows.wait_for(WORDS)
        assert self.draw(rows, console)[-1] == WORDS
        rows.wait_for("waiting for " + "x" * 80)
        assert self.draw(rows, console)[-1].endswith("…")
        rows.wait_for(None)
        assert len(self.draw(rows, console)) == 1
        rows.wait_for(WORDS)
        rows.remove(0)
        assert self.draw(rows, console) == []

    def test_the_output_passes_it_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        output = LiveOutput()
        output.waits(WORDS)
        assert output._rows._waits == WORDS


def test_every_output_is_one() -> None:
    """A new kind of news has to be taken by all of them."""
    names = {name for name in vars(_output.Output) if not name.startswith("_")}
    for kind in (PlainOutput, JSONOutput, LiveOutput, PictureOutput):
        assert names <= set(dir(kind))
