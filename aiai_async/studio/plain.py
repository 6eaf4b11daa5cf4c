"""JSON for the page. Pure, and it takes whatever servers and journals have in store.

orjson is quick, and refuses what a server may answer and a file may hold: half a surrogate pair, a number of more than
64 bits, text that is none. One such answer is remembered, and would be told to every tab from then on.
"""

from __future__ import annotations

import json
import math

import orjson


def read_json(text: bytes) -> object:
    """Parse JSON; half a surrogate pair is left to whoever knows what the text is for.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.

    Example:
        >>> read_json(b'{"prompt": "\\\\ud83d"}')
        {'prompt': '\\ud83d'}
    """
    try:
        tree: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        tree = json.loads(text)
    return tree


def write_json(tree: object) -> bytes:
    r"""Write JSON; what orjson refuses with escapes, and what no JSON has a word for as `str` writes it.

    Example:
        >>> write_json({"text": "\ud83d", "number": 2**70, "share": float("inf")})
        b'{"text": "\\ud83d", "number": 1180591620717411303424, "share": null}'
    """
    try:
        return orjson.dumps(tree)
    except TypeError:
        return json.dumps(_make_finite(tree), default=str, allow_nan=False).encode()


def _make_finite(tree: object) -> object:
    """Take what is no number for unknown, as orjson does: a browser refuses it."""
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    if isinstance(tree, dict):
        return {str(name): _make_finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_make_finite(value) for value in tree]
    return tree
