"""HTML as a value of its own: what is only text is escaped wherever it comes in. Pure.

The one rule: `Markup` is made here and by `raw` alone, so that whatever a job holds can't become a tag.
"""

from __future__ import annotations

import html
from typing import Final

# Those that have no end tag.
_VOID: Final = frozenset({"br", "img", "input", "link", "meta", "path", "line", "rect", "circle", "polyline"})
_SVG: Final = frozenset({"path", "line", "rect", "circle", "polyline"})


class Markup(str):
    """HTML that is whole and safe to put into a page."""

    __slots__ = ()


Child = Markup | str | int | float | None


def text(value: object) -> Markup:
    """Escape what is only text.

    Example:
        >>> text('</script> & "more"')
        '&lt;/script&gt; &amp; &quot;more&quot;'
    """
    return Markup(html.escape(str(value), quote=True))


def raw(value: str) -> Markup:
    """Take HTML that we wrote ourselves as it is."""
    return Markup(value)


def join(*children: Child) -> Markup:
    """Put markup and text one after another; None is nothing."""
    return Markup(
        "".join(child if isinstance(child, Markup) else text(child) for child in children if child is not None)
    )


def tag(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """Make an element.

    Args:
        name: of the element.
        children: text is escaped, markup is not; None is left out.
        attributes: an underscore at the end is cut off, others are hyphens; None and False are left out, True has no
            value.

    Example:
        >>> tag("a", "1 < 2", href='#"x"', aria_label=None, hidden=True, class_="odd")
        '<a href="#&quot;x&quot;" hidden class="odd">1 &lt; 2</a>'
        >>> tag("rect", x=1.0)
        '<rect x="1"/>'
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_').replace('_', '-')}")
        if value is not True:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(f'="{text(shown)}"')
    if name in _VOID:
        parts.append("/>" if name in _SVG else ">")
        return Markup("".join(parts))
    return Markup(f"{''.join(parts)}>{join(*children)}</{name}>")
