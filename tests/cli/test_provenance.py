"""`--sidecar` and `--embed` of the commands: what stands beside the images and in them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aiai_async import _metadata
from aiai_async.cli import _saving, main
from aiai_async.server import Fault, LocalServer

from .test_batch import events, read_lines, write_prompts

Output = pytest.CaptureFixture[str]
LOW = ["--model", "gpt-image-1", "--size", "1024x1024", "--quality", "low"]


def read_sidecar(path: str) -> dict[str, Any]:
    """What stands beside an image."""
    found: dict[str, Any] = json.loads(Path(f"{path}.json").read_bytes())
    return found


def digest_of(path: str) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_generate(server: LocalServer, capsys: Output) -> None:
    """Both for each image; the cost of an answer is shared by its images."""
    command = ["generate", "A kite", *LOW, "--n", "2", "--out", "x", "--json"]
    assert main([*command, "--sidecar", "--embed"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert sorted(os.listdir("x")) == ["a-kite-1.png", "a-kite-1.png.json", "a-kite-2.png", "a-kite-2.png.json"]
    for path in outcome["paths"]:
        found = read_sidecar(path)
        assert found["file"] == os.path.basename(path) and found["model"] == "gpt-image-1"
        assert found["request"]["prompt"] == "A kite" and found["request"]["n"] == 2
        assert found["request_id"] == outcome["request_id"]
        assert found["sha256"] == digest_of(path) != found["received_sha256"]
        assert found["cost_usd"] == pytest.approx(outcome["cost_usd"] / 2) and found["answer_images"] == 2
        with Image.open(path) as picture:
            assert picture.info["prompt"] == "A kite"
            assert json.loads(picture.info["parameters"]) == found["request"]
    assert main(["generate", "A kite", *LOW, "--out", "y"]) == 0
    assert os.listdir("y") == ["a-kite-1.png"]


def test_stream(server: LocalServer, capsys: Output) -> None:
    """Final images only: partial ones are no results."""
    command = ["stream", "A kite", *LOW, "--save-partials", "--partial-images", "1", "--out", "x/kite.webp"]
    assert main([*command, "--sidecar", "--embed", "--json"]) == 0
    (outcome,) = events(capsys.readouterr().out, "outcome")
    names = sorted(os.listdir("x"))
    assert [name for name in names if name.endswith(".json")] == ["kite.webp.json"] and len(names) == 3
    found = read_sidecar("x/kite.webp")
    assert found["cost_usd"] == outcome["cost_usd"] and found["request"]["partial_images"] == 1
    assert found["sha256"] == digest_of("x/kite.webp") and found["media_type"] == "image/webp"
    with Image.open("x/kite.webp") as picture:
        assert picture.getexif()[0x010E] == "A kite"


def test_a_stream_that_broke(server: LocalServer) -> None:
    """What came is said; what isn't known is null."""
    server.set_faults(Fault(on="stream", body="$first_completed", ending="cut"))
    assert main(["stream", "A kite", *LOW, "--n", "2", "--out", "x", "--sidecar", "--partial-images", "0"]) == 1
    (name,) = [name for name in os.listdir("x") if name.endswith(".json")]
    found = json.loads(Path("x", name).read_bytes())
    assert found["cost_usd"] is None and found["request"]["prompt"] == "A kite"


def test_a_revised_prompt(server: LocalServer) -> None:
    """As dall-e-3 gives it."""
    assert main(["generate", "A kite", "--model", "dall-e-3", "--out", "x", "--sidecar"]) == 0
    found = read_sidecar("x/a-kite-1.png")
    assert found["revised_prompt"].startswith("A kite. The scene is") and found["cost_usd"] == 0.04


def test_a_sidecar_that_cannot_be_written(server: LocalServer, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is where it should be, and that is said."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_saving, "write_sidecar", refuse)
    assert main(["generate", "A kite", *LOW, "--out", "x", "--sidecar"]) == 1
    error = capsys.readouterr().err
    assert "x/a-kite-1.png is saved, but what it was made from can't be written beside it: No space left" in error
    assert os.listdir("x") == ["a-kite-1.png"]


def test_batch(server: LocalServer) -> None:
    """As the job writes them; a finished job gets its sidecars later."""
    command = ["batch", write_prompts(2), "--out", "job", *LOW]
    assert main([*command, "--embed"]) == 0
    assert main([*command, "--sidecar"]) == 0
    assert len(server.requests) == 2
    for row in read_lines("job/results.jsonl"):
        (image,) = row["images"]
        path = os.path.join("job", image["path"])
        found = read_sidecar(path)
        assert found["sha256"] == image["sha256"] == digest_of(path)
        assert found["received_sha256"] == image["received_sha256"] != image["sha256"]
        assert (found["cost_usd"], found["request_id"]) == (row["cost_usd"], row["request_id"])


def test_an_image_that_is_broken_is_saved_as_it_came(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while the request is written into it: it is paid for."""

    def fail(*_: object, **__: object) -> None:
        raise OverflowError

    monkeypatch.setattr(_metadata, "plan", fail)
    assert main(["generate", "A kite", *LOW, "--out", "x", "--embed"]) == 0
    with Image.open("x/a-kite-1.png") as picture:
        assert "prompt" not in picture.info
