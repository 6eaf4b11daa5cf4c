"""`aiai-async serve`: the local server in the foreground, until Ctrl-C or SIGTERM.

It reads the command line and says what it does; the rest is `LocalServer`.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from aiai_async._errors import ConfigurationError
from aiai_async._facts import RateLimits
from aiai_async._log import configure_from_environment
from aiai_async.cli import _loop

if TYPE_CHECKING:
    from aiai_async.server import LocalServer

DEFAULT_PORT = 8765


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback let the network in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    api_key: Annotated[str | None, typer.Option(help="Accept only this key; without it any will do.")] = None,
    latency: Annotated[
        str, typer.Option(help="Seconds that a request or stream takes: 20, or a range such as 10-30.")
    ] = "0",
    rpm: Annotated[float | None, typer.Option(help="Requests per minute and key.")] = None,
    ipm: Annotated[float | None, typer.Option(help="Images per minute and key.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Requests of a key under way at once.")] = None,
    limit_style: Annotated[
        str, typer.Option(help="bucket, fixed, sliding; hidden, hidden-fixed, hidden-sliding: without headers.")
    ] = "bucket",
    faults: Annotated[Path | None, typer.Option(help="TOML file that says what goes wrong, and when.")] = None,
    seed: Annotated[int, typer.Option(help="Changes the pictures, and the luck of latency and faults.")] = 0,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="Show the ready-made faults and leave.")] = False,
) -> None:
    """Run a local stand-in for the API, which draws pictures from prompts: no key, no network, no cost."""
    # Imported here: the other commands start without the server's parts.
    from aiai_async.server import LocalServer, describe_faults, read_faults

    if list_faults:
        typer.echo(describe_faults())
        return
    configure_from_environment()
    try:
        server = LocalServer(
            api_key,
            host=host,
            port=port,
            limits=RateLimits(requests_per_minute=rpm, images_per_minute=ipm, concurrency=max_concurrent),
            limit_style=limit_style,
            latency=parse_latency(latency),
            faults=read_faults(faults) if faults else (),
            seed=seed,
            # Nobody asks this server what it received, and it may run for weeks.
            keep_requests=0,
        )
    except (ConfigurationError, ValueError) as exc:
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(2) from None
    try:
        _loop.run(functools.partial(_serve_until_told_to_stop, server, host=host, needs_key=api_key is not None))
    except OSError as exc:
        typer.echo(f"error: can't listen on {host}:{port}: {exc.strerror or exc}; try another --port", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        # Only where signals can't be received, or before they are: being interrupted is how this command ends.
        pass
    typer.echo("stopped")


def parse_latency(text: str) -> tuple[float, float]:
    """Read seconds, or a range of seconds.

    Raises:
        ValueError: it is neither.

    Example:
        >>> parse_latency("20"), parse_latency("0.5-2")
        ((20.0, 20.0), (0.5, 2.0))
    """
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise ValueError(f"--latency: {text!r} is neither seconds nor a range such as 10-30") from None


async def _serve_until_told_to_stop(server: LocalServer, *, host: str, needs_key: bool) -> None:
    with contextlib.ExitStack() as stack:
        signals = None
        # Windows has no receiver: there Ctrl-C comes as KeyboardInterrupt, and ends the wait all the same.
        with contextlib.suppress(NotImplementedError):
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        async with server:
            _introduce(server.base_url, host=host, needs_key=needs_key)
            await (anyio.sleep_forever() if signals is None else anext(signals))


def _introduce(base_url: str, *, host: str, needs_key: bool) -> None:
    # Imported here for the same reason as above.
    from aiai_async.server.local import is_loopback

    if not is_loopback(host):
        typer.secho(
            f"WARNING: listening on {host}: everyone who can reach this machine can use the server, over plain HTTP",
            fg=typer.colors.RED,
            bold=True,
            err=True,
        )
    key = "'the key given to --api-key'" if needs_key else "anything"
    typer.echo(
        f"local image server at {base_url} (Ctrl-C stops it)\n\n"
        f"  export AIAI_BASE_URL={base_url}\n"
        f"  export AIAI_API_KEY={key}\n"
    )
