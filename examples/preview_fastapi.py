"""A preview widget in a FastAPI application: pictures sharpen on a page as they come; the key stays on the server.

uvicorn --app-dir examples preview_fastapi:app    # then open http://127.0.0.1:8000
"""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import Body, FastAPI, Header, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from aiai_async import AIAIError, AsyncImagesClient, BadRequestError, InvalidRequestError, RateLimitError

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Preview</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 34rem; margin: 2rem auto; padding: 0 1rem }
  input, button { font: inherit } input { width: 100%; box-sizing: border-box } img { max-width: 100% }
</style>
<main>
  <h1>Preview</h1>
  <form><p><label>What it shows <input name="prompt" required></label></p><button>Make</button></form>
  <p role="status"></p><img alt="" hidden>
</main>
<script type="module">
  const [form, status, image] = ["form", "[role=status]", "img"].map(name => document.querySelector(name))
  let running = new AbortController()
  const make = async (prompt, signal, say) => {
    const request = { method: "POST", headers: { "Content-Type": "application/json" }, signal }
    const answer = await fetch("images", { ...request, body: JSON.stringify({ prompt }) })
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let rest = "", part; !(part = await reader.read()).done;) {
      const lines = (rest + part.value).split("\\n")
      rest = lines.pop()
      for (const event of lines.map(line => JSON.parse(line))) {
        if (event.image) Object.assign(image, { src: event.image, alt: prompt, hidden: false })
        say(event.words)
      }
    }
  }
  form.addEventListener("submit", event => {
    event.preventDefault()
    running.abort()                                        // the one before: its request is cut, here and at the API
    const { signal } = running = new AbortController(), started = performance.now()
    const say = words => status.textContent = `${((performance.now() - started) / 1000).toFixed(1)} s: ${words}`
    say("under way")
    make(form.prompt.value, signal, say).catch(error => signal.aborted || say(`it broke off: ${error.message}`))
  })
  addEventListener("pagehide", () => running.abort())      // so does a tab that leaves
</script>"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncImagesClient(timeout=300) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/", response_class=HTMLResponse)
async def show_page() -> str:
    return PAGE


# A POST that says it is JSON: no page of another site can send that, and spend your money.
JSON = Annotated[Literal["application/json"], Header(alias="Content-Type")]


@app.post("/images")
async def make_image(request: Request, kind: JSON, prompt: Annotated[str, Body(embed=True)]) -> StreamingResponse:
    client: AsyncImagesClient = request.app.state.client
    return StreamingResponse(events(client, prompt), media_type="application/x-ndjson")


async def events(client: AsyncImagesClient, prompt: str) -> AsyncIterator[str]:
    """Give a line of JSON for each image. A visitor who leaves cancels this, and with it the request to the API."""
    try:
        async with client.stream(prompt, model="gpt-image-1", partial_images=3, output_format="webp") as stream:
            async for event in stream:
                words = "finished" if event in stream.completed else f"{len(stream.partial_images)} of up to 3 previews"
                image = f"data:{event.image.media_type};base64,{event.b64_json}"
                yield json.dumps({"image": image, "words": words}) + "\n"
    except AIAIError as error:
        yield json.dumps({"words": explain(error)}) + "\n"


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
