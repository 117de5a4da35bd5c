"""What `clerkmap doctor` looks at: one check after the other, each of which builds on those before it.

A check tells what is fine, or raises what is wrong with what to do about it, or why it could not be made.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ClerkmapError

if TYPE_CHECKING:
    import httpx

    from ..clerk.api import ClerkApi
    from ..core.instance import Instance
    from ..core.keys import KeySet
    from ..core.model import Count
    from ..core.records import Kind
    from ..ports import Repository
    from .databases import Database, Found


class Finding(NamedTuple):
    """What came of one check. `fine` is None where it could not be made."""

    check: str
    fine: bool | None
    told: str
    remedy: str = ""


class Wrong(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, told: str, remedy: str) -> None:
        super().__init__(told)
        self.remedy = remedy


class Skipped(Exception):
    """Why a check was not made."""


@dataclass
class Case:
    """What is examined, and what has been found out so far. What is None is not to be had.

    `transport` is asked instead of the network.
    """

    environ: Mapping[str, str]
    url: str | None
    clock: Callable[[], float] = time.time
    transport: "httpx.BaseTransport | None" = None
    patience: float = 3

    kind: str | None = None
    publishable_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    jwt_key: str | None = field(default=None, repr=False)
    api_url: str | None = None
    instance: "Instance | None" = None
    keys: "KeySet | None" = None
    api: "ClerkApi | None" = None
    place: "Database | None" = None
    found: "Found | None" = None
    repository: "Repository | None" = None
    counted: "Mapping[Kind, Count] | None" = None
    closing: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def said(self, name: str) -> str:
        """What a variable says; nothing, if it is not there."""
        return self.environ.get(name, "").strip()


Check = Callable[[Case], str]


def examined(case: Case) -> Iterator[Finding]:
    """All findings, in their order."""
    from . import checks_of_clerk, checks_of_database, checks_of_settings

    rows = {**checks_of_settings.CHECKS, **checks_of_clerk.CHECKS, **checks_of_database.CHECKS}
    try:
        for name, check in rows.items():
            yield _finding(name, check, case)
    finally:
        for close in reversed(case.closing):
            close()


def _finding(name: str, check: Check, case: Case) -> Finding:
    try:
        return Finding(name, True, check(case))
    except Skipped as skipped:
        return Finding(name, None, f"skipped: {skipped}")
    except Wrong as wrong:
        return Finding(name, False, str(wrong), wrong.remedy)
    except ClerkmapError as error:
        return Finding(name, False, str(error), "")
