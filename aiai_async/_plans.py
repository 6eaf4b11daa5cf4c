"""What follows from the settings of a request, worked out once for all requests that differ only in their prompt.

A program asks with the same few settings again and again, a job a hundred thousand times. Knows nothing of how a
request is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from aiai_async._models import check, check_prompt, max_prompt_characters
from aiai_async._schemas import Tariff

if TYPE_CHECKING:
    from aiai_async._prices import ModelPrices

# A program has a handful; one that makes them up must not fill memory.
_MOST: Final = 64


@attrs.frozen(eq=False)
class Plan:
    """What follows from a request's fields, whatever its prompt."""

    model: str | None
    """The model that it names, where that is a string."""
    images: int
    """How many images it asks for."""
    max_prompt_characters: float
    """How long its prompt may be; infinite where nobody knows."""
    tariff: Tariff

    @classmethod
    def of(cls, fields: Mapping[str, object], prices: Mapping[str, ModelPrices]) -> Plan:
        """Make that of a request with these fields."""
        model, n = fields.get("model"), fields.get("n", 1)
        return cls(
            model=model if isinstance(model, str) else None,
            images=n if isinstance(n, int) else 1,
            max_prompt_characters=max_prompt_characters(model if isinstance(model, str) else None),
            tariff=Tariff.of(fields, prices),
        )


class Plans:
    """The plans of one client, or of one view of it.

    Args:
        prices: the caller's, by model.
        validate: whether requests are checked against the rules of their model.
    """

    __slots__ = ("_plans", "_prices", "_validate")

    def __init__(self, prices: Mapping[str, ModelPrices], *, validate: bool) -> None:
        self._prices: Final = prices
        self._validate: Final = validate
        self._plans: Final[dict[tuple[tuple[str, type, object], ...], Plan]] = {}

    def find(self, fields: Mapping[str, object]) -> Plan:
        """Check a request, and give its plan.

        Args:
            fields: those of its body that are given, `prompt` among them, and `stream` where it is asked for.

        Raises:
            InvalidRequestError: a field is not accepted.
        """
        # Python takes 1, 1.0 and True for the same; the rules don't.
        settings = tuple([(name, type(value), value) for name, value in fields.items() if name != "prompt"])
        try:
            plan = self._plans.get(settings)
        except TypeError:
            # Something that can't be hashed is nothing that a request holds: the check says so, if there is one.
            return self._make(fields)
        if plan is None:
            plan = self._make(fields)
            if len(self._plans) >= _MOST:
                self._plans.clear()
            self._plans[settings] = plan
        elif self._validate:
            # The settings passed before.
            check_prompt(fields["prompt"], plan.model, plan.max_prompt_characters)
        return plan

    def _make(self, fields: Mapping[str, object]) -> Plan:
        plan = Plan.of(fields, self._prices)
        if self._validate:
            check(plan.model, fields)
        return plan
