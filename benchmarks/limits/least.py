"""The least possible makespan: that of a client which knows all, and sends each request so that it is just let in."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from .network import CONNECT, ONE_WAY, Times
from .servers import Request, Server

# Beyond the edge: sums of floats miss it.
_MOMENT = 1e-7


def least(server: Server, requests: Sequence[Request], times: Times) -> float:
    """Give when the last image is there, at best; the requests of each model stay in their order.

    Args:
        server: a new one.
        requests: the job.
        times: draws how long they take.
    """
    now, end = CONNECT + ONE_WAY, 0.0
    running: list[float] = []
    queues: dict[str, deque[Request]] = {}
    for request in requests:
        queues.setdefault(request.model, deque()).append(request)
    while waiting := [queue for queue in queues.values() if queue]:
        queue = min(waiting, key=lambda queue: server.wait(queue[0], now))
        request = queue.popleft()
        while (at := _opens_at(server, request, running, now)) > now:
            now = at
        server.arrive(request, now)
        done = now + times.draw_answer()
        heapq.heappush(running, done)
        end = max(end, done)
    return end


def _opens_at(server: Server, request: Request, running: list[float], now: float) -> float:
    """Give when a request would be let in, as far as is known now; `now` itself if it is now."""
    while running and running[0] <= now:
        heapq.heappop(running)
        server.leave()
    server.let_others(now)
    if server.outage is not None and server.is_out(now):
        return server.outage[1]
    if server.cap is not None and server.in_flight >= server.cap:
        # The next is sent when an answer is there.
        return running[0] + ONE_WAY
    wait = server.wait(request, now)
    return now + wait + _MOMENT if wait > 0 else now
