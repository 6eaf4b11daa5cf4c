"""`max_cost`: what all runs of a job cost never passes it, told by servers that count."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiai_async import PRICES_DATE, APIConnectionError, AsyncImagesClient, RetryPolicy, estimate_cost
from aiai_async.bulk import BulkJob, JobError, JobResult, Progress
from aiai_async.server import Fault, LocalServer

from .child import PRICED
from .fakes import (
    CountingServer,
    FakeTransport,
    answer_to,
    as_json,
    client_of,
    environment_of_child,
    error,
    names_in,
    read_lines,
    rows_of,
)

PROMPTS = [f"prompt {number}" for number in range(6)]
EACH = 0.016
CAREFUL = RetryPolicy(max_retries=0, instant=0)
"""What was cut off may have been billed, however soon."""
GPT = {"model": "gpt-image-1", "size": "1024x1024", "quality": "low"}


async def run(folder: Path, transport: FakeTransport, **options: Any) -> JobResult:
    """Run a job once."""
    async with client_of(transport) as client:
        return await BulkJob(PROMPTS, folder, client, **{"defaults": PRICED, **options}).run()


async def test_admission_stops_before_the_cap_can_be_passed(tmp_path: Path) -> None:
    """What runs is finished; the message has the figures, and a higher cap goes on."""
    transport = FakeTransport()
    result = await run(tmp_path / "job", transport, max_cost=0.05)
    assert (result.reason, result.exhausted, result.exit_code) == ("budget", "max_cost", 3)
    assert (result.done, len(transport.bodies), result.counts["pending"]) == (3, 3, 3)
    assert result.cost == result.cost_usd == pytest.approx(3 * EACH) and result.unknown_costs == 0
    assert result.message == (
        f"the budget of $0.05 leaves no room for the next item, which may cost up to $0.016 by prices of {PRICES_DATE} "
        "with quality left to the model; $0.048 are spent or may be"
    )
    again = await run(tmp_path / "job", transport, max_cost=0.05)
    assert (again.reason, len(transport.bodies)) == ("budget", 3)
    result = await run(tmp_path / "job", transport, max_cost=6 * EACH)
    assert (result.reason, result.exhausted, result.exit_code) == ("finished", None, 0)
    assert result.cost == pytest.approx(6 * EACH)
    assert [row["cost_usd"] for row in read_lines(result.results_path)] == [EACH] * 6
    assert {row["cost_source"] for row in read_lines(result.results_path)} == {"prices"}


async def test_unknown_outcomes_count_as_spent_and_refusals_do_not(tmp_path: Path) -> None:
    """A rerun that asks for them again may pay twice, and counts that."""
    cut = APIConnectionError("cut", may_have_been_billed=True)
    answers = {"prompt 0": cut, "prompt 1": error(400)}
    transport = FakeTransport(lambda body: answers.get(body["prompt"]) or answer_to(body))
    result = await run(tmp_path / "job", transport, max_cost=2.5 * EACH, concurrency=1)
    assert (result.reason, result.done, result.unknown, result.failed) == ("budget", 1, 1, 1)
    assert result.cost == pytest.approx(EACH)
    transport.answer = None
    result = await run(tmp_path / "job", transport, max_cost=3.5 * EACH, concurrency=1, retry="unknown")
    assert (result.reason, transport.prompts[3:]) == ("budget", ["prompt 0"])
    assert rows_of(tmp_path / "job", "SELECT spent_cost, cost FROM items WHERE idx = 0") == [(EACH, EACH)]


async def test_nothing_is_sent_where_a_price_is_not_known(tmp_path: Path) -> None:
    """It names the model, and what to do; with a price of one's own it runs."""
    transport = FakeTransport()
    with pytest.raises(JobError, match=r"the price of flux-pro isn't known \(6 rows\).*--prices FILE"):
        await run(tmp_path / "job", transport, max_cost=5, defaults={"model": "flux-pro"})
    assert not transport.bodies
    # Nobody cut it off by hand.
    assert rows_of(tmp_path / "job", "SELECT reason FROM runs") == [("configuration",)]
    async with client_of(transport, prices={"flux-pro": {"images": 0.5}}) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, max_cost=1, defaults={"model": "flux-pro"})
        result = await job.run()
    assert (result.done, result.cost, result.exit_code) == (2, 1.0, 3)


async def test_what_a_server_charges_more_counts_as_what_it_is(tmp_path: Path) -> None:
    """The next ones are expected to cost as much: the cap is passed by nothing that was sent after that was known."""
    costs = {"x-litellm-response-cost": "0.1"}
    transport = FakeTransport(lambda body: as_json(200, answer_to(body), **costs))
    result = await run(tmp_path / "job", transport, max_cost=0.25, concurrency=1)
    # Of the second one 0.1 is expected, and of the third, which has no room.
    assert (len(transport.bodies), result.reason) == (2, "budget")
    assert result.cost == pytest.approx(0.2)
    assert result.message is not None and "may cost up to $0.10" in result.message
    result = await run(tmp_path / "job", transport, max_cost=0.29, concurrency=1)
    assert len(transport.bodies) == 2


@pytest.mark.parametrize("concurrency", [16, 64])
async def test_a_server_four_times_as_dear_does_not_pass_the_cap(tmp_path: Path, concurrency: int) -> None:
    """However many may be in flight: until the first one has told what it costs, little is risked."""
    one = estimate_cost({**GPT, "prompt": "prompt 00"})
    assert one is not None and 0.0109 < one < 0.011
    risked, in_flight = min(concurrency, 22), asyncio.Event()

    async def answer(body: dict[str, Any]) -> Any:
        if transport.in_flight == risked:
            in_flight.set()
        await in_flight.wait()
        return as_json(200, answer_to(body), **{"x-litellm-response-cost": "0.04"})

    transport = FakeTransport(answer)
    prompts = [f"prompt {number:02d}" for number in range(80)]
    async with client_of(transport) as client:
        job = BulkJob(prompts, tmp_path / "job", client, max_cost=1, concurrency=concurrency, defaults=GPT)
        result = await job.run()
    assert len(transport.bodies) == 25 and result.cost == pytest.approx(1.0)
    assert (result.reason, result.done) == ("budget", 25)
    assert transport.most_in_flight <= risked


async def test_a_wide_cap_slows_nothing(tmp_path: Path) -> None:
    """As many are in flight from the beginning as without one."""
    in_flight = asyncio.Event()

    async def answer(body: dict[str, Any]) -> Any:
        if transport.in_flight == 6:
            in_flight.set()
        await in_flight.wait()
        return answer_to(body)

    transport = FakeTransport(answer)
    result = await run(tmp_path / "job", transport, max_cost=24 * EACH, concurrency=6)
    assert result.done == 6 and transport.most_in_flight == 6


async def test_answers_that_say_nothing_of_their_cost(tmp_path: Path) -> None:
    """Count at their estimate for the cap; what is shown is not known."""
    transport = FakeTransport(lambda body: {"data": answer_to(body)["data"]})
    one = estimate_cost({**GPT, "prompt": PROMPTS[0]})
    assert one is not None
    seen: list[Progress] = []
    async with client_of(transport) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, max_cost=2.5 * one, defaults=GPT)
        result = await job.run(on_progress=seen.append)
    assert (result.done, result.reason) == (2, "budget")
    assert (result.cost, result.unknown_costs) == (None, 2)
    assert (seen[-1].cost, seen[-1].unknown_costs) == (None, 2)
    assert [row["cost_usd"] for row in read_lines(result.results_path)] == [None, None]


async def test_what_is_made_anew_was_paid_for_before_too(tmp_path: Path) -> None:
    """The result, the progress and the report say what all runs cost; what is put back is as it was."""
    folder = tmp_path / "job"
    seen: list[Progress] = []
    prices = {"dall-e-2": {"images": EACH, "priced_on": dt.date(2025, 12, 24)}}

    async def run_again(**options: Any) -> JobResult:
        async with client_of(FakeTransport(), prices=prices) as client:
            job = BulkJob(PROMPTS, folder, client, defaults=PRICED, retry="unknown", **options)
            return await job.run(on_progress=seen.append)

    assert (await run_again()).cost == pytest.approx(6 * EACH)
    for _ in range(2):
        (folder / "images" / names_in(folder)[0]).unlink()
        result = await run_again()
    assert result.cost == pytest.approx(8 * EACH) == seen[-1].cost
    assert rows_of(folder, "SELECT cost, earlier_cost, spent_cost FROM items WHERE idx = 0") == [
        (EACH, 2 * EACH, 2 * EACH)
    ]
    page = result.report_path.read_text()
    assert "$0.13" in page and "It grew to $0.13" in page and "at most" not in page.partition('id="images"')[0]
    assert rows_of(folder, "SELECT value FROM meta WHERE name = 'priced_on'") == [('["2025-12-24"]',)]


async def test_progress_tells_the_cost_so_far_and_of_the_whole(tmp_path: Path) -> None:
    """Before anything came what it may be at most; then by what was made."""
    seen: list[Progress] = []
    async with LocalServer() as server, AsyncImagesClient("sk-test", base_url=server.base_url) as client:
        job = BulkJob(PROMPTS, tmp_path / "job", client, concurrency=1, defaults=GPT)
        result = await job.run(on_progress=seen.append)
    one = estimate_cost({**GPT, "prompt": PROMPTS[0]})
    assert one is not None and seen[0].cost == 0.0
    assert seen[0].estimated_cost == pytest.approx(6 * one)
    assert result.cost is not None and result.cost == pytest.approx(6 * (2 * 5e-6 + 272 * 40e-6))
    assert seen[-1].cost == pytest.approx(result.cost) == seen[-1].estimated_cost


async def test_progress_tells_that_the_rest_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    """Which may give back some of the budget."""
    told = asyncio.Event()

    async def late(body: dict[str, Any]) -> Any:
        if body["prompt"] != PROMPTS[0]:
            # The first one tells what such images cost, so that more may be in flight.
            await told.wait()
        return answer_to(body, images=1)

    def listen(progress: Progress) -> None:
        if progress.waiting is not None and progress.in_flight == 2:
            waits.append(progress.waiting)
            told.set()

    for limits, words in (
        ({"max_cost": 5 * EACH}, "$0.08 of the budget of $0.08 are spent or may be"),
        ({"max_images": 5}, "5 of the budget of 5 images are spent or may be"),
    ):
        waits: list[str] = []
        told.clear()
        async with client_of(FakeTransport(late)) as client:
            folder = tmp_path / next(iter(limits))
            job = BulkJob(PROMPTS, folder, client, defaults={**PRICED, "n": 2}, concurrency=3, **limits)
            result = await job.run(on_progress=listen)
        assert waits[0] == f"waiting for what is in flight: {words}"
        # Each gave back one of its two.
        assert (result.reason, result.images) == ("budget", 4)


async def test_the_local_server_is_never_asked_for_more_than_the_cap(tmp_path: Path) -> None:
    """By its own count of tokens, whatever of it fails, in several runs, many at once."""
    folder, prompts = tmp_path / "job", [f"A kite over hill {number}" for number in range(60)]
    faults = [Fault(every=7, status=500, delay=0.01), Fault(every=11, ending="cut", part=0.5)]
    async with LocalServer(latency=(0.0, 0.02), faults=faults) as server:
        async with AsyncImagesClient("sk-test", base_url=server.base_url, retry=CAREFUL) as client:
            for cap in (0.1, 0.1, 0.25, 0.4):
                job = BulkJob(prompts, folder, client, max_cost=cap, concurrency=16, retry="all", defaults=GPT)
                result = await job.run()
                billed = sum(request.status is None or request.status < 400 for request in server.requests)
                assert result.reason == "budget" and result.exit_code == 3
                assert billed * 272 * 40e-6 <= cap
                # Nor did it stop long before.
                counted = "CASE WHEN state IN ('done', 'unknown') THEN coalesce(cost, estimate) END"
                ((spent,),) = rows_of(folder, f"SELECT total(spent_cost) + total({counted}) FROM items")
                assert cap - 0.0111 < spent <= cap


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
async def test_kills_at_random_instants_do_not_pass_the_cap(tmp_path: Path) -> None:
    """What was in flight at a kill counts as spent; asked for again under its key, it is paid once."""
    source = tmp_path / "prompts.txt"
    source.write_text("".join(f"prompt {number}\n" for number in range(40)))
    cap = 20.5 * EACH
    dice = random.Random(8)
    async with CountingServer(latency=0.01) as server:
        environment = {**environment_of_child(server.base_url), "TEST_MAX_COST": str(cap)}
        for kill in (True, True, True, True, False):
            arguments = ["-m", "tests.bulk.child", str(tmp_path / "job"), str(source), "5"]
            process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", *arguments, env=environment)
            if kill:
                server.arrived.clear()
                with anyio.move_on_after(20):
                    await server.arrived.wait()
                await anyio.sleep(dice.uniform(0.0, 0.06))
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
            code = await process.wait()
            assert len({key for _, key in server.asked}) * EACH <= cap
        assert code == 3
    assert rows_of(tmp_path / "job", "SELECT count(*), total(cost) FROM items WHERE state = 'done'") == [
        (20, pytest.approx(20 * EACH))
    ]


async def test_runs_are_in_the_journal(tmp_path: Path) -> None:
    """With the 429s they met, how long requests waited, and why they ended."""
    answers = iter([error(429, **{"retry-after": "0.02"})])
    transport = FakeTransport(lambda body: next(answers, None) or answer_to(body))
    await run(tmp_path / "job", transport, max_cost=0.02, concurrency=1)
    await run(tmp_path / "job", transport)
    first, second = rows_of(tmp_path / "job", "SELECT run, reason, refusals, waited, ended_at >= started_at FROM runs")
    assert (first[:3], second[:3]) == ((1, "budget", 1), (2, "finished", 0))
    assert first[3] > 0 and first[4] == second[4] == 1
    times = rows_of(tmp_path / "job", "SELECT sent_at, at, elapsed FROM items")
    assert len(times) == 6 and all(0 <= at - sent_at < 60 for sent_at, at, _ in times)
