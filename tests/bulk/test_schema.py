"""Journals of an earlier version are brought up to this one, in place, and lose nothing.

`version-1.sqlite.gz` is the journal of a job of five rows that the program made when version 1 was its own: one row was
refused, the others are done.
"""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from aiai_async.bulk import JobError, schema
from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.records import Ended, RunRow, Started

from .test_drafts import make_draft, row

VERSION_1 = Path(__file__).parent / "version-1.sqlite.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The journal of version 1, in a folder of its own."""
    path = tmp_path / "job.sqlite"
    path.write_bytes(gzip.decompress(VERSION_1.read_bytes()))
    return path


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    """What a journal holds, read by SQLite alone."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def shape_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The tables and their columns by name, without the places, which differ between made and added ones."""
    tables = [str(name) for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: sorted(column[1:] for column in read(path, f"PRAGMA table_info({name})")) for name in tables}


def test_an_old_journal_becomes_what_a_new_one_is(old: Path, tmp_path: Path) -> None:
    """The same tables with the same columns, and its version."""
    before = read(old, "SELECT idx, id, state, images, spent, usage, at FROM items ORDER BY idx")
    assert read(old, "PRAGMA user_version") == [(1,)]
    Journal(old).close()
    make_draft(tmp_path / "new.sqlite", [row(1, "a")])
    assert shape_of(old) == shape_of(tmp_path / "new.sqlite")
    assert (
        read(old, "PRAGMA user_version") == [(schema.VERSION,)] == read(tmp_path / "new.sqlite", "PRAGMA user_version")
    )
    assert read(old, "SELECT idx, id, state, images, spent, usage, at FROM items ORDER BY idx") == before


def test_what_an_old_journal_did_not_know_is_unknown_and_not_0(old: Path) -> None:
    """What its images cost, when they were sent, and its runs."""
    journal = Journal(old)
    records = list(journal.records())
    assert [record.item.id for record in records] == ["kite", "icons", "refused", "lost", "waiting"]
    assert all(record.cost is None and record.cost_source is None and record.sent_at is None for record in records)
    assert all(
        record.at is not None and record.item.spent_cost == record.item.earlier_cost == 0.0 for record in records
    )
    assert journal.runs() == []
    assert (journal.cost().usd, journal.cost().unknown) == (0.0, 4)
    assert journal.begin_run() == 2
    journal.close()


def test_an_old_journal_is_gone_on_with(old: Path) -> None:
    """What is written after that is there when it is opened again."""
    journal = Journal(old)
    journal.apply([Started(index=2, key="k", run=2, spent=0, at=5.0, estimate=0.02, spent_cost=0.5)], run=2)
    journal.apply([Ended(index=2, state=State.DONE, at=7.0, images=1, sent_at=6.0, cost=0.01, cost_source="server")])
    journal.note_run(RunRow(run=2, started_at=4.0, ended_at=8.0, reason="finished", refusals=3, waited=1.5))
    journal.close()
    journal = Journal(old)
    record = journal.record_of(2)
    assert (record.cost, record.cost_source, record.sent_at, record.at) == (0.01, "server", 6.0, 7.0)
    assert (record.item.estimate, record.item.spent_cost) == (0.02, 0.5)
    assert journal.runs() == [RunRow(run=2, started_at=4.0, ended_at=8.0, reason="finished", refusals=3, waited=1.5)]
    assert (journal.cost().usd, journal.cost().unknown) == (0.01, 4)
    journal.close()


def test_an_upgrade_that_fails_leaves_the_old_journal(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or none: the next one does it whole."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_FROM_1", (*schema._FROM_1, "CREATE TABLE items (x)"))
        with pytest.raises(JobError, match="already exists"):
            Journal(old)
    assert read(old, "PRAGMA user_version") == [(1,)]
    assert "runs" not in shape_of(old)
    Journal(old).close()
    assert "runs" in shape_of(old)


def test_the_run_is_written_with_the_next_change_and_once(tmp_path: Path) -> None:
    """Not with a sync of its own; the latest is what counts."""
    make_draft(tmp_path / "job.sqlite", [row(1, "a")])
    journal = Journal(tmp_path / "job.sqlite")
    journal.note_run(RunRow(run=1, started_at=1.0))
    assert journal.runs() == []
    journal.apply([], run=1)
    assert journal.runs() == [RunRow(run=1, started_at=1.0)]
    journal.note_run(RunRow(run=1, started_at=1.0, refusals=1))
    journal.note_run(RunRow(run=1, started_at=1.0, refusals=2, waited=0.5))
    journal.apply([])
    assert journal.runs() == [RunRow(run=1, started_at=1.0, refusals=2, waited=0.5)]
    journal.close()
