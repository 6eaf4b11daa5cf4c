"""`aiai-async generate`: images from prompts, several at once, saved as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import typer

from aiai_async import ConfigurationError, ImageRequest
from aiai_async._models import rules_of
from aiai_async.cli import _options
from aiai_async.cli._connection import Connection
from aiai_async.cli._debug import Debug
from aiai_async.cli._dry_run import show_requests, to_text
from aiai_async.cli._maker import Maker, count_images
from aiai_async.cli._outcomes import Summary, describe_interruption, to_json
from aiai_async.cli._output import PlainOutput, make_output, say
from aiai_async.cli._saving import Destination, choose_destination

EPILOG: Final = (
    "The key is read from AIAI_API_KEY and from nowhere else: other users of the machine can read command lines. "
    "It ends with 0 when all is done, 1 when something failed, 2 for wrong usage, 130 when interrupted."
)
# Enough to keep every key busy that has no higher tier; a file with a thousand prompts doesn't open a thousand sockets.
DEFAULT_CONCURRENCY: Final = 50


def generate(
    prompts: _options.Prompts,
    *,
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
    out: _options.Out = None,
    json: _options.AsJSON = False,
    dry_run: _options.DryRun = False,
    local: _options.Local = False,
    base_url: _options.BaseURL = None,
    timeout: _options.Seconds = None,
    retries: _options.Retries = None,
    concurrency: _options.Concurrency = DEFAULT_CONCURRENCY,
    debug: Debug = False,
) -> None:
    """Make images from prompts and save them; several prompts go at once."""
    texts = _options.read_prompts(prompts)
    destination = choose_destination(out)
    fields = {
        "model": model,
        "n": n,
        "size": size,
        "quality": quality,
        "background": background,
        "moderation": moderation,
        "style": style,
        "output_format": _choose_format(output_format, model, destination),
        "output_compression": output_compression,
        "response_format": response_format,
        "user": user,
    }
    requests = _options.make_requests(texts, fields)
    destination.require_room_for(count_images(requests))
    connection = Connection(local=local, base_url=base_url, timeout=timeout, retries=retries)
    if dry_run:
        _show(requests, connection, as_json=json)
        return
    maker = Maker(requests, destination=destination, output=make_output(as_json=json), concurrency=concurrency)
    _run(maker, connection)


def _choose_format(output_format: str | None, model: str | None, destination: Destination) -> str | None:
    """Give the format to ask for: where none is given, that of the file's name, from models that have several."""
    wanted = destination.output_format
    if output_format is not None and wanted is not None and output_format != wanted:
        raise ConfigurationError(f"--out: the name's suffix means {wanted}, but --output-format is {output_format}")
    rules = rules_of(model)
    has_formats = rules is not None and bool(rules.output_formats)
    # png is what comes by itself.
    return wanted if output_format is None and has_formats and wanted != "png" else output_format


def _show(requests: Sequence[ImageRequest], connection: Connection, *, as_json: bool) -> None:
    output = PlainOutput()
    shown = anyio.run(show_requests, requests, connection)
    output.write("\n".join(map(to_json, shown)) if as_json else "\n\n".join(map(to_text, shown)))


def _run(maker: Maker, connection: Connection) -> None:
    output = maker.output
    try:
        # Around the loop, so that the terminal is put in order whatever ends it.
        with output:
            summary = anyio.run(_make_all, maker, connection)
            output.ended(summary)
    except KeyboardInterrupt:
        say(describe_interruption(maker.outcomes))
        raise typer.Exit(130) from None
    if output.is_broken or any(outcome.error is not None for outcome in summary.outcomes):
        raise typer.Exit(1)


async def _make_all(maker: Maker, connection: Connection) -> Summary:
    async with connection.open() as client:
        return await maker.run(client)
