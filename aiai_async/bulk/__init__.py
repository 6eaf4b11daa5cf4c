"""Jobs of any number of images, on the disk: `BulkJob` makes them, and goes on after a crash as if there was none.

    job, result     the front door, and what comes out of it
    runner, watcher, listeners  which item goes when; who is told of it
    maker, calls, links         sending an item, the only ones that wait for the client
    folder, drafts, inputs, rows, tables    opening: whose job it is, its rows checked, its rows read
    writer, sink, recovery      the order of writes, and what a crash leaves of it
    provenance                  what an image was made from, beside it and in it
    journal, schema, records    the only SQL, and what goes in and out
    books                       what each item takes of the budgets
    outputs, report/            what it leaves for programs and for people
    items, outcomes, budgets, costs, progress, waits, names    pure: every decision

The order is: an image's file is written and synced, then its row is committed, then it gets its name. So whatever is
visible has its row, and what has a row is never asked for again.
"""

from aiai_async.bulk.errors import BadRow, InputError, JobError
from aiai_async.bulk.job import BulkJob
from aiai_async.bulk.progress import Progress
from aiai_async.bulk.result import JobResult

__all__ = ["BadRow", "BulkJob", "InputError", "JobError", "JobResult", "Progress"]
