"""The logger `aiai_async`, and the environment variable `AIAI_LOG` that turns it on.

Who writes to it removes secrets first (`_secret.Redactor`); bodies and prompts are never written.
"""

from __future__ import annotations

import logging
import os
from typing import Final

LOGGER: Final = logging.getLogger("aiai_async")
LOGGER.addHandler(logging.NullHandler())

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}


def configure_from_environment() -> None:
    """Where `AIAI_LOG` is `debug` or `info`, write the package's log to standard error at that level; else do nothing.

    Called whenever a client is made; the second call changes nothing.
    """
    level = _LEVELS.get(os.environ.get("AIAI_LOG", "").strip().lower())
    if level is None:
        return
    LOGGER.setLevel(level)
    if not any(isinstance(handler, _EnvironmentHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(_EnvironmentHandler())


class _EnvironmentHandler(logging.StreamHandler):  # type: ignore[type-arg] # logging's class is generic to checkers only
    """Marks the handler that `AIAI_LOG` added, so that it is added once."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
