"""A local web page to try the API and to watch jobs: `Studio`. It spends the user's money, so only this machine's own
browser can use it, and the key never gets there.

    studio, app         the front door; routes, and what open tabs are told
    guard               pure: who may talk to it, and what pages may do
    maker, runs, gallery, tabs      what is made, what is remembered of it, its pictures, who is told
    choices, copies, limits         pure: what a model takes, requests as code, what the scheduler knows
    job_pages           a job on the disk, as it moves
    plain               pure: JSON of whatever a server or a journal holds
    pages, static/      plain HTML, CSS and ES modules, without a build and without anybody else's server
"""

from aiai_async.studio.studio import Studio

__all__ = ["Studio"]
