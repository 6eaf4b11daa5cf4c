"""An aiohttp application that relays a stream to its visitors as server-sent events of its own.

python examples/relay_aiohttp.py
curl --no-buffer 'http://127.0.0.1:8080/images?prompt=A+lighthouse'
"""

import json
import math
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from aiai_async import AIAIError, AsyncImagesClient, BadRequestError, InvalidRequestError, RateLimitError

CLIENT = web.AppKey("client", AsyncImagesClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with AsyncImagesClient(timeout=300) as client:
        app[CLIENT] = client
        yield


async def relay(request: web.Request) -> web.StreamResponse:
    # An EventSource whose connection ended asks again by itself, and each image costs; 204 tells it to stop.
    if "Last-Event-ID" in request.headers:
        return web.Response(status=204)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    prompt = request.query.get("prompt", "")
    try:
        # A visitor who leaves makes `write` raise or cancels this task; both leave the block, which cuts the request.
        async with request.app[CLIENT].stream(prompt, model="gpt-image-1", partial_images=3) as stream:
            async for event in stream:
                picture = {"media_type": event.image.media_type, "base64": event.b64_json}
                await response.write(encode(event.type.rpartition(".")[2], picture))
    except AIAIError as error:
        await response.write(encode("error", {"message": explain(error)}))
    return response


def explain(error: AIAIError) -> str:
    """Tell the visitor what concerns them: the prompt, and when to come again. All else is between us and the API."""
    match error:
        case InvalidRequestError() | BadRequestError():  # a prompt that moderation refuses is the latter
            return str(error)
        case RateLimitError():
            return f"too many images are asked for; come again in {math.ceil(error.retry_after or 10)} s"
        case _:
            print(f"error: {error}")
            return "the image could not be made"


def encode(name: str, data: Mapping[str, object]) -> bytes:
    """Write one server-sent event. The id makes a browser's EventSource say when it comes again that it was here."""
    return f"id: 1\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/images", relay)
    return app


if __name__ == "__main__":
    # Without cancellation a visitor who left would be noticed only at the next write.
    web.run_app(make_app(), host="127.0.0.1", port=8080, handler_cancellation=True)
