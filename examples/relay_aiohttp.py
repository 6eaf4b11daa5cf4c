"""An aiohttp application that relays a stream to its visitors as server-sent events of its own.

python examples/relay_aiohttp.py
curl --no-buffer 'http://127.0.0.1:8080/images?prompt=A+lighthouse'
"""

import json
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from aiai_async import AIAIError, AsyncImagesClient

CLIENT = web.AppKey("client", AsyncImagesClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with AsyncImagesClient(timeout=300) as client:
        app[CLIENT] = client
        yield


async def relay(request: web.Request) -> web.StreamResponse:
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
        await response.write(encode("error", {"message": str(error)}))
    return response


def encode(name: str, data: Mapping[str, object]) -> bytes:
    """Write one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/images", relay)
    return app


if __name__ == "__main__":
    # Without cancellation a visitor who left would be noticed only at the next write.
    web.run_app(make_app(), host="127.0.0.1", port=8080, handler_cancellation=True)
