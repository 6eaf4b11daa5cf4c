"""How many files the process may have open: each request under way is a socket and a file."""

from __future__ import annotations

import contextlib
from typing import Final

# macOS refuses more than its OPEN_MAX, 10240, whatever the hard limit says.
_WANTED: Final = (65536, 10240)


def raise_file_limit() -> None:
    """Raise the soft limit as far as the hard one allows; nothing happens where it can't be raised."""
    try:
        # Imported here: Windows has no such module, and no such limit.
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in _WANTED:
        reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if reachable <= soft or soft == resource.RLIM_INFINITY:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
            return
