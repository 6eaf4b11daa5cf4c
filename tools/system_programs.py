"""Install the system programs that tests use for real, with apt-get, where that can be done.

A browser and a terminal can't come from PyPI. One that is missing is installed where this runs as root on a system with
apt-get; elsewhere a line says what is missing, and the tests that need it are skipped with that reason
(with `CI=true` they fail). It never ends with an error: what is missing is the tests' business.

Usage: python tools/system_programs.py
"""

import os
import shutil
import subprocess
import sys

# Program and Debian package. The fonts come with nothing else, and a page without any is blank.
PROGRAMS = {"chromium": ("chromium", "fonts-dejavu-core"), "tmux": ("tmux",)}


def missing() -> dict[str, tuple[str, ...]]:
    """Give the programs that are not on PATH, each with its packages."""
    return {program: packages for program, packages in PROGRAMS.items() if shutil.which(program) is None}


def install(packages: list[str]) -> str | None:
    """Install Debian packages; None, or the reason why that can't be done."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    if os.geteuid() != 0:
        return "only root may install packages"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        answer = subprocess.run(
            ["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            return f"apt-get {arguments[0]} failed: {answer.stderr.strip().splitlines()[-1:] or answer.returncode}"
    return None


def main() -> int:
    """Install what is missing, and say what can't be."""
    wanted = missing()
    if wanted:
        print(f"--- installing {', '.join(wanted)} for the tests")
        reason = install([package for packages in wanted.values() for package in packages])
        if reason is not None:
            print(f"{', '.join(missing())} can't be installed: {reason}; tests that need them are skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
