"""Numbers, times and money in the words of the report. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from aiai_async.bulk.report.markup import Markup, tag

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def count(number: int, noun: str) -> str:
    """Write a number with its noun.

    Example:
        >>> count(1, "item"), count(1632, "image")
        ('1 item', '1,632 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def usd(value: float) -> str:
    """Write US dollars, a small sum with as many digits as say something.

    Example:
        >>> usd(0), usd(0.00412), usd(0.042), usd(1234.5)
        ('$0.00', '$0.0041', '$0.042', '$1,234.50')
    """
    if value <= 0 or value >= 0.1:
        return f"${value:,.2f}"
    digits = 1 - math.floor(math.log10(value))
    return f"${value:.{min(digits, 12)}f}"


def seconds(value: float) -> str:
    """Write a length of time.

    Example:
        >>> seconds(0.0421), seconds(7.26), seconds(42.4), seconds(754), seconds(7384), seconds(183600)
        ('42 ms', '7.3 s', '42 s', '12 min 34 s', '2 h 03 min', '2 d 3 h')
    """
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24:,} d {hours % 24} h"


def size(size_bytes: float) -> str:
    """Write a size.

    Example:
        >>> size(812), size(1_840_000), size(2.5e15)
        ('812 B', '1.8 MB', '2500.0 TB')
    """
    power = 0
    while size_bytes >= 1000 and power < len(_UNITS) - 1:
        size_bytes /= 1000
        power += 1
    return f"{size_bytes:.0f} B" if power == 0 else f"{size_bytes:.1f} {_UNITS[power]}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in percent; 100 % is said only of all of it, 0 % only of nothing.

    Example:
        >>> share(1, 3), share(9999, 10000), share(1, 100000), share(2, 2)
        ('33 %', '99.9 %', '0.1 %', '100 %')
    """
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "0.1 %"
    if 99.9 < percent < 100:
        return "99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) or 1 <= percent <= 99 else f"{percent:.1f} %"


def moment(at: float) -> Markup:
    """Write a time: in UTC, which the page's script turns into that of the reader.

    Example:
        >>> moment(0)
        '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00:00 UTC</time>'
    """
    try:
        when = datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return tag("span", f"{at:g}")
    return tag("time", f"{when:%Y-%m-%d %H:%M:%S} UTC", datetime=f"{when:%Y-%m-%dT%H:%M:%SZ}")


def shorten(value: str, most: int) -> str:
    """Cut off what is too long.

    Example:
        >>> shorten("A lighthouse at dusk", 12)
        'A lighthous…'
    """
    return value if len(value) <= most else f"{value[: most - 1]}…"
