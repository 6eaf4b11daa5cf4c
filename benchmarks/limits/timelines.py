"""What happened in a world, line by line: for whoever wants to know why a result is what it is."""

from __future__ import annotations

import math

from aiai_async.policy.admission import Admission
from aiai_async.policy.status import describe_limits

from .measures import OURS, play
from .records import Record
from .worlds import World


def trace(world: World) -> None:
    """Run the core in a world and print what was sent, what was refused, and each pause."""
    print(world.name)
    timeline = _Timeline()
    record, _ = play(world, OURS, core_only=True, watch=timeline.watch)
    timeline.print_events(record)
    print(f"{record.makespan:10.3f}  the end: {record.sent} sent, {record.admitted} let in, {record.refused} refused")


class _Timeline:
    """Prints as it goes."""

    def __init__(self) -> None:
        self._seen = 0
        """Events looked at so far."""
        self._pauses: dict[Admission, float] = {}
        """The queues that pause, and until when."""

    def watch(self, now: float, queue: Admission, record: Record) -> None:
        """Print what led to a pause or to its end."""
        until = None if queue.lockout is None else queue.lockout.until
        if until == self._pauses.get(queue):
            return
        self.print_events(record)
        known = [
            f"{limit.limit:.4g} {limit.name}"
            + ("" if limit.window is None else f" in {limit.window:.4g} s")
            + ("" if limit.remaining is None else f", {limit.remaining:.4g} left")
            for limit in describe_limits(queue, now)
        ]
        if queue.lockout is None or until is None:
            del self._pauses[queue]
            said = "open again"
        else:
            self._pauses[queue] = until
            said = "paused" + ("" if until == math.inf else f" until {until:.3f}")
            said += f", waiting for {queue.lockout.describe()}"
        print(f"{now:10.3f}  {said}; {queue.in_flight} in flight; known: {'; '.join(known) or 'nothing'}")

    def print_events(self, record: Record) -> None:
        """Print what happened since the last time."""
        events = record.events[self._seen :]
        self._seen = len(record.events)
        counts = {"sent": 0, "admitted": 0, "refused": 0, "answered": 0}
        for _, kind in events:
            counts[kind] += 1
        if events:
            said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            print(f"{events[0][0]:10.3f}  {said}, until {events[-1][0]:.3f}")
