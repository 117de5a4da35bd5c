"""What is to be done in a database, apart from who does it.

Work is a generator: it yields a statement with its values and is sent the rows. Who runs it chooses the driver, sync or
async, and holds the transaction around it.
"""

from collections.abc import Generator
from typing import Any, TypeVar

from ..core.model import Change

T = TypeVar("T")
# A statement and its values; or rows of values, for each of which it is to be run. Where the database is at hand, that
# is many times as fast, and what comes back is one row with how many were written. Elsewhere nobody asks so.
Ask = tuple[str, tuple[Any, ...] | list[tuple[Any, ...]]]
Rows = list[tuple[Any, ...]]
Work = Generator[Ask, Rows, T]
Written = tuple[list[Change], T]  # what was written, and what the caller is to get
