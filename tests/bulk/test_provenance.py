"""Sidecars and embedded requests: what stands in them, and that no crash leaves an image without or a wrong sha256."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from aiai_async import AsyncImagesClient, Image
from aiai_async.bulk import BulkJob, JobResult, maker, provenance, writer
from aiai_async.bulk.provenance import embed_in, sidecar_path
from aiai_async.server import Fault, LocalServer

from .fakes import FakeTransport, answer_to, client_of, names_in, read_lines, rows_of

GPT = {"model": "gpt-image-1", "size": "1024x1024", "quality": "low"}
PROMPTS = ["A kite", "灯塔"]


async def run(folder: Path, server: LocalServer, source: Any = PROMPTS, **options: Any) -> JobResult:
    """Run a job once, with the local server's real pictures."""
    async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
        return await BulkJob(source, folder, client, **{"defaults": GPT, **options}).run()


def read_sidecar(folder: Path, name: str) -> dict[str, Any]:
    """What stands beside an image."""
    found: dict[str, Any] = json.loads(sidecar_path(folder / "images" / name).read_bytes())
    return found


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_sidecar_beside_each_image(tmp_path: Path) -> None:
    """Request, model, request id, sha256, cost; the costs of an answer's images add up."""
    folder = tmp_path / "job"
    async with LocalServer() as server:
        result = await run(folder, server, sidecar=True, defaults={**GPT, "n": 2})
    images = ["000000-a-kite-0.png", "000000-a-kite-1.png", "000001-image-0.png", "000001-image-1.png"]
    assert sorted(os.listdir(folder / "images")) == sorted([*images, *(f"{name}.json" for name in images)])
    rows = read_lines(result.results_path)
    for row in rows:
        for k, image in enumerate(row["images"]):
            name = image["path"].removeprefix("images/")
            found = read_sidecar(folder, name)
            assert found == {
                "file": name,
                "custom_id": row["custom_id"],
                "index": row["index"],
                "image": k,
                "model": "gpt-image-1",
                "request": row["request"],
                "revised_prompt": None,
                "request_id": row["request_id"],
                "created": found["created"],
                "sha256": digest_of(folder / image["path"]),
                "received_sha256": image["sha256"],
                "size_bytes": image["size_bytes"],
                "media_type": "image/png",
                "cost_usd": pytest.approx(row["cost_usd"] / 2),
                "cost_source": "prices",
                "answer_cost_usd": row["cost_usd"],
                "answer_images": 2,
            }
            assert found["created"].startswith("20") and found["created"].endswith("+00:00")
    assert sum(read_sidecar(folder, name)["cost_usd"] for name in images) == pytest.approx(result.cost)


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
async def test_the_request_is_in_the_file(tmp_path: Path, format: str) -> None:
    """The pixels are as they came; the sha256 is that of the file, and the one that came is told beside it."""
    defaults = {**GPT, "output_format": format}
    async with LocalServer() as server:
        await run(tmp_path / "plain", server, defaults=defaults)
        result = await run(tmp_path / "job", server, defaults=defaults, embed=True, sidecar=True)
    for row in read_lines(result.results_path):
        (image,) = row["images"]
        path = tmp_path / "job" / image["path"]
        before = tmp_path / "plain" / image["path"]
        assert image["sha256"] == digest_of(path) and image["received_sha256"] == digest_of(before)
        assert image["size_bytes"] == path.stat().st_size > before.stat().st_size
        with Picture.open(path) as picture, Picture.open(before) as plain:
            assert picture.tobytes() == plain.tobytes()
            prompt = picture.info["prompt"] if format == "png" else picture.getexif()[0x010E].encode("latin-1").decode()
        assert prompt == row["request"]["prompt"]
        sidecar = read_sidecar(tmp_path / "job", path.name)
        assert (sidecar["sha256"], sidecar["received_sha256"]) == (image["sha256"], image["received_sha256"])
    # A rerun finds every file as the journal knows it.
    async with LocalServer() as server:
        again = await run(tmp_path / "job", server, defaults=defaults)
        assert again.exit_code == 0 and again.recovery.lost == 0 and not server.requests


async def test_links_get_both_too(tmp_path: Path) -> None:
    """When they are fetched, also in a later run."""
    defaults = {"model": "dall-e-3", "size": "1024x1024"}
    async with LocalServer(faults=[Fault(on="download", nth=2, status=403)]) as server:
        first = await run(tmp_path / "job", server, defaults=defaults, embed=True, sidecar=True, concurrency=1)
        assert first.counts["not_downloaded"] == 1
        result = await run(tmp_path / "job", server, defaults=defaults, embed=True, sidecar=True)
    assert result.exit_code == 0
    for row in read_lines(result.results_path):
        (image,) = row["images"]
        path = tmp_path / "job" / image["path"]
        assert image["sha256"] == digest_of(path) != image["received_sha256"]
        sidecar = read_sidecar(tmp_path / "job", path.name)
        assert sidecar["revised_prompt"] == row["revised_prompt"] and sidecar["cost_usd"] == 0.04


async def test_off_by_default(tmp_path: Path) -> None:
    """Images as they came, and nothing beside them."""
    async with LocalServer() as server:
        result = await run(tmp_path / "job", server)
    assert all(name.endswith(".png") for name in os.listdir(tmp_path / "job" / "images"))
    assert all("received_sha256" not in row["images"][0] for row in read_lines(result.results_path))


async def test_sidecars_of_images_that_were_made_before(tmp_path: Path) -> None:
    """A later run that asks for them writes those that are missing; nothing is sent."""
    async with LocalServer() as server:
        await run(tmp_path / "job", server)
        sent = len(server.requests)
        result = await run(tmp_path / "job", server, sidecar=True)
        assert result.sent_nothing and len(server.requests) == sent
        names = names_in(tmp_path / "job")
        assert len([name for name in names if name.endswith(".json")]) == 2
        sidecar_path(tmp_path / "job" / "images" / names[0]).unlink()
        await run(tmp_path / "job", server, sidecar=True)
    assert names_in(tmp_path / "job") == names


async def test_an_image_that_is_made_anew_takes_its_sidecar_along(tmp_path: Path) -> None:
    """One whose name goes is not left beside nothing."""
    folder = tmp_path / "job"
    async with LocalServer() as server:
        await run(folder, server, ["A kite"], sidecar=True, defaults={**GPT, "n": 2})
        (folder / "images" / "000000-a-kite-1.png").unlink()
        server.set_faults("short_data")
        result = await run(folder, server, ["A kite"], sidecar=True, defaults={**GPT, "n": 2}, retry="unknown")
    assert result.images == 1
    assert sorted(os.listdir(folder / "images")) == ["000000-a-kite-0.png", "000000-a-kite-0.png.json"]
    assert read_sidecar(folder, "000000-a-kite-0.png")["answer_images"] == 1


class Died(BaseException):
    """As if the process had ended there."""


@pytest.mark.parametrize("where", ["commit", "rename", "sidecar"])
async def test_a_crash_between_image_and_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The next run that asks for sidecars writes it, also where there was one of an earlier image."""
    folder = tmp_path / "job"
    (folder / "images").mkdir(parents=True)

    def die(*_: Any) -> None:
        raise Died

    async with LocalServer() as server:
        with monkeypatch.context() as patch:
            if where == "commit":
                # The row is there, and nothing after that.
                patch.setattr(writer, "rename", die)
            elif where == "rename":
                patch.setattr(writer, "write_sidecar", die)
            else:
                patch.setattr(writer, "sync_folder", die)
            with pytest.raises((Died, BaseExceptionGroup)):
                await run(folder, server, ["A kite"], sidecar=True)
        sent = len(server.requests)
        result = await run(folder, server, ["A kite"], sidecar=True)
        assert result.exit_code == 0 and len(server.requests) == sent
    assert sorted(os.listdir(folder / "images")) == ["000000-a-kite-0.png", "000000-a-kite-0.png.json"]
    found = read_sidecar(folder, "000000-a-kite-0.png")
    assert found["sha256"] == digest_of(folder / "images" / "000000-a-kite-0.png")


async def test_an_image_made_anew_without_a_sidecar(tmp_path: Path) -> None:
    """Has none of the image that was there before."""
    folder = tmp_path / "job"
    async with LocalServer() as server:
        await run(folder, server, ["A kite"], sidecar=True)
        (folder / "images" / "000000-a-kite-0.png").unlink()
        await run(folder, server, ["A kite"], retry="unknown")
        assert len(server.requests) == 2
    assert os.listdir(folder / "images") == ["000000-a-kite-0.png"]


@pytest.mark.parametrize("is_renamed", [False, True], ids=["part", "named"])
async def test_a_loss_of_power_that_takes_back_what_was_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_renamed: bool
) -> None:
    """The image as it came is kept, with its own sha256: it is paid for."""
    folder = tmp_path / "job"
    (folder / "images").mkdir(parents=True)

    def die(*_: Any) -> None:
        raise Died

    async with LocalServer() as server:
        await run(tmp_path / "plain", server, ["A kite"])
        received = (tmp_path / "plain" / "images" / "000000-a-kite-0.png").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(writer, "rename", die)
            with pytest.raises((Died, BaseExceptionGroup)):
                await run(folder, server, ["A kite"], embed=True)
        (part,) = (folder / "images").iterdir()
        assert part.read_bytes() != received
        # As if the folder had not been synced after the file with the request took this name.
        part.write_bytes(received)
        if is_renamed:
            part.rename(folder / "images" / "000000-a-kite-0.png")
        sent = len(server.requests)
        result = await run(folder, server, ["A kite"], sidecar=True)
        assert (result.exit_code, result.recovery.lost, len(server.requests)) == (0, 0, sent)
    path = folder / "images" / "000000-a-kite-0.png"
    assert path.read_bytes() == received
    (row,) = read_lines(result.results_path)
    (image,) = row["images"]
    assert image["sha256"] == digest_of(path) and image["size_bytes"] == len(received)
    assert "received_sha256" not in image and read_sidecar(folder, path.name)["sha256"] == digest_of(path)


async def test_the_folder_is_synced_before_the_row_of_what_was_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no loss of power leaves a row that tells of another file; where it can't be, there is no row."""

    def refuse(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    async with LocalServer() as server:
        with monkeypatch.context() as patch:
            patch.setattr(writer, "sync_folder", refuse)
            result = await run(tmp_path / "job", server, ["A kite"], embed=True)
        assert result.reason == "disk" and result.counts["unfinished"] == 1
        assert rows_of(tmp_path / "job", "SELECT count(*) FROM images") == [(0,)]
        assert (await run(tmp_path / "job", server, ["A kite"], embed=True)).done == 1
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


async def test_a_sidecar_that_cannot_be_written_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is there and has its row; the next run goes on."""

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with LocalServer() as server:
        with monkeypatch.context() as patch:
            patch.setattr(writer, "write_sidecar", refuse)
            result = await run(tmp_path / "job", server, ["A kite"], sidecar=True)
        assert (result.reason, result.exit_code) == ("disk", 0)
        assert result.message is not None and "No space left" in result.message
        assert (await run(tmp_path / "job", server, ["A kite"], sidecar=True)).exit_code == 0
        assert len(server.requests) == 1
    assert len(names_in(tmp_path / "job")) == 2


async def test_an_image_that_nothing_can_be_written_into_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid for. The job stops, since what comes next would fare no better."""

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with LocalServer() as server:
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "_copy", refuse)
            result = await run(tmp_path / "job", server, embed=True, concurrency=1)
    assert (result.reason, result.done) == ("disk", 1)
    ((name, sha256, received),) = rows_of(tmp_path / "job", "SELECT name, sha256, received_sha256 FROM images")
    assert digest_of(tmp_path / "job" / "images" / name) == sha256 and received is None
    assert os.listdir(tmp_path / "job" / "images") == [name]


def answer_with(content: bytes) -> dict[str, Any]:
    """An answer with this image."""
    return {"data": [{"b64_json": base64.b64encode(content).decode()}]}


def make_broken_webp() -> bytes:
    """A picture that says that it is 0 pixels wide."""
    file = io.BytesIO()
    Picture.new("RGB", (30, 20)).save(file, "WEBP")
    return file.getvalue()[:26] + bytes(2) + file.getvalue()[28:]


async def test_a_broken_image_is_kept_and_the_others_go_on(tmp_path: Path) -> None:
    """What can't be read as a picture is paid for too."""
    broken = make_broken_webp()
    transport = FakeTransport(lambda body: answer_with(broken) if body["prompt"] == "b" else answer_to(body))
    async with client_of(transport) as client:
        result = await BulkJob(["a", "b", "c"], tmp_path / "job", client, embed=True, concurrency=1).run()
    assert (result.reason, result.done) == ("finished", 3)
    assert (tmp_path / "job" / "images" / "000001-b-0.webp").read_bytes() == broken


async def test_an_error_of_embedding_cuts_off_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is: the image is as it came, the job stops, and says why."""

    def fail(*_: Any) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(maker, "embed_in", fail)
    async with client_of(FakeTransport()) as client:
        result = await BulkJob(["a", "b"], tmp_path / "job", client, embed=True, concurrency=1).run()
    assert (result.reason, result.done, result.counts["pending"]) == ("configuration", 1, 1)
    assert result.message is not None and "KeyError" in result.message and "odd" not in result.message


async def test_what_cannot_hold_it_stays_as_it_came(tmp_path: Path) -> None:
    """Such as what only begins like a picture."""
    async with client_of(FakeTransport()) as client:
        result = await BulkJob(["a"], tmp_path / "job", client, embed=True, sidecar=True).run()
    (row,) = read_lines(result.results_path)
    assert "received_sha256" not in row["images"][0]
    found = read_sidecar(tmp_path / "job", row["images"][0]["path"].removeprefix("images/"))
    assert found["received_sha256"] == found["sha256"] and found["cost_usd"] is None


def test_large_files_are_copied_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they held is there before and behind what was put in; the sha256 and the size are right."""
    monkeypatch.setattr(provenance, "_PIECE_BYTES", 7)
    file = io.BytesIO()
    Picture.effect_noise((64, 64), 90).convert("RGB").save(file, "WEBP", lossless=True)
    path = tmp_path / "a.part"
    path.write_bytes(file.getvalue())
    image = embed_in(Image(path=path, sha256="x", size_bytes=1), {"prompt": "A kite"})
    assert (image.sha256, image.size_bytes) == (digest_of(path), path.stat().st_size)
    with Picture.open(path) as after, Picture.open(file) as before:
        assert after.tobytes() == before.tobytes() and after.getexif()[0x010E] == "A kite"
    assert os.listdir(tmp_path) == ["a.part"]
    assert embed_in(link := Image(url="http://x"), {"prompt": "a"}) is link
