"""Rows on their way into a job: checked, told apart, counted; in memory that doesn't grow with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk import BadRow, BulkJob, InputError, JobError
from aiai_async.bulk.drafts import Draft, Summary
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.rows import Row


def make_draft(path: Path, rows: list[Row | BadRow], *, skip_invalid: bool = False, **defaults: Any) -> Summary:
    """Check rows and leave a journal with them."""
    with Draft(path.with_suffix(".part"), defaults=defaults, name="rows") as draft:
        draft.add(rows)
        summary = draft.finish(skip_invalid=skip_invalid)
        draft.sign(summary, file_digest=None, settings=json.dumps(defaults), meta={})
        draft.close()
        os.replace(draft.path, path)
    return summary


def row(line: int, prompt: str, custom_id: str | None = None, **fields: Any) -> Row:
    """A row as an input gives it."""
    return Row(line=line, custom_id=custom_id, fields={"prompt": prompt, **fields})


def test_rows_become_items(tmp_path: Path) -> None:
    """With the defaults under their own fields; places and lines stay those of the input."""
    rows: list[Row | BadRow] = [row(1, "a", n=3), BadRow(2, "odd"), row(3, "b", "x", model="own")]
    summary = make_draft(tmp_path / "job.sqlite", rows, skip_invalid=True, model="m", n=2)
    assert (summary.rows, summary.images, summary.bad_count, summary.models) == (2, 5, 1, {"m": 1, "own": 1})
    journal = Journal(tmp_path / "job.sqlite")
    first, second = journal.records()
    assert (first.item.index, first.line, dict(first.item.request)) == (0, 1, {"model": "m", "n": 3, "prompt": "a"})
    assert (second.item.index, second.item.id, second.item.has_custom_id, second.item.n) == (2, "x", True, 2)
    journal.close()
    assert not (tmp_path / "job.part").exists()


def test_repeated_ids_are_bad_rows(tmp_path: Path) -> None:
    """Each but the first one, in the order of lines with all that is wrong."""
    rows: list[Row | BadRow] = [
        row(1, "a", "x"),
        row(2, "b", "x", n=0),
        row(3, "c", "x"),
        row(4, "d", "y"),
        row(5, "e", "x"),
    ]
    with pytest.raises(InputError) as caught:
        make_draft(tmp_path / "job.sqlite", rows)
    assert [str(bad) for bad in caught.value.bad_rows] == [
        "line 2: n: 0 is not accepted by the API; use 1 or more",
        "line 3: custom_id: 'x' is that of line 1 too",
        "line 5: custom_id: 'x' is that of line 1 too",
    ]
    assert os.listdir(tmp_path) == []
    summary = make_draft(tmp_path / "job.sqlite", rows, skip_invalid=True)
    assert (summary.rows, summary.images, summary.models) == (2, 2, {None: 2})


def test_only_the_first_bad_rows_are_kept(tmp_path: Path) -> None:
    """The others are counted."""
    with pytest.raises(InputError) as caught:
        make_draft(tmp_path / "job.sqlite", [BadRow(line, "odd") for line in range(1, 1001)])
    assert (len(caught.value.bad_rows), caught.value.count) == (200, 1000)
    with pytest.raises(JobError, match="there are no rows but bad ones"):
        make_draft(tmp_path / "job.sqlite", [BadRow(1, "odd")], skip_invalid=True)


def test_what_cant_be_sent_is_a_bad_row(tmp_path: Path) -> None:
    """A field of no model's rules too; partial images come in streams only."""
    with pytest.raises(InputError) as caught:
        make_draft(
            tmp_path / "job.sqlite", [row(1, "a", user="\ud800"), row(2, "a", partial_images=2), row(3, "a", n="2")]
        )
    assert [bad.line for bad in caught.value.bad_rows] == [1, 2, 3]


@given(
    prompts=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    extra=st.lists(st.sampled_from("abcd"), max_size=4),
)
def test_equal_rows_are_told_apart_and_stay_themselves(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[str], extra: list[str]
) -> None:
    """Each has an id of its own, whatever stands between them; rows put in before give only themselves new ones."""
    folder = tmp_path_factory.mktemp("draft")

    def ids(name: str, prompts: list[str]) -> list[str]:
        make_draft(folder / name, [row(line, prompt) for line, prompt in enumerate(prompts, 1)])
        journal = Journal(folder / name)
        try:
            return [record.item.id for record in journal.records()]
        finally:
            journal.close()

    before, after = ids("before", prompts), ids("after", extra + prompts)
    assert len(set(after)) == len(after)
    assert set(before) <= set(after)


CHILD = """
import sys, json
from pathlib import Path
from aiai_async.bulk import BulkJob
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
for count in (2_000, 30_000):
    path = Path(sys.argv[1]) / f"{count}.jsonl"
    with open(path, "w") as file:
        for n in range(count):
            row = {"custom_id": f"row {n}", "prompt": f"{'A lighthouse ' * 20}{n}"}
            file.write(json.dumps(row) + "\\n")
    summary = BulkJob(path, Path(sys.argv[1]) / "job").check()
    assert summary.rows == count
    print(peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_many_rows_take_no_more_memory_than_few(tmp_path: Path) -> None:
    """10 MB of rows; what grows is SQLite's cache, up to its bound. A million: benchmarks/jobs.py."""
    found = subprocess.run([sys.executable, "-W", "error", "-c", CHILD, str(tmp_path)], capture_output=True, text=True)
    few, many = map(int, found.stdout.split())
    assert many - few < 14_000, found.stderr


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    """And needs no folder; it says where it can't be done."""
    assert BulkJob(["a", "b"], tmp_path / "job").check().rows == 2
    assert os.listdir(tmp_path) == []

    async def prompts() -> Any:
        yield "a"

    for act in (BulkJob(prompts(), tmp_path / "job").check, BulkJob(prompts(), tmp_path / "job").prepare):
        with pytest.raises(JobError, match="async iterable"):
            act()
