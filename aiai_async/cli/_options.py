"""Options that several commands share, and how they and the prompts become requests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from aiai_async import ConfigurationError, ImageRequest, InvalidRequestError, RetryPolicy, Timeout
from aiai_async._client import DEFAULT_BASE_URL
from aiai_async._models import rules_of
from aiai_async.bulk.inputs import FORMATS
from aiai_async.bulk.job import DEFAULT_CONCURRENCY as DEFAULT_ITEMS_AT_ONCE
from aiai_async.cli._output import say
from aiai_async.cli._saving import DEFAULT_FOLDER, Destination
from aiai_async.cli._words import shorten

_IMAGE: Final = "The image"
_OUTPUT: Final = "What comes out"
_SERVER: Final = "The server"
_JOB: Final = "The job"


def _image_option(help: str, metavar: str) -> Any:
    # Any: that is how Typer's own functions are typed. The values are checked against the model's rules, not here: any
    # other model may know others.
    return typer.Option(help=help, metavar=metavar, rich_help_panel=_IMAGE)


Prompts = Annotated[
    list[str],
    typer.Argument(
        metavar="PROMPT",
        help="What the images show. - reads prompts from standard input, one a line.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None, _image_option("gpt-image-1, dall-e-3 or any other; left out, the server chooses.", "NAME")
]
StreamingModel = Annotated[
    str | None, _image_option("gpt-image-1 or any other that streams; left out, the server chooses.", "NAME")
]
Count = Annotated[int | None, _image_option("Images for each prompt, 1 to 10.", "COUNT")]
Size = Annotated[str | None, _image_option("In pixels, such as 1536x1024, or auto.", "WxH")]
Quality = Annotated[str | None, _image_option("low, medium, high; standard, hd (dall-e); auto.", "LEVEL")]
Background = Annotated[str | None, _image_option("transparent, opaque or auto (gpt-image).", "KIND")]
Moderation = Annotated[str | None, _image_option("low or auto (gpt-image).", "LEVEL")]
Style = Annotated[str | None, _image_option("vivid or natural (dall-e-3).", "STYLE")]
OutputFormat = Annotated[str | None, _image_option("png, jpeg or webp (gpt-image).", "FORMAT")]
OutputCompression = Annotated[int | None, _image_option("0 to 100, for jpeg and webp (gpt-image).", "PERCENT")]
ResponseFormat = Annotated[str | None, _image_option("url or b64_json (not gpt-image).", "FORMAT")]
PartialImages = Annotated[
    int,
    _image_option(
        "Partial images before each final one, 0 to 3; each costs a little, and a server may send fewer.", "COUNT"
    ),
]
User = Annotated[str | None, _image_option("Your own id of the end user.", "ID")]

Out = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Folder for the images, which are named after their prompts; or, for one image, its file name, ending in "
        f".png, .jpg, .jpeg or .webp. A file that exists is kept: the new one gets a number. Default: {DEFAULT_FOLDER}",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]
AsJSON = Annotated[
    bool,
    typer.Option(
        "--json", help="One JSON object per prompt on standard output, nothing else.", rich_help_panel=_OUTPUT
    ),
]
EventsAsJSON = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON object per event and per prompt on standard output, nothing else.",
        rich_help_panel=_OUTPUT,
    ),
]
TableAsJSON = Annotated[
    bool,
    typer.Option("--json", help="The same as one JSON object on standard output.", rich_help_panel=_OUTPUT),
]
SavePartials = Annotated[
    bool,
    typer.Option(
        "--save-partials",
        help="Save the partial images too, beside the final one: kite-1.partial-0.png.",
        rich_help_panel=_OUTPUT,
    ),
]
Sidecar = Annotated[
    bool,
    typer.Option(
        "--sidecar",
        help="Put a JSON file beside each image, such as kite-1.png.json: request, model, request id, sha256, cost.",
        rich_help_panel=_OUTPUT,
    ),
]
Embed = Annotated[
    bool,
    typer.Option(
        "--embed",
        help="Write prompt and settings into the image files (png, jpeg, webp). No pixel changes, but a signature over "
        "the file (C2PA) no longer holds.",
        rich_help_panel=_OUTPUT,
    ),
]
_SHOWN_AS: Final = "; AIAI_TERMINAL_IMAGES=auto, kitty, sixel, blocks or off says how."
Show = Annotated[
    bool,
    typer.Option(
        "--show/--no-show", help=f"Show the finished pictures on the terminal{_SHOWN_AS}", rich_help_panel=_OUTPUT
    ),
]
ShowPartials = Annotated[
    bool | None,
    typer.Option(
        "--show/--no-show",
        help=f"Show the pictures on the terminal while they come, or a line per event. Default: --show{_SHOWN_AS}",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the requests and show them, without sending.", rich_help_panel=_OUTPUT)
]
JobInput = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="File of rows: .txt (a prompt a line), .csv, .jsonl (fields, or OpenAI Batch lines). - is standard input.",
        show_default=False,
    ),
]
JobFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder of the job: images, journal, and what became of each row. The same command goes on with it.",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]
JobEventsAsJSON = Annotated[
    bool,
    typer.Option("--json", help="One JSON object per event on standard output, nothing else.", rich_help_panel=_OUTPUT),
]
CheckRows = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check all rows, and say what they may cost, without sending.", rich_help_panel=_OUTPUT
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)}. Default: as the file's name says.",
        rich_help_panel=_JOB,
    ),
]
MaxImages = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        min=0,
        help="Images that the job may cost in all its runs; it stops before that is passed.",
        rich_help_panel=_JOB,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        metavar="USD",
        min=0,
        help="US dollars that the job may cost in all its runs; it stops before that could be passed.",
        rich_help_panel=_JOB,
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Don't ask before a job that may cost more than $10.", rich_help_panel=_JOB),
]
PricesFile = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="TOML with prices by model, which replace those of `aiai-async models` or add to them; else AIAI_PRICES.",
        rich_help_panel=_SERVER,
    ),
]
Retry = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Ask again for what had ended: failed (for good), unknown (it may have been billed), or all. With unknown "
        "or all, a link that can't be fetched is made anew, and paid for.",
        rich_help_panel=_JOB,
    ),
]
Extend = Annotated[bool, typer.Option("--extend", help="Add rows that the job doesn't have yet.", rich_help_panel=_JOB)]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Go on without the rows that are wrong.", rich_help_panel=_JOB)
]
RequestsPerMinute = Annotated[
    float | None, typer.Option("--rpm", metavar="COUNT", help="Requests per minute, at most.", rich_help_panel=_SERVER)
]
ImagesPerMinute = Annotated[
    float | None, typer.Option("--ipm", metavar="COUNT", help="Images per minute, at most.", rich_help_panel=_SERVER)
]
TokensPerMinute = Annotated[
    float | None, typer.Option("--tpm", metavar="COUNT", help="Tokens per minute, at most.", rich_help_panel=_SERVER)
]
ItemsAtOnce = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        metavar="COUNT",
        min=1,
        help=f"Rows under way at once. Default: {DEFAULT_ITEMS_AT_ONCE}",
        rich_help_panel=_SERVER,
    ),
]
Local = Annotated[
    bool,
    typer.Option(
        "--local", help="Start a local server and ask that: no key, no network, no cost.", rich_help_panel=_SERVER
    ),
]
BaseURL = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help=f"Where the API is, usually ending in /v1. Default: AIAI_BASE_URL, else {DEFAULT_BASE_URL}",
        rich_help_panel=_SERVER,
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help=f"Longest time for a prompt, all attempts together. Default: {Timeout().total:g}",
        rich_help_panel=_SERVER,
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        min=0,
        help=f"Further attempts where nothing was billed. Default: {RetryPolicy().max_retries}",
        rich_help_panel=_SERVER,
    ),
]
Concurrency = Annotated[
    int, typer.Option(metavar="COUNT", min=1, help="Prompts under way at once.", rich_help_panel=_SERVER)
]


def read_prompts(arguments: Sequence[str]) -> list[str]:
    """Give the prompts, those of standard input in the place of `-`.

    Raises:
        ConfigurationError: standard input has none, or is no text.
    """
    prompts: list[str] = []
    for argument in arguments:
        prompts.extend(_read_standard_input() if argument == "-" else [argument])
    return prompts


def _read_standard_input() -> list[str]:
    try:
        if sys.stdin.isatty():
            say("type prompts, one a line; Ctrl-D ends them")
        # UTF-8 whatever the locale says, as everywhere else that prompts are kept.
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except KeyboardInterrupt:
        say("interrupted: nothing was sent")
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"standard input is not UTF-8: byte {error.start} can't be read") from error
    # Not splitlines(): it splits at characters that may stand in a prompt.
    prompts = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
    if not prompts:
        raise ConfigurationError("standard input has no prompts; give one a line")
    return prompts


def make_requests(prompts: Sequence[str], fields: Mapping[str, object]) -> list[ImageRequest]:
    """Make a request of each prompt and check all of them.

    Args:
        prompts: at least one.
        fields: the other fields of ImageRequest, the same for all; None is left out.

    Raises:
        InvalidRequestError: one is wrong; where there are several it says which.
    """
    # Any: the values are checked at run time, by `validate`.
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    requests = [ImageRequest(prompt=prompt, **given) for prompt in prompts]
    for number, request in enumerate(requests, 1):
        try:
            request.validate()
        except InvalidRequestError as error:
            if error.field != "prompt" or len(requests) == 1:
                raise
            words = f"prompt {number} ({shorten(request.prompt, longest=40)!r}): {error}"
            raise InvalidRequestError(words, field=error.field, value=error.value, allowed=error.allowed) from error
    return requests


def choose_format(output_format: str | None, model: str | None, destination: Destination) -> str | None:
    """Give the format to ask for: where none is given, that of the file's name, from models that have several.

    Raises:
        ConfigurationError: the file's name says another format than is given.
    """
    wanted = destination.output_format
    if output_format is not None and wanted is not None and output_format != wanted:
        raise ConfigurationError(f"--out: the name's suffix means {wanted}, but --output-format is {output_format}")
    rules = rules_of(model)
    has_formats = rules is not None and bool(rules.output_formats)
    # png is what comes by itself.
    return wanted if output_format is None and has_formats and wanted != "png" else output_format
