"""A FastAPI application that relays a stream to its visitors as server-sent events of its own.

uvicorn --app-dir examples relay_fastapi:app
curl --no-buffer 'http://127.0.0.1:8000/images?prompt=A+lighthouse'
"""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from aiai_async import AIAIError, AsyncImagesClient, BadRequestError, InvalidRequestError, RateLimitError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncImagesClient(timeout=300) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/images")
async def relay(prompt: str, request: Request) -> Response:
    # An EventSource whose connection ended asks again by itself, and each image costs; 204 tells it to stop.
    if "Last-Event-ID" in request.headers:
        return Response(status_code=204)
    client: AsyncImagesClient = request.app.state.client
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(events(client, prompt), media_type="text/event-stream", headers=headers)


async def events(client: AsyncImagesClient, prompt: str) -> AsyncIterator[bytes]:
    try:
        # A visitor who leaves cancels this generator, which leaves the block, which cuts the request.
        async with client.stream(prompt, model="gpt-image-1", partial_images=3) as stream:
            async for event in stream:
                picture = {"media_type": event.image.media_type, "base64": event.b64_json}
                yield encode(event.type.rpartition(".")[2], picture)
    except AIAIError as error:
        yield encode("error", {"message": explain(error)})


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
