"""An aiohttp application that makes images: one client for all requests, opened and closed with the application.

python examples/web_aiohttp.py
curl --json '{"prompt": "A lighthouse at dusk"}' http://127.0.0.1:8080/images --output lighthouse.png
"""

import math
from collections.abc import AsyncIterator
from json import JSONDecodeError

from aiohttp import web

from aiai_async import (
    AIAIError,
    APITimeoutError,
    AsyncImagesClient,
    BadRequestError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
)

CLIENT = web.AppKey("client", AsyncImagesClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    # A visitor doesn't wait for minutes: what the API asks to wait beyond 5 s is passed on as it is.
    async with AsyncImagesClient(timeout=120, retry=RetryPolicy(max_retry_after=5)) as client:
        app[CLIENT] = client
        yield


async def make_image(request: web.Request) -> web.Response:
    try:
        prompt = (await request.json())["prompt"]
    except (JSONDecodeError, KeyError, TypeError):
        return web.json_response({"error": 'send {"prompt": "..."}'}, status=400)
    try:
        response = await request.app[CLIENT].generate(prompt, model="gpt-image-1", output_format="webp")
        content = await response.image.read()
    except AIAIError as error:
        return answer_error(error)
    return web.Response(body=content, content_type="image/webp")


def answer_error(error: AIAIError) -> web.Response:
    """Tell the visitor what concerns them: the prompt, and when to come again. All else is between us and the API."""
    match error:
        case InvalidRequestError() | BadRequestError():  # a prompt that moderation refuses is the latter
            return web.json_response({"error": str(error)}, status=400)
        case RateLimitError():
            headers = {"Retry-After": str(math.ceil(error.retry_after or 10))}
            return web.json_response({"error": "too many images are asked for"}, status=503, headers=headers)
        case APITimeoutError():
            return web.json_response({"error": "the image took too long"}, status=504)
        case _:
            print(f"error: {error}")
            return web.json_response({"error": "the image could not be made"}, status=502)


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_post("/images", make_image)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=8080)
