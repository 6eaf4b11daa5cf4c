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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from .scenarios import Scenario

Measured = dict[str, float]
_FOLDER: Final = Path(__file__).parent.parent


@attrs.frozen(kw_only=True)
class Result:
    """What one scenario came to: each client's measurements, one a round."""

    scenario: Scenario
    rounds: list[dict[str, Measured]]
    """For each round the numbers by client; one that failed is not there."""
    failures: dict[str, str]
    """By client, how its process ended."""

    def median(self, client: str, measure: str) -> float | None:
        """Give the median over the rounds; None where it was not measured."""
        values = [measured[client][measure] for measured in self.rounds if measure in measured.get(client, {})]
        return statistics.median(values) if values else None

    def ratio(self, client: str, other: str, measure: str) -> float | None:
        """Give the median of the ratios within each round; None where both were never measured."""
        ratios = [
            measured[client][measure] / measured[other][measure]
            for measured in self.rounds
            if measure in measured.get(client, {}) and measured.get(other, {}).get(measure)
        ]
        return statistics.median(ratios) if ratios else None


class Bench:
    """The server and the cores.

    Args:
        port: the server's.
        seconds: how long a measurement takes, as a multiple of the scenario's own time.
    """

    def __init__(self, port: int, *, seconds: float = 1.0) -> None:
        self._port: Final = port
        self._seconds: Final = seconds

    def measure(self, scenario: Scenario, clients: Sequence[str], rounds: int) -> Result:
        """Measure one scenario."""
        result = Result(scenario=scenario, rounds=[], failures={})
        for number in range(rounds):
            measured: dict[str, Measured] = {}
            # Another one begins each round, so that nobody always follows the same one.
            shift = number % len(clients)
            for client in [*clients[shift:], *clients[:shift]]:
                if client in result.failures:
                    continue
                try:
                    measured[client] = self._measure_one(scenario, client, number)
                except MeasurementFailed as error:
                    result.failures[client] = str(error)
            result.rounds.append(measured)
        return result

    def _measure_one(self, scenario: Scenario, client: str, number: int) -> Measured:
        order = {
            "load": scenario.load,
            "client": client,
            "port": self._port,
            "seconds": scenario.seconds * self._seconds,
            "round": number,
            "arguments": dict(scenario.arguments),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "speed.worker", json.dumps(order)],
                env=make_environment(),
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed("it took more than 600 s") from error
        if done.returncode != 0:
            raise MeasurementFailed(done.stderr.strip().splitlines()[-1] if done.stderr else f"exit {done.returncode}")
        measured: Measured = json.loads(done.stdout.splitlines()[-1])
        return measured


class MeasurementFailed(Exception):
    """A measurement's process ended with an error; its last line."""


@contextlib.contextmanager
def run_server() -> Iterator[int]:
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
