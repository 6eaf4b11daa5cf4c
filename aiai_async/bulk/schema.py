"""The tables of a journal, and how its file is opened. With `journal`, `reading` and `drafts` all that has SQL."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiai_async.bulk.costs import Outlay, count_bytes
from aiai_async.bulk.errors import JobError

VERSION: Final = 2
# "aiaj": by this `file` and we ourselves know a journal.
APPLICATION_ID: Final = 0x6169616A
# 4 MiB of pages: what a job of a million rows needs besides is on the disk.
_CACHE_KIB: Final = 4096
# Half a MiB of log beside the journal: SQLite's own 4 MiB would not fit on a disk that is nearly full.
_LOG_PAGES: Final = 128

_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inputs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    rows INTEGER NOT NULL,
    rows_digest BLOB NOT NULL,  -- of what the rows hold, in order
    file_digest BLOB,           -- of the file's bytes; NULL where it was no file
    settings TEXT NOT NULL      -- JSON: the defaults of all rows
);
CREATE TABLE items (
    idx INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    id TEXT NOT NULL,
    has_custom_id INTEGER NOT NULL,
    digest BLOB NOT NULL,       -- of the row without the defaults
    request TEXT NOT NULL,      -- JSON: the request's fields, the defaults among them
    n INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    key TEXT,                   -- the Idempotency-Key, committed before it is sent
    run INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0,   -- images that earlier keys may have cost
    images INTEGER NOT NULL DEFAULT 0,  -- images of the last answer
    request_id TEXT,
    attempts INTEGER,
    elapsed REAL,
    usage TEXT,                 -- JSON
    error TEXT,                 -- JSON
    at REAL,                    -- when its state changed, in Unix seconds
    sent_at REAL,               -- when the first attempt of the last answer or failure was let go, in Unix seconds
    cost REAL,                  -- US dollars of the last answer; NULL where that isn't known
    cost_source TEXT,           -- who says so
    estimate REAL,              -- US dollars that it was expected to cost at most when it was sent
    spent_cost REAL NOT NULL DEFAULT 0, -- US dollars that earlier keys may have cost
    earlier_cost REAL NOT NULL DEFAULT 0    -- US dollars of that which answers are known to have cost
);
CREATE TABLE images (
    item INTEGER NOT NULL,
    k INTEGER NOT NULL,
    name TEXT,                  -- the file's name in images/; NULL while it is only a link
    part TEXT,                  -- the name it was written under
    sha256 TEXT,
    size_bytes INTEGER,
    media_type TEXT,
    revised_prompt TEXT,
    url TEXT,
    placed INTEGER NOT NULL DEFAULT 0,  -- 1 when the rename is known to be on the disk
    received_sha256 TEXT,       -- of the image as the server sent it; NULL where the file is the same
    PRIMARY KEY (item, k)
) WITHOUT ROWID;
CREATE TABLE limits (name TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
"""
_RUNS: Final = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    started_at REAL,            -- Unix seconds
    ended_at REAL,              -- NULL while it runs, and where it was killed
    reason TEXT,
    refusals INTEGER,           -- 429s it met
    waited REAL                 -- seconds in which requests were ready and none was let go
);
"""
# What version 1 doesn't have, one statement each.
_FROM_1: Final = (
    "ALTER TABLE items ADD COLUMN sent_at REAL",
    "ALTER TABLE items ADD COLUMN cost REAL",
    "ALTER TABLE items ADD COLUMN cost_source TEXT",
    "ALTER TABLE items ADD COLUMN estimate REAL",
    "ALTER TABLE items ADD COLUMN spent_cost REAL NOT NULL DEFAULT 0",
    "ALTER TABLE items ADD COLUMN earlier_cost REAL NOT NULL DEFAULT 0",
    "ALTER TABLE images ADD COLUMN received_sha256 TEXT",
    _RUNS,
)
# Made when all rows are in: an index that grows with random ids is many times slower.
_INDEXES: Final = """
CREATE UNIQUE INDEX items_id ON items (id);
CREATE INDEX items_state ON items (state);
CREATE INDEX images_unplaced ON images (item) WHERE placed = 0 AND name IS NOT NULL;
"""

SETTINGS: Final = (
    "json_extract(request, '$.model'), json_extract(request, '$.size'), json_extract(request, '$.quality')"
)
"""What prices depend on, of an item's request."""


def add_up(connection: sqlite3.Connection, where: str = "1", values: Sequence[object] = ()) -> list[Outlay]:
    """Add up items by the settings that prices depend on.

    Args:
        connection: with the tables.
        where: which items.
        values: what stands for the marks in that.
    """
    connection.create_function("count_bytes", 1, lambda request: count_bytes(json.loads(request)), deterministic=True)
    found = connection.execute(
        f"SELECT {SETTINGS}, coalesce(json_extract(request, '$.partial_images'), 0), count(*), sum(n),"
        # SQLite's text of a prompt ends at its first zero byte, which JSON writes as \u0000.
        " sum(n * CASE WHEN instr(request, '\\u0000') THEN count_bytes(request)"
        " ELSE length(CAST(json_extract(request, '$.prompt') AS BLOB)) END)"
        f" FROM items WHERE {where} GROUP BY 1, 2, 3, 4",
        values,
    ).fetchall()
    names = ("model", "size", "quality", "partial_images", "rows", "images", "text_bytes")
    return [Outlay(**dict(zip(names, row, strict=True))) for row in found]


def create(path: Path) -> sqlite3.Connection:
    """Make a file with the tables, without indexes; not durable until `finish` is called.

    Raises:
        sqlite3.Error: it can't be written.
    """
    # Made here and not by SQLite, whose error would not say why it can't be.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666))
    connection = _connect(path)
    try:
        _tune(connection)
        # Nobody else sees the file until it is whole, and a half one is thrown away.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_TABLES + _RUNS)
    except BaseException:
        connection.close()
        raise
    return connection


def finish(connection: sqlite3.Connection) -> None:
    """Add the indexes and say what the file is."""
    connection.executescript(_INDEXES)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def open_journal(path: Path) -> sqlite3.Connection:
    """Open a journal so that what is committed is on the disk.

    Raises:
        JobError: it is damaged, of a newer version, or can't be opened.
    """
    connection = _connect_to(path)
    with _explaining(connection, path, "used"):
        _tune(connection)
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _upgrade(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    return connection


def open_reading(path: Path, *, is_glance: bool = False) -> sqlite3.Connection:
    """Open a journal only to read it, also while a run writes it.

    Args:
        path: its file.
        is_glance: whether it is read for some tenths of a second, again and again. Then no file of the folder is made,
            changed or removed, except that SQLite puts its own index (`-shm`) beside the log of a run that was killed,
            where that is missing. A journal of an earlier version is given as it is. A run that begins in this very
            moment may make the reading fail. Otherwise SQLite's own files come and go, what a killed run left in its
            log is moved into the journal, and one of an earlier version is read as a copy of this one.

    Raises:
        JobError: there is none, it is damaged, of a newer version, or can't be opened.
    """
    if not path.is_file():
        raise JobError(f"{path.parent} is no job: there is no {path.name} in it")
    # SQLite's mode=ro alone leaves an empty log behind where there was none, that the next run would have to take away.
    # Where there is none nobody writes, which SQLite can be told: then it makes none.
    glance = "mode=ro&immutable=1" if _find_log(path) == 0 else "mode=ro"
    connection = _connect_to(path, glance if is_glance else "mode=rw")
    with _explaining(connection, path, "read"):
        _tune(connection)
        # What views and triggers of a file made by hand would call is not called.
        connection.execute("PRAGMA trusted_schema = OFF")
        version = _check_kind(connection, path)
        if version == VERSION or is_glance:
            connection.execute("PRAGMA query_only = ON")
            return connection
        copy = _copy_upgraded(connection)
    connection.close()
    copy.execute("PRAGMA query_only = ON")
    return copy


@contextmanager
def _explaining(connection: sqlite3.Connection, path: Path, purpose: str) -> Generator[None]:
    """Close a connection whatever goes wrong with it, and say of SQLite's errors what they mean for a journal.

    Args:
        connection: to the journal.
        path: its file.
        purpose: what it can't be, "used" or "read".
    """
    try:
        yield
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise JobError(f"{path}: the journal can't be {purpose}: {error}") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise _damaged(path, str(error)) from error
        raise


def _find_log(path: Path) -> int:
    """Give the size of the log beside a journal.

    Raises:
        JobError: what lies beside it under SQLite's names is no file: opening a pipe would wait for ever.
    """
    size_bytes = 0
    for suffix in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + suffix)
        try:
            found = os.lstat(beside)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise JobError(f"{beside} is no file: the journal is not read with it")
        if suffix == "-wal":
            size_bytes = found.st_size
    return size_bytes


def _copy_upgraded(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Give a copy of this version, in a file without a name, which goes when it is closed."""
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        connection.backup(copy)
        _upgrade(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _check(connection: sqlite3.Connection, path: Path) -> None:
    _check_kind(connection, path)
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, str(verdict).replace("\n", " "))


def _check_kind(connection: sqlite3.Connection, path: Path) -> int:
    """Tell the version of a journal, after seeing that it is one."""
    if path.stat().st_size == 0:
        raise _damaged(path, "it is empty")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JobError(f"{path} is not the journal of a job; choose another folder")
    if version > VERSION:
        raise JobError(
            f"{path} is of version {version}, written by a newer aiai-async; this one knows version {VERSION}: "
            "upgrade it, nothing was changed"
        )
    return int(version)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring a journal of an earlier version up to this one, in place: all of it or, after a crash, none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again with the lock: two programs may open the journal at once.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            for statement in _FROM_1:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _damaged(path: Path, words: str) -> JobError:
    return JobError(
        f"{path}: the journal is damaged ({words}); nothing was sent or changed. The images made so far are in "
        f"{path.parent / 'images'}; put the journal back from a backup, or begin another job in another folder"
    )


def _connect_to(path: Path, query: str = "mode=rw") -> sqlite3.Connection:
    """Connect to a journal that is there.

    Raises:
        JobError: its file can't be opened.
    """
    try:
        return _connect(path, query)
    except sqlite3.Error as error:
        raise JobError(f"{path}: the journal can't be opened: {error}") from error


def _connect(path: Path, query: str = "mode=rw") -> sqlite3.Connection:
    # Used by one thread at a time, which `Journal` and `Draft` see to; which one it is changes.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
