"""`aiai-async stream`: images from prompts, with the partial ones on the way to them."""

from __future__ import annotations

from typing import Final

from aiai_async import ConfigurationError
from aiai_async._models import rules_of
from aiai_async.bulk.provenance import Provenance
from aiai_async.cli import _options
from aiai_async.cli._command import DEFAULT_CONCURRENCY, run, show_requests
from aiai_async.cli._connection import Connection
from aiai_async.cli._debug import Debug
from aiai_async.cli._maker import count_images
from aiai_async.cli._output import make_output
from aiai_async.cli._prices_file import read_prices_file
from aiai_async.cli._saving import choose_destination
from aiai_async.cli._streaming import StreamMaker

# As many as there are: who asks for a stream wants to see something soon.
DEFAULT_PARTIAL_IMAGES: Final = 3
# Seconds that the server of --local takes: enough to see one image come after the other.
LOCAL_LATENCY: Final = 2.0


def stream(
    prompts: _options.Prompts,
    *,
    partial_images: _options.PartialImages = DEFAULT_PARTIAL_IMAGES,
    model: _options.StreamingModel = None,
    n: _options.Count = None,
    size: _options.Size = None,
    quality: _options.Quality = None,
    background: _options.Background = None,
    moderation: _options.Moderation = None,
    output_format: _options.OutputFormat = None,
    output_compression: _options.OutputCompression = None,
    response_format: _options.ResponseFormat = None,
    user: _options.User = None,
    out: _options.Out = None,
    save_partials: _options.SavePartials = False,
    sidecar: _options.Sidecar = False,
    embed: _options.Embed = False,
    show: _options.ShowPartials = None,
    json: _options.EventsAsJSON = False,
    dry_run: _options.DryRun = False,
    local: _options.Local = False,
    base_url: _options.BaseURL = None,
    timeout: _options.Seconds = None,
    retries: _options.Retries = None,
    prices: _options.PricesFile = None,
    concurrency: _options.Concurrency = DEFAULT_CONCURRENCY,
    debug: Debug = False,
) -> None:
    """Make images from prompts and watch them come: as pictures on a terminal, else in lines. Final ones are saved."""
    _require_streaming(model)
    texts = _options.read_prompts(prompts)
    destination = choose_destination(out, provenance=Provenance(sidecar=sidecar, embed=embed))
    fields = {
        "model": model,
        "n": n,
        "size": size,
        "quality": quality,
        "background": background,
        "moderation": moderation,
        "output_format": _options.choose_format(output_format, model, destination),
        "output_compression": output_compression,
        "response_format": response_format,
        "partial_images": partial_images,
        "user": user,
    }
    requests = _options.make_requests(texts, fields)
    destination.require_room_for(count_images(requests))
    connection = Connection(
        local=local,
        local_latency=LOCAL_LATENCY,
        base_url=base_url,
        timeout=timeout,
        retries=retries,
        prices=read_prices_file(prices),
    )
    if dry_run:
        show_requests(requests, connection, as_json=json, stream=True)
        return
    maker = StreamMaker(
        requests,
        destination=destination,
        output=make_output(as_json=json, show=show, streams=True),
        concurrency=concurrency,
        save_partials=save_partials,
    )
    run(maker, connection)


def _require_streaming(model: str | None) -> None:
    rules = rules_of(model)
    if rules is not None and not rules.streams:
        raise ConfigurationError(f"--model: {model} doesn't stream; use a gpt-image model, or aiai-async generate")
