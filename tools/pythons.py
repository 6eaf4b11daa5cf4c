"""Find the oldest and the newest suitable Python of this machine.

Prints one path a line, the oldest first; one line when there is only one. Suitable: CPython 3.11 or newer that starts
and can make a virtual environment. Looked for: the Python that runs this, `python3` and `python3.11` to `python3.15` on
PATH, and what pyenv has installed. A name that is there but does not start, such as a pyenv shim of a version that is
not active, is passed over.

Usage: python tools/pythons.py
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_MINOR = 11
NEWEST_MINOR = 15

# ensurepip is asked for because a distribution may ship venv without it, and venv then fails half way.
PROBE = """
import ensurepip, sys, venv
print(sys.implementation.name, *sys.version_info[:2], sys.version_info.releaselevel, sys.executable, sep="\\n")
"""


@dataclass(frozen=True)
class Python:
    """A Python that can be used here."""

    version: tuple[int, int]
    path: Path
    """The program itself: where pyenv's shim leads to depends on the folder it is started in."""


def candidates() -> Iterator[Path]:
    """Yield every path that may be a Python; the same one may come twice."""
    for name in ("python3", *(f"python3.{minor}" for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1))):
        if found := shutil.which(name):
            yield Path(found)
    for root in pyenv_roots():
        yield from sorted(root.glob("versions/*/bin/python3"))
    yield Path(sys.executable)


def pyenv_roots() -> Iterator[Path]:
    """Yield the folders in which pyenv may keep its versions."""
    if pyenv := shutil.which("pyenv"):
        answer = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    yield Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def try_out(candidate: Path) -> Python | None:
    """Start a candidate and ask what it is; None where it is not suitable."""
    try:
        answer = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    implementation, major, minor, release, executable = answer.stdout.splitlines()
    version = (int(major), int(minor))
    # A pre-release is left out: the dependencies have no wheels for it yet.
    if implementation != "cpython" or release != "final" or version < (3, OLDEST_MINOR):
        return None
    return Python(version, Path(executable))


def suitable() -> list[Python]:
    """Give one Python for each minor version, the oldest first."""
    found: dict[tuple[int, int], Python] = {}
    for candidate in candidates():
        python = try_out(candidate)
        if python is not None:
            found.setdefault(python.version, python)
    return [found[version] for version in sorted(found)]


def main() -> int:
    """Print the oldest and the newest."""
    pythons = suitable()
    if not pythons:
        print("no Python 3.11 or newer that can make a virtual environment was found", file=sys.stderr)
        return 1
    for path in dict.fromkeys((pythons[0].path, pythons[-1].path)):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
