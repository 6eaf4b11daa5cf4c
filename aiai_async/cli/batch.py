"""`aiai-async batch`: a job of any number of images in a folder, which the same command goes on with."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import anyio
import typer

from aiai_async import ConfigurationError, RateLimits
from aiai_async.bulk import BulkJob, InputError, JobResult
from aiai_async.bulk.costs import Appraiser
from aiai_async.bulk.inputs import FORMATS, FileInput, StreamInput
from aiai_async.bulk.items import RETRIES
from aiai_async.bulk.job import DEFAULT_CONCURRENCY
from aiai_async.bulk.outputs import JOURNAL
from aiai_async.cli import _loop, _options
from aiai_async.cli._connection import Connection
from aiai_async.cli._debug import Debug
from aiai_async.cli._file_limit import raise_file_limit
from aiai_async.cli._job_output import JobOutput, make_job_output
from aiai_async.cli._job_words import ask_for_cost, describe_resuming
from aiai_async.cli._output import say
from aiai_async.cli._prices_file import read_prices_file

# Long enough for an image that is nearly there; who sends SIGTERM, such as a service manager, kills after a while.
_TERM_SECONDS: Final = 30.0
ASKED_ABOVE_USD: Final = 10.0
"""A job that may cost more is begun on a terminal only if somebody says so."""


def batch(
    context: typer.Context,
    source: _options.JobInput,
    *,
    out: _options.JobFolder,
    model: _options.Model = None,
    n: _options.Count = None,
    size: _options.Size = None,
    quality: _options.Quality = None,
    background: _options.Background = None,
    moderation: _options.Moderation = None,
    style: _options.Style = None,
    output_format: _options.OutputFormat = None,
    output_compression: _options.OutputCompression = None,
    response_format: _options.ResponseFormat = None,
    user: _options.User = None,
    max_images: _options.MaxImages = None,
    max_cost: _options.MaxCost = None,
    retry: _options.Retry = None,
    extend: _options.Extend = False,
    skip_invalid: _options.SkipInvalid = False,
    sidecar: _options.Sidecar = False,
    embed: _options.Embed = False,
    format: _options.InputFormat = None,
    json: _options.JobEventsAsJSON = False,
    dry_run: _options.CheckRows = False,
    yes: _options.Yes = False,
    local: _options.Local = False,
    base_url: _options.BaseURL = None,
    timeout: _options.Seconds = None,
    retries: _options.Retries = None,
    prices: _options.PricesFile = None,
    concurrency: _options.ItemsAtOnce = None,
    rpm: _options.RequestsPerMinute = None,
    ipm: _options.ImagesPerMinute = None,
    tpm: _options.TokensPerMinute = None,
    debug: Debug = False,
) -> None:
    """Make the images of all rows of a file; the same command again goes on where it was stopped.

    Rows are prompts, one a line, or CSV, JSON lines or OpenAI Batch lines; a field of a row wins over an option.
    With --retry unknown or all, images whose link can't be fetched any more are made, and paid for, anew too.
    """
    connection = Connection(
        local=local,
        base_url=base_url,
        timeout=timeout,
        retries=retries,
        limits=_make_limits(rpm=rpm, ipm=ipm, tpm=tpm, concurrency=concurrency),
        prices=read_prices_file(prices),
    )
    if retry is not None and retry not in RETRIES:
        raise ConfigurationError(f"--retry: {retry!r} is not one of {', '.join(RETRIES)}")
    job = BulkJob(
        _choose_source(source, format),
        out,
        concurrency=DEFAULT_CONCURRENCY if concurrency is None else concurrency,
        max_images=max_images,
        max_cost=max_cost,
        retry=retry,
        extend=extend,
        skip_invalid=skip_invalid,
        sidecar=sidecar,
        embed=embed,
        defaults={
            "model": model,
            "n": n,
            "size": size,
            "quality": quality,
            "background": background,
            "moderation": moderation,
            "style": style,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
            "user": user,
        },
    )
    output = make_job_output(as_json=json)
    try:
        if dry_run:
            summary = job.check()
            output.refused(summary.bad_rows, summary.bad_count)
            output.checked(summary, Appraiser(connection.prices).add_up(summary.outlays))
            if (out / JOURNAL).is_file():
                output.noted(
                    f"{out} was begun: that is all of {source}, also what is done there and isn't asked for again"
                )
            return
        connection.require_key()
        raise_file_limit()
        # Before the loop, so that Ctrl-C ends the reading of a pipe that nobody writes to.
        job.prepare()
        if not yes:
            _ask(job, connection, max_cost=max_cost)
    except InputError as error:
        output.refused(error.bad_rows, error.count)
        raise
    except KeyboardInterrupt:
        say("interrupted: nothing was sent")
        raise typer.Exit(130) from None
    _run(job, connection, output, command=_describe_command(context), is_piped=source == "-")


def _ask(job: BulkJob, connection: Connection, *, max_cost: float | None) -> None:
    """Ask once whether a job may cost so much, where somebody is there to answer.

    Raises:
        typer.Exit: it may not.
    """
    cost, spent = job.appraise(connection.prices), job.spent()
    left = cost.usd if max_cost is None else min(cost.usd, max(0.0, max_cost - spent))
    # All runs together, as they were agreed to: rows that were added since then were not.
    usd = spent + left
    if left <= ASKED_ABOVE_USD or job.is_confirmed(usd) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print(ask_for_cost(cost, spent=spent, max_cost=max_cost), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("nothing was sent; the same command asks again, --yes doesn't")
        job.close()
        raise typer.Exit(1)
    job.confirm(usd)


def _run(job: BulkJob, connection: Connection, output: JobOutput, *, command: str, is_piped: bool) -> None:
    started_at = time.monotonic()
    try:
        with output:
            result = _loop.run(_run_job, job, connection, output)
    except KeyboardInterrupt:
        # Before the job listened to it: nothing was sent.
        say(f"interrupted: nothing was sent; {describe_resuming(command, is_piped=is_piped)}")
        raise typer.Exit(130) from None
    finally:
        job.close()
    output.refused(result.bad_rows, len(result.bad_rows))
    output.ended(result, elapsed=time.monotonic() - started_at, command=command, is_piped=is_piped)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


async def _run_job(job: BulkJob, connection: Connection, output: JobOutput) -> JobResult:
    ended: JobResult | Exception | None = None
    async with connection.open() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, job, output)
        try:
            ended = await job.run(client=client, on_progress=output.progressed, on_item=output.finished)
        except Exception as error:
            # Raised outside, where the group doesn't wrap it.
            ended = error
        tasks.cancel_scope.cancel()
    if isinstance(ended, Exception):
        raise ended
    assert ended is not None
    return ended


async def _listen(job: BulkJob, output: JobOutput) -> None:
    """Stop the job at the first signal, cut it off at the second, and a while after SIGTERM."""
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as tasks:
                is_stopping = False
                async for number in signals:
                    if is_stopping:
                        output.noted("stopping at once; what is cut off is asked for again, under the same keys")
                        job.abort()
                        continue
                    is_stopping = True
                    job.stop()
                    if number == signal.SIGTERM:
                        output.noted(f"terminated: what is in flight is finished, for {_TERM_SECONDS:g} s at most")
                        tasks.start_soon(_abort_later, job)
                    else:
                        output.noted("stopping: what is in flight is finished; Ctrl-C again stops at once")
    except NotImplementedError:
        # Windows has no such signals; Ctrl-C cuts off there.
        return


async def _abort_later(job: BulkJob) -> None:
    await anyio.sleep(_TERM_SECONDS)
    job.abort()


def _choose_source(source: str, format: str | None) -> FileInput | StreamInput:
    if format is not None and format not in FORMATS:
        raise ConfigurationError(f"--format: {format!r} is not one of {', '.join(FORMATS)}")
    if source != "-":
        return FileInput(Path(source), format)
    if sys.stdin.isatty():
        say("type prompts, one a line; Ctrl-D ends them")
    return StreamInput(sys.stdin.buffer, format=format)


def _make_limits(
    *, rpm: float | None, ipm: float | None, tpm: float | None, concurrency: int | None
) -> RateLimits | None:
    if rpm is None and ipm is None and tpm is None:
        return None
    try:
        return RateLimits(
            requests_per_minute=rpm, images_per_minute=ipm, tokens_per_minute=tpm, concurrency=concurrency
        )
    except ValueError as error:
        raise ConfigurationError(f"--rpm, --ipm, --tpm: {error}") from error


def _describe_command(context: typer.Context) -> str:
    # Any: whatever was given as `obj`; `run` gives the arguments.
    arguments: Any = context.obj
    return shlex.join(["aiai-async", *(arguments if isinstance(arguments, tuple) else ())])
