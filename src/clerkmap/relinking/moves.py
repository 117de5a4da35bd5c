"""What a plan is made of: who is moved, who is not, and why not. None of it shows a person in a log."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core.model import Id

By = Literal["external_id", "clerk_id", "own_id", "verified_email"]
Way = Literal[By, "mapping"]
Reason = Literal[
    "nothing_to_go_by",
    "not_found",
    "not_verified",
    "ambiguous",
    "deleted",
    "user_taken",
    "life_of_its_own",
    "changed",
]
Tell = Callable[[int, int], None]  # how many people were looked at, and of how many

REASONS: dict[Reason, str] = {
    "nothing_to_go_by": "what to look for is not stored of them",
    "not_found": "nobody like that is stored",
    "not_verified": "the address is not verified on both sides",
    "ambiguous": "it could be more than one",
    "deleted": "one of the two was deleted",
    "user_taken": "your user has another identity in the new instance",
    "life_of_its_own": "the new identity leads to a user who has others",
    "changed": "something changed after the plan was made",
}


@dataclass(frozen=True, slots=True)
class Move:
    """One person. The identity in the new instance leads to your user `before` now, None if it was never seen, and to
    `after` once it is moved."""

    from_clerk_id: str = field(repr=False)
    to_clerk_id: str = field(repr=False)
    before: Id | None
    after: Id


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody who is not moved. `REASONS` says each reason in words."""

    from_clerk_id: str = field(repr=False)
    to_clerk_id: str | None = field(repr=False)
    reason: Reason


@dataclass(frozen=True, slots=True)
class Relink:
    """Who is moved, how many are there already, and who is refused: as planned, or as done."""

    from_: str
    to: str
    by: Way
    moves: tuple[Move, ...]
    already: int
    refusals: tuple[Refusal, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        told = asdict(self)
        return {"from": told.pop("from_"), **told}
