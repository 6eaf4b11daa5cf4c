"""What a job costs: its rows appraised, and what it has come to. Pure.

Rows are appraised by the settings that prices depend on, so that a million of them are a handful of sums. Where answers
cost more than they were expected to, the next ones with the same settings are expected to cost as much.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from aiai_async import ModelPrices
from aiai_async._costs import Rate, find_rate, settings_of

Settings = tuple[object, object, object]
"""Model, size and quality of a request, those that it names."""


@attrs.frozen(kw_only=True)
class Outlay:
    """Rows with the same settings, added up."""

    model: str | None
    size: str | None
    quality: str | None
    partial_images: int
    rows: int
    images: int
    """Images that they ask for together."""
    text_bytes: int
    """Bytes of their prompts, each counted as often as it asks for images."""


@attrs.frozen(kw_only=True)
class JobCost:
    """What rows may cost at most, in US dollars, as far as their prices are known."""

    usd: float
    """Of the rows whose price is known."""
    by_model: Mapping[str | None, float | None]
    """The same by model; None where its price isn't known, also where that of some of its sizes isn't."""
    unknown_rows: int = 0
    """Rows whose price isn't known."""
    unknown_images: int = 0
    """Images that those ask for."""
    priced_on: tuple[dt.date, ...] = ()
    """The days the prices are of, those that are known."""

    @property
    def unknown_models(self) -> tuple[str | None, ...]:
        """Models whose price isn't known; None: none is named."""
        return tuple(model for model, usd in self.by_model.items() if usd is None)


class Appraiser:
    """Says what requests may cost at most, and learns from what they cost.

    Args:
        prices: those that win over the table.

    Example:
        >>> appraiser = Appraiser({})
        >>> request = {"prompt": "A kite", "model": "dall-e-2", "size": "256x256"}
        >>> appraiser.appraise(request, n=2)
        0.032
        >>> appraiser.learn(request, usd=0.05, images=2)
        >>> appraiser.appraise(request, n=4)
        0.1
    """

    def __init__(self, prices: Mapping[str, ModelPrices]) -> None:
        self._prices: Final = prices
        self._rates: Final[dict[tuple[object, ...], Rate | None]] = {}
        self._dearest: Final[dict[Settings, float]] = {}
        """The most that an image with these settings has cost, in US dollars."""

    def appraise(self, request: Mapping[str, object], *, n: int) -> float | None:
        """Give the most that a request may cost, by prices and by what such requests have cost; None: not known."""
        usd = self.price(request, n=n)
        dearest = self._dearest.get(settings_key(request)) if self._dearest else None
        return usd if dearest is None else max(usd or 0.0, dearest * n)

    def price(self, request: Mapping[str, object], *, n: int) -> float | None:
        """Give the most that a request may cost by its price alone; None: not known."""
        rate = self._find_rate((*settings_key(request), request.get("partial_images")))
        return None if rate is None else rate.add_up(images=n, text_bytes=n * count_bytes(request))

    def learn(self, request: Mapping[str, object], *, usd: float, images: int) -> None:
        """Note what an answer with so many images cost, where that is more than its price."""
        price = self.price(request, n=images)
        if price is None or usd > price:
            self.learn_price(settings_key(request), usd / max(1, images))

    def learn_price(self, settings: Settings, usd: float) -> None:
        """Note what an image with these settings cost."""
        self._dearest[settings] = max(usd, self._dearest.get(settings, 0.0))

    def dearest(self, settings: Settings) -> float:
        """Give the most that an image with these settings has cost, where that was more than its price; else 0."""
        return self._dearest.get(settings, 0.0)

    def add_up(self, outlays: Iterable[Outlay]) -> JobCost:
        """Add up what rows may cost at most by their prices."""
        by_model: dict[str | None, float | None] = {}
        dates: set[dt.date] = set()
        unknown_rows = unknown_images = 0
        costs: list[float] = []
        for outlay in outlays:
            rate = self._find_rate((outlay.model, outlay.size, outlay.quality, outlay.partial_images))
            if rate is None:
                by_model[outlay.model] = None
                unknown_rows += outlay.rows
                unknown_images += outlay.images
                continue
            usd = rate.add_up(images=outlay.images, text_bytes=outlay.text_bytes)
            costs.append(usd)
            before = by_model.get(outlay.model, 0.0)
            by_model[outlay.model] = None if before is None else before + usd
            dates |= set() if rate.priced_on is None else {rate.priced_on}
        return JobCost(
            usd=math.fsum(costs),
            by_model=by_model,
            unknown_rows=unknown_rows,
            unknown_images=unknown_images,
            priced_on=tuple(sorted(dates)),
        )

    def _find_rate(self, key: tuple[object, object, object, object]) -> Rate | None:
        if key not in self._rates:
            names = ("model", "size", "quality", "partial_images")
            self._rates[key] = find_rate(**settings_of(dict(zip(names, key, strict=True))), prices=self._prices)
        return self._rates[key]


def settings_key(request: Mapping[str, object]) -> Settings:
    """Give what prices depend on of a request."""
    return request.get("model"), request.get("size"), request.get("quality")


def count_bytes(request: Mapping[str, object]) -> int:
    """Count the bytes of a request's prompt."""
    return len(str(request.get("prompt", "")).encode(errors="replace"))


class Spending:
    """What a job has cost so far, and what all of it may come to.

    What is left is expected to cost as much of its estimate as what was answered has; without prices, as much an image.

    Args:
        known: US dollars that answers before this run cost, as far as that is known.
        unknown: items that were answered and whose cost isn't known.
        left: what is left to send.

    Example:
        >>> spending = Spending(known=0.0, unknown=0, left=JobCost(usd=2.0, by_model={"gpt-image-1": 2.0}))
        >>> spending.note(estimate=0.25, cost=0.125, n=1, images=1)
        >>> spending.known, spending.estimate_whole()
        (0.125, 1.0)
    """

    def __init__(self, *, known: float, unknown: int, left: JobCost) -> None:
        self.known = known
        self.unknown = unknown
        self.priced_on: Final = left.priced_on
        """The days of the prices that were used."""
        self._left = left.usd
        self._unknown_images = left.unknown_images
        # Of what was answered in this run: what it cost, how many images it held, and of that which had an estimate,
        # what that was and what it cost.
        self._usd = 0.0
        self._images = 0
        self._estimated = 0.0
        self._estimated_usd = 0.0

    def note(self, *, estimate: float | None, cost: float | None, n: int, images: int) -> None:
        """Note that an item ended.

        Args:
            estimate: what it was expected to cost at most, by its price; None where that isn't known.
            cost: what its answer cost; None where that isn't known, or there was none.
            n: images that it asked for.
            images: images that came; 0: there was no answer.
        """
        self._left -= estimate or 0.0
        self._unknown_images -= n if estimate is None else 0
        if not images:
            return
        if cost is None:
            self.unknown += 1
            return
        self.known += cost
        self._usd += cost
        self._images += images
        if estimate is not None:
            self._estimated += estimate
            self._estimated_usd += cost

    @property
    def shown(self) -> float | None:
        """What is known; None where answers came and nothing is known of what they cost."""
        return show_known(self.known, self.unknown)

    def estimate_whole(self) -> float | None:
        """Give what all of the job may come to; None where prices of what is left are not known."""
        share = self._estimated_usd / self._estimated if self._estimated > 0 else 1.0
        rest = max(0.0, self._left) * share
        if self._unknown_images > 0:
            if not self._images:
                return None
            rest += self._unknown_images * self._usd / self._images
        return self.known + rest


def show_known(usd: float, unknown: int) -> float | None:
    """Give a sum of costs that are known; None where none is, so that nobody takes it for 0."""
    return None if unknown and not usd else usd


def format_usd(usd: float) -> str:
    """Write an amount: cents where it is a dollar or more, else as many places as tell small amounts apart.

    Example:
        >>> format_usd(1234.5), format_usd(0.0421), format_usd(0.05), format_usd(0.0000123), format_usd(0)
        ('$1,234.50', '$0.0421', '$0.05', '$0.000012', '$0.00')
    """
    if usd >= 1 or usd <= 0:
        return f"${usd:,.2f}"
    places = max(4, 1 - math.floor(math.log10(usd)))
    whole, _, parts = f"{usd:.{places}f}".rstrip("0").partition(".")
    return f"${whole}.{parts:0<2}"
