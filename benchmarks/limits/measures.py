"""One world, run with one policy, and what that came to."""

from __future__ import annotations

import time
from typing import Final

import attrs

from aiai_async import RetryPolicy

from . import core
from .client import run_client
from .least import least
from .network import CONNECT, REFUSAL, Network, Times
from .peers import PEERS
from .records import Record
from .servers import Bucket, Server
from .virtual import run
from .worlds import World

OURS: Final = "aiai_async"
_SEED: Final = 1
# One that was let go may need a connection first.
_QUOTA_LAG: Final = CONNECT + REFUSAL + 0.001
_FREE_SHARE: Final = 0.025


@attrs.frozen(kw_only=True)
class Result:
    """What one policy came to in one world."""

    ratio: float
    """Makespan by the least possible; or throughput by the fair share; or seconds from the first answer that the
    account is empty to the last failure."""
    sent: int
    refused: int
    """How many of them were answered 429."""
    failures: int
    """How many requests were given up although their image could be had."""
    asked: int
    """How many requests there were."""
    unfair_wait: float
    """Seconds by which a later request got in before an earlier one, at most."""
    others_share: float | None = None
    """What part of its requests another program got through; None: there was none."""
    took: float
    """Seconds that the run took here."""

    @property
    def refused_share(self) -> float:
        """The 429s, as a part of what was sent."""
        return self.refused / max(1, self.sent)

    @property
    def lost_share(self) -> float:
        """What was given up, as a part of what was asked for."""
        return self.failures / self.asked


@attrs.frozen(kw_only=True)
class Verdict:
    """Which bounds of its world a result keeps."""

    ratio: bool
    refusals: bool
    failures: bool

    @property
    def is_met(self) -> bool:
        """Whether it keeps all."""
        return self.ratio and self.refusals and self.failures


def play(
    world: World, policy: str, *, core_only: bool = False, watch: core.Watch = lambda now, queue, record: None
) -> tuple[Record, Server]:
    """Run a world with a policy: the client's own (`OURS`) or one of `PEERS`; give what happened, and the server.

    Args:
        world: the world.
        policy: the name.
        core_only: whether of the client only the core takes part.
        watch: see `core.run`; called where only the core takes part.
    """
    server = world.make()
    if policy == OURS and (core_only or world.is_long):
        record = core.run(server, world.requests, _times(world), declared=world.declared, watch=watch)
        return record, server
    network = Network(server, world.requests, _times(world))
    if policy == OURS:
        retry = RetryPolicy(max_retries=world.max_retries, max_retry_after=None if world.is_patient else 120.0)
        run(run_client(network, declared=world.declared, retry=retry))
    else:
        run(PEERS[policy](network))
    return network.record, server


def measure(world: World, policy: str, *, core_only: bool = False) -> Result:
    """Run a world with a policy and measure what it comes to. The arguments are those of `play`."""
    began_at = time.perf_counter()
    record, server = play(world, policy, core_only=core_only)
    others = server.others_admitted + server.others_refused
    failures = len(world.requests) - record.admitted
    ratio = record.quota_lag
    if world.measure == "makespan":
        ratio = record.makespan / _least(world, world.make())
    elif world.measure == "share":
        ratio = _least(world, _without_others(world, record, server)) / record.makespan
    else:
        assert server.quota is not None
        failures = server.quota - record.admitted + len(world.requests) - record.admitted - record.failures
    return Result(
        ratio=ratio,
        sent=record.sent,
        refused=record.refused,
        failures=failures,
        asked=len(world.requests),
        unfair_wait=record.longest_unfair_wait,
        others_share=server.others_admitted / others if others else None,
        took=time.perf_counter() - began_at,
    )


def judge(world: World, result: Result) -> Verdict:
    """Compare a result with its world's bounds."""
    extra = world.refused_extra
    return Verdict(
        ratio=distance(world, result) <= bound_of(world),
        refusals=result.refused <= world.refused * result.sent
        or (extra > 0 and result.refused <= extra + _FREE_SHARE * result.sent),
        failures=result.failures == 0,
    )


def bound_of(world: World) -> float:
    """Give the largest ratio that is accepted; of a share, how far off 1 it may be."""
    if world.measure == "quota":
        return _QUOTA_LAG
    return world.ratio + (world.slack / _least(world, world.make()) if world.slack else 0.0)


def distance(world: World, result: Result) -> float:
    """Give what of a result is compared with the bound: the larger, the worse."""
    return abs(result.ratio - 1) if world.measure == "share" else result.ratio


def _least(world: World, server: Server) -> float:
    return least(server, world.requests, _times(world))


def _times(world: World) -> Times:
    return Times(world.latency, seed=_SEED, jitter=world.jitter)


def _without_others(world: World, record: Record, met: Server) -> Server:
    """Make a server that has only what another program left: the fair part, where it got what it wanted."""
    server = world.make()
    server.other_rate = 0.0
    seconds = max(record.admitted_at.values())
    for rule in server.rules:
        if isinstance(rule, Bucket):
            # What is in it in the beginning is left as it is.
            rule.burst = rule.limit
        rule.limit -= met.others_admitted / seconds * rule.per
    return server
