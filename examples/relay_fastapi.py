"""A FastAPI application that relays a stream to its visitors as server-sent events of its own.

uvicorn --app-dir examples relay_fastapi:app
curl --no-buffer 'http://127.0.0.1:8000/images?prompt=A+lighthouse'
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from aiai_async import AIAIError, AsyncImagesClient


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncImagesClient(timeout=300) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/images")
async def relay(prompt: str, request: Request) -> StreamingResponse:
    client: AsyncImagesClient = request.app.state.client
    return StreamingResponse(events(client, prompt), media_type="text/event-stream")


async def events(client: AsyncImagesClient, prompt: str) -> AsyncIterator[bytes]:
    try:
        # A visitor who leaves cancels this generator, which leaves the block, which cuts the request.
        async with client.stream(prompt, model="gpt-image-1", partial_images=3) as stream:
            async for event in stream:
                picture = {"media_type": event.image.media_type, "base64": event.b64_json}
                yield encode(event.type.rpartition(".")[2], picture)
    except AIAIError as error:
        yield encode("error", {"message": str(error)})


def encode(name: str, data: Mapping[str, object]) -> bytes:
    """Write one server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
