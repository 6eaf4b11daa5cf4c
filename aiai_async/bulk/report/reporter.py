"""The report of a run: thumbnails while it goes, the page at its end, and never at its cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiai_async.bulk.items import Item, Reason
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.listeners import OnItem
from aiai_async.bulk.records import Ended
from aiai_async.bulk.report.files import write_report
from aiai_async.bulk.report.thumbnails import ThumbnailThread

# Seconds for thumbnails that were not made during the run; only a local server is fast enough to leave any. They are no
# more than a tenth of the run's time, where that is not too little for a small job.
_THUMBNAIL_TIME: Final = 20.0
_THUMBNAIL_SHARE: Final = 0.1
_THUMBNAIL_LEAST: Final = 3.0
# Whoever stops a job wants to see its end.
_THUMBNAIL_TIMES: Final[Mapping[Reason, float]] = {Reason.STOPPED: _THUMBNAIL_LEAST, Reason.ABORTED: 0.0}


class Reporter:
    """Makes the report of one run, in this order: `watch`, `close`, `write`.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._thumbnails: Final = ThumbnailThread(folder)
        self._began_at: Final = time.monotonic()

    def watch(self, on_item: OnItem | None) -> OnItem:
        """Give what is to be told of each item that ends: it has the thumbnails made, and tells `on_item`."""

        def ended(item: Item, change: Ended) -> object:
            for row in change.rows:
                if row.name is not None:
                    self._thumbnails.add(row.name)
            return None if on_item is None else on_item(item, change)

        return ended

    def close(self) -> None:
        """Make no more thumbnails. It blocks while the last one is made."""
        self._thumbnails.close()

    def write(self, journal: Journal, reason: Reason) -> str | None:
        """Write the page; give words where it can't be written. It blocks.

        Args:
            journal: of the job.
            reason: why the run ended.
        """
        share = (time.monotonic() - self._began_at) * _THUMBNAIL_SHARE
        usual = min(_THUMBNAIL_TIME, max(_THUMBNAIL_LEAST, share))
        try:
            write_report(journal, self._folder, thumbnail_time=_THUMBNAIL_TIMES.get(reason, usual))
        except Exception as error:
            # Whatever it is: the images are made, paid for and on the disk, and no page is worth losing the result.
            words = f"the report can't be written ({type(error).__name__}: {error})"
            return f"{self._folder}: {words}; aiai-async report {self._folder} tries again"
        return None
