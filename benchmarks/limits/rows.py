"""The worlds: servers, jobs, and what is to be reached there. Each row of the table is a function here.

A minute's limit of 60 and 720 requests where nothing else is said. Every variant comes at three latencies. About a
third of the variants is never looked at while the scheduler is tuned, other rates, phases and latencies among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from aiai_async._facts import RateLimits

from .headers import Style
from .servers import Bucket, BySecond, Request, Rule, Server, Sliding, Window
from .worlds import World

FAST: Final = 0.03
MIDDLE: Final = 2.0
SLOW: Final = 30.0
EVERY: Final = (FAST, MIDDLE, SLOW)
UNSEEN: Final = (0.3, 8.0)
"""Latencies that nothing was tuned at."""

MINUTES: Final = 12
"""How long a job takes at its limit, mostly."""

Shape = Literal["bucket", "window", "sliding"]

_SHAPES: Final[tuple[Shape, ...]] = ("bucket", "window", "sliding")
_COMMON: Final[tuple[Shape, ...]] = ("bucket", "window")
_WITHOUT_PHASE: Final[tuple[Shape, ...]] = ("bucket", "sliding")
_TOKENS: Final = {"low": 272.0, "medium": 1056.0, "high": 4160.0}
"""Of a square image. Source: OpenAI's guide "Image generation"."""


def worlds() -> list[World]:
    """Give all worlds, row by row."""
    return [world for row in _ROWS for world in row()]


def _many(count: float) -> Sequence[Request]:
    return (Request(),) * round(count)


def _rule(
    shape: Shape, limit: float = 60.0, *, phase: float = 0.37, name: str = "requests", model: str | None = None
) -> Rule:
    """Make a limit for a minute; a window's grid began `phase` of it before."""
    if shape == "window":
        return Window(limit, name=name, model=model, phase=60.0 * phase)
    kind = Bucket if shape == "bucket" else Sliding
    return kind(limit, name=name, model=model)


def _declared() -> Iterator[World]:
    def make(shape: Shape, limit: float, latency: float, *, phase: float = 0.37, is_tuned: bool = True) -> World:
        return World(
            row="declared",
            variant=f"{shape} {limit:g}",
            make=lambda: Server(rules=[_rule(shape, limit, phase=phase)], style="hidden"),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=1.03,
            slack=30.0,
            refused=0.0,
            declared=RateLimits(requests_per_minute=limit),
            is_tuned=is_tuned,
        )

    for shape in _SHAPES:
        yield from (make(shape, 60, latency) for latency in EVERY)
        yield make(shape, 20, 0.3, phase=0.1, is_tuned=False)
        yield make(shape, 150, 8.0, phase=0.8, is_tuned=False)


def _learned() -> Iterator[World]:
    def make(
        shape: Shape,
        limit: float,
        style: Style,
        stamp: str,
        latency: float,
        *,
        phase: float = 0.37,
        jitter: float = 0.0,
        is_tuned: bool = False,
    ) -> World:
        return World(
            row="learned from headers",
            variant=f"{shape} {limit:g}, {style}, {stamp}" + (", jitter" if jitter else ""),
            jitter=jitter,
            make=lambda: Server(rules=[_rule(shape, limit, phase=phase)], style=style, stamp=stamp),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=1.05,
            refused=0.01,
            is_tuned=is_tuned,
        )

    styles: tuple[Style, ...] = ("full", "whole", "ietf")
    for stamp in ("admission", "answer"):
        for shape in _COMMON:
            for latency in EVERY:
                for style in styles:
                    yield make(shape, 60, style, stamp, latency, is_tuned=True)
                yield make(shape, 30, "full", stamp, latency, phase=0.1)
                yield make(shape, 150, "full", stamp, latency, phase=0.8)
                yield make(shape, 60, "full", stamp, latency, jitter=0.005)
            for style in styles:
                yield make(shape, 40, style, stamp, 8.0, phase=0.6)


def _small_burst() -> Iterator[World]:
    def make(limit: float, burst: float, count: int, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="bucket of 1,200 with burst 20",
            variant=f"bucket {limit:g}, burst {burst:g}",
            make=lambda: Server(rules=[Bucket(limit, burst=burst)]),
            latency=latency,
            requests=_many(count),
            ratio=1.05,
            refused=0.005,
            is_long=True,
            is_tuned=is_tuned,
        )

    for latency in EVERY:
        yield make(1200, 20, 13_000, latency, is_tuned=True)
        yield make(600, 10, 6_500, latency, is_tuned=False)


def _few_images() -> Iterator[World]:
    def make(shape: Shape, limit: float, stamp: str, *, phase: float, is_tuned: bool) -> World:
        return World(
            row="5 images a minute",
            variant=f"{shape} {limit:g}, {stamp}",
            make=lambda: Server(rules=[_rule(shape, limit, phase=phase, name="images")], stamp=stamp),
            latency=SLOW,
            requests=_many(limit * MINUTES),
            ratio=1.05,
            refused=0.05,
            is_tuned=is_tuned,
        )

    for stamp in ("admission", "answer"):
        for shape in _COMMON:
            yield make(shape, 5, stamp, phase=0.37, is_tuned=True)
            yield make(shape, 8, stamp, phase=0.8, is_tuned=False)


def _images_and_tokens() -> Iterator[World]:
    def make(
        shape: Shape,
        images: float,
        tokens: float,
        off: float,
        latency: float,
        *,
        jitter: float = 0.0,
        is_tuned: bool = False,
    ) -> World:
        return World(
            row="images and tokens",
            variant=f"{shape}, {images:g} and {tokens:,.0f}, off by {off:g}" + (", jitter" if jitter else ""),
            jitter=jitter,
            make=lambda: Server(
                rules=[_rule(shape, images, name="images"), _rule(shape, tokens, name="tokens")],
            ),
            latency=latency,
            requests=_mixed(300, off),
            ratio=1.10,
            refused=0.02,
            is_tuned=is_tuned,
        )

    for shape in _COMMON:
        for off in (0.5, 2.0):
            yield from (make(shape, 50, 60_000, off, latency, is_tuned=True) for latency in EVERY)
            yield make(shape, 80, 150_000, off, 8.0)
            yield make(shape, 50, 60_000, off, MIDDLE, jitter=0.005)
        yield make(shape, 50, 60_000, 1.5, 0.3)


def _mixed(count: int, off: float) -> Sequence[Request]:
    """Make requests for several images of several qualities, whose tokens are off the estimate by up to that factor."""
    luck = random.Random(5)
    found: list[Request] = []
    for _ in range(count):
        images, quality = luck.choice((1, 1, 2, 4)), luck.choice(tuple(_TOKENS))
        estimate = images * _TOKENS[quality]
        tokens = round(estimate * off ** luck.uniform(0.6, 1.0))
        found.append(Request(images=images, quality=quality, estimate=estimate, tokens=tokens))
    return found


def _retry_after_only() -> Iterator[World]:
    def make(shape: Shape, limit: float, style: Style, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="Retry-After only",
            variant=f"{shape} {limit:g}, {style}",
            make=lambda: Server(rules=[_rule(shape, limit)], style=style),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=1.10,
            refused=0.05,
            is_tuned=is_tuned,
        )

    for shape in _SHAPES:
        for latency in EVERY:
            yield make(shape, 60, "retry-after", latency, is_tuned=True)
            yield make(shape, 20, "retry-after", latency, is_tuned=False)
        yield make(shape, 60, "retry-after, whole", 8.0, is_tuned=False)


def _hidden() -> Iterator[World]:
    def make(shape: Shape, limit: float, latency: float, *, phase: float = 0.0, counts: bool, is_tuned: bool) -> World:
        return World(
            row="hidden, refusals count" if counts else "hidden",
            variant=f"{shape} {limit:g}" + (f", phase {phase:g}" if shape == "window" else ""),
            make=lambda: Server(rules=[_rule(shape, limit, phase=phase)], style="hidden", counts_refusals=counts),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=1.25,
            refused=0.05,
            refused_extra=12,
            is_tuned=is_tuned,
        )

    for counts in (False, True):
        for limit in (20, 60, 200):
            for latency in EVERY:
                for phase in (0.1, 0.5, 0.9):
                    yield make("window", limit, latency, phase=phase, counts=counts, is_tuned=phase != 0.5)
                for shape in _WITHOUT_PHASE:
                    yield make(shape, limit, latency, counts=counts, is_tuned=limit != 20)
        for shape in _SHAPES:
            yield make(shape, 100, 8.0, phase=0.3, counts=counts, is_tuned=False)


def _changing_limit() -> Iterator[World]:
    def make(
        shape: Shape,
        style: Style,
        factor: float,
        latency: float,
        *,
        limit: float = 60,
        change_at: int = 360,
        jitter: float = 0.0,
        is_tuned: bool = False,
    ) -> World:
        falls = factor < 1
        return World(
            row="limit falls to a quarter" if falls else "limit rises fourfold",
            variant=f"{shape} {limit:g}, {style}" + (", jitter" if jitter else ""),
            jitter=jitter,
            make=lambda: Server(rules=[_rule(shape, limit)], style=style, change_at=change_at, change_factor=factor),
            latency=latency,
            requests=_many(limit * MINUTES * (1 if falls else 2)),
            ratio=1.15 if falls else 1.25,
            refused=0.05,
            is_tuned=is_tuned,
        )

    styles: tuple[Style, ...] = ("full", "retry-after", "hidden")
    for factor in (0.25, 4.0):
        for style in styles:
            for shape in _COMMON:
                for latency in EVERY:
                    yield make(shape, style, factor, latency, is_tuned=True)
                for latency in UNSEEN:
                    yield make(shape, style, factor, latency, limit=100, change_at=450)
                yield make(shape, style, factor, MIDDLE, jitter=0.005)


def _shared_key() -> Iterator[World]:
    def make(shape: Shape, style: Style, limit: float, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="another program takes half",
            variant=f"{shape} {limit:g}, {style}",
            make=lambda: Server(rules=[_rule(shape, limit)], style=style, other_rate=limit / 120),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=0.15,
            refused=0.08,
            measure="share",
            is_tuned=is_tuned,
        )

    styles: tuple[Style, ...] = ("full", "retry-after", "hidden")
    for style in styles:
        for shape in _COMMON:
            yield from (make(shape, style, 60, latency, is_tuned=True) for latency in EVERY)
            yield make(shape, style, 100, 8.0, is_tuned=False)


def _unknown_cap() -> Iterator[World]:
    def make(cap: int, limit: float | None, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="unknown cap" if limit is None else "cap and hidden rate",
            variant=f"{cap}" if limit is None else f"{cap}, bucket {limit:g}",
            make=lambda: Server(rules=[] if limit is None else [Bucket(limit)], style="hidden", cap=cap),
            latency=latency,
            requests=_many(720 if limit is None else limit * MINUTES),
            ratio=1.15,
            refused=0.05,
            is_tuned=is_tuned,
        )

    for latency in EVERY:
        for cap in (3, 8, 50):
            yield make(cap, None, latency, is_tuned=True)
            yield make(2 * cap, None, latency, is_tuned=False)
    yield from (make(20, None, latency, is_tuned=False) for latency in UNSEEN)
    for latency in EVERY:
        for cap in (8, 40):
            yield make(cap, 60, latency, is_tuned=True)
    for latency in UNSEEN:
        yield make(5, 30, latency, is_tuned=False)
        yield make(20, 100, latency, is_tuned=False)


def _by_second() -> Iterator[World]:
    def make(limit: float, count: int, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="60,000 a minute by the second",
            variant=f"{limit:g}",
            make=lambda: Server(rules=[BySecond(limit)]),
            latency=latency,
            requests=_many(count),
            ratio=1.15,
            refused=0.05,
            is_long=True,
            is_tuned=is_tuned,
        )

    yield from (make(60_000, 20_000, latency, is_tuned=True) for latency in EVERY)
    yield from (make(30_000, 10_000, latency, is_tuned=False) for latency in UNSEEN)


def _outage() -> Iterator[World]:
    def make(style: Style, began_at: float, wait: float | None, latency: float, *, is_tuned: bool) -> World:
        said = "" if wait is None else f", Retry-After {wait:g}"
        return World(
            row="30 s of 503s",
            variant=f"bucket, {style}, from {began_at:g} s{said}",
            make=lambda: Server(
                rules=[_rule("bucket")], style=style, outage=(began_at, began_at + 30.0), outage_wait=wait
            ),
            latency=latency,
            requests=_many(720),
            ratio=1.25,
            refused=1.0,
            max_retries=20,
            is_tuned=is_tuned,
        )

    yield from (make("full", 20.0, None, latency, is_tuned=True) for latency in EVERY)
    for latency in UNSEEN:
        yield make("hidden", 100.0, None, latency, is_tuned=False)
        yield make("full", 100.0, 10.0, latency, is_tuned=False)


def _lying() -> Iterator[World]:
    lies = {"0": "0", "an hour": "3600", "a past date": "Wed, 21 Oct 2015 07:28:00 GMT"}

    def make(shape: Shape, limit: float, lie: str, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="Retry-After that lies",
            variant=f"{shape} {limit:g}, {lie}",
            make=lambda: Server(rules=[_rule(shape, limit)], style="retry-after", lie=lies[lie]),
            latency=latency,
            requests=_many(limit * MINUTES),
            ratio=1.25,
            refused=1.0,
            is_patient=True,
            is_tuned=is_tuned,
        )

    for lie in lies:
        for shape in _COMMON:
            yield from (make(shape, 60, lie, latency, is_tuned=True) for latency in EVERY)
        for shape in _SHAPES:
            yield make(shape, 100, lie, 8.0, is_tuned=False)


def _two_models() -> Iterator[World]:
    def make(
        shape: Shape, style: Style, limits: tuple[float, ...], latency: float, *, phase: float, is_tuned: bool
    ) -> World:
        models = ("gpt-image-1", "gpt-image-1-mini")
        shared = len(limits) == 1
        return World(
            row="two models, one limit" if shared else "two models, a limit each",
            variant=f"{shape} {' and '.join(f'{limit:g}' for limit in limits)}, {style}",
            make=lambda: Server(
                rules=[
                    _rule(shape, limit, phase=phase, model=None if shared else model)
                    for limit, model in zip(limits, models, strict=False)
                ],
                style=style,
            ),
            latency=latency,
            requests=[Request(model=models[index % 2]) for index in range(720)],
            ratio=1.10,
            refused=0.03,
            is_tuned=is_tuned,
        )

    for shape in _COMMON:
        for latency in EVERY:
            yield make(shape, "full", (60.0,), latency, phase=0.37, is_tuned=True)
            yield make(shape, "full", (60.0, 30.0), latency, phase=0.37, is_tuned=True)
        yield make(shape, "whole", (100.0,), 8.0, phase=0.7, is_tuned=False)
        yield make(shape, "whole", (100.0, 40.0), 8.0, phase=0.7, is_tuned=False)


def _quota() -> Iterator[World]:
    def make(style: Style, status: int, latency: float, *, is_tuned: bool) -> World:
        return World(
            row="insufficient_quota midway",
            variant=f"bucket, {style}, {status}",
            make=lambda: Server(rules=[_rule("bucket")], style=style, quota=360, quota_status=status),
            latency=latency,
            requests=_many(720),
            ratio=1.0,
            refused=1.0,
            measure="quota",
            is_tuned=is_tuned,
        )

    for latency in EVERY:
        yield make("full", 429, latency, is_tuned=True)
        yield make("hidden", 429, latency, is_tuned=True)
    yield from (make("full", 402, latency, is_tuned=False) for latency in UNSEEN)


_ROWS: Final[tuple[Callable[[], Iterator[World]], ...]] = (
    _declared,
    _learned,
    _small_burst,
    _few_images,
    _images_and_tokens,
    _retry_after_only,
    _hidden,
    _changing_limit,
    _shared_key,
    _unknown_cap,
    _by_second,
    _outage,
    _lying,
    _two_models,
    _quota,
)
