"""The report of a job, for people: `report.html` beside `images/`, which opens from the disk and asks no network.

    files, reporter         the front: writes it, from the journal, in constant memory; the same for a run
    pieces, thumbnails      what lies beside the page: the items of a large job, and small pictures, made by Pillow
    summary, failures, timeline, history, entries    pure: what there is to say
    page, sections, plots, markup, words, assets/    pure: how it is said

What comes from a job is hostile: it becomes text in `markup` and `entries`, and the page's policy runs nothing of it.
"""

from aiai_async.bulk.report.files import report_on, write_report

__all__ = ["report_on", "write_report"]
