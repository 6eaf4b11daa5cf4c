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
from pathlib import Path

OLDEST_MINOR = 11
NEWEST_MINOR = 15

# ensurepip is asked for because a distribution may ship venv without it, and venv then fails half way.
PROBE = "import ensurepip, platform, sys, venv; print(platform.python_implementation(), *sys.version_info[:4])"


def candidates() -> Iterator[Path]:
    """Yield every path that may be a Python; the same one may come twice."""
    yield Path(sys.executable)
    for name in ("python3", *(f"python3.{minor}" for minor in range(OLDEST_MINOR, NEWEST_MINOR + 1))):
        if found := shutil.which(name):
            yield Path(found)
    for root in pyenv_roots():
        yield from sorted(root.glob("versions/*/bin/python3"))


def pyenv_roots() -> Iterator[Path]:
    """Yield the folders in which pyenv may keep its versions."""
    if pyenv := shutil.which("pyenv"):
        answer = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    yield Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def version_of(python: Path) -> tuple[int, int, int] | None:
    """Start a Python and ask for its version; None where it is not suitable."""
    try:
        answer = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    implementation, major, minor, micro, release = answer.stdout.split()
    version = (int(major), int(minor), int(micro))
    # A pre-release is left out: the dependencies have no wheels for it yet.
    if implementation != "CPython" or release != "final" or version < (3, OLDEST_MINOR):
        return None
    return version


def suitable() -> list[Path]:
    """Give one Python for each minor version, the oldest first."""
    found: dict[tuple[int, int], Path] = {}
    for python in candidates():
        version = version_of(python)
        if version is not None:
            found.setdefault(version[:2], python)
    return [found[version] for version in sorted(found)]


def main() -> int:
    """Print the oldest and the newest."""
    pythons = suitable()
    if not pythons:
        print("no Python 3.11 or newer that can make a virtual environment was found", file=sys.stderr)
        return 1
    for python in dict.fromkeys((pythons[0], pythons[-1])):
        print(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
