"""What differs between Clerk and the repository, without changing either.

    drift = diff(ClerkApi(instance), repository)
    drift = diff(ClerkApi(instance), repository, cheap=True)  # five questions, however many people there are

Every list of Clerk's is read, and each row held against what is stored. A row that is older than what is stored is no
drift: a webhook was faster than the list. What you erased yourself is none either, though Clerk still has it.

The cheap way compares how many there are, and the newest hundred of each list. What it finds is so; but it does not see
an old row that has changed, nor that one has come for each one who went. And whoever has only counts cannot tell those
whom you have erased from those who are missing.
"""

import time
from collections.abc import Callable

from ..repository import AsyncRepository, Repository
from .api import AsyncClerkApi, ClerkApi
from .comparing import Comparing, Drift, OwnId
from .glancing import Glancing
from .runs import Tell, arun, run


def diff(
    api: ClerkApi,
    repository: Repository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """Hold everything that Clerk has against everything that is stored.

    Args:
        api: Clerk's API.
        repository: What is compared with it.
        cheap: Compare only the counts and the newest rows.
        own_id: Which user of yours Clerk's word on a person names, such as `lambda user: user.external_id`; None if it
            names nobody. Whoever is tied to another one is told as a wrong link.
        progress: Called with how far it is.
        clock: The time, in seconds since 1970.
    """
    comparing = (Glancing if cheap else Comparing)(api.instance.name, progress, clock, own_id)
    run(comparing.steps(), api, repository)
    return comparing.drift


async def adiff(
    api: AsyncClerkApi,
    repository: AsyncRepository,
    *,
    cheap: bool = False,
    own_id: OwnId | None = None,
    progress: Tell | None = None,
    clock: Callable[[], float] = time.time,
) -> Drift:
    """The same for async code."""
    comparing = (Glancing if cheap else Comparing)(api.instance.name, progress, clock, own_id)
    await arun(comparing.steps(), api, repository)
    return comparing.drift
