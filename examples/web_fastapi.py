"""A FastAPI application that makes images: one client for all requests, opened and closed with the application.

pip install fastapi uvicorn
uvicorn --app-dir examples web_fastapi:app
curl --json '{"prompt": "A lighthouse at dusk"}' http://127.0.0.1:8000/images --output lighthouse.png
"""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Body, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from aiai_async import (
    AIAIError,
    APITimeoutError,
    AsyncImagesClient,
    BadRequestError,
    InvalidRequestError,
    RateLimitError,
    RetryPolicy,
)


class State(TypedDict):
    client: AsyncImagesClient


@asynccontextmanager
async def open_client(app: FastAPI) -> AsyncGenerator[State]:
    # A visitor doesn't wait for minutes: what the API asks to wait beyond 5 s is passed on as it is.
    async with AsyncImagesClient(timeout=120, retry=RetryPolicy(max_retry_after=5)) as client:
        yield {"client": client}


app = FastAPI(lifespan=open_client)


@app.post("/images")
async def make_image(request: Request, prompt: Annotated[str, Body(embed=True)]) -> Response:
    client: AsyncImagesClient = request.state.client
    response = await client.generate(prompt, model="gpt-image-1", output_format="webp")
    return Response(await response.image.read(), media_type="image/webp")


@app.exception_handler(AIAIError)
async def answer_error(request: Request, error: AIAIError) -> JSONResponse:
    """Tell the visitor what concerns them: the prompt, and when to come again. All else is between us and the API."""
    match error:
        case InvalidRequestError() | BadRequestError():  # a prompt that moderation refuses is the latter
            return JSONResponse({"error": str(error)}, status_code=400)
        case RateLimitError():
            headers = {"Retry-After": str(math.ceil(error.retry_after or 10))}
            return JSONResponse({"error": "too many images are asked for"}, status_code=503, headers=headers)
        case APITimeoutError():
            return JSONResponse({"error": "the image took too long"}, status_code=504)
        case _:
            print(f"error: {error}")
            return JSONResponse({"error": "the image could not be made"}, status_code=502)
