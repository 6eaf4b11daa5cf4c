"""`aiai-async studio`: the local web page in the foreground, until Ctrl-C or SIGTERM.

It reads the command line and says what it does; the rest is `Studio`.
"""

from __future__ import annotations

import contextlib
import signal
import webbrowser
from typing import Annotated, Final

import anyio
import anyio.to_thread
import typer

from aiai_async.cli import _options
from aiai_async.cli._connection import Connection
from aiai_async.cli._debug import Debug
from aiai_async.cli._output import say, say_error
from aiai_async.cli._prices_file import read_prices_file

DEFAULT_PORT: Final = 8766
# Seconds that the server of --local takes: enough to see a picture sharpen.
LOCAL_LATENCY: Final = 6.0
LOCAL: Final = "the local server inside"
"""What the server of --local is called here and on the page."""


def studio(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    local: _options.Local = False,
    base_url: _options.BaseURL = None,
    timeout: _options.Seconds = None,
    retries: _options.Retries = None,
    prices: _options.PricesFile = None,
    debug: Debug = False,
) -> None:
    """Try the API on a local web page: pictures sharpen as they come. A job's folder is shown at /jobs/FOLDER.

    Only this machine can reach it, but every user of it: on one that is shared, they can spend your key's money.
    The key itself never gets to the browser. A tab that is closed cuts what it began.
    """
    connection = Connection(
        local=local,
        local_latency=LOCAL_LATENCY,
        base_url=base_url,
        timeout=timeout,
        retries=retries,
        prices=read_prices_file(prices),
    )
    connection.require_key()
    # Raised only where signals can't be received, or before they are: being interrupted is how this command ends.
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(_show_until_told_to_stop, connection, port, open_browser)
    typer.echo("stopped")


async def _show_until_told_to_stop(connection: Connection, port: int, open_browser: bool) -> None:
    # Imported here: the other commands start without the page's parts.
    from aiai_async.studio import Studio

    with contextlib.ExitStack() as stack:
        signals = None
        # Windows has no receiver: there Ctrl-C comes as KeyboardInterrupt, and ends the wait all the same.
        with contextlib.suppress(NotImplementedError):
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        async with connection.open() as client, contextlib.AsyncExitStack() as running:
            shown = Studio(client, port=port, server=LOCAL if connection.local else None)
            try:
                await running.enter_async_context(shown)
            except OSError as error:
                say_error(f"can't listen on 127.0.0.1:{port}: {error.strerror or error}; try another --port")
                raise typer.Exit(1) from None
            where = LOCAL if connection.local else client.base_url
            typer.echo(f"studio at {shown.url} for {where} (Ctrl-C stops it)")
            if open_browser and not await anyio.to_thread.run_sync(webbrowser.open, shown.url):
                say("no browser can be opened from here; open the address yourself")
            await (anyio.sleep_forever() if signals is None else anext(signals))
