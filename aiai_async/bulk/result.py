"""What a run of a job left, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from aiai_async.bulk.budgets import Exhausted
from aiai_async.bulk.errors import BadRow
from aiai_async.bulk.items import State
from aiai_async.bulk.outputs import ERRORS, REPORT, RESULTS
from aiai_async.bulk.recovery import Recovery


@attrs.frozen(kw_only=True)
class JobResult:
    """What a run left: counts of the whole job, why the run ended, and where everything is."""

    counts: Mapping[str, int]
    """Items by outcome: `pending`, `unfinished`, `not_downloaded`, `done`, `failed`, `failed_for_now`, `unknown`."""
    images: int
    """Images of the items that are done."""
    reason: str
    """Why the run ended: `finished`, `budget`, `quota`, `refused_key`, `disk`, `configuration`, `stopped` or
    `aborted`."""
    message: str | None
    """The same in words, where they say more."""
    sent_nothing: bool
    """Whether there was nothing to send."""
    folder: Path
    cost: float | None
    """US dollars that the answers of all runs cost, as far as that is known; None where it isn't of any."""
    unknown_costs: int
    """Items that were answered and whose cost isn't known."""
    exhausted: Exhausted | None
    """Which budget stopped the run, `max_images` or `max_cost`; None: none did."""
    exit_code: int
    """What the command line ends with: 0 all done, 1 some are not, 3 stopped by a budget or quota, 130 interrupted."""
    recovery: Recovery
    """What was put in order before."""
    bad_rows: tuple[BadRow, ...] = ()
    """Rows that were left out; the first 200."""
    added: int = 0
    """Rows that were added to the job."""

    @property
    def cost_usd(self) -> float | None:
        """The same as `cost`, as rows of `results.jsonl` call it."""
        return self.cost

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Items whose images are here."""
        return self.counts["done"]

    @property
    def failed(self) -> int:
        """Items that failed for good."""
        return self.counts["failed"]

    @property
    def failed_for_now(self) -> int:
        """Items that failed and may succeed later; the next run takes them up."""
        return self.counts["failed_for_now"]

    @property
    def unknown(self) -> int:
        """Items that may have been billed, and have no image."""
        return self.counts["unknown"]

    @property
    def remaining(self) -> int:
        """Items that the next run takes up."""
        names = (State.PENDING, State.UNFINISHED, State.LINKED, State.FAILED_FOR_NOW)
        return sum(self.counts[state.value] for state in names)

    @property
    def results_path(self) -> Path:
        """One JSON line for each item that is done."""
        return self.folder / RESULTS

    @property
    def errors_path(self) -> Path:
        """One JSON line for each item that is not."""
        return self.folder / ERRORS

    @property
    def report_path(self) -> Path:
        """The report for people."""
        return self.folder / REPORT
