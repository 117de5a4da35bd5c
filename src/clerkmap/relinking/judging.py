"""Who is who, and whether they may be moved: by what is stored at this moment."""

from collections.abc import Callable, Iterator
from typing import Any

from ..core.conclusions import verified_address
from ..core.model import Id, User
from ..core.records import ClerkUser
from ..errors import LinkRefused, UserUnknown
from ..repository import Repository
from .moves import By, Move, Reason, Refusal, Way

# What a person of the old instance is looked for by. One of the new has it as the external id, or as the address.
WORDS: dict[By, Callable[[User], str | None]] = {
    "external_id": lambda user: user.clerk.external_id,
    "clerk_id": lambda user: user.clerk_id,
    "own_id": lambda user: str(user.id),
    "verified_email": lambda user: _address(user.clerk),
}


class Judging:
    """Whether somebody is moved, by what is stored at this moment."""

    def __init__(self, repository: Repository, from_: str, to: str, by: Way) -> None:
        self._repository = repository
        self._from = from_
        self._to = to
        self._by: Way = by

    def matches(self) -> Iterator[tuple[str, str] | Refusal]:
        """Everybody in the old instance, with the one in the new who is looked for. The new one is kept in memory."""
        index: dict[str, str | None] = {}  # None where there are several
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
        """The move of these two, or why there is none; None where they are one already."""
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
        # A second identity in the new instance would let somebody else in, also where the first was deleted.
        if any(each["instance"] == self._to for each in self._identities(old.id)):
            return Refusal(one, other, "user_taken")
        if new is not None and len(self._identities(new.id)) > 1:
            return Refusal(one, other, "life_of_its_own")
        return Move(one, other, None if new is None else new.id, old.id)

    def make(self, move: Move) -> bool:
        """Make a move, unless the identity leads elsewhere than the plan says."""
        try:
            if move.before is None:
                self._repository.link(self._to, move.to_clerk_id, move.after, shared=True)
            else:
                self._repository.relink(self._to, move.to_clerk_id, move.before, to=move.after)
        except (LinkRefused, UserUnknown):
            return False
        return True

    def _mismatch(self, old: User, new: User | None) -> Reason | None:
        """Why these two are not one person, by what they are compared by."""
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
        except UserUnknown:  # the last has just been taken away
            return []
        return identities

    def _everybody(self, instance: str) -> Iterator[tuple[str, ClerkUser]]:
        after = ""
        while page := self._repository.records("user", instance, after=after):
            after = page[-1].key
            for record in page:
                if isinstance(record, ClerkUser) and record.clerk_id is not None:  # None where it was deleted
                    yield record.clerk_id, record


def _address(record: ClerkUser) -> str | None:
    """As every database compares it: the capital letters of ASCII do not count."""
    return record.email and record.email.encode().lower().decode()


def _is_verified(record: ClerkUser) -> bool:
    return verified_address(record) is not None
