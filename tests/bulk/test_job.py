"""`BulkJob` against a transport without sockets: what is sent when, under which key, and what is left."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from aiai_async import APIConnectionError, ImageRequest, RateLimits, RetryPolicy
from aiai_async.bulk import BulkJob, InputError, JobError, JobResult, Progress, listeners
from aiai_async.bulk import sink as sinks
from aiai_async.bulk.items import Item, State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.links import Links
from aiai_async.bulk.listeners import Listeners
from aiai_async.bulk.records import Ended, Record, Started

from .fakes import (
    FakeResponse,
    FakeTransport,
    answer_to,
    client_of,
    error,
    names_in,
    picture,
    read_lines,
    rows_of,
)

PROMPTS = [f"prompt {number}" for number in range(6)]


async def run(folder: Path, transport: FakeTransport, source: Any = None, **options: Any) -> JobResult:
    """Run a job once."""
    async with client_of(transport) as client:
        return await BulkJob(PROMPTS if source is None else source, folder, client, **options).run()


def by_prompt(**answers: Any) -> Callable[[dict[str, Any]], Any]:
    """Answer some prompts (`p3`: that of number 3) in another way than with a picture."""

    def answer(body: dict[str, Any]) -> Any:
        found = answers.get("p" + body["prompt"].rpartition(" ")[2])
        return answer_to(body) if found is None else found(body) if callable(found) else found

    return answer


async def test_a_job_from_beginning_to_end(tmp_path: Path) -> None:
    """Every image under its name, a row for each in results.jsonl, nothing temporary left; then nothing is sent."""
    transport = FakeTransport()
    result = await run(tmp_path / "job", transport, defaults={"model": "m", "n": 2})
    assert (result.exit_code, result.reason, result.done, result.images) == (0, "finished", 6, 12)
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == [
        "errors.jsonl",
        "images",
        "job.sqlite",
        "report.html",
        "results.jsonl",
    ]
    assert os.listdir(tmp_path / "job" / "images").sort() == names_in(tmp_path / "job").sort()
    assert names_in(tmp_path / "job")[:2] == ["000000-prompt-0-0.png", "000000-prompt-0-1.png"]
    first = read_lines(result.results_path)[0]
    content = picture("prompt 0", 1)
    assert first["images"][1] == {
        "path": "images/000000-prompt-0-1.png",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "size_bytes": len(content),
        "media_type": "image/png",
    }
    assert first["request"] == {"model": "m", "n": 2, "prompt": "prompt 0"}
    assert first["usage"] == {"total_tokens": 7, "input_tokens": 3, "output_tokens": 4}
    assert (first["request_id"], first["attempts"], first["index"]) == ("req_fake", 1, 0)
    assert first["custom_id"].startswith("row-") and first["elapsed"] >= 0
    assert read_lines(result.errors_path) == []
    assert (result.folder / first["images"][1]["path"]).read_bytes() == content

    again = await run(tmp_path / "job", transport, defaults={"model": "m", "n": 2})
    assert (again.exit_code, again.sent_nothing, len(transport.bodies)) == (0, True, 6)


async def test_outcomes_and_what_reruns_take_up(tmp_path: Path) -> None:
    """A rerun takes up what failed for now, `retry` the rest, each under a new key."""
    cut = APIConnectionError("cut", may_have_been_billed=True)
    transport = FakeTransport(
        by_prompt(
            p1=error(400, code="moderation_blocked"),
            p2=error(429),
            p3=cut,
            p4=error(503),
            p5=lambda body: answer_to(body, images=1),
        )
    )
    result = await run(tmp_path / "job", transport, defaults={"n": 2})
    assert result.counts == {
        "pending": 0,
        "unfinished": 0,
        "not_downloaded": 0,
        "done": 2,
        "failed": 1,
        "failed_for_now": 2,
        "unknown": 1,
    }
    assert (result.exit_code, result.remaining) == (1, 2)
    # An answer with fewer images than were asked for is an answer.
    assert result.images == 3
    rows = {row["request"]["prompt"]: row for row in read_lines(result.errors_path)}
    assert {prompt: row["outcome"] for prompt, row in rows.items()} == {
        "prompt 1": "failed",
        "prompt 2": "failed_for_now",
        "prompt 3": "unknown",
        "prompt 4": "failed_for_now",
    }
    blocked = rows["prompt 1"]
    assert (blocked["code"], blocked["error_type"], blocked["request_id"]) == (
        "moderation_blocked",
        "ModerationBlockedError",
        "req_fake",
    )
    assert "cut" in rows["prompt 3"]["error"] and rows["prompt 3"]["may_have_been_billed"] is True

    expected = [(None, {"prompt 2", "prompt 4"}), ("unknown", {"prompt 3"}), ("failed", {"prompt 1"}), ("all", set())]
    for retry, prompts in expected:
        before = len(transport.bodies)
        transport.answer = None
        result = await run(tmp_path / "job", transport, retry=retry, defaults={"n": 2})
        assert set(transport.prompts[before:]) == prompts
    assert result.exit_code == 0 and result.done == 6
    assert len(set(transport.keys)) == len(transport.keys)


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (error(402, "no money"), "quota", 3),
        (error(429, "no money", "insufficient_quota"), "quota", 3),
        (error(401, "bad key"), "refused_key", 1),
        (error(403, "not for you"), "refused_key", 1),
    ],
    ids=["402", "429", "401", "403"],
)
async def test_what_concerns_the_key_stops_the_job(
    tmp_path: Path, answer: FakeResponse, reason: str, code: int
) -> None:
    """Nothing more is sent, what is in flight is awaited, the rest stays pending and goes on later."""
    seen = asyncio.Event()

    async def late(body: dict[str, Any]) -> Any:
        await seen.wait()
        await anyio.sleep(0.01)
        return answer_to(body)

    def refuse(_: dict[str, Any]) -> Any:
        seen.set()
        return FakeResponse(answer.status, b"".join(answer._pieces))

    transport = FakeTransport(by_prompt(p0=late, p1=refuse))
    result = await run(tmp_path / "job", transport, concurrency=2)
    assert (result.reason, result.exit_code) == (reason, code)
    assert transport.prompts == ["prompt 0", "prompt 1"]
    assert (result.done, result.failed_for_now, result.counts["pending"]) == (1, 1, 4)
    assert result.message is not None and str(answer.status) in result.message
    transport.answer = None
    assert (await run(tmp_path / "job", transport)).exit_code == 0
    assert transport.prompts.count("prompt 0") == 1


async def test_a_budget_counts_what_may_have_been_billed(tmp_path: Path) -> None:
    """It stops before it could be passed, in all runs together; what failed unbilled doesn't count."""
    transport = FakeTransport(by_prompt(p0=APIConnectionError("cut", may_have_been_billed=True), p1=error(400)))
    options: dict[str, Any] = {"defaults": {"n": 2}, "concurrency": 1}
    result = await run(tmp_path / "job", transport, max_images=5, **options)
    # Two may have been billed, two were made; the next two would pass five.
    assert (result.reason, result.exit_code, result.images) == ("budget", 3, 2)
    assert transport.prompts == ["prompt 0", "prompt 1", "prompt 2"]
    assert result.message is not None and "budget of 5 images" in result.message
    result = await run(tmp_path / "job", transport, max_images=5, **options)
    assert (result.reason, len(transport.bodies)) == ("budget", 3)
    # Asked for again, it may cost twice.
    transport.answer = None
    result = await run(tmp_path / "job", transport, max_images=6, retry="unknown", **options)
    assert (result.reason, transport.prompts[3:], result.images) == ("budget", ["prompt 0"], 4)
    result = await run(tmp_path / "job", transport, **options)
    assert result.exit_code == 1 and result.done == 5


async def test_a_budget_that_suffices_exactly(tmp_path: Path) -> None:
    """All is done: 0. With many at once it isn't passed either, and what an answer lacks is given back."""
    transport = FakeTransport(lambda body: answer_to(body, images=1))
    assert (await run(tmp_path / "job", transport, max_images=6)).exit_code == 0
    # Three places of two images; as each gives back one, all six items fit into seven.
    result = await run(tmp_path / "other", transport, max_images=7, defaults={"n": 2})
    assert (result.exit_code, result.images) == (0, 6)


async def test_bad_rows_are_told_together_and_nothing_is_sent(tmp_path: Path) -> None:
    """Or they are left out."""
    source = [ImageRequest(prompt="good", model="dall-e-3"), ImageRequest(prompt="bad", model="dall-e-3", n=3), 5, ""]
    transport = FakeTransport()
    with pytest.raises(InputError) as caught:
        await run(tmp_path / "job", transport, source)
    assert [row.line for row in caught.value.bad_rows] == [2, 3, 4]
    assert str(caught.value.bad_rows[0]) == "line 2: n: 3 is not accepted by dall-e-3; use 1"
    assert str(caught.value).endswith("(and 2 more); nothing was sent")
    assert not (tmp_path / "job").exists() and not transport.bodies
    result = await run(tmp_path / "job", transport, source, skip_invalid=True)
    assert (result.exit_code, result.total, len(result.bad_rows)) == (0, 1, 3)


async def test_another_input_or_other_settings_are_refused(tmp_path: Path) -> None:
    """With the difference; `extend` adds the new rows and sends nothing for those that were there."""
    transport = FakeTransport()
    await run(tmp_path / "job", transport, ["a", "b"])
    with pytest.raises(JobError, match=r"has 1 row that it doesn't have, the first on line 2 \('c'\)"):
        await run(tmp_path / "job", transport, ["a", "c", "b"])
    with pytest.raises(JobError, match=r"1 of its 2 rows are missing"):
        await run(tmp_path / "job", transport, ["a"])
    with pytest.raises(JobError, match=r"size: not set before, auto now"):
        await run(tmp_path / "job", transport, ["a", "b"], defaults={"size": "auto"})
    with pytest.raises(JobError, match="other settings"):
        await run(tmp_path / "job", transport, ["a", "b"], defaults={"size": "auto"}, extend=True)
    assert len(transport.bodies) == 2
    # A row put in before the others makes them no other items.
    result = await run(tmp_path / "job", transport, ["a", "c", "b", "b"], extend=True)
    assert (result.added, result.exit_code, transport.prompts[2:]) == (2, 0, ["c", "b"])
    # Both inputs are the job's now.
    assert (await run(tmp_path / "job", transport, ["a", "b"])).sent_nothing
    assert (await run(tmp_path / "job", transport, ["a", "c", "b", "b"])).sent_nothing


async def test_a_changed_row_is_refused_even_with_extend(tmp_path: Path) -> None:
    """One custom_id, two requests: nobody can say which is meant."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"custom_id": "x", "prompt": "one"}\n')
    transport = FakeTransport()
    await run(tmp_path / "job", transport, path)
    path.write_text('{"custom_id": "x", "prompt": "two"}\n')
    with pytest.raises(JobError, match="line 1: custom_id 'x' has other fields than in the job"):
        await run(tmp_path / "job", transport, str(path), extend=True)


async def test_async_iterables_and_generators(tmp_path: Path) -> None:
    """Are read once."""

    async def prompts() -> AsyncIterator[str | ImageRequest]:
        yield "a"
        yield ImageRequest(prompt="b", n=2)

    transport = FakeTransport()
    result = await run(tmp_path / "job", transport, prompts())
    assert (result.images, transport.prompts) == (3, ["a", "b"])
    assert (await run(tmp_path / "job", transport, prompts())).sent_nothing
    result = await run(tmp_path / "other", transport, (prompt for prompt in "ab"))
    assert result.done == 2


async def test_links_are_downloaded_and_never_generated_again(tmp_path: Path) -> None:
    """One that can't be fetched waits in the journal: the next run fetches it and sends nothing."""

    def answer(body: dict[str, Any]) -> Any:
        link = f"http://127.0.0.1:9/{body['prompt'].replace(' ', '-')}?sig=secret"
        return {"data": [{"url": link, "revised_prompt": "better"}]}

    broken = True

    def download(url: str) -> FakeResponse:
        if broken and "prompt-3" in url:
            return FakeResponse(404, b"")
        return FakeResponse(200, picture(url), {"content-type": "image/png"})

    transport = FakeTransport(answer, downloads=download)
    result = await run(tmp_path / "job", transport)
    assert (result.exit_code, result.done, result.counts["not_downloaded"], result.remaining) == (1, 5, 1, 1)
    (row,) = read_lines(result.errors_path)
    assert (row["outcome"], row["error_type"], row["links"]) == (
        "not_downloaded",
        "DownloadError",
        ["http://127.0.0.1:9/prompt-3?sig=secret"],
    )
    assert read_lines(result.results_path)[0]["revised_prompt"] == "better"
    broken = False
    result = await run(tmp_path / "job", transport)
    assert (result.exit_code, result.done, len(transport.bodies)) == (0, 6, 6)
    assert len(transport.fetched) == 7
    (row,) = [row for row in read_lines(result.results_path) if row["index"] == 3]
    assert row["usage"] is None and row["request_id"] == "req_fake" and row["revised_prompt"] == "better"


async def test_a_link_that_died_is_made_anew_only_where_that_is_wished(tmp_path: Path) -> None:
    """`retry="unknown"` tries the link first."""
    transport = FakeTransport(
        by_prompt(p3=lambda _: {"data": [{"url": "http://127.0.0.1:9/x"}]}), downloads=lambda _: FakeResponse(404, b"")
    )
    for _ in range(2):
        result = await run(tmp_path / "job", transport)
        assert (result.counts["not_downloaded"], len(transport.bodies)) == (1, 6)
    transport.answer = None
    result = await run(tmp_path / "job", transport, retry="unknown")
    assert (result.exit_code, transport.prompts[6:], len(transport.fetched)) == (0, ["prompt 3"], 3)


async def test_the_events_of_links_say_what_their_answers_did(tmp_path: Path) -> None:
    """Also where they are fetched by a later run."""
    usage = {"total_tokens": 7, "input_tokens": 3, "output_tokens": 4}
    transport = FakeTransport(
        lambda _: {"data": [{"url": "http://127.0.0.1:9/x"}], "usage": usage},
        downloads=lambda _: FakeResponse(404, b""),
    )
    seen: list[Ended] = []
    async with client_of(transport) as client:
        await BulkJob(["a"], tmp_path / "job", client).run(on_item=lambda _, change: seen.append(change))
        transport.downloads = lambda _: FakeResponse(200, picture("a"), {"content-type": "image/png"})
        await BulkJob(["a"], tmp_path / "job", client).run(on_item=lambda _, change: seen.append(change))
    assert [change.state.value for change in seen] == ["not_downloaded", "done"]
    for change in seen:
        assert (change.request_id, change.attempts, change.usage) == ("req_fake", 1, usage)
        assert change.elapsed is not None


async def test_a_failed_retry_throws_nothing_away(tmp_path: Path) -> None:
    """Of a lost item the images that are there keep their rows, of a link that died the link."""
    links = {"data": [{"url": "http://127.0.0.1:9/x"}]}
    transport = FakeTransport(by_prompt(p1=lambda _: links), downloads=lambda _: FakeResponse(404, b""))
    source = ["prompt 0", "prompt 1"]
    await run(tmp_path / "job", transport, source, defaults={"n": 2})
    (tmp_path / "job" / "images" / "000000-prompt-0-1.png").unlink()
    transport.answer = lambda _: error(400)
    result = await run(tmp_path / "job", transport, source, defaults={"n": 2}, retry="unknown")
    assert result.failed == 2 and names_in(tmp_path / "job") == ["000000-prompt-0-0.png"]
    rows = rows_of(tmp_path / "job", "SELECT item, name FROM images ORDER BY item, k")
    assert rows == [(0, "000000-prompt-0-0.png"), (0, "000000-prompt-0-1.png"), (1, None)]
    assert read_lines(result.errors_path)[1]["links"] == ["http://127.0.0.1:9/x"]


async def test_a_new_answer_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """Its files too: where it has fewer images, or others, none without a row stays."""
    transport = FakeTransport()
    await run(tmp_path / "job", transport, ["a"], defaults={"n": 3})
    (tmp_path / "job" / "images" / "000000-a-1.png").unlink()
    transport.answer = lambda body: answer_to(body, images=1, size_bytes=500)
    result = await run(tmp_path / "job", transport, ["a"], defaults={"n": 3}, retry="unknown")
    assert (result.exit_code, names_in(tmp_path / "job")) == (0, ["000000-a-0.png"])
    assert (tmp_path / "job" / "images" / "000000-a-0.png").stat().st_size == 500
    assert (await run(tmp_path / "job", transport, ["a"], defaults={"n": 3})).sent_nothing


async def test_concurrency_and_memory_of_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more in flight than were asked for; an item holds its place until its files are durable."""

    three_are_here = asyncio.Event()

    async def slow(body: dict[str, Any]) -> Any:
        if transport.in_flight == 3:
            three_are_here.set()
        await three_are_here.wait()
        await anyio.sleep(0.001)
        return answer_to(body, size_bytes=3_000_000)

    largest = 0
    original = sinks.PartSink.write

    async def write(self: sinks.PartSink, data: bytes) -> None:
        nonlocal largest
        await original(self, data)
        largest = max(largest, self._collected_bytes)

    monkeypatch.setattr(sinks.PartSink, "write", write)
    transport = FakeTransport(slow)
    seen: list[Progress] = []
    async with client_of(transport) as client:
        job = BulkJob([f"p {number}" for number in range(40)], tmp_path / "job", client, concurrency=3)
        result = await job.run(on_progress=seen.append)
    assert result.done == 40 and transport.most_in_flight == 3
    assert max(progress.in_flight for progress in seen) <= 3
    assert largest <= 1 << 20
    assert (tmp_path / "job" / "images" / "000003-p-3-0.png").stat().st_size == 3_000_000


async def test_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """And sends nothing more; the next run goes on."""
    async with client_of(transport := FakeTransport()) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=2)

        async def answer(body: dict[str, Any]) -> Any:
            job.stop()
            await anyio.sleep(0.001)
            return answer_to(body)

        transport.answer = answer
        result = await job.run()
    assert (result.reason, result.exit_code) == ("stopped", 130)
    assert result.done == len(transport.bodies) == len(read_lines(result.results_path)) <= 2
    assert result.counts["pending"] == 6 - result.done
    transport.answer = None
    assert (await run(tmp_path / "job", transport)).exit_code == 0
    assert len(transport.bodies) == 6


async def test_stop_sends_nothing_that_only_waits(tmp_path: Path) -> None:
    """Neither what waits for a place of the client, nor another attempt of what failed."""
    transport = FakeTransport()
    policy = RetryPolicy(max_retries=5, base_delay=0.001)
    async with client_of(transport, max_connections=2, retry=policy) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=5)

        async def answer(body: dict[str, Any]) -> Any:
            if len(transport.bodies) == 2:
                # Three more are waiting for one of the two places.
                await anyio.sleep(0.01)
                job.stop()
            await anyio.sleep(0.02)
            return answer_to(body) if body["prompt"] == "prompt 1" else error(503)

        transport.answer = answer
        seen: list[Progress] = []
        result = await job.run(on_progress=seen.append)
    assert max(progress.in_flight for progress in seen) <= 2
    assert (result.reason, result.exit_code, len(transport.bodies)) == ("stopped", 130, 2)
    counts = result.counts
    # A refusal is not billed: what was only refused is as if it had never been sent.
    assert (counts["done"], counts["unfinished"], counts["pending"]) == (1, 0, 5)
    transport.answer = None
    assert (await run(tmp_path / "job", transport)).exit_code == 0
    # Nothing is asked for twice that was answered.
    assert sorted(transport.prompts[2:]) == [p for p in PROMPTS if p != "prompt 1"]


async def test_stop_keeps_the_key_of_what_may_have_been_billed(tmp_path: Path) -> None:
    """Where the policy has ambiguous failures tried again."""
    transport = FakeTransport()
    policy = RetryPolicy(max_retries=5, base_delay=0.001, retry_ambiguous=True, instant=0)
    async with client_of(transport, retry=policy) as client:
        job = BulkJob(["prompt 0"], tmp_path / "job", client)

        async def answer(_: dict[str, Any]) -> Any:
            job.stop()
            await anyio.sleep(0.001)
            return APIConnectionError("cut", may_have_been_billed=True)

        transport.answer = answer
        result = await job.run()
    assert (result.counts["unfinished"], len(transport.bodies)) == (1, 1)
    transport.answer = None
    assert (await run(tmp_path / "job", transport, ["prompt 0"], max_images=1)).exit_code == 0
    assert transport.keys[0] == transport.keys[1]


async def test_stop_while_items_are_let_go_cuts_off_none(tmp_path: Path) -> None:
    """Whatever moment it comes at: what was sent is finished, and the rest is never sent."""
    for at in range(1, 12):
        transport = FakeTransport()
        async with client_of(transport) as client:
            folder = tmp_path / str(at)
            job = BulkJob([f"p {number}" for number in range(40)], folder, client, concurrency=5)
            ended = 0

            def count(*_: object, at: int = at, job: BulkJob = job) -> None:
                nonlocal ended
                ended += 1
                if ended == at:
                    job.stop()

            result = await job.run(on_item=count)
        assert (result.reason, result.counts["unfinished"], result.done) == ("stopped", 0, len(transport.bodies))
        assert result.done + result.counts["pending"] == 40


async def test_the_same_job_goes_on_after_a_stop(tmp_path: Path) -> None:
    """A wish holds for one run, whether it came during that or before."""
    async with client_of(transport := FakeTransport()) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client)
        job.stop()
        result = await job.run()
        assert (result.reason, result.sent_nothing, result.counts["pending"]) == ("stopped", True, 6)

        async def hang(_: dict[str, Any]) -> Any:
            job.abort()
            await anyio.sleep_forever()

        transport.answer = hang
        assert (await job.run()).reason == "aborted"
        transport.answer = None
        assert (await job.run()).exit_code == 0


async def leave_unfinished(folder: Path, transport: FakeTransport) -> None:
    """Cut a job of one item off while it is in flight."""
    async with client_of(transport) as client:
        job = BulkJob(["prompt 0"], folder, client)

        async def hang(_: dict[str, Any]) -> Any:
            job.abort()
            await anyio.sleep_forever()

        transport.answer = hang
        await job.run()


@pytest.mark.parametrize(
    "refusal",
    [
        APIConnectionError("refused"),
        error(429),
        error(503),
        error(401, "bad key"),
        error(429, "no money", "insufficient_quota"),
    ],
    ids=["connection", "429", "503", "401", "quota"],
)
async def test_a_refusal_leaves_an_unfinished_item_its_key(tmp_path: Path, refusal: Any) -> None:
    """Its first life may have been billed, so it counts as spent, and is sent under no other key."""
    transport = FakeTransport()
    await leave_unfinished(tmp_path / "job", transport)
    transport.answer = lambda _: copy.deepcopy(refusal)
    for _ in range(2):
        result = await run(tmp_path / "job", transport, ["prompt 0"], max_images=1)
        assert (result.counts["unfinished"], result.remaining) == (1, 1)
        (row,) = read_lines(result.errors_path)
        assert row["may_have_been_billed"] is True and row["error"]
    transport.answer = None
    # Another image would pass the budget.
    result = await run(tmp_path / "job", transport, ["prompt 0", "prompt 1"], max_images=1, extend=True)
    assert (result.reason, result.done, result.counts["pending"]) == ("budget", 1, 1)
    assert len(transport.bodies) == 4 and len(set(transport.keys)) == 1


async def test_a_final_refusal_keeps_what_an_unfinished_item_may_have_cost(tmp_path: Path) -> None:
    """It failed for good, and its first life still counts."""
    transport = FakeTransport()
    await leave_unfinished(tmp_path / "job", transport)
    transport.answer = lambda _: error(400, code="moderation_blocked")
    result = await run(tmp_path / "job", transport, ["prompt 0"], max_images=1)
    (row,) = read_lines(result.errors_path)
    assert (row["outcome"], row["may_have_been_billed"]) == ("failed", True)
    transport.answer = None
    result = await run(tmp_path / "job", transport, ["prompt 0"], max_images=1, retry="failed")
    assert (result.reason, len(transport.bodies)) == ("budget", 2)
    result = await run(tmp_path / "job", transport, ["prompt 0"], max_images=2, retry="failed")
    assert result.exit_code == 0


async def test_what_was_to_be_retried_waits_for_the_wish_again(tmp_path: Path) -> None:
    """Where the run was stopped before it was sent: it may be paid twice, and the next run wasn't told to."""
    cut = APIConnectionError("cut", may_have_been_billed=True)
    transport = FakeTransport(by_prompt(p0=cut, p1=cut, p2=error(400)))
    await run(tmp_path / "job", transport)
    async with client_of(transport, max_connections=1) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=3, retry="all")

        async def answer(body: dict[str, Any]) -> Any:
            await anyio.sleep(0.01)
            job.stop()
            return answer_to(body)

        transport.answer = answer
        result = await job.run()
    # Whichever of the three was let go first.
    assert (len(transport.bodies), result.done, result.unknown + result.failed) == (7, 4, 2)
    for row in read_lines(result.errors_path):
        if row["outcome"] == "unknown":
            assert "cut" in row["error"] and row["may_have_been_billed"] is True
        else:
            assert (row["outcome"], row["request_id"], row["status_code"]) == ("failed", "req_fake", 400)
    assert (await run(tmp_path / "job", transport)).sent_nothing


async def test_putting_back_spends_nothing(tmp_path: Path) -> None:
    """However often a retry is stopped before it is sent."""
    transport = FakeTransport(lambda _: APIConnectionError("cut", may_have_been_billed=True))
    await run(tmp_path / "job", transport, ["a"])
    before = rows_of(tmp_path / "job", "SELECT state, spent, images, error, attempts FROM items")
    transport.answer = None
    for _ in range(3):
        async with client_of(transport, limits=RateLimits(requests_per_minute=1)) as client:
            await client.generate("other")
            job = BulkJob(["a"], tmp_path / "job", client, retry="unknown")

            def stop(progress: Progress, job: BulkJob = job) -> None:
                if progress.waiting:
                    job.stop()

            result = await job.run(on_progress=stop)
        assert (result.reason, result.unknown) == ("stopped", 1)
        assert rows_of(tmp_path / "job", "SELECT state, spent, images, error, attempts FROM items") == before
    assert (await run(tmp_path / "job", transport, ["a"], retry="unknown", max_images=2)).exit_code == 0


@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_cut_off_items_are_asked_for_again_under_their_keys(tmp_path: Path, how: str) -> None:
    """Whether the job was told to or its task was cancelled; the output files are there at once."""
    transport = FakeTransport()
    async with client_of(transport) as client, anyio.create_task_group() as tasks:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=2)

        async def hang(body: dict[str, Any]) -> Any:
            if len(transport.bodies) == 2:
                (job.abort if how == "abort" else tasks.cancel_scope.cancel)()
            await anyio.sleep_forever()

        transport.answer = hang
        result = await job.run()
        assert how == "abort" and (result.reason, result.exit_code, result.counts["unfinished"]) == ("aborted", 130, 2)
    assert [row["outcome"] for row in read_lines(tmp_path / "job" / "errors.jsonl")] == ["unfinished"] * 2 + [
        "pending"
    ] * 4
    keys = transport.keys[:]
    transport.answer = None
    assert (await run(tmp_path / "job", transport)).exit_code == 0
    assert sorted(transport.keys[2:4]) == sorted(keys)
    assert len(transport.bodies) == 8


def is_end_in(state: State, changes: Sequence[Started | Ended]) -> bool:
    """Tell whether a group of changes holds the end of an item."""
    return any(isinstance(change, Ended) and change.state is state for change in changes)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_what_ends_after_a_cut_is_told_without_being_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, is_async: bool
) -> None:
    """An answer whose row is being written is kept; async callbacks have nothing that would await them by then."""
    loop, apply, listen = asyncio.get_running_loop(), Journal.apply, Listeners.listen
    is_deaf = threading.Event()

    async def listen_and_say(self: Listeners) -> None:
        try:
            await listen(self)
        finally:
            is_deaf.set()

    def apply_and_cut(self: Journal, changes: Sequence[Started | Ended], **options: Any) -> None:
        apply(self, changes, **options)
        if is_end_in(State.DONE, changes):
            loop.call_soon_threadsafe(job.abort if how == "abort" else scope.cancel)
            is_deaf.wait(5)

    monkeypatch.setattr(listeners, "_PROGRESS_EVERY", 0.0)
    monkeypatch.setattr(Listeners, "listen", listen_and_say)
    monkeypatch.setattr(Journal, "apply", apply_and_cut)
    called: list[object] = []
    begun: list[object] = []

    def note(*facts: object) -> Any:
        called.append(facts[0])
        return begin(facts[0]) if is_async else None

    async def begin(fact: object) -> None:
        begun.append(fact)

    async with client_of(FakeTransport()) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=1)
        with anyio.CancelScope() as scope:
            result = await job.run(on_progress=note, on_item=note)
            assert (how, result.reason, result.done) == ("abort", "aborted", 1)
    assert scope.cancelled_caught is (how == "cancel")
    assert len(names_in(tmp_path / "job")) == 1
    assert [fact.index for fact in called if isinstance(fact, Item)] == [0]
    assert not any(isinstance(fact, Item) for fact in begun)
    # The last that an aborted run says is awaited again, as it is by no task.
    assert (how == "abort" and is_async) is (bool(begun) and begun[-1] is called[-1])


async def test_a_cut_holds_for_downloads_that_would_begin_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the links of an answer are written, and while they are read again by the next run."""
    loop, apply, record_of, cut_off = asyncio.get_running_loop(), Journal.apply, Journal.record_of, Links.cut_off
    is_cut = threading.Event()

    def abort() -> None:
        loop.call_soon_threadsafe(job.abort)
        is_cut.wait(5)

    def note_cut(self: Links) -> None:
        cut_off(self)
        is_cut.set()

    def apply_and_abort(self: Journal, changes: Sequence[Started | Ended], **options: Any) -> None:
        apply(self, changes, **options)
        if is_end_in(State.LINKED, changes):
            abort()

    def read_and_abort(self: Journal, index: int) -> Record:
        abort()
        return record_of(self, index)

    transport = FakeTransport(
        lambda _: {"data": [{"url": "http://127.0.0.1:9/x"}]},
        downloads=lambda _: FakeResponse(200, picture("a"), {"content-type": "image/png"}),
    )
    async with client_of(transport) as client:
        job = BulkJob(["a"], tmp_path / "job", client)
        monkeypatch.setattr(Links, "cut_off", note_cut)
        for name, patched in (("apply", apply_and_abort), ("record_of", read_and_abort)):
            with monkeypatch.context() as patch:
                is_cut.clear()
                patch.setattr(Journal, name, patched)
                result = await job.run()
            assert is_cut.is_set()
            assert (result.reason, result.counts["not_downloaded"], transport.fetched) == ("aborted", 1, [])
        result = await job.run()
    assert (result.exit_code, result.done, len(transport.bodies), len(transport.fetched)) == (0, 1, 1, 1)


async def test_an_unfinished_item_is_taken_from_the_budget_once(tmp_path: Path) -> None:
    """Under the same key it can be billed once only, so a budget of all images suffices."""
    async with client_of(transport := FakeTransport()) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, max_images=6)

        async def hang(body: dict[str, Any]) -> Any:
            job.abort()
            await anyio.sleep_forever()

        transport.answer = hang
        await job.run()
    transport.answer = None
    assert (await run(tmp_path / "job", transport, max_images=6)).exit_code == 0


async def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    """The second one says so; afterwards the folder is free."""
    transport = FakeTransport()
    async with client_of(transport) as client:

        async def again(body: dict[str, Any]) -> Any:
            if body["prompt"] == "prompt 0":
                with pytest.raises(JobError, match=f"another run of this job is under way .process {os.getpid()}"):
                    await BulkJob(PROMPTS, tmp_path / "job", client).run()
            return answer_to(body)

        transport.answer = again
        assert (await BulkJob(PROMPTS, tmp_path / "job", client).run()).exit_code == 0
    assert (await run(tmp_path / "job", transport)).sent_nothing


async def test_a_callback_that_raises_costs_nothing(tmp_path: Path) -> None:
    """What is in flight is finished, then its error comes out."""
    transport = FakeTransport()

    def fail(*_: object) -> None:
        raise LookupError("mine")

    async with client_of(transport) as client:
        with pytest.raises(LookupError, match="mine"):
            await BulkJob(PROMPTS, tmp_path / "job", client, concurrency=1).run(on_item=fail)
    assert [state for _, state in rows_of(tmp_path / "job")].count("done") == len(transport.bodies) < 6
    assert len(read_lines(tmp_path / "job" / "results.jsonl")) == len(transport.bodies)


async def test_async_callbacks(tmp_path: Path) -> None:
    """Are awaited beside the job; what they raise comes out too."""
    seen: list[int] = []

    async def note(progress: Progress) -> None:
        seen.append(progress.done)

    async def fail(_: Progress) -> None:
        raise LookupError("mine")

    async with client_of(FakeTransport()) as client:
        await BulkJob(PROMPTS, tmp_path / "job", client).run(on_progress=note)
        assert seen[-1] == 6
        with pytest.raises(LookupError, match="mine"):
            await BulkJob(PROMPTS, tmp_path / "other", client).run(on_progress=fail)


async def test_failures_of_single_items_stop_nothing(tmp_path: Path) -> None:
    """However many there are in a row: only a quota, a refused key and the like concern the others."""
    transport = FakeTransport(lambda _: APIConnectionError("refused"))
    result = await run(tmp_path / "job", transport, [f"p {number}" for number in range(300)], concurrency=50)
    assert (result.reason, result.exit_code, result.failed_for_now) == ("finished", 1, 300)


async def test_a_foreign_error_hurts_no_other_item(tmp_path: Path) -> None:
    """Nobody knows whether it was sent: unknown."""
    transport = FakeTransport(by_prompt(p2=RuntimeError("odd")))
    result = await run(tmp_path / "job", transport)
    assert (result.done, result.unknown) == (5, 1)
    assert read_lines(result.errors_path)[0]["error"].startswith("RuntimeError, raised by code outside aiai_async")


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_api_key_that_cant_be_had_stops_the_job(tmp_path: Path, is_async: bool) -> None:
    """Nothing was sent, so nothing is unknown; what the callable raised, which may hold the key, is nowhere."""

    def fail() -> Any:
        raise OSError("the vault gave sk-secret")

    async def fail_later() -> str:
        return str(fail())

    transport = FakeTransport()
    async with client_of(transport).with_options(api_key=fail_later if is_async else fail) as client:
        result = await BulkJob(PROMPTS, tmp_path / "job", client, concurrency=2, max_images=6).run()
    assert (result.reason, result.exit_code, result.unknown, result.done) == ("configuration", 1, 0, 0)
    assert result.message == "the api_key callable raised OSError, so nothing can be sent; see to it and run again"
    assert not transport.bodies
    for path in (tmp_path / "job").iterdir():
        assert path.is_dir() or b"sk-secret" not in path.read_bytes()
    assert (await run(tmp_path / "job", transport, max_images=6)).exit_code == 0


async def test_a_key_that_fails_later_leaves_what_was_billed_unknown(tmp_path: Path) -> None:
    """Where an ambiguous attempt came before it; a refusal alone is no more than that under the same policy."""
    calls = 0

    async def fail_at_last() -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError("the vault is down")
        return "sk-test"

    answers = [APIConnectionError("cut", may_have_been_billed=True), error(503)]
    transport = FakeTransport(lambda _: answers.pop())
    policy = RetryPolicy(max_retries=1, base_delay=0, retry_ambiguous=True, instant=0)
    async with client_of(transport, retry=policy).with_options(api_key=fail_at_last) as client:
        result = await BulkJob(["a"], tmp_path / "job", client).run()
        assert result.unknown == 1
        answers[:] = [APIConnectionError("cut", may_have_been_billed=True)]
        calls = 1
        result = await BulkJob(["b"], tmp_path / "other", client).run()
        assert (result.reason, result.unknown) == ("configuration", 1)
        answers[:] = [error(503), error(503)]
        calls = 3
        result = await BulkJob(["c"], tmp_path / "third", client).run()
        assert result.failed_for_now == 1


async def test_the_watched_key_waits_in_the_same_queue(tmp_path: Path) -> None:
    """As the caller's own requests; and it is asked for each attempt."""
    asked = 0

    async def give() -> str:
        nonlocal asked
        asked += 1
        return "sk-test"

    async with client_of(FakeTransport()).with_options(api_key=give) as client:
        await client.generate("a", model="m")
        result = await BulkJob(["b"], tmp_path / "job", client, defaults={"model": "m"}).run()
        assert (result.exit_code, asked, len(client.limits.queues)) == (0, 2, 1)


async def test_parts_of_failed_attempts_are_removed(tmp_path: Path) -> None:
    """Also of images that were whole before the answer broke."""

    class Broken(FakeResponse):
        async def read(self) -> bytes:
            if not self._pieces:
                raise APIConnectionError("cut", may_have_been_billed=True)
            return self._pieces.pop(0)

    def cut(body: dict[str, Any]) -> FakeResponse:
        text = json.dumps(answer_to(body, size_bytes=100_000)).encode()
        return Broken(200, text[:200_000])

    transport = FakeTransport(by_prompt(p1=cut))
    result = await run(tmp_path / "job", transport, defaults={"n": 2})
    assert (result.done, result.unknown) == (5, 1)
    assert len(os.listdir(tmp_path / "job" / "images")) == 10


# -- the folder


async def test_lost_images_are_told_and_not_made_again(tmp_path: Path) -> None:
    """Put back they are fine; else `retry="unknown"` makes them anew."""
    transport = FakeTransport()
    await run(tmp_path / "job", transport)
    image = tmp_path / "job" / "images" / "000002-prompt-2-0.png"
    shutil.move(image, tmp_path / "kept.png")
    result = await run(tmp_path / "job", transport)
    assert (result.recovery.lost, result.unknown, result.exit_code, len(transport.bodies)) == (1, 1, 1, 6)
    (row,) = read_lines(result.errors_path)
    assert "images/000002-prompt-2-0.png was made and paid for, and is missing" in row["error"]
    shutil.copy(tmp_path / "kept.png", image)
    result = await run(tmp_path / "job", transport)
    assert (result.recovery.found, result.exit_code, len(transport.bodies)) == (1, 0, 6)
    image.unlink()
    await run(tmp_path / "job", transport)
    result = await run(tmp_path / "job", transport, retry="unknown")
    assert (result.exit_code, transport.prompts[6:]) == (0, ["prompt 2"])


async def test_a_row_without_its_file_finishes_the_rename(tmp_path: Path) -> None:
    """As a crash between commit and rename leaves it; a part that is damaged is no image."""
    transport = FakeTransport()
    await run(tmp_path / "job", transport)
    with closing(sqlite3.connect(tmp_path / "job" / "job.sqlite")) as connection, connection:
        rows = connection.execute("SELECT item, name, part FROM images ORDER BY item LIMIT 2").fetchall()
        connection.execute("UPDATE images SET placed = 0")
    images = tmp_path / "job" / "images"
    for _, name, part in rows:
        os.rename(images / name, images / part)
    (images / rows[1][2]).write_bytes(b"damaged")
    (images / "left-behind.part").write_bytes(b"")
    result = await run(tmp_path / "job", transport)
    assert (result.recovery.renamed, result.recovery.lost, len(transport.bodies)) == (1, 1, 6)
    assert (images / rows[0][1]).read_bytes() == picture("prompt 0")
    assert not list(images.glob("*.part"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b""), "the journal is damaged .it is empty"),
        (lambda path: path.write_bytes(b"x" * 5000), "the journal is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:8192] + b"x" * 4096), "the journal is damaged"),
        (lambda path: execute(path, "PRAGMA user_version = 9"), "of version 9, written by a newer aiai-async"),
        (lambda path: execute(path, "PRAGMA application_id = 9"), "is not the journal of a job"),
        (lambda path: path.unlink(), "holds images, but there is no job.sqlite"),
    ],
    ids=["empty", "garbage", "cut", "newer", "foreign", "gone"],
)
async def test_a_journal_that_cant_be_used(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    """Is told, and nothing is sent or changed."""
    transport = FakeTransport()
    await run(tmp_path / "job", transport)
    damage(tmp_path / "job" / "job.sqlite")
    names = names_in(tmp_path / "job")
    with pytest.raises(JobError, match=words):
        await run(tmp_path / "job", transport)
    assert len(transport.bodies) == 6 and names_in(tmp_path / "job") == names


def execute(path: Path, statement: str) -> None:
    """Change a journal."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


async def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    """The job stops and says so; other items in flight end."""

    async def vanish(body: dict[str, Any]) -> Any:
        if body["prompt"] == "prompt 1":
            shutil.rmtree(tmp_path / "job")
        await anyio.sleep(0.001)
        return answer_to(body)

    transport = FakeTransport(vanish)
    result = await run(tmp_path / "job", transport, concurrency=2)
    assert (result.reason, result.exit_code) == ("disk", 1)
    assert result.message is not None and "No such file" in result.message
    assert len(transport.bodies) < 6


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"max_images": -1},
        {"max_cost": -0.01},
        {"max_cost": float("nan")},
        {"max_cost": float("inf")},
        {"max_cost": "5"},
        {"max_cost": True},
        {"retry": "maybe"},
        {"defaults": {"prompt": "x"}},
        {"defaults": {"sise": "x"}},
    ],
    ids=str,
)
def test_wrong_arguments(tmp_path: Path, options: dict[str, Any]) -> None:
    """Are told at once."""
    with pytest.raises(JobError):
        BulkJob(["a"], tmp_path, **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
async def test_a_named_pipe(tmp_path: Path) -> None:
    """Is read once, as the shell gives it for `<(...)`."""
    transport = FakeTransport()
    os.mkfifo(tmp_path / "pipe")
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, (tmp_path / "pipe").write_text, "a\nb\n")
            result = await run(tmp_path / "job", transport, tmp_path / "pipe")
    assert (result.done, result.sent_nothing, len(transport.bodies)) == (2, True, 2)


async def test_wrong_sources(tmp_path: Path) -> None:
    """Nothing is left behind."""
    transport = FakeTransport()
    with pytest.raises(JobError, match="source is of type int"):
        await run(tmp_path / "job", transport, 5)
    with pytest.raises(JobError, match="can't be read"):
        await run(tmp_path / "job", transport, tmp_path / "no-such-file")
    with pytest.raises(JobError, match="there are no rows"):
        await run(tmp_path / "job", transport, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="can't be used"):
        await run(tmp_path / "file", transport)
    with pytest.raises(JobError, match="there is no client"):
        await BulkJob(["a"], tmp_path / "job").run()
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_prepare_holds_the_folder_until_close(tmp_path: Path) -> None:
    """So that two programs don't begin the same job."""
    job = BulkJob(["a"], tmp_path / "job")
    job.prepare()
    with pytest.raises(JobError, match="another run"):
        BulkJob(["a"], tmp_path / "job").prepare()
    job.close()
    job.close()
    BulkJob(["a"], tmp_path / "job").close()
    other = BulkJob(["a"], tmp_path / "job")
    other.prepare()
    other.close()
    assert repr(job).startswith("BulkJob('the requests', ")
