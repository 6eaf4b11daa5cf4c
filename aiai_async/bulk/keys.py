"""The caller's key, watched: what its callable raises is told apart from what a request ended in."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from aiai_async import AIAIError, AsyncImagesClient, ConfigurationError
from aiai_async._secret import Secret


class WatchedKey:
    """Calls the callable of an `api_key`. It equals that, so that both wait in the same queues.

    Args:
        source: the callable.

    Raises:
        ConfigurationError: when called, where the callable raised; without its text, which may hold the key.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Callable[[], Awaitable[str]]) -> None:
        self._source: Final = source

    def __call__(self) -> Awaitable[str]:
        try:
            answer = self._source()
        except Exception as error:
            raise _explain(error) from error
        # What is no awaitable is refused by who asked.
        return _wait(answer) if inspect.isawaitable(answer) else answer

    def __eq__(self, other: object) -> bool:
        return self._source == (other._source if isinstance(other, WatchedKey) else other)

    def __hash__(self) -> int:
        return hash(self._source)


async def _wait(answer: Awaitable[str]) -> str:
    try:
        return await answer
    except Exception as error:
        raise _explain(error) from error


def _explain(error: Exception) -> Exception:
    if isinstance(error, AIAIError):
        return error
    return ConfigurationError(
        f"the api_key callable raised {type(error).__name__}, so nothing can be sent; see to it and run again"
    )


def watch_key(client: AsyncImagesClient) -> AsyncImagesClient:
    """Give a view of a client whose key is watched, where it is a callable."""
    # Nobody else needs a client's key, so there is no public way to it.
    source = client._options.key  # pyright: ignore[reportPrivateUsage]
    return client if isinstance(source, Secret) else client.with_options(api_key=WatchedKey(source))
