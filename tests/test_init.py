"""The public names: all there, and none loaded before it is used."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import aiai_async

SOURCE = Path(aiai_async.__file__).read_text()


def run(script: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def test_type_checkers_and_programs_find_the_same_names_in_the_same_places() -> None:
    """The names stand three times in the module: for checkers, for programs, and as `__all__`."""
    block = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    checked = {str(node.module).removeprefix("aiai_async."): {name.name for name in node.names} for node in imports}
    found = {home: set(names) for home, names in vars(aiai_async)["_NAMES"].items()}
    assert checked == found
    assert sorted(name for names in found.values() for name in names) == sorted({*aiai_async.__all__} - {"__version__"})


@pytest.mark.parametrize("name", aiai_async.__all__)
def test_every_name_can_be_had(name: str) -> None:
    """By attribute, by import, and in `dir`."""
    namespace: dict[str, object] = {}
    exec(f"from aiai_async import {name}", namespace)
    assert namespace[name] is getattr(aiai_async, name)
    assert name in dir(aiai_async)


def test_other_names_are_no_attributes() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'aiai_async' has no attribute 'OpenAI'"):
        exec("aiai_async.OpenAI", {"aiai_async": aiai_async})


def test_importing_the_package_loads_next_to_nothing() -> None:
    """A module that only names an exception in an annotation costs its users nothing."""
    loaded = run("import sys, aiai_async; print(*sorted(m for m in sys.modules if m.startswith('aiai_async')))")
    assert loaded.split() == ["aiai_async", "aiai_async._version"]


def test_the_client_can_be_had_without_aiohttp_and_cattrs() -> None:
    """They come with the first request, cattrs with the first answer that is written oddly."""
    script = (
        "import sys; from aiai_async import *; print({'aiohttp', 'cattrs', 'aiai_async._aiohttp'} & {*sys.modules})"
    )
    assert run(script) == "set()"


def test_what_was_pickled_is_found_again() -> None:
    """By the place of the class itself, in an interpreter that has used no name so far."""
    pickled = pickle.dumps(aiai_async.Timeout(total=7))
    assert run(f"import pickle; print(pickle.loads({pickled!r}).total)") == "7"
