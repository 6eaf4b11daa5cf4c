"""Turn the lower bounds of pyproject.toml into pins.

Prints one requirement a line, `name==version` for each `name>=version` of the dependencies and of all extras, so that
the tests run with the oldest versions that the project promises. A dependency without a lower bound is an error: it
promises what nobody tested.

Usage: python tools/lowest.py [pyproject.toml]
"""

import re
import sys
import tomllib
from pathlib import Path

REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?P<extras>\[[\w, .-]+\])?\s*(?:>=\s*(?P<version>[\w.]+)[^;]*)?(?P<marker>;.*)?"
)


def pins(pyproject: str) -> list[str]:
    """Pin each dependency of a project at its lower bound.

    Args:
        pyproject: the text of pyproject.toml.

    Raises:
        ValueError: a dependency has no lower bound, or could not be read.

    Example:
        >>> pins('''
        ... [project]
        ... name = "kite"
        ... dependencies = ["aiohttp>=3.12.14,<4"]
        ... [project.optional-dependencies]
        ... speed = ["uvloop>=0.21; sys_platform != 'win32'"]
        ... all = ["kite[speed]"]
        ... ''')
        ['aiohttp==3.12.14', "uvloop==0.21; sys_platform != 'win32'"]
    """
    project = tomllib.loads(pyproject)["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    lines: dict[str, None] = {}
    for requirement in (requirement for group in groups for requirement in group):
        match = REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise ValueError(f"{requirement!r} is not of the form name>=version")
        if match["name"] == project["name"]:
            continue  # the union of the other extras
        if match["version"] is None:
            raise ValueError(f"{requirement!r} has no lower bound")
        lines[f"{match['name']}{match['extras'] or ''}=={match['version']}{match['marker'] or ''}"] = None
    return list(lines)


def main() -> int:
    """Print the pins."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "pyproject.toml"
    print("\n".join(pins(path.read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
