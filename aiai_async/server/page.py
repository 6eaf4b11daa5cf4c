"""The page at `/`: what this server is, and how to call it. Pure text."""

from __future__ import annotations

import html
from string import Template
from typing import Final

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>aiai_async local server</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
pre { padding: 1rem; overflow-x: auto; background: #8882; border-radius: .5rem }
</style>
<h1>A local image server</h1>
<p>This is the stand-in of <b>aiai_async</b> for the image API: it checks requests as the API does and answers with
pictures that it draws from the prompt. $key It costs nothing, and no prompt leaves this machine.</p>
<h2>From a shell</h2>
<pre>curl $origin/v1/images/generations \\
  -H "Authorization: Bearer anything" -H "Content-Type: application/json" \\
  -d '{"model": "gpt-image-1", "prompt": "A lighthouse at dusk"}'</pre>
<p>With <code>-N</code> and <code>"stream": true, "partial_images": 3</code> the picture comes as a stream of events,
blurred at first.</p>
<h2>From Python</h2>
<pre>export AIAI_BASE_URL=$origin/v1 AIAI_API_KEY=anything

async with AsyncImagesClient() as client:
    response = await client.generate("A lighthouse at dusk", model="gpt-image-1")
    await response.image.save("lighthouse.png")</pre>
<p>The <code>openai</code> package works too: <code>AsyncOpenAI(base_url="$origin/v1", api_key="anything")</code>.</p>
</html>
""")


def make_page(origin: str, *, needs_key: bool) -> str:
    """Write the page.

    Args:
        origin: scheme, host and port as the reader knows them.
        needs_key: whether only one key is accepted.
    """
    key = "It accepts only the key it was started with." if needs_key else "Any key will do."
    return _PAGE.substitute(origin=html.escape(origin), key=key)
