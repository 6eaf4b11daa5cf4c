"""What the commands say of costs: before a job, during it, and after; the cap, prices of one's own, the table."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from aiai_async import PRICES_DATE
from aiai_async.bulk import Progress
from aiai_async.cli import main
from aiai_async.cli._job_words import describe_progress
from aiai_async.server import Fault, LocalServer

from .conftest import Start
from .test_batch import events, read_lines, write_prompts
from .test_terminal import CODES, Terminal

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")

Output = pytest.CaptureFixture[str]
LOW = ["--model", "gpt-image-1", "--size", "1024x1024", "--quality", "low"]
EACH = 2 * 5e-6 + 272 * 40e-6
"""What the local server's answer to "prompt 0" costs."""


def write_prices(text: str) -> str:
    """A file of prices in the working folder."""
    Path("prices.toml").write_text(text)
    return "prices.toml"


def test_a_dry_run_says_what_a_job_may_cost(capsys: Output) -> None:
    """In all and by model, with the date of the prices; and what isn't known."""
    assert main(["batch", write_prompts(3), "--out", "job", "--dry-run", *LOW, "--n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 rows, 6 images (gpt-image-1: 3); nothing was sent",
        f"it may cost up to $0.0655: gpt-image-1 $0.0655 (prices of {PRICES_DATE})",
    ]
    rows = [{"prompt": "a", "model": "flux-pro"}, {"prompt": "b"}, {"prompt": "c", "model": "dall-e-3"}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["batch", "rows.jsonl", "--out", "job", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"it may cost up to $0.12: dall-e-3 $0.12 (prices of {PRICES_DATE})",
        "what 2 rows cost isn't known (no price of flux-pro; no model named); that is not in it; --prices FILE.toml "
        "gives prices",
    ]
    assert main(["batch", "rows.jsonl", "--out", "job", "--dry-run", "--json"]) == 0
    (event,) = events(capsys.readouterr().out, "rows")
    assert event["estimated_cost_usd"] == 0.12 and event["unknown_cost_rows"] == 2
    assert event["estimated_cost_by_model"] == {"flux-pro": None, "": None, "dall-e-3": 0.12}
    assert event["prices_dates"] == [str(PRICES_DATE)]
    assert main(["batch", "rows.jsonl", "--out", "job", "--dry-run", "--json", "--skip-invalid", "--model", "m"]) == 0
    (event,) = events(capsys.readouterr().out, "rows")
    assert event["estimated_cost_by_model"]["m"] is None


def test_prices_of_ones_own(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or the environment; they replace and add."""
    # A date with a time is one too.
    path = write_prices('priced_on = 2026-10-01T12:00:00\n["flux-pro"]\nimages = 0.05\n')
    command = ["batch", write_prompts(3), "--out", "job", "--dry-run", "--model", "flux-pro"]
    expected = "it may cost up to $0.15: flux-pro $0.15 (prices of 2026-10-01)"
    assert main([*command, "--prices", path]) == 0
    assert capsys.readouterr().out.splitlines()[1] == expected
    monkeypatch.setenv("AIAI_PRICES", path)
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[1] == expected
    write_prices('["flux-pro"]\nimages = 0.05\n')
    assert main(command) == 0
    assert "(prices without a date)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gpt-image-1.5]\nimage_output = 3\n", 'put the name in quotes: ["gpt-image-1.5"]'),
        ("x = [", "--prices: prices.toml: "),
        ("[m]\nimages = -1\n", "--prices: prices.toml: prices of m: images: -1 is not a number of US dollars"),
        (None, "--prices: prices.toml: No such file or directory"),
    ],
)
def test_a_file_of_prices_that_cannot_be_used(capsys: Output, text: str | None, words: str) -> None:
    """Is told before anything is done, by each command."""
    if text is not None:
        write_prices(text)
    for command in (
        ["batch", write_prompts(), "--out", "job", "--dry-run"],
        ["generate", "a", "--dry-run"],
        ["stream", "a", "--dry-run"],
        ["models"],
    ):
        assert main([*command, "--prices", "prices.toml"]) == 2
        found = capsys.readouterr()
        assert words in found.err and found.out == ""


def test_a_cap_stops_the_job_and_says_how_to_go_on(server: LocalServer, capsys: Output) -> None:
    """Exit code 3, what runs is finished, the figures; the same command with a higher cap does the rest."""
    command = ["batch", write_prompts(6), "--out", "job", *LOW]
    assert main([*command, "--max-cost", "0.04"]) == 3
    found = capsys.readouterr()
    assert found.out.startswith("3 of 6 items done, 3 images in job, 3 not sent, $0.0327 spent; this run took ")
    assert found.err.splitlines() == [
        "error: the budget of $0.04 leaves no room for the next item, which may cost up to $0.0109 by prices of "
        f"{PRICES_DATE}; $0.0327 are spent or may be",
        f"to go on, raise --max-cost: aiai-async {' '.join(command)} --max-cost 0.04",
    ]
    assert len(server.requests) == 3
    assert main([*command, "--max-cost", "0.04", "--json"]) == 3
    (result,) = events(capsys.readouterr().out, "result")
    assert result["exhausted"] == "max_cost" and result["reason"] == "budget"
    assert result["cost_usd"] == pytest.approx(3 * EACH) and result["unknown_costs"] == 0
    assert main([*command, "--max-cost", "1"]) == 0
    assert len(server.requests) == 6
    assert [row["cost_usd"] for row in read_lines("job/results.jsonl")] == [pytest.approx(EACH)] * 6


def test_a_cap_without_a_price(server: LocalServer, capsys: Output) -> None:
    """Nothing is sent; it names the model and the option."""
    command = ["batch", write_prompts(2), "--out", "job", "--max-cost", "1"]
    assert main([*command, "--model", "flux-pro"]) == 2
    error = capsys.readouterr().err
    assert "the price of flux-pro isn't known (2 rows); nothing was sent" in error and "--prices FILE.toml" in error
    assert server.requests == ()
    path = write_prices('["flux-pro"]\nimages = 0.05\n')
    assert main([*command, "--model", "flux-pro", "--prices", path]) == 0
    assert "$0.10 spent" in capsys.readouterr().out


def test_what_is_not_known_is_said(server: LocalServer, capsys: Output) -> None:
    """Never as 0."""
    server.set_faults("no_usage")
    assert main(["batch", write_prompts(2), "--out", "job", *LOW, "--json"]) == 0
    out = capsys.readouterr().out
    assert [event["cost_usd"] for event in events(out, "item")] == [None, None]
    (result,) = events(out, "result")
    assert (result["cost_usd"], result["unknown_costs"]) == (None, 2)
    server.set_faults(Fault(nth=1, headers={"x-litellm-response-cost": "0.5"}), "no_usage")
    assert main(["batch", "prompts.txt", "--out", "other", *LOW, "--concurrency", "1"]) == 0
    assert "$0.50 spent and what 1 item cost, which isn't known; " in capsys.readouterr().out
    assert [row["cost_source"] for row in read_lines("other/results.jsonl")] == ["server", None]
    server.set_faults("no_usage")
    assert main(["batch", "prompts.txt", "--out", "third", *LOW]) == 0
    assert "what 2 items cost isn't known; " in capsys.readouterr().out


def test_generate_says_what_it_spent(server: LocalServer, capsys: Output) -> None:
    """For each prompt, in the end, and in JSON."""
    assert main(["generate", "prompt 0", "prompt 1", *LOW]) == 0
    out = capsys.readouterr().out
    assert out.count("(274 tokens, $0.0109)") == 2
    assert out.splitlines()[-1].endswith(f"548 tokens used, $0.0218 spent by prices of {PRICES_DATE}")
    server.set_faults(Fault(nth=1, headers={"x-litellm-response-cost": "0.5"}), "no_usage")
    assert main(["generate", "prompt 0", "prompt 1", *LOW, "--concurrency", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("$0.50 spent and what 1 answer cost, which isn't known")
    server.set_faults()
    assert main(["stream", "prompt 0", *LOW, "--partial-images", "1", "--json"]) == 0
    outcome = events(capsys.readouterr().out, "outcome")[0]
    assert outcome["cost_usd"] == pytest.approx(EACH + 0.004)
    assert (outcome["cost_source"], outcome["prices_date"]) == ("prices", str(PRICES_DATE))


def make_progress(**fields: Any) -> Progress:
    """How far a job is."""
    counts: dict[str, Any] = {"total": 5, "done": 2, "failed": 0, "unknown": 0, "in_flight": 1, "images": 2}
    rest: dict[str, Any] = {"elapsed": 1.0, "rate": 120.0, "eta": None, "waiting": None}
    return Progress(**{**counts, **rest, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"cost": 0.5}, "; $0.50 spent"),
        (
            {"cost": 0.5, "estimated_cost": 1.25, "priced_on": (PRICES_DATE,)},
            f"; $0.50 of about $1.25 spent (prices of {PRICES_DATE})",
        ),
        ({"cost": 0.5, "estimated_cost": 1.25}, "; $0.50 of about $1.25 spent"),
        ({"cost": None, "estimated_cost": 1.25}, "; an unknown amount of about $1.25 spent"),
        ({"cost": 0.5, "unknown_costs": 2}, "; $0.50 (and 2 answers unknown) spent"),
        (
            {"cost": 0.5, "waiting": "waiting 5 s for images per minute"},
            "; $0.50 spent; waiting 5 s for images per minute",
        ),
    ],
    ids=str,
)
def test_progress_says_what_is_spent(fields: dict[str, Any], words: str) -> None:
    """So far, and of the whole; and why it waits."""
    assert describe_progress(make_progress(**fields)) == f"2 of 5 done, 1 in flight, 120.0 images/min{words}"


def open_terminal(start: Start, *arguments: str) -> tuple[Terminal, int]:
    """The program on a terminal of its own, and our end of that."""
    ours, theirs = pty.openpty()
    process = start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return Terminal(process, ours), ours


def test_a_dear_job_is_asked_about_once(server: LocalServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, with the figures and the date; no sends nothing, yes is remembered, --yes needs no answer."""
    monkeypatch.setenv("TERM", "xterm-256color")
    path = write_prices('priced_on = 2026-10-01\n["gpt-image-1"]\ntext_input = 0\nimage_output = 10000\n')
    command = ["batch", write_prompts(5), "--out", "job", *LOW, "--prices", path]
    question = "it may cost up to $13.60: gpt-image-1 $13.60 (prices of 2026-10-01). Go on? [y/N] "
    for answer in (b"n\n", b"\n"):
        found, ours = open_terminal(start, *command)
        found.read_until(question)
        os.write(ours, answer)
        found.read_to_end()
        assert found.process.returncode == 1 and "nothing was sent" in found.text
        os.close(ours)
    assert server.requests == ()
    found, ours = open_terminal(start, *command, "--max-cost", "12")
    found.read_until("prices of 2026-10-01); it stops before $12.00 could be passed. Go on? [y/N] ")
    os.write(ours, b"yes\n")
    found.read_to_end()
    os.close(ours)
    assert found.process.returncode == 3 and len(server.requests) == 4
    assert re.search(r"4 of 5 items done, .*\$10\.88 spent", CODES.sub("", found.text))
    found, ours = open_terminal(start, *command)
    found.read_to_end()
    os.close(ours)
    assert found.process.returncode == 0 and "Go on?" not in found.text
    found, ours = open_terminal(start, *command[:2], "--out", "other", *command[4:], "--yes")
    found.read_to_end()
    os.close(ours)
    assert found.process.returncode == 0 and "Go on?" not in found.text


def test_rows_that_are_added_are_asked_about(
    server: LocalServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was agreed to was the job without them; a job that is gone on with as it was is not asked about again."""
    monkeypatch.setenv("TERM", "xterm-256color")
    path = write_prices('priced_on = 2026-10-01\n["gpt-image-1"]\ntext_input = 0\nimage_output = 10000\n')
    for rows, more in ((5, []), (10, ["--extend"])):
        command = ["batch", write_prompts(rows), "--out", "job", *LOW, "--prices", path, *more]
        found, ours = open_terminal(start, *command)
        spent = "; $13.60 are spent or may be" if more else ""
        found.read_until(f"gpt-image-1 $13.60 (prices of 2026-10-01){spent}. Go on? [y/N] ")
        os.write(ours, b"y\n")
        found.read_to_end()
        os.close(ours)
        assert found.process.returncode == 0 and len(server.requests) == rows
    found, ours = open_terminal(start, *command)
    found.read_to_end()
    os.close(ours)
    assert found.process.returncode == 0 and "Go on?" not in found.text


def test_a_dry_run_of_a_job_that_was_begun(server: LocalServer, capsys: Output) -> None:
    """Appraises all of the file, and says that some of it may be done."""
    command = ["batch", write_prompts(2), "--out", "job", *LOW]
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().err == ""
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    found = capsys.readouterr()
    assert "it may cost up to $0.02" in found.out
    assert "job was begun: that is all of prompts.txt, also what is done there and isn't asked for again" in found.err


def test_without_a_terminal_nobody_is_asked(server: LocalServer, capsys: Output) -> None:
    """Nor for a job that costs less."""
    path = write_prices('["gpt-image-1"]\ntext_input = 0\nimage_output = 10000\n')
    assert main(["batch", write_prompts(5), "--out", "job", *LOW, "--prices", path]) == 0
    assert "Go on?" not in "".join(capsys.readouterr())


def test_a_cheap_job_is_not_asked_about(server: LocalServer, start: Start) -> None:
    """Just below the amount."""
    path = write_prices('["gpt-image-1"]\ntext_input = 0\nimage_output = 7300\n')
    found, ours = open_terminal(start, "batch", write_prompts(5), "--out", "job", *LOW, "--prices", path)
    found.read_to_end()
    os.close(ours)
    assert found.process.returncode == 0 and "Go on?" not in found.text


def test_the_table_of_models(capsys: Output, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules and prices with their date: in lines, as JSON, and as a table of 80 columns."""
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for line in (
        "gpt-image-1.5",
        "  size: 1024x1024, 1536x1024, 1024x1536, auto",
        "  quality: auto, low, medium, high",
        "  text in: $5.00, cached $1.25",
        "  image out: $32.00",
        "  hd 1792x1024: $0.12",
    ):
        assert line in out.splitlines()
    assert f"Prices in US dollars, of {PRICES_DATE}" in out and "\x1b" not in out
    path = write_prices('priced_on = 2026-10-01\n["flux-pro"]\nimages = 0.05\n["dall-e-2"]\nimages = 9\n')
    assert main(["models", "--json", "--prices", path]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prices_date"] == str(PRICES_DATE)
    models = {model["model"]: model for model in found["models"]}
    assert models["gpt-image-1"]["prices"]["image_output"] == 40.0
    assert models["gpt-image-1"]["rules"]["qualities"] == ["auto", "low", "medium", "high"]
    assert models["flux-pro"]["rules"] is None
    assert models["flux-pro"]["prices"]["priced_on"] == "2026-10-01"
    assert models["dall-e-2"]["prices"]["images"] == [{"quality": None, "size": None, "usd": 9.0}]
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    write_prices('["black\\u001b[31m/red"]\nimages = 1\n')
    terminal, ours = open_terminal(start, "models", "--prices", path)
    terminal.read_to_end()
    os.close(ours)
    lines = CODES.sub("", terminal.text).splitlines()
    assert lines and max(map(len, lines)) <= 80
    assert any("gpt-image-1-mini" in line for line in lines) and any("Costs" in line for line in lines)
    assert "prices without a date" in CODES.sub("", terminal.text)
    assert "\x1b[31m/red" not in terminal.text
