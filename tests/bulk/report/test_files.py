"""The report on the disk: whole or not at all, of one moment, in constant memory, beside a job that runs or is dead."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiai_async.bulk import JobError
from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.lock import FolderLock
from aiai_async.bulk.records import Ended, Record, RunRow, Started
from aiai_async.bulk.report import files, pieces, report_on, write_report

from .jobs import HOSTILE, make_job


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a few items were many."""
    monkeypatch.setattr(pieces, "_INDEX_LENGTH", 2000)
    monkeypatch.setattr(pieces, "_DETAILS_LENGTH", 4000)


def read_json(page: str, name: str) -> Any:
    """What the page hands to its script."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def read_items(folder: Path) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """All items of a report, from the page and its pieces."""
    page = (folder / "report.html").read_text()
    index, details = read_json(page, "index"), read_json(page, "details")
    for number, (count, *names) in enumerate(read_json(page, "job")["pieces"], 1):
        for name, kind, whole in zip(names, ("index", "items"), (index, details), strict=True):
            script = (folder / name).read_text(encoding="ascii")
            assert script.startswith(f'aiaiReport("{kind}",{number},"') and script.endswith('");\n')
            found = json.loads(json.loads(script[len(f'aiaiReport("{kind}",{number},') : -3]))
            assert len(found) == count
            whole += found
    return index, details


def names_in(folder: Path) -> list[str]:
    """What lies in the folder itself."""
    return sorted(os.listdir(folder))


def test_a_small_job_is_one_page(tmp_path: Path) -> None:
    """With thumbnails beside it and nothing else; every item is in it, as text."""
    folder = make_job(tmp_path / "job", HOSTILE, pictures=tmp_path / "pictures")
    assert report_on(folder) == folder / "report.html"
    assert names_in(folder) == ["images", "job.sqlite", "report.html", "thumbs"]
    page = (folder / "report.html").read_text()
    assert not [prompt for prompt in HOSTILE if "<" in prompt and prompt in page]
    assert page.count("</script>") == 4 and page.count("<script") == 4 and page.count("</noscript>") == 1
    index, details = read_items(folder)
    assert [entry[4] for entry in index] == list(HOSTILE) and len(details) == len(HOSTILE)
    assert {entry[7][1] for entry in index} == {0}
    assert len(os.listdir(folder / "thumbs")) == len(HOSTILE)
    # Nothing but its own pictures, and nothing from elsewhere.
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', page)
    (nonce,) = set(re.findall('nonce="(.*?)"', page))
    assert policy == (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "img-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    report_on(folder)
    assert nonce not in (folder / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", page)


def test_the_figures(tmp_path: Path) -> None:
    """Are those of the journal."""
    folder = make_job(
        tmp_path / "job", ["a kite"] * 200, models=("m", "n"), with_failures=True, pictures=tmp_path / "p"
    )
    report_on(folder)
    page = (folder / "report.html").read_text()
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))
    for words in (
        "Not finished: 192 of 200 items done. The last run took up every item.",
        "Items done 192 of 200, 96 %",
        "Images 192 268.8 MB",
        "Cost $7.90 of 6 items it isn&#x27;t known",
        "Throughput 68/min images; the limit is 250/min, 27 % of it used",
        "Refused with 429 4 25 attempts in all were not the first",
        "Waiting 14 s",
        "Running 2 min 50 s in 2 runs",
        "Latency 20 s the median; 90 % within 28 s, 99 % within 29 s",
        "Refused by moderation (400 moderation_blocked) 2 items",
        "The service failed (503) 2 items",
        "images_per_minute gpt-image-1 250 in 1 min 00 s headers",
        "was stopped by hand, what was in flight finished",
    ):
        assert words in text, words
    assert text.index("Failed for good") < text.index("Failed for now") < text.index("Not sent yet")
    assert page.count('<svg viewBox="0 0 400 204"') == 4
    job = read_json(page, "job")
    assert job["models"] == ["m", "n"] and sum(count for _, _, count in job["states"]) == 200
    assert "200 of" not in text and "aiai-async 0." in text


def test_a_large_job_lies_in_pieces(tmp_path: Path, small_pieces: None) -> None:
    """Each no larger than it may be; what didn't change is not written again, what isn't needed is taken away."""
    folder = make_job(tmp_path / "job", [f"prompt {number}" for number in range(100)])
    report_on(folder)
    index, details = read_items(folder)
    assert [entry[0] for entry in index] == list(range(100)) and [entry["line"] for entry in details] == list(
        range(1, 101)
    )
    written = {path.name: path.stat().st_ino for path in (folder / "report").iterdir()}
    assert len(written) > 10 and max(path.stat().st_size for path in (folder / "report").iterdir()) < 8000
    damaged = min((folder / "report").iterdir())
    damaged.write_bytes(bytes(damaged.stat().st_size))
    (folder / "report" / "items-0001-old.js").write_text("old")
    (folder / "report" / "index-0001-x.js.12.part").write_text("cut off")
    (folder / "report" / "notes.txt").write_text("not ours")
    journal = Journal(folder / "job.sqlite")
    journal.apply([Ended(index=99, state=State.FAILED, at=1.0, error={"type": "InvalidRequestError"})])
    journal.close()
    report_on(folder)
    again = {path.name: path.stat().st_ino for path in (folder / "report").iterdir()}
    assert again.pop("notes.txt") and len(again) == len(written)
    # All but the two that changed and the one that was damaged.
    assert len(dict(written.items() & again.items())) == len(written) - 3
    assert read_items(folder)[0][99][1:3] == [list(State).index(State.FAILED), 0]


def test_a_job_that_became_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has no folder of pieces any more."""
    folder = make_job(tmp_path / "job", ["a"] * 50)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "_INDEX_LENGTH", 500)
        report_on(folder)
    assert "report" in names_in(folder)
    report_on(folder)
    assert "report" not in names_in(folder)


def test_where_it_cant_be_written(tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old page stays, with all that it needs, and nothing half is left."""
    folder = make_job(tmp_path / "job", ["a"] * 100)
    report_on(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name}
    journal = Journal(folder / "job.sqlite")
    journal.apply([Ended(index=5, state=State.FAILED, at=1.0)])
    journal.close()
    real = os.replace

    def fail(source: Any, target: Any) -> None:
        if str(target).endswith("report.html"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(JobError, match=r"job: the report can't be written: No space left on device"):
        report_on(folder)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(folder.rglob("*.part")) and not (folder / "report.lock").exists()


NOT_A_JOB = {
    "nothing there": (lambda folder: None, r"job is no job: there is no job\.sqlite in it"),
    "an empty folder": (lambda folder: folder.mkdir(), r"job is no job: there is no job\.sqlite in it"),
    "a file": (lambda folder: folder.write_text(""), r"job is no job: there is no job\.sqlite in it"),
    "an empty journal": (lambda folder: (folder.mkdir(), (folder / "job.sqlite").touch()), "damaged .it is empty."),
    "no database": (lambda folder: (folder.mkdir(), (folder / "job.sqlite").write_text("x" * 9999)), "is damaged"),
    "another database": (
        lambda folder: (folder.mkdir(), make_other_database(folder / "job.sqlite")),
        "is not the journal of a job",
    ),
    "of a newer version": (
        lambda folder: (make_job(folder, ["a"]), change_version(folder)),
        "is of version 99, written by a newer aiai-async",
    ),
}  # fmt: skip


def make_other_database(path: Path) -> None:
    """As another program would leave it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


def change_version(folder: Path) -> None:
    """As a later version would write it."""
    with closing(sqlite3.connect(folder / "job.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(("make", "words"), NOT_A_JOB.values(), ids=NOT_A_JOB)
def test_what_is_no_job(tmp_path: Path, make: Any, words: str) -> None:
    """Is told, and nothing is written."""
    make(tmp_path / "job")
    with pytest.raises(JobError, match=words):
        report_on(tmp_path / "job")
    assert not (tmp_path / "job" / "report.html").exists()


def test_a_job_that_runs(tmp_path: Path) -> None:
    """Is read beside whoever writes it, who is not kept from anything; the page says that it is under way."""
    folder = make_job(tmp_path / "job", ["a"] * 10)
    lock = FolderLock.take(folder)
    journal = Journal(folder / "job.sqlite")
    journal.note_run(RunRow(run=3, started_at=1_700_060_000.0))
    journal.apply([Started(index=4, key="k", run=3, spent=0, at=1_700_060_001.0)], run=3)
    with closing(sqlite3.connect(folder / "job.sqlite", isolation_level=None)) as other:
        # In the middle of a write.
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE items SET state = 'failed'")
        report_on(folder)
        other.execute("ROLLBACK")
    page = (folder / "report.html").read_text()
    assert "Under way: 9 of 10 items done when this page was made." in page and "is under way" in page
    journal.apply([Ended(index=4, state=State.PENDING, at=1_700_060_002.0)])
    journal.close()
    lock.release()
    report_on(folder)
    page = (folder / "report.html").read_text()
    assert "The last run was cut off, for instance by a crash." in page
    assert names_in(folder) == ["images", "job.sqlite", "report.html"]


@pytest.mark.parametrize("has_closed", [True, False], ids=["closed", "about to close"])
def test_a_job_that_ends_while_thumbnails_are_made(tmp_path: Path, has_closed: bool) -> None:
    """Writes its own page meanwhile, waiting for nothing; the one that was begun before doesn't say it is under way."""
    folder = make_job(tmp_path / "job", ["a"] * 10, pictures=tmp_path / "pictures")
    lock = FolderLock.take(folder)
    journal = Journal(folder / "job.sqlite")
    running = RunRow(run=3, started_at=1_700_060_000.0)
    journal.note_run(running)
    journal.apply([], run=3)
    pages: list[str] = []

    def end(_: object) -> None:
        if not pages:
            journal.note_run(attrs.evolve(running, ended_at=1_700_060_009.0, reason="finished"))
            journal.apply([])
            pages.append(write_report(journal, folder, thumbnail_time=0.0).read_text())
            if has_closed:
                journal.close()
                lock.release()

    report_on(folder, on_made=end)
    if not has_closed:
        journal.close()
        lock.release()
    pages.append((folder / "report.html").read_text())
    for page in pages:
        assert "Finished: 10 of 10 items done." in page and "Under way" not in page and "is under way" not in page


def test_all_of_it_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a run writes while the rows are read."""
    folder = make_job(tmp_path / "job", ["a"] * 10)
    writer = Journal(folder / "job.sqlite")
    real = Journal.records

    def records(self: Journal, *arguments: Any, **more: Any) -> Iterator[Record]:
        writer.apply([Ended(index=number, state=State.FAILED, at=1.0) for number in range(10)])
        return real(self, *arguments, **more)

    monkeypatch.setattr(Journal, "records", records)
    report_on(folder)
    monkeypatch.undo()
    writer.close()
    page = (folder / "report.html").read_text()
    assert "Finished: 10 of 10 items done." in page and {entry[1] for entry in read_json(page, "index")} == {3}
    report_on(folder)
    assert "0 of 10 items done" in (folder / "report.html").read_text()


def test_a_journal_of_an_earlier_version(tmp_path: Path) -> None:
    """Is read as it is, and not changed."""
    folder = tmp_path / "job"
    (folder / "images").mkdir(parents=True)
    with (
        gzip.open(Path(__file__).parent.parent / "version-1.sqlite.gz") as packed,
        open(folder / "job.sqlite", "wb") as file,
    ):
        shutil.copyfileobj(packed, file)
    with closing(sqlite3.connect(folder / "job.sqlite")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM items").fetchone()
    before = (folder / "job.sqlite").read_bytes()
    report_on(folder)
    assert (folder / "job.sqlite").read_bytes() == before
    page = (folder / "report.html").read_text()
    assert f"of {count}" in page and "not known" in page


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for the other; for one that doesn't end it doesn't wait for ever."""
    folder = make_job(tmp_path / "job", ["a"] * 3)
    lock = FolderLock.take(folder, "report.lock")
    waiting = threading.Event()
    real = FolderLock.take.__func__  # type: ignore[attr-defined] # a class method's function

    def take(kind: type[FolderLock], *arguments: Any, **more: Any) -> FolderLock:
        try:
            return real(kind, *arguments, **more)  # type: ignore[no-any-return] # as it is
        except JobError:
            waiting.set()
            raise

    monkeypatch.setattr(FolderLock, "take", classmethod(take))
    found: list[Path] = []
    other = threading.Thread(target=lambda: found.append(report_on(folder)))
    other.start()
    assert waiting.wait(30)
    lock.release()
    other.join()
    assert found == [folder / "report.html"]
    lock = FolderLock.take(folder, "report.lock")
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.0)
    with pytest.raises(JobError, match=f"its report is being written .process {os.getpid()}."):
        report_on(folder)
    lock.release()


def test_images_without_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are shown themselves, and it is said why."""
    folder = make_job(tmp_path / "job", ["a"] * 3, pictures=tmp_path / "pictures")
    name = sorted(os.listdir(folder / "images"))[0]
    (folder / "images" / name).unlink()
    (folder / "images" / name).write_text("no image")
    (folder / "images" / sorted(os.listdir(folder / "images"))[2]).unlink()
    journal = Journal(folder / "job.sqlite", read_only=True)

    def note() -> list[str]:
        return re.findall('<p class="note">(.*?)</p>', (folder / "report.html").read_text())[:-1]

    write_report(journal, folder, thumbnail_time=-1.0)
    assert note() == [
        "2 images are shown whole, without a thumbnail: aiai-async report FOLDER makes those that are missing."
    ]
    assert [entry[7][1] for entry in read_items(folder)[0]] == [1, 1, 2]
    monkeypatch.setattr(files, "explain_absence", lambda: "Pillow is not installed: pip install x")
    write_report(journal, folder, thumbnail_time=-1.0)
    assert note()[0].endswith(": Pillow is not installed: pip install x, then aiai-async report FOLDER makes them.")
    monkeypatch.undo()
    write_report(journal, folder)
    assert note() == ["1 image is shown whole, without a thumbnail: 1 file can&#x27;t be read as an image."]
    (folder / "thumbs" / os.listdir(folder / "thumbs")[0]).unlink()
    (folder / "thumbs").rmdir()
    (folder / "thumbs").write_text("a file")
    write_report(journal, folder)
    assert "2 images are shown whole, without a thumbnail: thumbnails can&#x27;t be written: " in note()[0]
    journal.close()


def test_many_models(tmp_path: Path) -> None:
    """Are not more than somebody can choose from."""
    folder = make_job(tmp_path / "job", ["a"] * 300, models=[f"model {number}" for number in range(300)])
    report_on(folder)
    models = read_json((folder / "report.html").read_text(), "job")["models"]
    assert len(models) == 101 and models[-1] == "other models"
    assert {entry[3] for entry in read_items(folder)[0][100:]} == {100}
