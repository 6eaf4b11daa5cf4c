"""What goes back, as JSON values: OpenAI's error object, the answer to a request, and the tokens it "cost".

Pure: pictures come in as base64 text or links, time and settings as arguments. It knows nothing of HTTP but statuses.

Source: ImagesResponse and Error in https://github.com/openai/openai-openapi.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aiai_async._models import PARTIAL_IMAGE_TOKENS, image_tokens
from aiai_async.server.refusals import JSONObject
from aiai_async.server.validate import CheckedRequest


@attrs.frozen(kw_only=True)
class Tokens:
    """The tokens that one answer costs."""

    text_input: int
    image_output: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.text_input + self.image_output

    def as_usage(self) -> JSONObject:
        """Give the `usage` object of an answer."""
        return {
            "total_tokens": self.total,
            "input_tokens": self.text_input,
            "output_tokens": self.image_output,
            "input_tokens_details": {"text_tokens": self.text_input, "image_tokens": 0},
            "output_tokens_details": {"text_tokens": 0, "image_tokens": self.image_output},
        }


def count_tokens(request: CheckedRequest, *, partial_images: int = 0) -> Tokens:
    """Count the tokens of a request's answer; known before anything is drawn.

    Text is counted as four bytes a token, about right for English, images as the published table has them; dall-e's
    images are not counted in tokens.

    Args:
        request: what was asked for.
        partial_images: how many partial images are sent for each image.
    """
    text_input = -(-len(request.prompt.encode()) // 4)
    if request.is_dalle:
        return Tokens(text_input=text_input, image_output=0)
    one = image_tokens(request.model, size=(request.width, request.height), quality=request.quality)
    one += PARTIAL_IMAGE_TOKENS * partial_images
    return Tokens(text_input=text_input, image_output=one * request.n)


def make_answer(request: CheckedRequest, images: Sequence[JSONObject], *, created: int) -> JSONObject:
    """Put an answer together.

    Args:
        request: what was asked for.
        images: the elements of `data`, each with its picture.
        created: seconds since 1970.
    """
    answer: JSONObject = {"created": created, "data": list(images)}
    if request.is_dalle:
        return answer
    return answer | {
        "background": request.background,
        "output_format": request.output_format,
        "quality": request.quality,
        "size": f"{request.width}x{request.height}",
        "usage": count_tokens(request).as_usage(),
    }


def revise_prompt(request: CheckedRequest) -> str:
    """Write the prompt anew, as dall-e-3 does before it draws."""
    mood = "hyper-real and dramatic" if request.style == "vivid" else "natural and calm"
    return f"{request.prompt.strip().rstrip('.')}. The scene is {mood}, with rich detail and soft light."
