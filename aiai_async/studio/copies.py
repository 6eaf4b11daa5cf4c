"""A request as people take it elsewhere: a Python program, a curl command, a line for `aiai-async batch`. Pure.

Prompts are anything: each language's own quoting writes them, and what doesn't print is escaped, so that nothing that
is pasted does more than it shows. No key is in it: all three read it from AIAI_API_KEY.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from aiai_async import ImageRequest
from aiai_async._client import DEFAULT_BASE_URL


def write_python(request: ImageRequest, *, base_url: str, stream: bool) -> str:
    """Write a program that makes the same images and saves them."""
    where = "" if base_url == DEFAULT_BASE_URL else f"base_url={base_url!r}"
    fields = request.to_fields()
    prompt = fields.pop("prompt")
    begin = "async with client.stream(" if stream else "response = await client.generate("
    lines = [
        "import anyio",
        "from aiai_async import AsyncImagesClient",
        "",
        "",
        "async def main() -> None:",
        f"    async with AsyncImagesClient({where}) as client:  # the key is read from AIAI_API_KEY",
        f"        {begin}",
        f"            {prompt!r},",
        *(f"            {name}={value!r}," for name, value in fields.items()),
    ]
    if stream:
        lines += [
            "        ) as stream:",
            "            async for event in stream:",
            "                print(event.type, event.image)",
            "            response = await stream.response()",
        ]
    else:
        lines.append("        )")
    lines += [
        '        for path in await response.save_all("images"):',
        "            print(path)",
        "",
        "",
        "anyio.run(main)",
    ]
    return "\n".join(lines) + "\n"


def write_curl(request: ImageRequest, *, base_url: str, stream: bool) -> str:
    """Write a command that sends the same request; for a shell that quotes like sh."""
    fields = {**request.to_fields(), **({"stream": True} if stream else {})}
    return (
        f"curl{' --no-buffer' if stream else ''} {shlex.quote(f'{base_url}/images/generations/')} \\\n"
        '  --header "Authorization: Bearer $AIAI_API_KEY" \\\n'
        "  --header 'Content-Type: application/json' \\\n"
        # Not --data, which would take a text that begins with @ for a file's name.
        f"  --data-raw {shlex.quote(_to_json(fields))}\n"
    )


def write_batch_line(request: ImageRequest, *, custom_id: str) -> str:
    """Write a line as `aiai-async batch` and OpenAI's Batch API take it; a batch doesn't stream.

    Example:
        >>> write_batch_line(ImageRequest(prompt="A kite", partial_images=2), custom_id="kite-1").rstrip()
        '{"custom_id": "kite-1", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "A kite"}}'
    """
    body = {name: value for name, value in request.to_fields().items() if name != "partial_images"}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/images/generations", "body": body}
    return _to_json(line) + "\n"


def _to_json(value: Mapping[str, object]) -> str:
    """Write JSON on one line that can be read, also in Chinese, and shows all that is in it."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    # What doesn't print can stand only inside of a string, where it may be escaped.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
