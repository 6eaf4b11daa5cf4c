"""`BulkJob`: the front door. It reads arguments, opens the folder, runs, and leaves the output files."""

from __future__ import annotations

import math
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs

from aiai_async import AsyncImagesClient, ImageRequest
from aiai_async._prices import Prices, read_prices
from aiai_async.bulk import limits
from aiai_async.bulk.costs import Appraiser, JobCost, show_known
from aiai_async.bulk.drafts import Draft, Summary, explain_failure, read_defaults
from aiai_async.bulk.errors import BadRow, JobError
from aiai_async.bulk.folder import Opening, OpenJob
from aiai_async.bulk.inputs import FileInput, Input, to_input
from aiai_async.bulk.items import PAID_STATES, RETRIES, Reason, Retry, State, exit_code, takes_up
from aiai_async.bulk.listeners import OnItem, OnProgress
from aiai_async.bulk.outputs import JOURNAL, write_outputs
from aiai_async.bulk.provenance import Provenance
from aiai_async.bulk.records import KnownCost
from aiai_async.bulk.report.reporter import Reporter
from aiai_async.bulk.result import JobResult
from aiai_async.bulk.rows import Row, to_row
from aiai_async.bulk.runner import Runner

DEFAULT_CONCURRENCY: Final = 50
_ROWS_AT_ONCE: Final = 500
# The sum of a million rows is not the same to the last bit each time.
_ROUNDING: Final = 1 + 1e-9


class BulkJob:
    """Makes the images of many requests into a folder, so that no crash loses one or has one paid twice.

    The folder holds `job.sqlite` (what became of each item), `images/`, `results.jsonl`, `errors.jsonl` and
    `report.html`. Running the same job again goes on with what is missing; a finished one sends nothing.

    Args:
        source: a file of prompts (text, CSV, JSON lines, OpenAI Batch lines), or an iterable or async iterable of
            prompts and `ImageRequest`s.
        folder: the job's; it is made where it isn't there.
        client: sends the requests; None where `run` gets one. It is not closed. Its `RetryPolicy.max_retry_after`
            doesn't hold: a job waits.
        concurrency: items in flight at once, from sending until their files are durable.
        max_images: images that all runs of the job together may cost. Nothing is sent that could pass it, and what may
            have been billed counts.
        max_cost: US dollars that all runs of the job together may cost. Nothing is sent that could pass it: what is in
            flight counts at the most that it may cost by the client's prices, what may have been billed as spent. An
            answer that costs more all the same counts as what it cost, and all in flight and after it with the same
            model, size and quality as much; until such an answer is there, only a quarter of what is left is risked on
            them, but at least one item.
            Where a price isn't known, nothing is sent.
        retry: what a run takes up besides what was not finished or failed for now, under a new key: "failed" for good,
            "unknown" (may be paid twice; so may what is made anew because its link can't be fetched), or "all".
        extend: whether rows that the job doesn't have yet are added to it; else another input is refused.
        skip_invalid: whether bad rows are left out; else nothing is sent where there are some.
        defaults: fields of `ImageRequest` for rows that don't have them.
        sidecar: whether a JSON file is put beside each image, such as `kite.png.json`: its request, model, request id,
            sha256, cost. Images that were made before get theirs too.
        embed: whether the prompt and the settings are written into the image files (PNG, JPEG, WebP); no pixel changes,
            but a signature over the file, as of C2PA, no longer holds. The sha256 is that of the file.

    Raises:
        JobError: an argument can't be used.

    Example:
        async with AsyncImagesClient() as client:
            job = BulkJob("prompts.txt", "lighthouses", client, defaults={"model": "gpt-image-1"})
            result = await job.run(on_progress=lambda progress: print(progress.done, progress.total))
        print(result.done, result.results_path)
    """

    def __init__(
        self,
        source: str | Path | Iterable[ImageRequest | str] | AsyncIterable[ImageRequest | str] | Input,
        folder: str | Path,
        client: AsyncImagesClient | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_images: int | None = None,
        max_cost: float | None = None,
        retry: Retry | None = None,
        extend: bool = False,
        skip_invalid: bool = False,
        defaults: Mapping[str, object] | None = None,
        sidecar: bool = False,
        embed: bool = False,
    ) -> None:
        self._input: Final = None if isinstance(source, AsyncIterable) else to_input(source)
        self._async_rows: Final = source if isinstance(source, AsyncIterable) else None
        self._name: Final = "the requests" if self._input is None else self._input.name
        self.folder: Final = Path(folder)
        """Where the job is."""
        self._client: Final = client
        self._concurrency: Final = _read_count("concurrency", concurrency, least=1)
        self._max_images: Final = None if max_images is None else _read_count("max_images", max_images, least=0)
        self._max_cost: Final = _read_usd("max_cost", max_cost)
        if retry is not None and retry not in RETRIES:
            raise JobError(f"retry: {retry!r} is not one of {', '.join(RETRIES)}")
        self._retry: Final[Retry | None] = retry
        self._extend: Final = extend
        self._skip_invalid: Final = skip_invalid
        self._defaults: Final = read_defaults(defaults)
        self._provenance: Final = Provenance(sidecar=sidecar, embed=embed)
        self._runner: Runner | None = None
        self._opened: OpenJob | None = None
        self._wish: Reason | None = None

    def __repr__(self) -> str:
        return f"BulkJob({self._name!r}, {str(self.folder)!r})"

    def check(self) -> Summary:
        """Read and check all rows, without making the folder or sending anything. It blocks.

        Raises:
            InputError: rows are wrong, and shall not be skipped.
            JobError: there are no rows, or they can't be read.
        """
        if self._input is None:
            raise JobError("the requests come from an async iterable; check() reads files and iterables")
        with tempfile.TemporaryDirectory(prefix="aiai-async-") as folder:
            path = Path(folder) / JOURNAL
            try:
                with Draft(path, defaults=self._defaults, name=self._name) as draft:
                    draft.add(self._input.rows())
                    summary = draft.finish(skip_invalid=self._skip_invalid)
                    return attrs.evolve(summary, outlays=draft.add_up())
            except (sqlite3.Error, OSError) as error:
                raise explain_failure(path, error) from error

    def prepare(self) -> None:
        """Read and check all rows and take the folder, as `run` does first where this was not called. It blocks.

        Until `run` or `close` is called, the folder is held.

        Raises:
            InputError: rows are wrong; nothing was sent.
            JobError: the folder is another job's, is held by another run, or can't be used.
        """
        if self._input is None:
            raise JobError("the requests come from an async iterable, which run() reads")
        if self._opened is None:
            self._opened = self._open(self._input.rows(), check=None)

    def appraise(self, prices: Prices | None = None) -> JobCost:
        """Say what a run that was prepared by `prepare` may cost at most. It blocks.

        Args:
            prices: replace those of the table, or add to it; give those of the client that runs it.

        Raises:
            JobError: `prepare` was not called.
            ConfigurationError: the prices can't be used.
        """
        states = (State.UNFINISHED, *takes_up(self._retry))
        return Appraiser(read_prices(prices)).add_up(self._prepared().journal.outlays(states))

    def spent(self) -> float:
        """Say what the runs before may have cost, in US dollars, without what `appraise` counts. It blocks.

        Raises:
            JobError: `prepare` was not called.
        """
        paid = [state for state in PAID_STATES if state is not State.UNFINISHED]
        return self._prepared().journal.count_spent_cost(paid)

    def is_confirmed(self, usd: float) -> bool:
        """Tell whether somebody agreed, in this run or an earlier one, that the job may cost so much. It blocks."""
        return usd <= self._prepared().journal.confirmed() * _ROUNDING

    def confirm(self, usd: float) -> None:
        """Note in the journal that somebody agreed to it. It blocks."""
        self._prepared().journal.confirm(usd)

    def _prepared(self) -> OpenJob:
        if self._opened is None:
            raise JobError("the job is not prepared; call prepare() first")
        return self._opened

    def close(self) -> None:
        """Give the folder back, where `prepare` was called and `run` was not."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def stop(self) -> None:
        """Send nothing more: `run` finishes what is in flight and returns; called before it, it sends nothing.

        To be called on the event loop. The run after that goes on.
        """
        self._wish = self._wish or Reason.STOPPED
        if self._runner is not None:
            self._runner.stop(Reason.STOPPED)

    def abort(self) -> None:
        """Cut off what is in flight; `run` returns at once, and the next run asks for it again under the same keys."""
        self._wish = Reason.ABORTED
        if self._runner is not None:
            self._runner.abort()

    async def run(
        self,
        *,
        on_progress: OnProgress | None = None,
        on_item: OnItem | None = None,
        client: AsyncImagesClient | None = None,
    ) -> JobResult:
        """Send what is not done yet, and return when all of it has ended or the run was stopped.

        What goes wrong with single items is in the result and never raised. Cancelling cuts off what is in flight, as
        `abort` does.

        Args:
            on_progress: is called with a `Progress`, at least each second and at most ten times; it may be async.
            on_item: is called with an item and what became of it.
            client: sends the requests instead of the job's.

        Raises:
            InputError: rows are wrong; nothing was sent.
            JobError: the folder is another job's, is held by another run, or can't be used.
            Exception: what a callback raised, after what was in flight is finished.
        """
        client = client or self._client
        if client is None:
            raise JobError("there is no client; give one to BulkJob, or to run()")
        try:
            return await self._run(client, on_progress, on_item)
        finally:
            # A wish holds for one run.
            self._wish = None

    async def _run(
        self, client: AsyncImagesClient, on_progress: OnProgress | None, on_item: OnItem | None
    ) -> JobResult:
        opened, self._opened = self._opened, None
        if opened is None:
            opened = await self._open_in_thread()
        reporter = Reporter(self.folder)
        runner: Runner | None = None
        result: JobResult | None = None
        try:
            runner = Runner(
                client,
                opened,
                concurrency=self._concurrency,
                max_images=self._max_images,
                max_cost=self._max_cost,
                retry=self._retry,
                provenance=self._provenance,
                on_progress=on_progress,
                on_item=reporter.watch(on_item),
            )
            self._runner = runner
            if self._wish is not None:
                runner.stop(self._wish)
            await runner.run()
        finally:
            self._runner = None
            with anyio.CancelScope(shield=True):
                result = await anyio.to_thread.run_sync(self._finish, opened, runner, client, reporter)
        assert result is not None
        return result

    # -- opening

    async def _open_in_thread(self) -> OpenJob:
        if self._input is not None:
            rows = self._input.rows()
            return await anyio.to_thread.run_sync(lambda: self._open(rows, check=anyio.from_thread.check_cancelled))
        assert self._async_rows is not None
        opening = self._make_opening()
        with opening:
            await anyio.to_thread.run_sync(opening.begin, None)
            waiting: list[Row | BadRow] = []
            line = 0
            async for request in self._async_rows:
                line += 1
                waiting.append(to_row(request, line))
                if len(waiting) >= _ROWS_AT_ONCE:
                    await anyio.to_thread.run_sync(opening.add, waiting)
                    waiting = []
            await anyio.to_thread.run_sync(opening.add, waiting)
            return await anyio.to_thread.run_sync(lambda: opening.finish(now=time.time()))

    def _make_opening(self) -> Opening:
        return Opening(
            self.folder,
            name=self._name,
            defaults=self._defaults,
            extend=self._extend,
            skip_invalid=self._skip_invalid,
            has_sidecars=self._provenance.sidecar,
        )

    def _open(self, rows: Iterator[Row | BadRow], *, check: Any) -> OpenJob:
        # Any: a function without arguments, or None; anyio's has no narrower type.
        file = self._input if isinstance(self._input, FileInput) else None
        with self._make_opening() as opening:
            if opening.begin(file):
                while piece := list(islice(rows, _ROWS_AT_ONCE)):
                    if check is not None:
                        check()
                    opening.add(piece)
            return opening.finish(now=time.time())

    # -- the end

    def _finish(
        self, opened: OpenJob, runner: Runner | None, client: AsyncImagesClient, reporter: Reporter
    ) -> JobResult:
        """Leave the output files, close the folder, and say what there is."""
        reporter.close()
        journal = opened.journal
        reason, message, has_sent = Reason.ABORTED, None, False
        if runner is not None:
            reason, message, has_sent = runner.reason, runner.message, runner.has_sent
        counts: dict[State, int] = {}
        images, cost = 0, KnownCost(0.0, 0)
        try:
            try:
                counts, images, cost = journal.count(), journal.count_images(), journal.cost()
                if found := limits.limits_of(client):
                    journal.note_limits(found)
                # How the run went is told with the next change, and there is none.
                journal.apply([])
                write_outputs(journal, self.folder)
                if (words := reporter.write(journal, reason)) is not None:
                    message = words if message is None else f"{message}; {words}"
            finally:
                opened.close()
        except (sqlite3.Error, OSError) as error:
            words = f"{self.folder}: the output files can't be written: {error}; run again when it can be written"
            message = words if message is None else f"{message}; {words}"
            reason = Reason.DISK if reason is Reason.FINISHED else reason
        every = {state: counts.get(state, 0) for state in State}
        return JobResult(
            counts={state.value: number for state, number in every.items()},
            images=images,
            reason=reason.value,
            message=message,
            sent_nothing=not has_sent,
            folder=self.folder,
            cost=show_known(*cost),
            unknown_costs=cost.unknown,
            exhausted=None if runner is None else runner.exhausted,
            exit_code=exit_code(every, reason),
            recovery=opened.recovery,
            bad_rows=() if opened.summary is None else opened.summary.bad_rows,
            added=opened.added,
        )


def _read_usd(name: str, value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < math.inf):  # type: ignore[operator] # it is a number
        raise JobError(f"{name} is {value!r}; give US dollars, a number of 0 or more")
    return None if value is None else float(value)  # type: ignore[arg-type] # it is a number


def _read_count(name: str, value: object, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise JobError(f"{name} is {value!r}; give a number of {least} or more")
    return value
