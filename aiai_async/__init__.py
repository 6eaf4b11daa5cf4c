"""Images through the AIAI / OpenAI-compatible endpoint `POST /v1/images/generations/`, asynchronously.

Layers; an import only points down, and the checks see to it:

    edges      cli  server  studio                                       what people and other systems touch
    jobs       bulk                                                      durable jobs on disk
    client     _client  _call  _stream  _batch  _scheduler  _transport   the only layer that awaits
    core       wire  policy, over  _schemas  _models  _facts  _errors         pure: bytes and numbers in, values out

Importing this loads none of them: each comes when the first of its names is used, and aiohttp with the first request.
"""

from typing import TYPE_CHECKING

from aiai_async._version import __version__

if TYPE_CHECKING:
    from aiai_async._batch import BatchResult
    from aiai_async._client import AsyncImagesClient
    from aiai_async._costs import cost_of, estimate_cost
    from aiai_async._errors import (
        AIAIError,
        APIConnectionError,
        APIError,
        APIResponseError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        ConfigurationError,
        ConflictError,
        DownloadError,
        IncompleteStreamError,
        InternalServerError,
        InvalidRequestError,
        ModerationBlockedError,
        NotFoundError,
        PayloadTooLargeError,
        PermissionDeniedError,
        QuotaExceededError,
        RateLimitError,
        StreamError,
        UnprocessableEntityError,
    )
    from aiai_async._facts import Cost, RateLimits, Usage
    from aiai_async._prices import PRICES_DATE, ModelPrices
    from aiai_async._schemas import Image, ImageCompletedEvent, ImageRequest, ImagesResponse, PartialImageEvent
    from aiai_async._sinks import FileSink, ImageSink
    from aiai_async._stream import ImageStream
    from aiai_async._transport import AiohttpTransport
    from aiai_async.policy.deadlines import Timeout
    from aiai_async.policy.retry import RetryPolicy
else:
    # All of it takes half as long to import as aiohttp, and who needs a name or two, such as a module with prompts or a
    # command line that only shows its help, shall not wait for that. Type checkers read the imports above.
    _NAMES = {
        "_batch": ("BatchResult",),
        "_client": ("AsyncImagesClient",),
        "_costs": (
            "cost_of",
            "estimate_cost",
        ),
        "_errors": (
            "AIAIError",
            "APIConnectionError",
            "APIError",
            "APIResponseError",
            "APIStatusError",
            "APITimeoutError",
            "AuthenticationError",
            "BadRequestError",
            "ConfigurationError",
            "ConflictError",
            "DownloadError",
            "IncompleteStreamError",
            "InternalServerError",
            "InvalidRequestError",
            "ModerationBlockedError",
            "NotFoundError",
            "PayloadTooLargeError",
            "PermissionDeniedError",
            "QuotaExceededError",
            "RateLimitError",
            "StreamError",
            "UnprocessableEntityError",
        ),
        "_facts": (
            "Cost",
            "RateLimits",
            "Usage",
        ),
        "_prices": (
            "PRICES_DATE",
            "ModelPrices",
        ),
        "_schemas": (
            "Image",
            "ImageCompletedEvent",
            "ImageRequest",
            "ImagesResponse",
            "PartialImageEvent",
        ),
        "_sinks": (
            "FileSink",
            "ImageSink",
        ),
        "_stream": ("ImageStream",),
        "_transport": ("AiohttpTransport",),
        "policy.deadlines": ("Timeout",),
        "policy.retry": ("RetryPolicy",),
    }

    def __getattr__(name: str) -> object:
        home = next((home for home, names in _NAMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "PRICES_DATE",
    "AIAIError",
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AiohttpTransport",
    "AsyncImagesClient",
    "AuthenticationError",
    "BadRequestError",
    "BatchResult",
    "ConfigurationError",
    "ConflictError",
    "Cost",
    "DownloadError",
    "FileSink",
    "Image",
    "ImageCompletedEvent",
    "ImageRequest",
    "ImageSink",
    "ImageStream",
    "ImagesResponse",
    "IncompleteStreamError",
    "InternalServerError",
    "InvalidRequestError",
    "ModelPrices",
    "ModerationBlockedError",
    "NotFoundError",
    "PartialImageEvent",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "RateLimits",
    "RetryPolicy",
    "StreamError",
    "Timeout",
    "UnprocessableEntityError",
    "Usage",
    "__version__",
    "cost_of",
    "estimate_cost",
]
