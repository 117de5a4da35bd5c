"""Replay hooks: call a new hook for everything that exists already.

    replay_hooks(repository, keep_members)

The rows are read in pages. For each page, a transaction locks the rows by putting their records again, which changes
nothing. It reads the page once more, and calls the hook with each row as if it were made now. So a concurrent change
comes before the replay of its row, or after it. A checkpoint holds the position, for a run that was ended.
"""

import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from ..core.model import Change, Member, Organization, ResultPage, User
from ..core.records import AnyRecord, key_of, place_of
from ..errors import ConfigurationError
from ..hooks import Hook, Listeners, name_of
from ..ports import AsyncRepository, Repository
from ..repositories.threaded import Threaded
from .job import Job, OnProgress, Stage, lent, run

PAGE = 500
COUNTED = 10_000  # rows, up to which the total is shown

_STAGES: tuple[Stage, ...] = ("organizations", "users", "memberships")
_Row = User[Any] | Organization[Any] | Member[Any]
_Read = Callable[[str | None], Awaitable[ResultPage[Any]]]
_Part = tuple[_Read, str | None]  # a list, and the position in it
# Runs the calls of a page at once in sync code, and returns them to be awaited in async code.
_Runs = Callable[[Coroutine[Any, Any, None]], object]


@dataclass(slots=True)
class Replayed:
    """The number of rows that a replay has passed to the hook. `resumed` is whether it went on after an earlier run."""

    organizations: int = 0
    users: int = 0
    memberships: int = 0
    resumed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return asdict(self)


def replay_hooks(
    repository: Repository[Any],
    hook: Hook,
    *,
    name: str | None = None,
    anew: bool = False,
    progress: OnProgress | None = None,
) -> Replayed:
    """Call a hook with every current organization, user and membership, each as `made`, in this order.

    Register the hook first, in every process that writes. A row that changes during the replay may be passed twice, so
    the hook must update a row that it has inserted already. A user with several identities is passed once, with the
    identity that represents the user.

    Args:
        repository: The repository.
        hook: The hook. It runs in the transactions of the replay, about 500 rows in each.
        name: The name of the checkpoint, by default the name of the function.
        anew: Start over, even if an earlier run is unfinished.
        progress: Called with the progress.

    Raises:
        HookFailed: The hook raised. The rows before its page are done, and the next run resumes there.
    """
    replay = _Replay(Job("", None, lent(repository), progress), _listeners(repository, hook), name or _name(hook), run)
    return run(replay.run(anew=anew))


async def areplay_hooks(
    repository: AsyncRepository[Any],
    hook: Hook,
    *,
    name: str | None = None,
    anew: bool = False,
    progress: OnProgress | None = None,
) -> Replayed:
    """Do the same in async code."""
    if isinstance(repository, Threaded):
        raise ConfigurationError("this repository is synchronous: call replay_hooks in a thread")
    runs: _Runs = lambda calls: calls  # noqa: E731 - beside `run`, which does the other thing
    replay = _Replay(Job("", None, repository, progress), _listeners(repository, hook), name or _name(hook), runs)
    return await replay.run(anew=anew)


def _listeners(repository: Any, hook: Hook) -> Listeners:
    return Listeners([hook], speaks_async=repository.listeners.speaks_async)


def _name(hook: Hook) -> str:
    return f"{getattr(hook, '__module__', '')}.{name_of(hook)}"


class _Replay:
    """One replay."""

    def __init__(self, job: Job, listeners: Listeners, name: str, runs: _Runs) -> None:
        self._job = job
        self._listeners = listeners
        self._runs = runs
        self._checkpoint = f"replay hooks {key_of(name)}"
        self._report = Replayed()

    async def run(self, *, anew: bool) -> Replayed:
        repository = self._job.repository
        text = None if anew else await repository.checkpoint(self._checkpoint)
        first, after = _position_in(text)
        self._report.resumed = first != _STAGES[0] or after is not None
        totals = {
            "organizations": await repository.count_organizations(at_most=COUNTED),
            "users": await repository.count_users(at_most=COUNTED),
            "memberships": None,
        }
        reads: dict[Stage, _Read] = {"organizations": self._organizations, "users": self._users}
        for stage in _STAGES[_STAGES.index(first) :]:
            total = totals[stage]
            self._total = None if total == COUNTED else total
            position = after if stage == first else None
            while True:
                await repository.set_checkpoint(self._checkpoint, json.dumps([stage, position]))
                if stage == "memberships":
                    organizations = await self._organizations(position)
                    await self._members_of(organizations.items)
                    position = organizations.after
                else:
                    (position,) = await self._page(stage, [(reads[stage], position)])
                if position is None:
                    break
        await repository.set_checkpoint(self._checkpoint, None)
        return self._report

    async def _organizations(self, after: str | None) -> ResultPage[Organization[Any]]:
        return await self._job.repository.organizations(after=after, limit=PAGE)

    async def _users(self, after: str | None) -> ResultPage[User[Any]]:
        return await self._job.repository.users(after=after, limit=PAGE)

    async def _members_of(self, organizations: tuple[Organization[Any], ...]) -> None:
        """Replay the members of some organizations: small organizations together, large ones in pages."""
        small: list[_Part] = []
        room = PAGE
        for organization in organizations:

            async def members(after: str | None, id: Any = organization.id) -> ResultPage[Member[Any]]:
                return await self._job.repository.members(id, after=after, limit=PAGE)

            number = await self._job.repository.count_members(organization.id, at_most=PAGE)
            if number == PAGE:
                await self._pages([(members, None)])
            elif number > 0:
                if number > room:
                    await self._pages(small)
                    small, room = [], PAGE
                small.append((members, None))
                room -= number
        await self._pages(small)

    async def _pages(self, parts: list[_Part]) -> None:
        """Replay the members of some organizations, which may have grown since they were counted."""
        while parts:
            positions = await self._page("memberships", parts)
            parts = [(read, after) for (read, _), after in zip(parts, positions, strict=True) if after is not None]

    async def _page(self, stage: Stage, parts: list[_Part]) -> list[str | None]:
        """Replay the rows of some pages in one transaction, and return the position after each page."""
        first = [await read(after) for read, after in parts]
        records = [_record_of(row) for page in first for row in page.items]
        number = 0

        async def call(transaction: Any) -> None:
            nonlocal number
            number = 0
            for (read, after), page in zip(parts, first, strict=True):
                rows = await _read_again(read, after, {place_of(_record_of(row)) for row in page.items})
                await self._listeners.acall([_change_of(row) for row in rows], transaction, lambda: True)
                number += len(rows)

        await self._job.repository.put_once(None, records, lambda transaction: self._runs(call(transaction)))
        setattr(self._report, stage, getattr(self._report, stage) + number)
        self._job.tell(stage, getattr(self._report, stage), self._total)
        return [page.after for page in first]


async def _read_again(read: _Read, after: str | None, locked: set[tuple[str, str]]) -> list[_Row]:
    """Return the locked rows as they are now.

    Other rows may stand between them, which are new: the hook got them as changes. Rows of the next page may have moved
    up, and come with that page.
    """
    rows: list[_Row] = []
    while True:
        page = await read(after)
        found = [row for row in page.items if place_of(_record_of(row)) in locked]
        rows += found
        after = page.after
        if after is None or not found or len(rows) == len(locked):
            return rows


def _record_of(row: _Row) -> AnyRecord:
    return row.membership.clerk if isinstance(row, Member) else row.clerk


def _change_of(row: _Row) -> Change:
    if isinstance(row, Member):
        return Change(None, row.membership, row.user, row.organization)
    if isinstance(row, User):
        return Change(None, row, row)
    return Change(None, row, organization=row)


def _position_in(text: str | None) -> tuple[Stage, str | None]:
    """Return the position in a checkpoint. Another version may have written it in another format."""
    try:
        stage, after = json.loads(text or "null")
    except (ValueError, TypeError, RecursionError):
        return _STAGES[0], None
    if stage in _STAGES and (after is None or isinstance(after, str)):
        return stage, after
    return _STAGES[0], None
