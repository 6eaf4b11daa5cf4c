"""`frozen`, for values that are made for each request: type checkers refuse to change them, Python doesn't.

To refuse it at run time too, attrs sets each field through a function: 45 ns instead of 15, with some sixty of them a
request. What users get, such as an `ImagesResponse`, is frozen in earnest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen
else:
    from attrs import define as frozen

__all__ = ["frozen"]
