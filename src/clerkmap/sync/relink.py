"""Relink: move users from one instance to another, from development to production or from another provider.

    plan = plan_relink(repository, from_="dev.example.com", to="example.com", by="external_id")
    done = apply_relink(repository, plan)

A move links an identity in the new instance to your user that the old identity is linked to. The old identity stays.
The row of the user that the new identity was linked to before stays, too. A relink uses only the stored records of both
instances, and sends no requests to Clerk. An ambiguous identity is not moved.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal

from ..core.model import Id, IdT, User
from ..core.records import ClerkUser
from ..errors import ConfigurationError, LinkRefused, UserUnknown
from ..ports import Repository
from ..repositories.linkers import verified_email
from .job import OnProgress, Progress

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

REASONS: dict[Reason, str] = {
    "nothing_to_go_by": "the stored record lacks the field to match by",
    "not_found": "no stored user matches",
    "not_verified": "the email address is not verified in both instances",
    "ambiguous": "several users match",
    "deleted": "one of the two identities was deleted",
    "user_taken": "your user has another identity in the new instance",
    "life_of_its_own": "the new identity is linked to a user with other identities",
    "changed": "a link changed after the plan was made",
}


@dataclass(frozen=True, slots=True)
class Move(Generic[IdT]):
    """The move of one identity, from your user `before` to your user `after`.

    `before` is None if the identity in the new instance was never seen.
    """

    from_clerk_id: str = field(repr=False)
    to_clerk_id: str = field(repr=False)
    before: IdT | None
    after: IdT


@dataclass(frozen=True, slots=True)
class Refusal:
    """An identity that is not moved. `REASONS` has a text for each reason."""

    from_clerk_id: str = field(repr=False)
    to_clerk_id: str | None = field(repr=False)
    reason: Reason


@dataclass(frozen=True, slots=True)
class Relink(Generic[IdT]):
    """A relink, planned or done: the moves, the number of identities that are moved already, and the refusals."""

    from_: str
    to: str
    by: Way
    moves: tuple[Move[IdT], ...]
    already: int
    refusals: tuple[Refusal, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the relink, ready for JSON."""
        told = asdict(self)
        return {"from": told.pop("from_"), **told}


# The value that matches a user of the old instance to the external id, or the address, of a user of the new one.
WORDS: dict[By, Callable[[User], str | None]] = {
    "external_id": lambda user: user.clerk.external_id,
    "clerk_id": lambda user: user.clerk_id,
    "own_id": lambda user: str(user.id),
    "verified_email": lambda user: _address(user.clerk),
}


class MoveDecisions:
    """Decides about each move, from the records that are stored at that moment."""

    def __init__(self, repository: Repository, from_: str, to: str, by: Way) -> None:
        self._repository = repository
        self._from = from_
        self._to = to
        self._by: Way = by

    def matches(self) -> Iterator[tuple[str, str] | Refusal]:
        """Yield each user of the old instance with its match in the new one. The new instance is kept in memory."""
        index: dict[str, str | None] = {}  # None if there are several
        for clerk_id, record in self._everybody(self._to):
            if word := self._new_word(record):
                index[word] = None if word in index else clerk_id
        for clerk_id, _ in self._everybody(self._from):
            user = self._user(self._from, clerk_id)
            word = None if user is None else self._old_word(user)
            if not word:
                yield Refusal(clerk_id, None, "nothing_to_go_by")
            elif word not in index:
                yield Refusal(clerk_id, None, "not_found")
            elif (other := index[word]) is None:
                yield Refusal(clerk_id, None, "ambiguous")
            else:
                yield clerk_id, other

    def judge(self, one: str, other: str) -> Move | Refusal | None:
        """Return the move for these two identities, or its refusal; None if they share a user already."""
        old, new = self._user(self._from, one), self._user(self._to, other)
        if old is None:
            return Refusal(one, other, "not_found")
        if new is not None and new.id == old.id:
            return None
        if old.clerk.is_deleted or (new is not None and new.clerk.is_deleted):
            return Refusal(one, other, "deleted")
        reason = self._mismatch(old, new)
        if reason is not None:
            return Refusal(one, other, reason)
        # A second identity in the new instance would give another person access, even after the first is deleted.
        if any(each["instance"] == self._to for each in self._identities(old.id)):
            return Refusal(one, other, "user_taken")
        if new is not None and len(self._identities(new.id)) > 1:
            return Refusal(one, other, "life_of_its_own")
        return Move(one, other, None if new is None else new.id, old.id)

    def make(self, move: Move) -> bool:
        """Make a move, unless the identity is linked to another user than in the plan. Return whether it was made."""
        try:
            if move.before is None:
                self._repository.link(self._to, move.to_clerk_id, move.after, shared=True)
            else:
                self._repository.relink(self._to, move.to_clerk_id, move.before, to=move.after)
        except (LinkRefused, UserUnknown):
            return False
        return True

    def _mismatch(self, old: User, new: User | None) -> Reason | None:
        """Return the reason why these two do not match, or None."""
        if self._by == "mapping":
            return None
        word = self._old_word(old)
        if new is None or not word or word != self._new_word(new.clerk):
            return "changed"
        if self._by == "verified_email" and not (_is_verified(old.clerk) and _is_verified(new.clerk)):
            return "not_verified"
        return None

    def _old_word(self, user: User) -> str | None:
        return None if self._by == "mapping" else WORDS[self._by](user)

    def _new_word(self, record: ClerkUser) -> str | None:
        return _address(record) if self._by == "verified_email" else record.external_id

    def _user(self, instance: str, clerk_id: str) -> User | None:
        standing = self._repository.find(instance, clerk_id)
        return None if standing is None else standing.user

    def _identities(self, id: Id) -> list[dict[str, Any]]:
        try:
            identities: list[dict[str, Any]] = self._repository.export(id)["identities"]
        except UserUnknown:  # the last identity has just been removed
            return []
        return identities

    def _everybody(self, instance: str) -> Iterator[tuple[str, ClerkUser]]:
        after = ""
        while page := self._repository.records("user", instance, after=after):
            after = page[-1].key
            for record in page:
                if isinstance(record, ClerkUser) and record.clerk_id is not None:  # None if the user is deleted
                    yield record.clerk_id, record


def _address(record: ClerkUser) -> str | None:
    """Return the address as every database compares it: without regard to the case of ASCII letters."""
    return record.email and record.email.encode().lower().decode()


def _is_verified(record: ClerkUser) -> bool:
    return verified_email(record) is not None


MAX_ID = 255  # characters


def plan_relink(
    repository: Repository[IdT],
    *,
    from_: str,
    to: str,
    by: By | Mapping[str, str],
    progress: OnProgress | None = None,
) -> Relink[IdT]:
    """Match the users of two instances, and change nothing.

    Args:
        repository: The repository that stores both instances, each after a backfill.
        from_: The name of the old instance.
        to: The name of the new instance.
        by: The value that matches two users. It is compared with the external id in the new instance: `external_id` is
            the external id in the old one, `clerk_id` the Clerk id there, and `own_id` the id of your user.
            `verified_email` compares the primary addresses, which must be verified in both. Or pass a mapping, from
            Clerk ids of the old instance to Clerk ids of the new one.
        progress: Called with the number of checked users, and the number of all.
    """
    if from_ == to:
        raise ConfigurationError("from_ and to must be different instances")
    for name in (from_, to):
        if not repository.records("user", name, limit=1):
            raise ConfigurationError(
                "one of the two instances has no stored users: check its name, and run `clerkmap sync` for it first"
            )
    if not isinstance(by, Mapping) and by not in list(WORDS):
        raise ConfigurationError(f"by must be a mapping, or one of {', '.join(WORDS)}")
    way: Way = by if isinstance(by, str) else "mapping"
    decisions = MoveDecisions(repository, from_, to, way)
    pairs = list(decisions.matches() if isinstance(by, str) else _checked(by))
    claims = Counter(pair[1] for pair in pairs if not isinstance(pair, Refusal))
    moves, refusals, already = list[Move](), list[Refusal](), 0
    for number, pair in enumerate(pairs, 1):
        judged = pair if isinstance(pair, Refusal) else decisions.judge(*pair)
        if judged is not None and not isinstance(pair, Refusal) and claims[pair[1]] > 1:
            judged = Refusal(*pair, "ambiguous")
        if judged is None:
            already += 1
        elif isinstance(judged, Move):
            moves.append(judged)
        else:
            refusals.append(judged)
        if progress is not None:
            progress(Progress("plan", number, len(pairs)))
    users = Counter(move.after for move in moves)
    refusals += [Refusal(move.from_clerk_id, move.to_clerk_id, "ambiguous") for move in moves if users[move.after] > 1]
    moves = [move for move in moves if users[move.after] == 1]
    return Relink(from_, to, way, tuple(moves), already, tuple(refusals))


def apply_relink(repository: Repository[IdT], plan: Relink[IdT], *, progress: OnProgress | None = None) -> Relink[IdT]:
    """Make the moves of a plan, each in one transaction, and return the moves that were made.

    Just before each move, its identity is checked again, and refused if it differs from the plan. The write itself
    refuses an identity that is linked to another user by then. So you can interrupt it at any moment and run it again.
    It is idempotent.

    Args:
        repository: The repository of the plan.
        plan: The result of `plan_relink`.
        progress: Called with the number of checked users, and the number of all.
    """
    decisions = MoveDecisions(repository, plan.from_, plan.to, plan.by)
    moves, refusals, already = list[Move](), list(plan.refusals), plan.already
    for number, move in enumerate(plan.moves, 1):
        judged = decisions.judge(move.from_clerk_id, move.to_clerk_id)
        if judged is None:
            already += 1
        elif isinstance(judged, Refusal):
            refusals.append(judged)
        elif judged == move and decisions.make(move):
            moves.append(move)
        else:
            refusals.append(Refusal(move.from_clerk_id, move.to_clerk_id, "changed"))
        if progress is not None:
            progress(Progress("relink", number, len(plan.moves)))
    return Relink(plan.from_, plan.to, plan.by, tuple(moves), already, tuple(refusals))


def _checked(mapping: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for pair in mapping.items():
        if not all(isinstance(id, str) and 0 < len(id) <= MAX_ID and id.isprintable() for id in pair):
            raise ConfigurationError(
                f"by must map Clerk ids to Clerk ids, each printable text of at most {MAX_ID} characters"
            )
        yield pair


__all__ = ["REASONS", "By", "Move", "Reason", "Refusal", "Relink", "Way", "apply_relink", "plan_relink"]
