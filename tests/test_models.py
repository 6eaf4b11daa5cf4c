"""What each model accepts: the table of the request body, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from aiai_async import _models
from aiai_async._errors import InvalidRequestError
from aiai_async._models import RULES, check, estimate_tokens, parse_size, rules_of

GPT_IMAGE = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2")
FIXED_SIZE = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
DALL_E = ("dall-e-2", "dall-e-3")
KNOWN = (*GPT_IMAGE, *DALL_E)


def cases(*rows: tuple[tuple[str | None, ...] | str | None, dict[str, Any]]) -> list[Any]:
    """Spread rows of (models, fields) into one case for each model, with an id."""
    spread: list[Any] = []
    for models, fields in rows:
        for model in models if isinstance(models, tuple) else (models,):
            shown = ",".join(f"{name}={str(value)[:20]}({len(str(value))})" for name, value in fields.items())
            spread.append(pytest.param(model, fields, id=f"{model}: {shown}"))
    return spread


ACCEPTED = cases(
    *[(KNOWN, {}), (None, {})],
    # prompt
    (GPT_IMAGE, {"prompt": "x" * 32_000}),
    ("dall-e-2", {"prompt": "x" * 1_000}),
    ("dall-e-3", {"prompt": "灯" * 4_000}),
    (None, {"prompt": "x" * 32_000}),
    # n
    *[((*GPT_IMAGE, "dall-e-2", None), {"n": n}) for n in (1, 2, 10)],
    ("dall-e-3", {"n": 1}),
    # size
    *[(GPT_IMAGE, {"size": size}) for size in ("1024x1024", "1536x1024", "1024x1536", "auto")],
    *[("dall-e-2", {"size": size}) for size in ("256x256", "512x512", "1024x1024")],
    *[("dall-e-3", {"size": size}) for size in ("1024x1024", "1792x1024", "1024x1792")],
    *[
        ("gpt-image-2", {"size": size})
        for size in ("16x16", "1008x1008", "3840x2160", "2160x3840", "3072x1024", "1024x3072", "2560x1440")
    ],
    # background, and what it needs
    *[(GPT_IMAGE, {"background": value}) for value in ("transparent", "opaque", "auto")],
    *[(GPT_IMAGE, {"background": "transparent", "output_format": value}) for value in ("png", "webp")],
    *[(GPT_IMAGE, {"background": value, "output_format": "jpeg"}) for value in ("opaque", "auto")],
    # moderation
    *[(GPT_IMAGE, {"moderation": value}) for value in ("low", "auto")],
    # quality
    *[(GPT_IMAGE, {"quality": value}) for value in ("auto", "low", "medium", "high")],
    (DALL_E, {"quality": "standard"}),
    ("dall-e-3", {"quality": "hd"}),
    # output_format and output_compression
    *[(GPT_IMAGE, {"output_format": value}) for value in ("png", "jpeg", "webp")],
    *[(GPT_IMAGE, {"output_format": form, "output_compression": n}) for form in ("jpeg", "webp") for n in (0, 50, 100)],
    # response_format
    *[(DALL_E, {"response_format": value}) for value in ("url", "b64_json")],
    # style
    *[("dall-e-3", {"style": value}) for value in ("vivid", "natural")],
    # stream and partial_images
    ((*KNOWN, None), {"stream": False}),
    ((*GPT_IMAGE, None), {"stream": True}),
    *[((*GPT_IMAGE, None), {"stream": True, "partial_images": n}) for n in (0, 1, 2, 3)],
    # user
    ((*KNOWN, None), {"user": "u-1"}),
    # None is not given
    ((*KNOWN, None), dict.fromkeys(("n", "size", "background", "style", "stream", "partial_images", "user"))),
    # dated names have the rules of their family
    ("gpt-image-2-2026-04-21", {"size": "1008x1008"}),
    ("gpt-image-1-mini-2025-10-06", {"quality": "low"}),
    # unknown models and unknown fields pass
    *[
        ("flux-pro", fields)
        for fields in (
            {"prompt": "x" * 50_000},
            {"n": 50},
            {"size": "17x9"},
            {"quality": "ultra"},
            {"style": "vivid", "background": "transparent", "output_format": "jpeg"},
            {"output_compression": 500},
            {"stream": True, "partial_images": 9},
            {"partial_images": 2},
            {"response_format": "bytes"},
        )
    ],
    *[(model, {"size": "17x9"}) for model in ("gpt-image-3", "azure/gpt-image-1", "gpt-image-1-custom", "GPT-IMAGE-1")],
    ((*KNOWN, None, "flux-pro"), {"seed": 5, "x": object()}),
    # without a model only the rules of all models hold
    *[(None, fields) for fields in ({"size": "17x9"}, {"quality": "ultra"}, {"style": "vivid"})],
    (None, {"output_compression": 500}),
)


@pytest.mark.parametrize(("model", "fields"), ACCEPTED)
def test_accepted(model: str | None, fields: dict[str, Any]) -> None:
    """Every value of the table's rows passes for the models they name."""
    check(model, {"prompt": "A lighthouse", "model": model, **fields})


def refused(
    *rows: tuple[tuple[str | None, ...] | str | None, dict[str, Any], str],
) -> list[Any]:
    """Spread rows of (models, fields, the field that is wrong)."""
    return [
        pytest.param(*case.values, name, id=case.id)
        for models, fields, name in rows
        for case in cases((models, fields))
    ]


REFUSED = refused(
    # prompt
    *[((*KNOWN, None, "flux-pro"), {"prompt": prompt}, "prompt") for prompt in (None, "", " \n", 5, b"x", ["x"])],
    *[((*KNOWN, None), {"prompt": "a\ud800"}, "prompt")],
    (GPT_IMAGE, {"prompt": "x" * 32_001}, "prompt"),
    (None, {"prompt": "x" * 32_001}, "prompt"),
    ("dall-e-2", {"prompt": "x" * 1_001}, "prompt"),
    ("dall-e-3", {"prompt": "灯" * 4_001}, "prompt"),
    # n
    *[((*KNOWN, None), {"n": n}, "n") for n in (0, -1, 11, 1.0, "1", True)],
    ("dall-e-3", {"n": 2}, "n"),
    # size
    *[(FIXED_SIZE, {"size": size}, "size") for size in ("1000x1000", "256x256", "1792x1024", "AUTO", "", "1024", 1024)],
    *[("dall-e-2", {"size": size}, "size") for size in ("auto", "1536x1024", "1792x1024")],
    *[("dall-e-3", {"size": size}, "size") for size in ("auto", "256x256", "1536x1024")],
    *[
        ("gpt-image-2", {"size": size}, "size")
        for size in (
            "1000x1024",
            "1024x1000",
            "3088x1024",
            "1024x3088",
            "3856x2160",
            "2160x3856",
            "3840x2176",
            "3840x3840",
            "0x16",
            "16x0",
            "-16x16",
            "1024X1024",
            "1024 x 1024",
            "1024x1024x3",
            "1024x1024\n",
            "٣٢x٣٢",
            "big",
        )
    ],
    # background
    (GPT_IMAGE, {"background": "white"}, "background"),
    (GPT_IMAGE, {"background": "transparent", "output_format": "jpeg"}, "background"),
    *[(DALL_E, {"background": value}, "background") for value in ("transparent", "auto")],
    # moderation
    (GPT_IMAGE, {"moderation": "high"}, "moderation"),
    (DALL_E, {"moderation": "auto"}, "moderation"),
    # quality
    *[(GPT_IMAGE, {"quality": value}, "quality") for value in ("standard", "hd", "ultra")],
    *[("dall-e-2", {"quality": value}, "quality") for value in ("hd", "high", "low")],
    *[("dall-e-3", {"quality": value}, "quality") for value in ("high", "low")],
    # output_format and output_compression
    *[(GPT_IMAGE, {"output_format": value}, "output_format") for value in ("jpg", "gif", "PNG")],
    (DALL_E, {"output_format": "png"}, "output_format"),
    *[
        (GPT_IMAGE, {"output_format": "webp", "output_compression": n}, "output_compression")
        for n in (-1, 101, 50.0, True)
    ],
    (GPT_IMAGE, {"output_format": "png", "output_compression": 50}, "output_compression"),
    (GPT_IMAGE, {"output_compression": 50}, "output_compression"),
    (DALL_E, {"output_compression": 50}, "output_compression"),
    # response_format
    *[(GPT_IMAGE, {"response_format": value}, "response_format") for value in ("url", "b64_json")],
    (DALL_E, {"response_format": "bytes"}, "response_format"),
    # style
    ((*GPT_IMAGE, "dall-e-2"), {"style": "vivid"}, "style"),
    ("dall-e-3", {"style": "loud"}, "style"),
    # stream and partial_images
    (DALL_E, {"stream": True}, "stream"),
    *[((*KNOWN, None, "flux-pro"), {"stream": value}, "stream") for value in ("true", 1)],
    *[((*KNOWN, None), {"partial_images": 2, **stream}, "partial_images") for stream in ({}, {"stream": False})],
    *[(GPT_IMAGE, {"stream": True, "partial_images": n}, "partial_images") for n in (-1, 4, 1.5, "2", True)],
    # types hold for every model
    *[((*KNOWN, None, "flux-pro"), {name: 5}, name) for name in ("size", "quality", "background", "style", "user")],
    *[((*KNOWN, None, "flux-pro"), {"n": value}, "n") for value in ("2", 2.5)],
    # dated names have the rules of their family
    ("gpt-image-1-2025-04-23", {"size": "1008x1008"}, "size"),
    ("dall-e-3-2026-01-01", {"n": 2}, "n"),
)


@pytest.mark.parametrize(("model", "fields", "name"), REFUSED)
def test_refused(model: str | None, fields: dict[str, Any], name: str) -> None:
    """The error names the field, the value and what is allowed."""
    with pytest.raises(InvalidRequestError) as caught:
        check(model, {"prompt": "A lighthouse", "model": model, **fields})
    assert caught.value.field == name
    assert caught.value.value == fields[name]
    assert caught.value.allowed is not None
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value)) < 300


MESSAGES: dict[str, tuple[str | None, dict[str, Any], str]] = {
    "one of several": (
        "gpt-image-1",
        {"size": "1000x1000"},
        "size: '1000x1000' is not accepted by gpt-image-1; use 1024x1024, 1536x1024, 1024x1536 or auto",
    ),
    "one alone": ("dall-e-2", {"quality": "hd"}, "quality: 'hd' is not accepted by dall-e-2; use standard"),
    "none": ("gpt-image-1", {"style": "vivid"}, "style: 'vivid' is not accepted by gpt-image-1; leave it out"),
    "a range": (None, {"n": 11}, "n: 11 is not accepted by the API; use 1 to 10"),
    "only one": ("dall-e-3", {"n": 2}, "n: 2 is not accepted by dall-e-3; use 1"),
    "any size": (
        "gpt-image-2",
        {"size": "1000x1000"},
        "size: '1000x1000' is not accepted by gpt-image-2; use auto or WIDTHxHEIGHT with both sides divisible by 16, "
        "a ratio from 1:3 to 3:1 and at most 3840x2160",
    ),
    "a long prompt": (
        "dall-e-2",
        {"prompt": "x" * 1001},
        f"prompt: '{'x' * 59}… is not accepted by dall-e-2; use at most 1,000 characters, this one has 1,001",
    ),
    "compression of png": (
        "gpt-image-1",
        {"output_compression": 50},
        "output_compression: 50 is not accepted by gpt-image-1 with output_format png; "
        "set output_format to webp or jpeg, or leave it out",
    ),
    "partial images without a stream": (
        "gpt-image-1",
        {"partial_images": 2},
        "partial_images: 2 is not accepted by a request without stream; leave it out, or ask for a stream",
    ),
}


@pytest.mark.parametrize(("model", "fields", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_whole_messages(model: str | None, fields: dict[str, Any], message: str) -> None:
    """What was given, by whom it isn't accepted, and what to do."""
    with pytest.raises(InvalidRequestError) as caught:
        check(model, {"prompt": "A lighthouse", **fields})
    assert str(caught.value) == message


def test_rules_are_found_by_name_and_dated_name() -> None:
    """Any other name has none, and so has no name."""
    for name in KNOWN:
        assert rules_of(name) is rules_of(f"{name}-2026-04-21") is RULES[name]
    for other in (None, "", "gpt-image-2-2026-04", "gpt-image-2-2026-04-21-x", "dall-e-4", "my-gpt-image-1"):
        assert rules_of(other) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1536x1024", (1536, 1024)), ("1x1", (1, 1)), ("auto", None), ("0x1", None), ("1x1 ", None), ("1234567x1", None)],
)
def test_sizes_are_parsed(text: str, expected: tuple[int, int] | None) -> None:
    """WIDTHxHEIGHT in pixels, else None."""
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"model": "dall-e-3", "prompt": "A lighthouse"}, 0.0),
        ({"model": "gpt-image-1", "prompt": "A lighthouse", "size": "1024x1024", "quality": "low"}, 275.0),
        ({"model": "gpt-image-1", "prompt": "A lighthouse", "quality": "low", "n": 2}, 547.0),
        ({"model": "gpt-image-1", "prompt": "A lighthouse", "quality": "low", "partial_images": 3}, 575.0),
        ({"model": "gpt-image-1", "prompt": "A lighthouse", "size": "auto", "quality": "low", "n": True}, 275.0),
        ({"model": 5, "prompt": None, "size": 5, "quality": 5, "n": "x", "partial_images": True}, 4160.0),
    ],
)
def test_tokens_are_estimated_before(fields: dict[str, object], tokens: float) -> None:
    """Whatever the fields hold: unchecked requests are estimated too."""
    assert estimate_tokens(fields) == tokens


def test_prices_can_be_had_from_here() -> None:
    """They are loaded when they are looked at."""
    assert _models.PRICES_DATE.year >= 2026
    assert _models.cost_of.__name__ == "cost_of"
    with pytest.raises(AttributeError, match="no attribute 'find_cost'"):
        exec("models.find_cost", {"models": _models})
