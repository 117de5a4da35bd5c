"""Take in one user, organization or membership now; delete or ban a user at Clerk, with effect at once.

    refresh(api, repository, user_id="user_2abc")
    ban_user(api, repository, user_id="user_2abc")

Clerk's answer is stored like any other record. So the webhook that follows changes nothing, and an older one loses.
"""

import time
from collections.abc import Callable
from typing import Any

from ..clerk import endpoints
from ..clerk.api import AsyncClerkApi, ClerkApi
from ..clerk.endpoints import ClerkRequest, Page, Shape
from ..core.events import records_of
from ..core.model import Change
from ..core.records import ClerkUser, Kind, key_of
from ..errors import ApiNotFound, ConfigurationError
from ..ports import AsyncRepository, Repository
from .departures import Departures, is_of_the_id
from .job import Job, Report, lent, lent_api, run
from .recheck import put_despite_older_dates


def refresh(
    api: ClerkApi,
    repository: Repository[Any],
    *,
    user_id: str | None = None,
    organization_id: str | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Change]:
    """Read one object at Clerk, store it, and return the changes. If Clerk has deleted it, so does the repository.

    Args:
        api: Clerk's API.
        repository: The repository to write to.
        user_id: The Clerk id of a user.
        organization_id: The Clerk id of an organization. With a user, it is the membership of the two.
        clock: The time, in seconds since 1970.

    Raises:
        ApiNotFound: Neither Clerk nor the repository has this user or organization.
    """
    return run(_One(lent_api(api), lent(repository), clock).read(user_id, organization_id))


async def arefresh(
    api: AsyncClerkApi,
    repository: AsyncRepository[Any],
    *,
    user_id: str | None = None,
    organization_id: str | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Change]:
    """Do the same in async code."""
    return await _One(api, repository, clock).read(user_id, organization_id)


def ban_user(
    api: ClerkApi, repository: Repository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """Ban a user at Clerk and in the repository, and return the changes. The next request of the user is refused.

    Raises:
        ApiNotFound: Clerk has no such user.
        ApiUnavailable: The outcome is unknown. Call it again: a second ban changes nothing.
    """
    return run(_One(lent_api(api), lent(repository), clock).change(endpoints.ban_user(user_id)))


async def aban_user(
    api: AsyncClerkApi, repository: AsyncRepository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """Do the same in async code."""
    return await _One(api, repository, clock).change(endpoints.ban_user(user_id))


def unban_user(
    api: ClerkApi, repository: Repository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """End the ban of a user at Clerk and in the repository, and return the changes. It raises as `ban_user` does."""
    return run(_One(lent_api(api), lent(repository), clock).change(endpoints.unban_user(user_id)))


async def aunban_user(
    api: AsyncClerkApi, repository: AsyncRepository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """Do the same in async code."""
    return await _One(api, repository, clock).change(endpoints.unban_user(user_id))


def delete_user(
    api: ClerkApi, repository: Repository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """Delete a user at Clerk, then in the repository, and return the changes. Your row, its id and its role stay.

    Raises:
        ApiNotFound: Neither Clerk nor the repository has this user.
        ApiUnavailable: The outcome is unknown. Call it again: it also completes a deletion that Clerk has made.
    """
    return run(_One(lent_api(api), lent(repository), clock).delete(user_id))


async def adelete_user(
    api: AsyncClerkApi, repository: AsyncRepository[Any], *, user_id: str, clock: Callable[[], float] = time.time
) -> list[Change]:
    """Do the same in async code."""
    return await _One(api, repository, clock).delete(user_id)


class _One:
    """The work on one object."""

    def __init__(self, api: AsyncClerkApi, repository: AsyncRepository[Any], clock: Callable[[], float]) -> None:
        self._job = Job(api.instance.name, api, repository, None, clock)

    async def read(self, user_id: str | None, organization_id: str | None) -> list[Change]:
        if user_id is not None and organization_id is not None:
            return await self._membership(user_id, organization_id)
        if user_id is not None:
            return await self._read("user", user_id)
        if organization_id is not None:
            return await self._read("organization", organization_id)
        raise ConfigurationError("pass user_id, organization_id, or both for a membership")

    async def change(self, request: ClerkRequest[Shape]) -> list[Change]:
        """Send a request that changes a user, and store the user of the answer."""
        return await self._put("user", await self._job.send(request))

    async def delete(self, user_id: str) -> list[Change]:
        stored = await self._job.stored("user", key_of(user_id))
        try:
            await self._job.send(endpoints.delete_user(user_id))
        except ApiNotFound as error:
            if stored is None or not is_of_the_id(error):
                raise
        tombstone = ClerkUser.deleted(self._job.instance, user_id, observed_at=self._job.now())
        return await self._job.repository.put([tombstone])

    async def _read(self, kind: Kind, clerk_id: str) -> list[Change]:
        stored = await self._job.stored(kind, key_of(clerk_id))
        if stored is not None:
            return [] if stored.is_deleted else await Departures(self._job, 0, Report()).ask_about(stored)
        one = endpoints.user if kind == "user" else endpoints.organization
        return await self._put(kind, await self._job.send(one(clerk_id)))

    async def _membership(self, user_id: str, organization_id: str) -> list[Change]:
        try:
            page: Page = await self._job.send(endpoints.members(organization_id, users=[user_id]))
        except ApiNotFound as error:
            if not is_of_the_id(error):
                raise
            page = Page([], 0)
        if page.rows:
            return await self._put("membership", page.rows[0])
        standing = await self._job.repository.find(self._job.instance, user_id, organization_id)
        departures, changes = Departures(self._job, 0, Report()), list[Change]()
        for record in () if standing is None else standing.memberships:
            if not record.is_deleted:
                changes += await departures.ask_about(record)
        return changes

    async def _put(self, kind: Kind, row: Shape) -> list[Change]:
        records = records_of(kind, self._job.instance, row, self._job.asked_at)
        changes = await self._job.repository.put(records)
        return changes + await put_despite_older_dates(self._job, kind, [(row, records[-1])])
