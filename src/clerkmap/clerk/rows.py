"""What Clerk's API answers about one thing, as records: what an event would say that told it at the same moment."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.events import Event
from ..core.records import AnyRecord

Read = Callable[[str, dict[str, Any], int], list[AnyRecord]]


def _read(told_by: str, instance: str, row: dict[str, Any], observed_at: int) -> list[AnyRecord]:
    return Event(told_by, observed_at, None, row).records(instance)


# Given an instance's name, a row, and when it was asked for. `Unreadable` is raised where it does not say what it must.
read_user: Read = partial(_read, "user.updated")
read_organization: Read = partial(_read, "organization.updated")
read_membership: Read = partial(_read, "organizationMembership.updated")
