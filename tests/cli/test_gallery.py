"""`_gallery`: who has a place for a picture, and how large it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiai_async.cli._gallery import Gallery, Layout, arrange, split


@pytest.mark.parametrize("width", [24, 60, 80, 200, 400])
@pytest.mark.parametrize("height", [12, 24, 100])
@pytest.mark.parametrize("pictures", [1, 2, 3, 7, 50])
def test_places_fit(width: int, height: int, pictures: int) -> None:
    """Whatever the terminal's size: not even their captions and gaps are too much, and a place holds something."""
    layout = arrange(width, height, pictures=pictures)
    assert layout.columns * (layout.width + 2) - 2 < width
    assert layout.rows * (layout.height + 1) < height
    assert layout.places < pictures + layout.columns
    assert layout.width >= 20 and layout.height >= 7


def start(gallery: Gallery, *indices: int) -> None:
    for index in indices:
        gallery.start(index, f"kite {index}", now=1.0)


def indices(gallery: Gallery) -> list[int]:
    return [tile.index for tile in gallery.grid]


class TestPlaces:
    @pytest.fixture
    def gallery(self) -> Gallery:
        gallery = Gallery()
        assert gallery.settle(Layout(2, 1, 20, 10)) == []
        return gallery

    def test_go_to_who_starts_first(self, gallery: Gallery) -> None:
        start(gallery, 0, 1, 2)
        assert indices(gallery) == [0, 1]
        assert gallery.has_place(1) and not gallery.has_place(2)

    def test_are_kept_by_final_pictures_until_others_need_them(self, gallery: Gallery) -> None:
        start(gallery, 0, 1)
        gallery.show(0, b"final", is_final=True, elapsed=2.0)
        gallery.finish(0, elapsed=2.5)
        assert gallery.settle(gallery.layout) == []
        assert [tile.elapsed for tile in gallery.grid] == [2.5, None]
        start(gallery, 2)
        (lost,) = gallery.settle(gallery.layout)
        assert (lost.index, lost.source) == (0, b"final")
        assert indices(gallery) == [1, 2]

    def test_are_given_back_by_who_failed(self, gallery: Gallery) -> None:
        start(gallery, 0, 1, 2)
        gallery.show(0, b"partial", is_final=False, elapsed=1.0)
        gallery.finish(0, elapsed=2.0)
        assert [tile.index for tile in gallery.settle(gallery.layout)] == [0]
        assert indices(gallery) == [1, 2]

    def test_become_fewer_and_more_with_the_terminal(self, gallery: Gallery) -> None:
        """Who loses one shows the same when it has one again."""
        start(gallery, 0, 1)
        gallery.show(1, b"partial", is_final=False, elapsed=1.0)
        assert [tile.index for tile in gallery.settle(Layout(1, 1, 20, 10))] == [1]
        assert indices(gallery) == [0]
        gallery.settle(Layout(2, 1, 20, 10))
        assert [(tile.index, tile.source) for tile in gallery.grid] == [(0, None), (1, b"partial")]


def test_partial_images_of_who_has_no_place_are_not_kept() -> None:
    """Fifty prompts at once would keep fifty images."""
    gallery = Gallery()
    start(gallery, 0, 1)
    gallery.show(1, b"partial", is_final=False, elapsed=1.0)
    gallery.settle(gallery.layout)
    gallery.finish(0, elapsed=2.0)
    gallery.settle(gallery.layout)
    assert [(tile.index, tile.source) for tile in gallery.grid] == [(1, None)]


def test_final_pictures_are_shown_in_the_end() -> None:
    """Those of a prompt with several images too, in the order of the prompts, and of many the last ones."""
    gallery = Gallery()
    start(gallery, 0, 1, 2)
    for index, name in ((1, "b"), (0, "a"), (0, "c")):
        gallery.show(index, Path(name), is_final=True, elapsed=1.0)
    gallery.finish(1, elapsed=2.0)
    gallery.show(1, Path("late"), is_final=True, elapsed=3.0)
    assert [(tile.index, tile.source) for tile in gallery.finals()] == [(0, Path("a")), (0, Path("c")), (1, Path("b"))]
    for number in range(50):
        gallery.show(2, Path(str(number)), is_final=True, elapsed=1.0)
    assert [str(tile.source) for tile in gallery.finals()] == [str(number) for number in range(26, 50)]
    assert [len(row) for row in split(gallery.finals(), 10)] == [10, 10, 4]
