"""The pictures behind links: there for a while, and not too many."""

from __future__ import annotations

from aiai_async.server.store import PictureStore


def test_a_picture_is_there_until_it_expires() -> None:
    """To the second."""
    store = PictureStore(lifetime=60)
    name = store.put(b"picture", "jpeg", now=100)
    picture = store.get(name, now=159)
    assert picture is not None
    assert (picture.content, picture.media_type) == (b"picture", "image/jpeg")
    assert store.get(name, now=160) is None


def test_an_unknown_name_gives_nothing() -> None:
    """Names can't be guessed, so this is what a guess gets."""
    assert PictureStore(lifetime=60).get("x.png", now=0) is None


def test_names_differ_for_the_same_picture() -> None:
    """Each answer has its own links."""
    store = PictureStore(lifetime=60)
    assert store.put(b"picture", "png", now=0) != store.put(b"picture", "png", now=0)


def test_what_expired_is_dropped_when_the_next_comes() -> None:
    """Memory is given back without a timer."""
    store = PictureStore(lifetime=60)
    store.put(b"one", "png", now=0)
    store.put(b"two", "png", now=30)
    store.put(b"three", "png", now=61)
    assert len(store) == 2


def test_the_oldest_is_dropped_where_there_are_too_many() -> None:
    """By bytes; the latest stays, however large."""
    store = PictureStore(lifetime=60, most_bytes=10)
    names = [store.put(b"12345", "png", now=0) for _ in range(3)]
    assert [store.get(name, now=1) is not None for name in names] == [False, True, True]
    large = store.put(b"x" * 50, "png", now=1)
    assert len(store) == 1
    assert store.get(large, now=1) is not None
