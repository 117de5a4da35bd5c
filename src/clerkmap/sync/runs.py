"""What a long run over Clerk's API is made of: its steps, how far it is, and what has come of it."""

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..clerk.api import AsyncClerkApi, ClerkApi
from ..core.records import Kind
from ..errors import ApiError, HookFailed
from ..ports import AsyncRepository, Repository

Stage = Literal["users", "organizations", "memberships", "departures", "file", "outbox"]
# One thing to be done: asked of the API, or done to the repository. In async code, what it gives is awaited.
Step = Callable[[Any, Any], Any]
Steps = Generator[Step, Any, Any]

KINDS: dict[Stage, Kind] = {"users": "user", "organizations": "organization", "memberships": "membership"}


def run(steps: Steps, api: ClerkApi | None, repository: Repository) -> None:
    """Do all steps. What Clerk's API or a hook refuses is told to the steps, which may know what to make of it."""
    step = next(steps, None)
    while step is not None:
        try:
            result = step(api, repository)
        except (ApiError, HookFailed) as error:
            step = _told(steps, error)
        else:
            step = _sent(steps, result)


async def arun(steps: Steps, api: AsyncClerkApi | None, repository: AsyncRepository) -> None:
    """The same for async code."""
    step = next(steps, None)
    while step is not None:
        try:
            result = await step(api, repository)
        except (ApiError, HookFailed) as error:
            step = _told(steps, error)
        else:
            step = _sent(steps, result)


def _sent(steps: Steps, result: Any) -> Step | None:
    try:
        return steps.send(result)
    except StopIteration:
        return None


def _told(steps: Steps, error: ApiError | HookFailed) -> Step | None:
    try:
        return steps.throw(error)
    except StopIteration:
        return None


def stored_page(kind: Kind, instance: str, after: str, limit: int = 500) -> Step:
    """A page of what is stored of a kind, behind a key."""
    return lambda _, repository: repository.records(kind, instance, after=after, limit=limit)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `total` is what Clerk said last; the end may be elsewhere.

    `stage` is one of `Stage`; of a move, the name of a table, or `comparison`.
    """

    stage: str
    done: int
    total: int | None


Tell = Callable[[Progress], None]


@dataclass(slots=True)
class Report:
    """What has come of a backfill.

    `listed` is how many rows were read, `changed` how many of your rows they changed, `departed` how many were found to
    be gone. `held_back` is how many were not asked about, because they were too many to be likely. `unreadable` is how
    many rows did not say what they must. `complete` is whether each list was read to the end that Clerk says it has.
    """

    listed: dict[str, int] = field(default_factory=dict[str, int])
    changed: dict[str, int] = field(default_factory=dict[str, int])
    departed: int = 0
    held_back: int = 0
    unreadable: int = 0
    resumed: bool = False
    complete: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self)
