"""Images through the AIAI / OpenAI-compatible endpoint `POST /v1/images/generations/`, asynchronously.

Layers; an import only points down, and the checks see to it:

    edges      cli  server  studio                                       what people and other systems touch
    jobs       bulk                                                      durable jobs on disk
    client     _client  _call  _stream  _batch  _scheduler  _transport   the only layer that awaits
    core       wire  policy, over  _schemas  _models  _facts  _errors         pure: bytes and numbers in, values out

Importing this loads neither aiohttp nor cattrs: they come with the first request.
"""

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
from aiai_async._version import __version__
from aiai_async.policy.deadlines import Timeout
from aiai_async.policy.retry import RetryPolicy

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
