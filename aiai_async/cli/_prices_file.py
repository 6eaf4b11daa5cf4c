"""`--prices`: a TOML file of prices, as a mapping that the client takes. The one place that opens it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from aiai_async import ConfigurationError, ModelPrices
from aiai_async._prices import read_prices


def read_prices_file(path: Path | None) -> dict[str, ModelPrices]:
    """Read a file of prices: a table for each model, with the fields of `ModelPrices`.

    Args:
        path: the file; None: the one that AIAI_PRICES names, or none.

    Raises:
        ConfigurationError: it can't be read, or what stands in it can't be used; it says where.
    """
    if path is None:
        # Read here, since with typer 0.26.0 an option took nothing from its variable.
        named = os.environ.get("AIAI_PRICES")
        if not named:
            return {}
        path = Path(named)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"--prices: {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigurationError(f"--prices: {path}: {error}") from error
    try:
        return read_prices(found)
    except ConfigurationError as error:
        raise ConfigurationError(f"--prices: {path}: {error}") from error
