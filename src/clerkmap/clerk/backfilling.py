"""Everything that Clerk has, into the repository: page by page, in constant memory, beside live webhooks.

    report = backfill(ClerkApi(instance), repository)

Each page is put like a webhook, so it can only make the state truer, and what happens meanwhile outranks it. Where a
run has come to is noted in the repository: one that was killed goes on from there.

What Clerk no longer lists is asked for by its id, and only what Clerk says it does not know is deleted. A page that was
cut short, an empty answer, or the key of another instance deletes nobody.
"""

import time
from collections.abc import Callable

from ..errors import ConfigurationError
from ..repository import AsyncRepository, Repository
from .api import AsyncClerkApi, ClerkApi
from .copying import Copying
from .runs import Report, Tell, arun, run


def backfill(
    api: ClerkApi,
    repository: Repository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Bring the repository to what Clerk has.

    Args:
        api: Clerk's API, of the instance to be copied.
        repository: Where to.
        newest_only: Read from the newest changes back to where the last run began that came to its end. Without one,
            everything is read. It finds no deletions, and of organizations and memberships only new ones.
        anew: Begin at the beginning, also where a run of the last day did not come to its end.
        most_departures: Which part of what is stored of a kind may be gone at Clerk, from 0 to 1. Where it looks like
            more, nobody is asked about, and the report says how many are held back.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    copying = Copying(api.instance.name, checked_part(most_departures), progress, clock)
    run(copying.newest() if newest_only else copying.everything(anew), api, repository)
    return copying.report


async def abackfill(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    newest_only: bool = False,
    anew: bool = False,
    most_departures: float = 0.1,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """The same for async code."""
    copying = Copying(api.instance.name, checked_part(most_departures), progress, clock)
    await arun(copying.newest() if newest_only else copying.everything(anew), api, repository)
    return copying.report


def checked_part(most_departures: float) -> float:
    if type(most_departures) not in (int, float) or not 0 <= most_departures <= 1:
        raise ConfigurationError("most_departures is a part of what is stored, from 0 to 1")
    return most_departures
