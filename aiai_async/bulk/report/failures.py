"""What is not done, by kind, each with what it means and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from aiai_async.bulk.items import State
from aiai_async.bulk.records import Record
from aiai_async.bulk.report.words import shorten

# A server may make up a code for each answer.
_MOST_KINDS: Final = 60
_MOST_EXAMPLES: Final = 5
_LONGEST_EXAMPLE: Final = 80
_LONGEST_CODE: Final = 60

STATES: Final[Mapping[State, str]] = {
    State.DONE: "Done",
    State.FAILED: "Failed for good",
    State.FAILED_FOR_NOW: "Failed for now",
    State.UNKNOWN: "Unknown: may have been billed",
    State.LINKED: "Not downloaded",
    State.UNFINISHED: "Unfinished",
    State.PENDING: "Not sent yet",
}
"""What an item's state is called, those that need somebody first after what is done."""

_NEXT: Final[Mapping[State, str]] = {
    State.FAILED: "The same command again leaves it as it is; with --retry failed it asks again.",
    State.FAILED_FOR_NOW: "Nothing was billed. The same command again asks again.",
    State.UNKNOWN: "It may have been paid for. The same command again leaves it as it is; with --retry unknown it asks "
    "again, and it may be paid for twice.",
    State.LINKED: "The image is made and paid for. The same command again fetches it without generating anything; be "
    "quick, such links expire.",
    State.UNFINISHED: "It is in flight, or was when the job was cut off. The same command again asks again under the "
    "same Idempotency-Key, so that a server which knows the key bills it once.",
    State.PENDING: "Nothing was sent for it. The same command again goes on.",
}

# By the names of our exceptions, which are in the journal: a title, and what to do before asking again.
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "ModerationBlockedError": (
        "Refused by moderation",
        "The same prompt is refused again: say it differently, in a row of its own, and run with --extend.",
    ),
    "InvalidRequestError": (
        "Not accepted by the model's rules",
        "The message names the field: correct the row, and run with --extend.",
    ),
    "BadRequestError": ("Not accepted by the service", "The message says why: correct the row, and run with --extend."),
    "UnprocessableEntityError": (
        "Not accepted by the service",
        "The message says why: correct the row, and run with --extend.",
    ),
    "PayloadTooLargeError": ("Too large for the service", "Shorten the prompt, in a row of its own."),
    "AuthenticationError": ("The key was not accepted", "Check AIAI_API_KEY, and that the base URL is its service's."),
    "PermissionDeniedError": (
        "The key may not do this",
        "See on the service's site whether the key may use this model, and whether the account is verified.",
    ),
    "QuotaExceededError": ("No money or quota left", "Add credit to the account, or raise its limit, first."),
    "RateLimitError": (
        "Rate limit",
        "Set a lower --ipm, --rpm or --concurrency if it comes back; otherwise only wait.",
    ),
    "NotFoundError": ("Not found", "Check the model's name, and whether the base URL is missing /v1."),
    "ConflictError": ("In conflict with another request", "It usually passes by itself."),
    "InternalServerError": ("The service failed", "It usually passes by itself; the request id helps its support."),
    "APIConnectionError": ("No connection, or one that broke", "Check the network, the proxy and the base URL."),
    "APITimeoutError": ("Out of time", "If it comes back, give more time with --timeout, or ask for a lower quality."),
    "APIResponseError": ("An answer that is none", "Check the base URL: a gateway in between may have answered."),
    "StreamError": ("A stream that failed", "It usually passes by itself."),
    "IncompleteStreamError": ("A stream that broke off", "It usually passes by itself."),
    "DownloadError": ("A link that could not be fetched", "Check whether its host can be reached from here."),
    "LostImage": ("An image that is gone", "It was made and paid for: put the file back, and run again."),
    "WritingError": ("An image that could not be written", "Make room on the disk, or see whether it is still there."),
    "ConfigurationError": ("A setting that can't be used", "The message says which."),
}


@attrs.frozen
class Kind:
    """What is the same about several items that are not done."""

    state: State
    type: str | None = None
    """The name of the error's class."""
    code: str | None = None
    """The service's word for it."""
    status: int | None = None
    """The answer's status."""

    @property
    def title(self) -> str:
        """Say what it is, in a few words."""
        if self.type is None:
            return STATES[self.state]
        known = _KINDS.get(self.type)
        name = self.type if known is None else known[0]
        return f"{name} ({facts})" if (facts := " ".join(self._facts())) else name

    @property
    def advice(self) -> str:
        """Say what to do."""
        known = None if self.type is None else _KINDS.get(self.type)
        # What is not sent yet because of an error is only waiting.
        first = "" if known is None else f"{known[1]} "
        return f"{first}{_NEXT[self.state]}"

    def _facts(self) -> list[str]:
        return [str(fact) for fact in (self.status, self.code) if fact is not None]


@attrs.define(kw_only=True)
class Failures:
    """The items of one kind."""

    kind: Kind
    count: int = 0
    message: str | None = None
    """What was said of the first of them."""
    examples: list[tuple[int, str]] = attrs.field(factory=list)
    """Places and prompts of the first few."""


class FailureTable:
    """Collects what is not done; as small for a million items as for ten."""

    def __init__(self) -> None:
        self._found: Final[dict[Kind, Failures]] = {}
        self._numbers: Final[dict[Kind, int]] = {}

    def add(self, record: Record) -> int | None:
        """Count an item, and give the number of its kind; None where it is done."""
        state = record.item.state
        if state is State.DONE:
            return None
        kind = kind_of(record)
        if kind not in self._found and len(self._found) >= _MOST_KINDS:
            kind = Kind(state, "another kind of error")
        if kind not in self._found:
            self._numbers[kind] = len(self._found)
            self._found[kind] = Failures(kind=kind)
        failures = self._found[kind]
        failures.count += 1
        if failures.message is None and record.error is not None:
            failures.message = str(record.error.get("message") or "") or None
        if len(failures.examples) < _MOST_EXAMPLES:
            prompt = shorten(str(record.item.request.get("prompt", "")), _LONGEST_EXAMPLE)
            failures.examples.append((record.item.index, prompt))
        return self._numbers[kind]

    def sorted(self) -> list[tuple[int, Failures]]:
        """Give all kinds with their numbers: what needs somebody before what only waits, the many before the few."""
        order = list(STATES)
        numbered = enumerate(self._found.values())
        return sorted(numbered, key=lambda pair: (order.index(pair[1].kind.state), -pair[1].count, pair[0]))


def kind_of(record: Record) -> Kind:
    """Tell the kind of an item that is not done."""
    error = record.error
    if error is None:
        return Kind(record.item.state)
    status, code = error.get("status_code"), error.get("code")
    return Kind(
        record.item.state,
        shorten(str(error.get("type") or "unknown error"), _LONGEST_CODE),
        None if code is None else shorten(str(code), _LONGEST_CODE),
        status if isinstance(status, int) else None,
    )
