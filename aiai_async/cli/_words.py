"""Numbers, times and other people's text in words. Pure; it knows nothing of streams."""

from __future__ import annotations

from typing import Final

# Joins several emoji to one. The only invisible character that is let through.
_JOINER: Final = "\N{ZERO WIDTH JOINER}"


def one_line(text: str) -> str:
    """Make any text safe to show: one line, no control characters.

    Example:
        >>> one_line("two\\nlines \\x1b[31mred")
        'two lines �[31mred'
    """
    if text.isprintable():
        return text
    shown = (
        c if c.isprintable() or c == _JOINER else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return " ".join("".join(shown).split())


def shorten(text: str, *, longest: int = 60) -> str:
    """Give the beginning of a text on one line.

    Example:
        >>> shorten("A lighthouse at dusk", longest=12)
        'A lighthouse…'
    """
    text = one_line(text)
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"


def count(number: int, noun: str) -> str:
    """Put a number before its noun.

    Example:
        >>> count(1, "image"), count(1200, "token")
        ('1 image', '1,200 tokens')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """Write a length of time.

    Example:
        >>> format_seconds(0.04), format_seconds(75.21)
        ('0.0 s', '75.2 s')
    """
    return f"{seconds:.1f} s"


def format_size(size_bytes: int) -> str:
    """Write a file's size.

    Example:
        >>> format_size(812), format_size(41_000), format_size(1_449_000)
        ('812 bytes', '41 kB', '1.4 MB')
    """
    if size_bytes < 1000:
        return count(size_bytes, "byte")
    # From here on the kilobytes would be rounded to 1000.
    if size_bytes < 999_500:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"
