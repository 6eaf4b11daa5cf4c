"""A local stand-in for the API: `LocalServer`, and what can be told to go wrong in it.

It validates like the API, draws a picture from the prompt, keeps rate limits and makes faults, without a key or a
network. It needs the extra `server` (Pillow), and shares no wire code with the client, else one bug would hide in both.
"""

from aiai_async.server.fault_table import describe_faults, named, read_faults
from aiai_async.server.faults import Fault, Piece
from aiai_async.server.limits import LimitStyle
from aiai_async.server.local import LocalServer
from aiai_async.server.received import ReceivedRequest

__all__ = [
    "Fault",
    "LimitStyle",
    "LocalServer",
    "Piece",
    "ReceivedRequest",
    "describe_faults",
    "named",
    "read_faults",
]
