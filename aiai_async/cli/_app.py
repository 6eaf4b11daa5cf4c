"""The commands, and what becomes of an error that ends one: one line, and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from aiai_async._errors import ConfigurationError, InvalidRequestError
from aiai_async._version import __version__
from aiai_async.cli import _debug
from aiai_async.cli._command import EPILOG, JOB_EPILOG
from aiai_async.cli._output import make_streams_forgiving, say_error
from aiai_async.cli.batch import batch
from aiai_async.cli.generate import generate
from aiai_async.cli.models import models
from aiai_async.cli.report import report
from aiai_async.cli.serve import serve
from aiai_async.cli.stream import stream
from aiai_async.cli.studio import studio

PROGRAM: Final = "aiai-async"

# What Typer raises for a wrong command line. Only this subclass of it has a public name.
_USAGE_ERROR: Final[type[typer.BadParameter]] = typer.BadParameter.__mro__[1]

app: Final = typer.Typer(
    help="Make images through the AIAI / OpenAI-compatible images API.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(epilog=EPILOG)(generate)
app.command(epilog=EPILOG)(stream)
app.command(epilog=JOB_EPILOG)(batch)
app.command()(report)
app.command()(models)
app.command()(serve)
app.command()(studio)


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code."""
    make_streams_forgiving()
    _debug.turn_on(False)
    try:
        # Typer gives what typer.Exit was raised with, 130 for Ctrl-C, and else what the command returned: None.
        code = app(args=list(arguments), prog_name=PROGRAM, standalone_mode=False, obj=tuple(arguments))
    except _USAGE_ERROR as error:
        context = error.ctx
        where = PROGRAM if context is None else context.command_path
        # A missing argument of several choices is told on several lines.
        return _fail(error, f"{error.format_message().rstrip('.')}; see {where} --help", code=2)
    except (ConfigurationError, InvalidRequestError) as error:
        return _fail(error, str(error), code=2)
    except Exception as error:
        # Whatever it is, a user sees a line and not a trace.
        return _fail(error, f"unexpected {type(error).__name__}: {error}; --debug shows where", code=1)
    return code if isinstance(code, int) else 0


def _fail(error: Exception, words: str, *, code: int) -> int:
    say_error(words)
    if _debug.is_on():
        traceback.print_exception(error)
    return code


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True)
def choose_command(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: _debug.Debug = False,
) -> None:
    """Make images through the AIAI / OpenAI-compatible images API."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stdout)
        raise typer.Exit(2)
