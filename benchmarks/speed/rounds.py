"""Measures all clients of a scenario in turn, round after round, each measurement in a process of its own.

The server has one core and the client the other, where there are two. The ratio of two clients is taken within each
round, and the median over the rounds after that: what disturbs a machine for a while disturbs both.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from .scenarios import EACH_ROUND, Scenario

Measured = dict[str, float]
_FOLDER: Final = Path(__file__).parent.parent
# The round in which those are measured again that aren't in each.
_SECOND_TIME: Final = 2
# A job of a million items takes a while.
_LONGEST: Final = 3600.0


@attrs.frozen(kw_only=True)
class Result:
    """What one scenario came to."""

    scenario: Scenario
    rounds: Sequence[Mapping[str, Measured]]
    """For each round the numbers by client; who was not measured in it or failed is not there."""
    failures: Mapping[str, str]
    """By client, how its process ended."""

    def median(self, client: str, measure: str) -> float | None:
        """Give the median over the rounds; None where it was not measured."""
        values = [measured[client][measure] for measured in self.rounds if measure in measured.get(client, {})]
        return statistics.median(values) if values else None

    def ratio(self, client: str, other: str, measure: str) -> float | None:
        """Give the median of the ratios within each round; None where no round has both."""
        ratios = [
            measured[client][measure] / measured[other][measure]
            for measured in self.rounds
            if measure in measured.get(client, {}) and measured.get(other, {}).get(measure)
        ]
        return statistics.median(ratios) if ratios else None


class MeasurementFailed(Exception):
    """A measurement's process ended with an error; its last line."""


class Bench:
    """Starts measurements against one server.

    Args:
        port: the server's.
        seconds: how long a measurement goes on, where that is free.
        quick: whether fewer and smaller ones are enough.
    """

    def __init__(self, port: int, *, seconds: float = 0.5, quick: bool = False) -> None:
        self._port: Final = port
        self._seconds: Final = seconds
        self.is_quick: Final = quick
        self._known: Final[dict[tuple[str, str, str], Measured]] = {}

    def measure(self, scenario: Scenario, clients: Sequence[str], rounds: int) -> Result:
        """Measure one scenario."""
        arguments = scenario.arguments
        if self.is_quick and scenario.quick_arguments is not None:
            arguments = scenario.quick_arguments
        found: list[dict[str, Measured]] = []
        failures: dict[str, str] = {}
        for number in range(rounds):
            measured: dict[str, Measured] = {}
            for client in choose_clients(scenario, clients, number):
                if client in failures:
                    continue
                try:
                    measured[client] = self.measure_one(scenario.load, client, arguments)
                except MeasurementFailed as error:
                    failures[client] = str(error)
            found.append(measured)
        return Result(scenario=scenario, rounds=found, failures=failures)

    def measure_one(self, load: str, client: str, arguments: Mapping[str, Any]) -> Measured:
        """Measure one client once.

        Raises:
            MeasurementFailed: it could not do what was asked for.
        """
        order = {
            "load": load,
            "client": client,
            "port": self._port,
            "seconds": self._seconds,
            "arguments": dict(arguments),
        }
        show_progress(f"{load} {client} {json.dumps(order['arguments'])}")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "speed.worker", json.dumps(order)],
                env=make_environment(),
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(f"it took more than {_LONGEST:g} s") from error
        if done.returncode != 0:
            raise MeasurementFailed(done.stderr.strip().splitlines()[-1] if done.stderr else f"exit {done.returncode}")
        measured: Measured = json.loads(done.stdout.splitlines()[-1])
        self._known[_name(load, client, arguments)] = measured
        return measured

    def recall(self, load: str, client: str, arguments: Mapping[str, Any]) -> Measured | None:
        """Give what the same measurement came to last; None where it was not made."""
        return self._known.get(_name(load, client, arguments))


def choose_clients(scenario: Scenario, clients: Sequence[str], number: int) -> list[str]:
    """Choose who is measured in a round, and in what order.

    Another one begins each time, so that nobody always follows the same one.
    """
    chosen = [
        client
        for client in clients
        if number == 0 or (client not in scenario.once and (client in EACH_ROUND or number == _SECOND_TIME))
    ]
    shift = number % len(chosen) if chosen else 0
    return [*chosen[shift:], *chosen[:shift]]


@contextlib.contextmanager
def run_server() -> Generator[int]:
    """Run the server on the first core, with this process and its children on the second; give its port."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pin = [] if len(cores) < 2 else ["--core", str(cores[0])]
    with subprocess.Popen(
        [sys.executable, "-m", "speed.server", *pin], env=make_environment(), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        if pin:
            os.sched_setaffinity(0, {cores[1]})
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()
            if pin:
                os.sched_setaffinity(0, cores)


def make_environment() -> dict[str, str]:
    """Make the environment of what is started: it finds these modules, and the package of this work tree."""
    # First: another version of the package may be installed in this environment.
    path = [str(_FOLDER), str(_FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def show_progress(text: str) -> None:
    """Say on a terminal what is measured now."""
    if sys.stderr.isatty():
        print(f"\r\033[K{time.strftime('%H:%M:%S')} {text[:100]}", end="\r", file=sys.stderr, flush=True)


def _name(load: str, client: str, arguments: Mapping[str, Any]) -> tuple[str, str, str]:
    return load, client, json.dumps(dict(arguments), sort_keys=True)
