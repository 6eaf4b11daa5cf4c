"""`aiai-async generate`: images from prompts, several at once, saved as they come."""

from __future__ import annotations

from aiai_async.bulk.provenance import Provenance
from aiai_async.cli import _options
from aiai_async.cli._command import DEFAULT_CONCURRENCY, run, show_requests
from aiai_async.cli._connection import Connection
from aiai_async.cli._debug import Debug
from aiai_async.cli._maker import Maker, count_images
from aiai_async.cli._output import make_output
from aiai_async.cli._prices_file import read_prices_file
from aiai_async.cli._saving import choose_destination


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
    sidecar: _options.Sidecar = False,
    embed: _options.Embed = False,
    show: _options.Show = False,
    json: _options.AsJSON = False,
    dry_run: _options.DryRun = False,
    local: _options.Local = False,
    base_url: _options.BaseURL = None,
    timeout: _options.Seconds = None,
    retries: _options.Retries = None,
    prices: _options.PricesFile = None,
    concurrency: _options.Concurrency = DEFAULT_CONCURRENCY,
    debug: Debug = False,
) -> None:
    """Make images from prompts and save them; several prompts go at once."""
    texts = _options.read_prompts(prompts)
    destination = choose_destination(out, provenance=Provenance(sidecar=sidecar, embed=embed))
    fields = {
        "model": model,
        "n": n,
        "size": size,
        "quality": quality,
        "background": background,
        "moderation": moderation,
        "style": style,
        "output_format": _options.choose_format(output_format, model, destination),
        "output_compression": output_compression,
        "response_format": response_format,
        "user": user,
    }
    requests = _options.make_requests(texts, fields)
    destination.require_room_for(count_images(requests))
    connection = Connection(
        local=local, base_url=base_url, timeout=timeout, retries=retries, prices=read_prices_file(prices)
    )
    if dry_run:
        show_requests(requests, connection, as_json=json)
        return
    output = make_output(as_json=json, show=show)
    maker = Maker(requests, destination=destination, output=output, concurrency=concurrency)
    run(maker, connection)
