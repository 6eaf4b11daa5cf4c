"""What keeps a job from running, in the words of who runs it."""

from __future__ import annotations

import attrs

from aiai_async import ConfigurationError, InvalidRequestError


@attrs.frozen
class BadRow:
    """A row of the input that can't be an item."""

    line: int
    """Where it begins, counted from 1; of an iterable, its place."""
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class JobError(ConfigurationError):
    """A job can't be begun or gone on with: another process has it, it is another job, or its folder can't be used."""


class InputError(InvalidRequestError):
    """Rows of the input are wrong; nothing was sent.

    Args:
        name: the input's.
        bad_rows: the first of those that are wrong.
        count: how many are.
    """

    bad_rows: tuple[BadRow, ...]
    """The first of the rows that are wrong, at most 200, by line."""
    count: int
    """How many are wrong."""

    def __init__(self, name: str = "the input", bad_rows: tuple[BadRow, ...] = (), count: int = 0) -> None:
        first = f": {bad_rows[0]}" if bad_rows else ""
        more = f" (and {count - 1:,} more)" if count > 1 else ""
        super().__init__(f"{name} can't be used{first}{more}; nothing was sent")
        self.bad_rows = bad_rows
        self.count = count
