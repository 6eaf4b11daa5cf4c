"""A local web page to try the API and to watch jobs: `Studio`. It spends the user's money, so neither other machines
nor the pages of other sites can use it, and the key never gets there. Every user of this machine can: on one that is
shared with others, they can open the page too, and spend the key's money.

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
