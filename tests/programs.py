"""System programs that tests use for real: found, or the test is skipped with a reason; in CI it fails then."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """Give the path of a program; skip the test where it is missing, or fail it where `CI` is true."""
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not installed: `make system` as root, or your system's own way"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    print(f"skipped: {reason}")
    pytest.skip(reason)
