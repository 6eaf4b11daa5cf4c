"""How `batch` says what happens: a line every few seconds, or JSON; live on a terminal in `_job_live`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Final, Protocol, Self

from aiai_async.bulk import BadRow, JobResult, Progress
from aiai_async.bulk.costs import JobCost
from aiai_async.bulk.drafts import Summary
from aiai_async.bulk.items import Item, State
from aiai_async.bulk.records import Ended
from aiai_async.cli._job_words import (
    advise,
    bad_row_to_object,
    describe_cost,
    describe_failure,
    describe_progress,
    describe_recovery,
    describe_result,
    describe_rows,
    item_to_object,
    progress_to_object,
    result_to_object,
    rows_to_object,
)
from aiai_async.cli._outcomes import to_json
from aiai_async.cli._output import PlainOutput, is_terminal, say, say_error
from aiai_async.cli._words import one_line

_PLAIN_EVERY: Final = 5.0
_JSON_EVERY: Final = 1.0
MOST_FAILURES: Final = 20
"""Failures that get a line of their own; a hundred thousand of them would say no more."""


class JobOutput(Protocol):
    """Is told what happens, in order; entered before the run and left after it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def checked(self, summary: Summary, cost: JobCost) -> None:
        """The rows are checked and appraised, and nothing more is to be done."""
        ...

    def refused(self, rows: Iterable[BadRow], count: int) -> None:
        """Rows are wrong."""
        ...

    def progressed(self, progress: Progress) -> None:
        """The job went on, or did not."""
        ...

    def finished(self, item: Item, change: Ended) -> None:
        """An item ended."""
        ...

    def noted(self, words: str) -> None:
        """Something that the user wants to know at once."""
        ...

    def ended(self, result: JobResult, *, elapsed: float, command: str, is_piped: bool) -> None:
        """The run is over."""
        ...


def make_job_output(*, as_json: bool) -> JobOutput:
    """Choose how things are said: as JSON if that is asked for, else live on a terminal, else in plain lines."""
    if as_json:
        return JSONJobOutput()
    if is_terminal(sys.stdout):
        # Imported here: a pipe does without rich, and starts sooner.
        from aiai_async.cli._job_live import LiveJobOutput

        return LiveJobOutput()
    return PlainJobOutput()


class PlainJobOutput:
    """Lines for a pipe or a file. What failed is said on standard error."""

    _every = _PLAIN_EVERY

    def __init__(self) -> None:
        self._lines: Final = PlainOutput()
        self._told_at = time.monotonic()
        self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def checked(self, summary: Summary, cost: JobCost) -> None:
        """See `JobOutput`."""
        self._lines.write(f"{describe_rows(summary)}; nothing was sent")
        for line in describe_cost(cost):
            self._lines.write(line)

    def refused(self, rows: Iterable[BadRow], count: int) -> None:
        """See `JobOutput`."""
        shown = 0
        for row in rows:
            say(one_line(str(row)))
            shown += 1
        if count > shown:
            say(f"... and {count - shown:,} more")

    def progressed(self, progress: Progress) -> None:
        """See `JobOutput`."""
        now = time.monotonic()
        if now - self._told_at >= self._every:
            self._told_at = now
            self._write_progress(progress)

    def finished(self, item: Item, change: Ended) -> None:
        """See `JobOutput`."""
        if change.state is State.DONE:
            return
        self._failures += 1
        if self._failures <= MOST_FAILURES:
            self._write_failure(describe_failure(item, change))
        elif self._failures == MOST_FAILURES + 1:
            self._write_failure("more failures are only counted from here on; they will be in errors.jsonl")

    def noted(self, words: str) -> None:
        """See `JobOutput`."""
        say(words)

    def ended(self, result: JobResult, *, elapsed: float, command: str, is_piped: bool) -> None:
        """See `JobOutput`."""
        for line in describe_recovery(result):
            say(line)
        if result.message is not None:
            self._write_failure(result.message)
        self._write_line(describe_result(result, elapsed=elapsed))
        for line in advise(result, command=command, is_piped=is_piped):
            self.noted(line)

    def _write_progress(self, progress: Progress) -> None:
        self._write_line(describe_progress(progress))

    def _write_failure(self, words: str) -> None:
        say_error(words)

    def _write_line(self, line: str) -> None:
        self._lines.write(line)


class JSONJobOutput(PlainJobOutput):
    """One object for each event on standard output; the line that resumes is also said on standard error."""

    _every = _JSON_EVERY

    def checked(self, summary: Summary, cost: JobCost) -> None:
        """See `JobOutput`."""
        self._write_line(to_json(rows_to_object(summary, cost)))

    def refused(self, rows: Iterable[BadRow], count: int) -> None:
        """See `JobOutput`."""
        for row in rows:
            self._write_line(to_json(bad_row_to_object(row)))

    def finished(self, item: Item, change: Ended) -> None:
        """See `JobOutput`."""
        self._write_line(to_json(item_to_object(item, change)))

    def ended(self, result: JobResult, *, elapsed: float, command: str, is_piped: bool) -> None:
        """See `JobOutput`."""
        self._write_line(to_json(result_to_object(result, elapsed=elapsed, command=command)))
        for line in advise(result, command=command, is_piped=is_piped):
            self.noted(line)

    def _write_progress(self, progress: Progress) -> None:
        self._write_line(to_json(progress_to_object(progress)))
