"""The sum of what several events were billed for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiai_async._facts import TokenDetails, Usage, add_usages

COUNTS = st.none() | st.integers(0, 10**6)
DETAILS = st.none() | st.builds(TokenDetails, text_tokens=COUNTS, image_tokens=COUNTS)
USAGES = st.builds(
    Usage,
    total_tokens=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    input_tokens_details=DETAILS,
    output_tokens_details=DETAILS,
)


def test_nothing_adds_up_to_nothing() -> None:
    """None is "the server didn't say", which 0 is not."""
    assert add_usages([]) is None
    assert add_usages(iter(())) is None
    assert add_usages([Usage(), Usage()]) == Usage()


def test_one_usage_stays_as_it_is() -> None:
    """With everything that isn't known by name."""
    usage = Usage(total_tokens=0, extra={"generated_images": 1})
    assert add_usages([usage]) is usage


def test_numbers_are_added_at_every_level() -> None:
    """Those that some don't say are the sum of the others; what isn't known by name is the last one's."""
    one = Usage(
        total_tokens=10,
        input_tokens=4,
        output_tokens=0,
        input_tokens_details=TokenDetails(text_tokens=3, extra={"cached": 1, "a": 1}),
        extra={"images": 1, "a": 1},
    )
    other = Usage(
        total_tokens=20,
        output_tokens=5,
        input_tokens_details=TokenDetails(text_tokens=1, image_tokens=7, extra={"cached": 2}),
        output_tokens_details=TokenDetails(image_tokens=6),
        extra={"images": 2, "b": 2},
    )
    assert add_usages([one, Usage(), other]) == Usage(
        total_tokens=30,
        input_tokens=4,
        output_tokens=5,
        input_tokens_details=TokenDetails(text_tokens=4, image_tokens=7, extra={"cached": 2, "a": 1}),
        output_tokens_details=TokenDetails(image_tokens=6),
        extra={"images": 2, "a": 1, "b": 2},
    )


def test_what_is_added_up_stays_as_it_was() -> None:
    """Events keep their own."""
    usages = [Usage(total_tokens=1, extra={"a": 1}), Usage(total_tokens=2, extra={"a": 2})]
    before = [Usage(total_tokens=1, extra={"a": 1}), Usage(total_tokens=2, extra={"a": 2})]
    add_usages(usages)
    assert usages == before


@given(usages=st.lists(USAGES, min_size=1, max_size=5))
def test_each_number_is_the_sum_of_those_that_were_said(usages: list[Usage]) -> None:
    """In whatever order they come."""
    total = add_usages(usages)
    assert total is not None
    for name in ("total_tokens", "input_tokens", "output_tokens"):
        counts = [count for usage in usages if (count := getattr(usage, name)) is not None]
        assert getattr(total, name) == (sum(counts) if counts else None)
    for name in ("input_tokens_details", "output_tokens_details"):
        details = [detail for usage in usages if (detail := getattr(usage, name)) is not None]
        counts = [detail.text_tokens for detail in details if detail.text_tokens is not None]
        if details:
            assert getattr(total, name).text_tokens == (sum(counts) if counts else None)
        else:
            assert getattr(total, name) is None
    assert add_usages(reversed(usages)) == total
