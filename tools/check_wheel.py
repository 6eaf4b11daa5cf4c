"""Check a built distribution as a user gets it.

Looks into the wheel and the sdist, then installs the wheel, with what it depends on and no extra, into an empty
environment of each given Python, and tries it there: the import warns of nothing and stays light, every public name is
there, and the command line says what to install. Knows nothing of the source tree: only dist/ is read.

Usage: python tools/check_wheel.py PYTHON...
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aiai_async"
DIST = Path(__file__).parent.parent / "dist"

IMPORT_CHECK = """
import sys, warnings
import aiai_async
heavy = {"aiohttp", "cattrs", "PIL", "typer", "rich", "uvloop"} & set(sys.modules)
assert not heavy, f"import aiai_async also loads {', '.join(sorted(heavy))}"
assert "site-packages" in aiai_async.__file__, f"not the installed package: {aiai_async.__file__}"
warnings.resetwarnings()
missing = [name for name in aiai_async.__all__ if not hasattr(aiai_async, name)]
assert not missing, f"in __all__ but not there: {', '.join(missing)}"
from aiai_async.bulk.report.page import Rows, render
from aiai_async.bulk.report.summary import Summary
from aiai_async.bulk.records import KnownCost
facts = dict(counts={}, images=0, size_bytes=0, cost=KnownCost(usd=0.0, unknown=0), more_cost=0.0, running_time=0.0)
summary = Summary(name="job", made_at=0.0, is_under_way=False, runs=(), limits=(), **facts)
assert "</html>" in render(summary, (), (), Rows(), nonce="n"), "the files of the report's page are missing"
assert not {"PIL", "typer"} & set(sys.modules), "the report needs an extra"
"""


class CheckFailed(Exception):
    """What is wrong with the distribution, in one line."""


def only(pattern: str) -> Path:
    """Give the one file of dist/ that matches."""
    found = sorted(DIST.glob(pattern))
    if len(found) != 1:
        raise CheckFailed(f"dist/ should have one {pattern}, but has {len(found)}")
    return found[0]


def check_wheel_content(wheel: Path) -> None:
    """The package, its type marker, the studio's page and the metadata, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    strangers = sorted(top for top in tops if top != PACKAGE and not top.endswith(".dist-info"))
    if strangers:
        raise CheckFailed(f"{wheel.name} also holds {', '.join(strangers)}")
    if f"{PACKAGE}/py.typed" not in names:
        raise CheckFailed(f"{wheel.name} has no py.typed: type checkers would ignore its types")
    for name in ("studio.html", "job.html", "studio.css", "studio.js"):
        if f"{PACKAGE}/studio/static/{name}" not in names:
            raise CheckFailed(f"{wheel.name} has no studio/static/{name}: the studio would have no page")
    litter = sorted(name for name in names if "__pycache__" in name or name.endswith(".pyc"))
    if litter:
        raise CheckFailed(f"{wheel.name} holds compiled files, {litter[0]} first")


def check_sdist_content(sdist: Path) -> None:
    """What is needed to build and to test, and nothing that was made here."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", f"{PACKAGE}/__init__.py", f"{PACKAGE}/py.typed"}
    if lost := needed - names:
        raise CheckFailed(f"{sdist.name} lacks {', '.join(sorted(lost))}")
    tops = {name.split("/")[0] for name in names}
    if strangers := tops & {".venv", ".venv-lowest", ".git", "build", "demo", "dist"}:
        raise CheckFailed(f"{sdist.name} also holds {', '.join(sorted(strangers))}")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says; its failure is the caller's to judge."""
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )


def must(*command: str | Path, cwd: Path, what: str) -> None:
    """Run a program that has to succeed."""
    answer = run(*command, cwd=cwd)
    if answer.returncode != 0:
        raise CheckFailed(f"{what} failed:\n{answer.stdout}{answer.stderr}".rstrip())


def check_installed(wheel: Path, python: Path) -> None:
    """Install the wheel into an empty environment of this Python and try it there."""
    with tempfile.TemporaryDirectory(prefix="aiai-async-wheel-") as name:
        folder = Path(name)
        must(python, "-m", "venv", "venv", cwd=folder, what="making the environment")
        binaries = folder / "venv" / "bin"
        pip_install = (binaries / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check")
        must(*pip_install, wheel.resolve(), cwd=folder, what="installing the wheel")
        # -I: neither this folder nor PYTHONPATH can stand in for what was installed.
        must(binaries / "python", "-I", "-W", "error", "-c", IMPORT_CHECK, cwd=folder, what="the import")
        check_refusal(binaries / "aiai-async", cwd=folder)
        check_refusal(binaries / "python", "-I", "-m", PACKAGE, cwd=folder)


def check_refusal(*command: str | Path, cwd: Path) -> None:
    """Without its extra the command line says what to install, in place of a traceback."""
    answer = run(*command, cwd=cwd)
    said = answer.stdout + answer.stderr
    if answer.returncode == 0 or "aiai-async[cli]" not in said or "Traceback" in said:
        program = Path(command[0]).name
        raise CheckFailed(f"without the cli extra {program} should fail and name aiai-async[cli], but said:\n{said}")


def main() -> int:
    """Check dist/ on each Python given."""
    pythons = [Path(argument) for argument in sys.argv[1:]]
    if not pythons:
        print("usage: python tools/check_wheel.py PYTHON...", file=sys.stderr)
        return 2
    try:
        wheel, sdist = only("*.whl"), only("*.tar.gz")
        check_wheel_content(wheel)
        check_sdist_content(sdist)
        print(f"{wheel.name} and {sdist.name}: content as it should be")
        for python in pythons:
            version = run(python, "--version", cwd=DIST).stdout.strip()
            check_installed(wheel, python)
            print(f"{wheel.name}: installed and imported on {version}")
    except CheckFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if len(pythons) == 1:
        print("Only one suitable Python is on this machine, so the wheel was tried on that one alone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
