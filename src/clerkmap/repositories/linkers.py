"""Linkers: which of your users a person is, decided at first sight.

A linker is a plain function of Clerk's record, or one of the classes below, which a repository treats with more care.
"""

from dataclasses import dataclass

from ..core.model import Id
from ..core.records import key_of


@dataclass(frozen=True, slots=True)
class FirstUserTakes:
    """Hand the rows of one user to the first person who signs in: exactly once, for good.

    The claim is a checkpoint that is written in the transaction of the first sign-in, so that one of several first
    sign-ins wins it, and nobody wins it again: not when that person is unlinked, deleted or erased. Every other person
    is a new user.

    The first person to sign in may be a stranger. Close sign-up at Clerk until the claim is made, or use
    `ByVerifiedEmail` with the one address that may have the rows.

    Args:
        id: The id of your user.
    """

    id: Id

    @property
    def checkpoint(self) -> str:
        """The name under which a repository keeps who has made the claim."""
        return f"clerkmap first user {key_of(repr(self.id))}"
