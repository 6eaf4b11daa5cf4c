"""The queue against servers with limits: how long a job takes, and how much of it is refused."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from aiai_async._facts import RateLimits
from aiai_async.policy.ceilings import Cost
from tests.policy.servers import Bucket, Server, Sliding, Window, least, run

REQUEST = Cost()


@attrs.frozen(kw_only=True)
class World:
    """A server, a job, and what is asked for; generous, since the benchmark is what measures."""

    server: Callable[[], Server]
    requests: int = 150
    latencies: tuple[float, ...] = (0.03, 2.0, 30.0)
    ratio: float = 1.1
    """Longest makespan by the least possible."""
    refused: int = 15
    """Most refusals."""


def of(rule: Callable[[], Bucket | Window | Sliding], name: str = "requests", **facts: object) -> Callable[[], Server]:
    """Make a maker of servers with one limit."""
    return lambda: Server({name: rule()}, **facts)  # type: ignore[arg-type] # the fields of a Server


WORLDS: dict[str, World] = {
    "bucket": World(server=of(lambda: Bucket(60))),
    "bucket, figures of the answer": World(server=of(lambda: Bucket(60), stamp="answer")),
    "bucket with a small burst": World(
        server=of(lambda: Bucket(1200, burst=20)), requests=600, latencies=(0.03, 2.0), refused=15
    ),
    "window": World(server=of(lambda: Window(60, phase=-20))),
    "window, figures of the answer": World(server=of(lambda: Window(60, phase=-20), stamp="answer")),
    "window, whole seconds": World(server=of(lambda: Window(60, phase=-20), says="whole seconds")),
    "sliding window": World(server=of(lambda: Sliding(60)), ratio=1.15),
    "sliding window, whole seconds": World(server=of(lambda: Sliding(60), says="whole seconds"), ratio=1.15),
    "five images a minute, bucket": World(server=of(lambda: Bucket(5), "images"), requests=20, refused=4),
    "five images a minute, window": World(server=of(lambda: Window(5), "images"), requests=20, refused=4),
    "bucket, Retry-After only": World(server=of(lambda: Bucket(60), says="retry-after"), refused=25),
    "window, Retry-After only": World(server=of(lambda: Window(60, phase=-20), says="retry-after"), refused=25),
    "sliding window, Retry-After only": World(
        server=of(lambda: Sliding(60), says="retry-after"), refused=25, ratio=1.15
    ),
    "hidden bucket": World(server=of(lambda: Bucket(60), says="nothing"), requests=300, refused=45),
    "hidden window": World(
        server=of(lambda: Window(60, phase=-20), says="nothing"), requests=600, ratio=1.3, refused=50
    ),
    "hidden sliding window": World(server=of(lambda: Sliding(60), says="nothing"), requests=600, ratio=1.3, refused=50),
    "a cap of 8": World(
        server=lambda: Server(cap=8, says="nothing"), requests=200, latencies=(2.0, 30.0), ratio=1.2, refused=30
    ),
    "a cap of 3": World(
        server=lambda: Server(cap=3, says="nothing"), requests=100, latencies=(2.0, 30.0), ratio=1.2, refused=30
    ),
    "a cap and a hidden rate": World(
        server=lambda: Server({"requests": Bucket(60)}, cap=8, says="nothing"),
        requests=200,
        latencies=(2.0, 30.0),
        ratio=1.25,
        refused=50,
    ),
}
CASES = {
    f"{name}, answers after {latency:g} s": (world, latency)
    for name, world in WORLDS.items()
    for latency in world.latencies
}


@pytest.mark.parametrize(("world", "latency"), CASES.values(), ids=CASES.keys())
def test_a_job_takes_little_longer_than_it_has_to(world: World, latency: float) -> None:
    """And few requests are refused, though nothing is known before; none is lost."""
    costs = [REQUEST] * world.requests
    outcome = run(world.server(), costs, latency=latency)
    assert sorted(outcome.answered) == list(range(world.requests))
    assert outcome.makespan <= world.ratio * least(world.server(), costs, latency=latency)
    assert outcome.refused <= world.refused


@pytest.mark.parametrize("latency", [0.03, 2.0, 30.0])
@pytest.mark.parametrize("rule", [Bucket, Window, Sliding])
def test_what_is_declared_is_never_refused(rule: Callable[[float], Bucket | Window | Sliding], latency: float) -> None:
    """Whichever kind of limit it is, since it is kept in any minute; it costs half a window at most."""
    costs = [REQUEST] * 150
    declared = RateLimits(requests_per_minute=60)
    outcome = run(Server({"requests": rule(60)}, says="nothing"), costs, latency=latency, declared=declared)
    assert outcome.refused == 0
    assert len(outcome.answered) == 150
    assert outcome.makespan <= 1.03 * least(Server({"requests": rule(60)}), costs, latency=latency) + 35


def test_what_is_declared_for_images_and_tokens_is_kept_too() -> None:
    """Requests of several images among them; they are let go in the order they came in."""
    costs = [Cost(images=1.0 + number % 3, tokens=1000.0) for number in range(60)]
    server = Server({"images": Sliding(20), "tokens": Sliding(15000)}, says="nothing")
    declared = RateLimits(images_per_minute=20, tokens_per_minute=15000)
    outcome = run(server, costs, latency=2.0, declared=declared)
    assert outcome.refused == 0
    assert outcome.answered == list(range(60))


def test_declared_concurrency_is_kept() -> None:
    """And used in full."""
    outcome = run(Server(cap=3, says="nothing"), [REQUEST] * 50, latency=2.0, declared=RateLimits(concurrency=3))
    assert (outcome.refused, outcome.most_in_flight) == (0, 3)


def test_a_cap_is_found_and_shown() -> None:
    """By refusals that waiting doesn't help, and the end of a request does."""
    outcome = run(Server(cap=8, says="nothing"), [REQUEST] * 200, latency=30.0)
    assert outcome.admission is not None
    assert outcome.admission.caps.cap == 8


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0], ids=["half", "as much", "twice"])
def test_tokens_that_were_estimated_wrongly(factor: float) -> None:
    """What requests take in truth is learned from their answers."""
    costs = [Cost(tokens=1000.0)] * 120
    server = Server({"tokens": Bucket(30000)})
    outcome = run(server, costs, latency=2.0, truth=lambda cost: cost.tokens * factor)
    true_costs = [Cost(tokens=1000.0 * factor)] * 120
    assert len(outcome.answered) == 120
    assert outcome.makespan <= 1.25 * least(Server({"tokens": Bucket(30000)}), true_costs, latency=2.0)
    assert outcome.refused <= 12


def test_two_models_with_one_limit() -> None:
    """It is found out that both use it up, and then it is one budget."""
    shared = Bucket(60)
    one, other = Server({"requests": shared}), Server({"requests": shared})
    outcome = run(one, [REQUEST] * 240, latency=2.0, others=[other])
    assert len(outcome.answered) == 240
    assert outcome.makespan <= 1.15 * least(Server({"requests": Bucket(60)}), [REQUEST] * 240, latency=2.0)
    assert outcome.refused <= 20


def test_two_models_with_limits_of_their_own() -> None:
    """One doesn't hold the other back."""
    one, other = Server({"requests": Bucket(60)}), Server({"requests": Bucket(60)})
    outcome = run(one, [REQUEST] * 300, latency=2.0, others=[other])
    assert len(outcome.answered) == 300
    assert outcome.makespan <= 1.15 * least(Server({"requests": Bucket(60)}), [REQUEST] * 150, latency=2.0)
    assert outcome.refused <= 15


def test_where_nothing_limits_nothing_waits() -> None:
    """On a fast network 2,000 requests are let go in a moment."""
    outcome = run(Server(), [REQUEST] * 2000, latency=60.0, connect=0.0005)
    assert (outcome.refused, outcome.failed, outcome.most_in_flight) == (0, 0, 2000)
    assert outcome.makespan < 60.0 + 0.5
