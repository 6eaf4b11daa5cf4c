"""Pictures in memory, bounded in bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiai_async.studio.gallery import Gallery, Picture


@given(sizes=st.lists(st.integers(0, 40)))
def test_the_latest_pictures_are_kept_as_far_as_there_is_room(sizes: list[int]) -> None:
    """Never more bytes than that but for the latest, the oldest dropped first, and each dropped one told once."""
    gallery = Gallery(most_bytes=100)
    names: list[str] = []
    told: list[str] = []
    for size in sizes:
        name, dropped = gallery.put(Picture(bytes(size), None))
        names.append(name)
        told += dropped
        assert gallery.size_bytes <= 100
        assert gallery.get(name) is not None
    assert told == names[: len(told)]
    assert all(gallery.get(name) is None for name in told)
    assert gallery.size_bytes == sum(sizes[len(told) :])


def test_a_picture_larger_than_the_bound_is_shown_all_the_same() -> None:
    """It was paid for; the next one takes its place."""
    gallery = Gallery(most_bytes=10)
    first, _ = gallery.put(Picture(bytes(50), "image/png"))
    assert gallery.get(first) is not None
    _, dropped = gallery.put(Picture(bytes(1), "image/png"))
    assert dropped == [first]


def test_names_can_not_be_guessed_and_forgetting_twice_is_no_mistake() -> None:
    """They are all that guards a picture."""
    gallery = Gallery()
    name, _ = gallery.put(Picture(b"ab", None))
    assert len(name) >= 24
    gallery.drop(name)
    gallery.drop(name)
    assert gallery.size_bytes == 0
