"""Plans: what holds for the settings of one request holds for all with the same, and for no others."""

from __future__ import annotations

from typing import Any

import pytest

from aiai_async import InvalidRequestError
from aiai_async._plans import Plans


def find(plans: Plans, prompt: object = "A lighthouse", **settings: object) -> Any:
    """The plan of a request."""
    return plans.find({"prompt": prompt, "model": "gpt-image-1", **settings})


def test_a_plan_is_made_once() -> None:
    plans = Plans({}, validate=True)
    plan = find(plans, "A", size="1024x1024", n=2)
    assert find(plans, "B", size="1024x1024", n=2) is plan
    assert find(plans, "A", size="1024x1024", n=3) is not plan
    assert (plan.model, plan.images, plan.max_prompt_characters) == ("gpt-image-1", 2, 32_000)
    assert plan.tariff.asked == {"model": "gpt-image-1", "size": "1024x1024"}


@pytest.mark.parametrize("n", [True, 1.0])
def test_what_python_takes_for_the_same_is_checked_anew(n: object) -> None:
    plans = Plans({}, validate=True)
    find(plans, n=1)
    with pytest.raises(InvalidRequestError, match="n: "):
        find(plans, n=n)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (None, "say what the image shows"),
        (5, "give a string"),
        (" ", "say what the image shows"),
        ("\ud800", "remove the lone surrogate"),
        ("a" * 32_001, "use at most 32,000 characters"),
    ],
    ids=["none", "number", "blank", "surrogate", "long"],
)
def test_every_prompt_is_checked(prompt: object, words: str) -> None:
    """With the same words, whether its settings are known or not."""
    plans = Plans({}, validate=True)
    messages: list[str] = []
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match=words) as caught:
            find(plans, prompt)
        messages.append(str(caught.value))
        find(plans, "A lighthouse")
    assert messages[0] == messages[1]


def test_an_unknown_model_has_no_longest_prompt() -> None:
    plans = Plans({}, validate=True)
    for _ in range(2):
        plans.find({"prompt": "a" * 50_000, "model": "flux-pro"})


def test_what_cannot_be_hashed() -> None:
    """It is refused where requests are checked, and sent as it is where they aren't."""
    with pytest.raises(InvalidRequestError, match="size: "):
        find(Plans({}, validate=True), size=["1024x1024"])
    assert find(Plans({}, validate=False), size=["1024x1024"]).images == 1


def test_without_checks() -> None:
    plans = Plans({}, validate=False)
    for _ in range(2):
        assert find(plans, "", n=99).images == 99


def test_settings_that_are_made_up_do_not_fill_memory() -> None:
    plans = Plans({}, validate=True)
    for number in range(1000):
        find(plans, user=str(number))
    assert len(plans._plans) <= 64
