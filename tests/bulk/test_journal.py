"""The journal against a model: whatever is written in whatever order, and whenever it is reopened, it says the same."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aiai_async.bulk import journal as journals
from aiai_async.bulk.items import State, spent_on
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.records import Ended, ImageRow, Started

from .test_drafts import make_draft, row

ITEMS = 5
indexes = st.integers(0, ITEMS - 1)
ends = st.sampled_from([State.DONE, State.LINKED, State.FAILED, State.FAILED_FOR_NOW, State.UNKNOWN, State.PENDING])


@attrs.define
class Model:
    """What the journal should know of an item."""

    n: int
    state: State = State.PENDING
    key: str | None = None
    run: int = 0
    spent: int = 0
    images: int = 0
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    rows: dict[int, ImageRow] = attrs.Factory(dict)
    placed: bool = True


class JournalMachine(RuleBasedStateMachine):
    """Starts and ends items, alone and several at once, fails commits, and reopens the file."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "job.sqlite"
        make_draft(self.path, [row(line, f"p{line}", n=line) for line in range(1, ITEMS + 1)])
        self._open()
        self.model = [Model(n=line) for line in range(1, ITEMS + 1)]
        self.run = 1
        self.keys = 0

    def _open(self) -> None:
        self.journal = Journal(self.path)
        # What a loss of power would do is not tested here, and waiting for the disk takes most of the time.
        self.journal._connection.execute("PRAGMA synchronous = OFF")

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            assert sorted(path.name for path in self.folder.iterdir()) == ["job.sqlite"]
            shutil.rmtree(self.folder)

    def _started(self, index: int, spent: int) -> Started:
        self.keys += 1
        return Started(index=index, key=f"key {self.keys}", run=self.run, spent=spent, at=1.0)

    def _ended(self, index: int, state: State, count: int) -> Ended:
        rows = tuple(
            ImageRow(k=k, name=f"{index}-{k}.png", part=f"{index}-{k}.part", sha256="s", size_bytes=k)
            if state is State.DONE
            else ImageRow(k=k, url="http://x")
            for k in range(count)
        )
        kept = rows if state in (State.DONE, State.LINKED) else ()
        error = {"message": "no"} if state in (State.FAILED, State.UNKNOWN) else None
        usage = {"total_tokens": count} if state is State.DONE else None
        return Ended(
            index=index,
            state=state,
            at=2.0,
            images=len(kept),
            rows=kept,
            is_answer=state is State.DONE,
            spent=count if state is State.FAILED else None,
            error=error,
            usage=usage,
        )

    def _expect(self, change: Started | Ended) -> None:
        item = self.model[change.index]
        if isinstance(change, Started):
            item.state, item.key, item.run, item.spent = State.UNFINISHED, change.key, change.run, change.spent
            item.images, item.usage, item.error = 0, None, None
        else:
            item.state, item.images = change.state, change.images
            item.usage = item.usage if change.usage is None else dict(change.usage)
            item.error = None if change.error is None else dict(change.error)
            item.spent = item.spent if change.spent is None else change.spent
            if change.is_answer:
                item.rows = {}
            item.rows.update((image.k, image) for image in change.rows)
            item.placed = item.placed and not any(image.name for image in change.rows)

    @rule(plan=st.lists(st.tuples(indexes, st.none() | ends, st.integers(0, 3)), max_size=4), fails=st.booleans())
    def write(self, plan: list[tuple[int, State | None, int]], fails: bool) -> None:
        changes: list[Started | Ended] = [
            self._started(index, count) if state is None else self._ended(index, state, count)
            for index, state, count in plan
        ]
        if fails:
            with pytest.MonkeyPatch.context() as patch, pytest.raises(sqlite3.OperationalError):
                patch.setattr(journals, "commit", refuse)
                self.journal.apply(changes)
            return
        self.journal.apply(changes, run=self.run)
        for change in changes:
            self._expect(change)

    @rule(index=indexes)
    def place(self, index: int) -> None:
        self.journal.note_placed([index])
        self.model[index].placed = True

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self._open()
        self.run = self.journal.begin_run()

    @invariant()
    def says_what_the_model_says(self) -> None:
        if not hasattr(self, "journal"):
            return
        records = list(self.journal.records())
        for record, item in zip(records, self.model, strict=True):
            found = (record.item.state, record.item.key, record.item.spent, record.item.images, record.usage)
            assert found == (item.state, item.key, item.spent, item.images, item.usage)
            assert record.error == item.error
            assert {image.k: image for image in record.rows} == item.rows
            assert self.journal.rows_of(record.item.index) == record.rows
            assert self.journal.record_of(record.item.index) == record
        counted = self.journal.count()
        assert all(counted.get(state, 0) == sum(item.state is state for item in self.model) for state in State)
        assert self.journal.count_spent() == sum(
            spent_on(item.state, n=item.n, images=item.images, spent=item.spent) for item in self.model
        )
        assert self.journal.count_images() == sum(item.images for item in self.model if item.state is State.DONE)
        for states in ([State.PENDING], [State.UNFINISHED, State.DONE]):
            page = self.journal.page(states, after=0, run=self.run, limit=2)
            expected = [
                index
                for index, item in enumerate(self.model)
                if index > 0 and item.state in states and item.run != self.run
            ]
            assert [item.index for item in page] == expected[:2]
            assert [record.item.index for record in self.journal.records(states)] == [
                index for index, item in enumerate(self.model) if item.state in states
            ]
        files = {(index, name) for index, name, _ in self.journal.files(State.DONE)}
        assert files == {
            (index, image.name)
            for index, item in enumerate(self.model)
            if item.state is State.DONE
            for image in item.rows.values()
            if image.name
        }


def refuse(_: sqlite3.Connection) -> None:
    """As a disk without room does it."""
    raise sqlite3.OperationalError("database or disk is full")


JournalMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
TestJournal = JournalMachine.TestCase


def test_renames_that_are_not_known_to_be_on_the_disk(tmp_path: Path) -> None:
    """Are given until the change after they were noted, or the close."""
    make_draft(tmp_path / "job.sqlite", [row(1, "a"), row(2, "b")])
    journal = Journal(tmp_path / "job.sqlite")
    image = ImageRow(k=0, name="a.png", part="a.part", sha256="s", size_bytes=1)
    journal.apply([Ended(index=index, state=State.DONE, at=1.0, images=1, rows=(image,)) for index in (0, 1)])
    assert journal.unplaced() == [(0, image), (1, image)]
    journal.note_placed([0])
    journal.apply([])
    assert journal.unplaced() == [(1, image)]
    journal.note_placed([1])
    journal.close()
    journal = Journal(tmp_path / "job.sqlite")
    assert journal.unplaced() == []
    journal.note_limits({"images": {"limit": 5, "source": "headers"}})
    assert journal.limits() == {"images": {"limit": 5, "source": "headers"}}
    journal.close()


@pytest.mark.parametrize("states", [None, [State.DONE]])
def test_the_request_of_an_item_is_read_once(tmp_path: Path, states: list[State] | None) -> None:
    """However many images it has, and whatever lies between the items that are asked for."""
    items, images, size = 30, 10, 20_000
    make_draft(tmp_path / "job.sqlite", [row(line, str(line) + "x" * size) for line in range(1, items + 1)])
    journal = Journal(tmp_path / "job.sqlite")
    rows = tuple(ImageRow(k=k, url="u" * (k + 1)) for k in range(images))
    for index in range(items):
        state = State.LINKED if index % 3 else State.DONE
        journal.apply([Ended(index=index, state=state, at=1.0, images=images, rows=rows)])
    tracemalloc.start()
    try:
        found = [(record.item.index, record.rows) for record in journal.records(states)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(index, rows) for index in range(0, items, 1 if states is None else 3)]
    assert most < 4 * len(found) * size
    journal.close()
