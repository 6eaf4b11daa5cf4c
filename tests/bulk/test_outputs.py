"""What a job leaves for programs: files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.outputs import replacing, write_outputs
from aiai_async.bulk.records import Ended, ImageRow

from .fakes import read_lines
from .test_drafts import make_draft, row


def make_journal(folder: Path) -> Journal:
    """A job of three rows: one done, one unknown with a link, one not sent."""
    make_draft(folder / "job.sqlite", [row(1, '"><script>x</script>'), row(2, "b", "id"), row(3, "c")])
    journal = Journal(folder / "job.sqlite")
    image = ImageRow(k=0, name='000000-a"b-0.png', part="p", sha256="s", size_bytes=3, media_type="image/png")
    link = ImageRow(k=0, url="http://x/?sig=1")
    journal.apply(
        [
            Ended(index=0, state=State.DONE, at=1.0, images=1, rows=(image,), request_id="<req>", elapsed=0.12345),
            Ended(index=1, state=State.LINKED, at=1.0, images=1, rows=(link,), error={"message": "<i>gone</i>"}),
        ]
    )
    return journal


def test_output_files(tmp_path: Path) -> None:
    """One row for each item, in one of the two."""
    journal = make_journal(tmp_path)
    for _ in range(2):
        write_outputs(journal, tmp_path)
        (done,) = read_lines(tmp_path / "results.jsonl")
        assert (done["index"], done["elapsed"], done["request_id"]) == (0, 0.123, "<req>")
        linked, pending = read_lines(tmp_path / "errors.jsonl")
        assert (linked["custom_id"], linked["outcome"], linked["links"]) == (
            "id",
            "not_downloaded",
            ["http://x/?sig=1"],
        )
        assert (pending["outcome"], pending["error"], pending["may_have_been_billed"]) == ("pending", None, False)
    journal.close()
    assert sorted(os.listdir(tmp_path)) == ["errors.jsonl", "job.sqlite", "results.jsonl"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """Nothing temporary stays, whatever happens."""
    path = tmp_path / "a.jsonl"
    with replacing(path) as file:
        file.write("old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.jsonl"]
