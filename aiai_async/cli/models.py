"""`aiai-async models`: what each model accepts and costs, with the date of the prices."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from aiai_async import PRICES_DATE, ModelPrices
from aiai_async._models import PRICES, RULES, ModelRules
from aiai_async._prices import KINDS
from aiai_async.bulk.costs import format_usd
from aiai_async.cli import _options
from aiai_async.cli._outcomes import to_json
from aiai_async.cli._output import PlainOutput, is_terminal
from aiai_async.cli._prices_file import read_prices_file
from aiai_async.cli._words import one_line

_UNKNOWN_RULES: Final = "rules not known: every field passes"
_UNKNOWN_PRICES: Final = "price not known"
_NOTE: Final = (
    f"Prices in US dollars, of {PRICES_DATE} where nothing else is said; those of tokens are for a million of them. "
    "--prices FILE.toml replaces or adds some."
)
_FIELDS: Final[Mapping[str, str]] = {
    "qualities": "quality",
    "backgrounds": "background",
    "moderations": "moderation",
    "output_formats": "output format",
    "response_formats": "response format",
    "styles": "style",
}
_KINDS: Final[Mapping[str, str]] = {
    "text_input": "text in",
    "image_input": "image in",
    "text_output": "text out",
    "image_output": "image out",
}


@attrs.frozen
class _Model:
    """A row of the table."""

    name: str
    rules: ModelRules | None
    prices: ModelPrices | None


def models(*, json: _options.TableAsJSON = False, prices: _options.PricesFile = None) -> None:
    """Show what each model accepts and costs."""
    own = read_prices_file(prices)
    rows = [
        _Model(name, RULES.get(name), {**PRICES, **own}.get(name)) for name in dict.fromkeys([*RULES, *PRICES, *own])
    ]
    if json:
        PlainOutput().write(to_json({"prices_date": str(PRICES_DATE), "models": [_to_object(row) for row in rows]}))
    elif is_terminal(sys.stdout):
        _show_table(rows)
    else:
        output = PlainOutput()
        for row in rows:
            output.write(one_line(row.name))
            for line in (*_describe_rules(row.rules), *_describe_prices(row.prices)):
                output.write(f"  {line}")
        output.write(_NOTE)


def _show_table(rows: list[_Model]) -> None:
    # Imported here: a pipe does without rich, and starts sooner.
    from rich.table import Table
    from rich.text import Text

    from aiai_async.cli._live import make_console

    table = Table(show_lines=True, expand=False)
    table.add_column("Model", no_wrap=True)
    table.add_column("Accepts", ratio=3)
    table.add_column("Costs", ratio=2)
    for row in rows:
        rules, prices = ("\n".join(lines) for lines in (_describe_rules(row.rules), _describe_prices(row.prices)))
        table.add_row(Text(one_line(row.name), "bold"), Text(rules), Text(prices))
    console = make_console()
    console.print(table)
    console.print(Text(_NOTE))


def _describe_rules(rules: ModelRules | None) -> Iterator[str]:
    if rules is None:
        yield _UNKNOWN_RULES
        return
    yield f"prompt up to {rules.max_prompt_characters:,} characters, n up to {rules.max_images}"
    sizes = [*rules.sizes, "any WIDTHxHEIGHT up to 3840x2160"] if rules.any_size else rules.sizes
    yield f"size: {', '.join(sizes)}"
    for field, name in _FIELDS.items():
        if values := getattr(rules, field):
            yield f"{name}: {', '.join(values)}"
    if rules.streams:
        yield "streams, with 0 to 3 partial images"


def _describe_prices(prices: ModelPrices | None) -> Iterator[str]:
    if prices is None:
        yield _UNKNOWN_PRICES
        return
    for kind, name in _KINDS.items():
        usd, cached = getattr(prices, kind), getattr(prices, f"cached_{kind}", None)
        if usd is not None:
            yield f"{name}: {format_usd(usd)}{'' if cached is None else f', cached {format_usd(cached)}'}"
    for (quality, size), usd in prices.images.items():
        what = " ".join(filter(None, (quality, size))) or "an image"
        yield f"{what}: {format_usd(usd)}"
    if prices.priced_on != PRICES_DATE:
        yield f"prices of {prices.priced_on}" if prices.priced_on is not None else "prices without a date"


def _to_object(row: _Model) -> dict[str, Any]:
    # Any: it is JSON.
    rules = None if row.rules is None else attrs.asdict(row.rules, filter=lambda field, _: field.name != "name")
    return {"model": row.name, "rules": rules, "prices": _prices_to_object(row.prices)}


def _prices_to_object(prices: ModelPrices | None) -> dict[str, Any] | None:
    if prices is None:
        return None
    return {
        **{kind: getattr(prices, kind) for kind in KINDS},
        "images": [
            {"quality": quality or None, "size": size or None, "usd": usd}
            for (quality, size), usd in prices.images.items()
        ],
        "priced_on": None if prices.priced_on is None else str(prices.priced_on),
    }
