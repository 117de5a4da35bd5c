"""Linkers: decide at first sight which of your users a Clerk user is.

A linker is a function of Clerk's record, or an object that is called like one, see `clerkmap.ports.Linker`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from ..core.model import Id
from ..core.records import FULL, ClerkUser, key_of
from ..errors import ConfigurationError
from .arguments import is_storable, lower_ascii

Rows = Iterable[tuple[Id, str | None]]
TEST_ADDRESS = "+clerk_test"  # Clerk verifies such an address with a public code


def verified_email(record: ClerkUser) -> str | None:
    """Return the primary address in lower-case ASCII letters if it is verified, or None."""
    if not record.email_verified or not record.email:
        return None
    address = lower_ascii(record.email)
    return None if TEST_ADDRESS in address else address


@dataclass(frozen=True, slots=True)
class FirstUserTakes:
    """Link the first Clerk user that signs in to one of your users: exactly once, for good.

    The claim is a checkpoint that is written in the transaction of the first sign-in. So exactly one of several first
    sign-ins wins it. The claim stays, even if that user is unlinked, deleted or erased. Every other Clerk user is a
    new user.

    The first user to sign in may be a stranger. Close sign-up at Clerk until the claim is made, or use
    `ByVerifiedEmail` with the one address that may have the rows.

    Args:
        id: The id of your user.
    """

    id: Id

    @property
    def checkpoint(self) -> str:
        """The name of the checkpoint with the claim."""
        return f"clerkmap first user {key_of(repr(self.id))}"


class ByVerifiedEmail:
    """Link a new Clerk user to your one user with the same address, verified at Clerk.

    The address must be the primary one and verified, and exactly one row may have it. Capital letters of ASCII do not
    count; every other character must be the same. A Clerk user without such a row is a new user, and stays one: an
    address that is verified or changed later links no user.

    A token has no address. So a resolver asks Clerk once when it sees a Clerk user for the first time, and needs
    `api=`. No user is made from a record without an address.

    Args:
        find: A function that returns the rows that may have an address, each as an id and the address in the row. It
            gets the address with ASCII letters in lower case, inside the transaction. It may return too many rows,
            because the addresses are compared here.
    """

    def __init__(self, find: Callable[[str], Rows]) -> None:
        if iscoroutinefunction(find) or not callable(find):
            raise ConfigurationError("ByVerifiedEmail takes a sync function of an address, also in async code")
        self._find = find

    def __call__(self, record: ClerkUser) -> Id | None:
        """Return the id of the one user with this address, or None."""
        wanted = verified_email(record)
        if wanted is None:
            return None
        ids = {id for id, email in self._rows(wanted) if is_storable(email) and lower_ascii(email) == wanted}
        return ids.pop() if len(ids) == 1 else None

    def _rows(self, address: str) -> Iterator[tuple[Id, str]]:
        """Return the rows from `find` that have an address, or raise `ConfigurationError`."""
        rows = _each(self._find(address))
        if rows is None:
            raise _wrong_rows()
        for row in rows:
            values = _each(row)
            match None if values is None else tuple(values):
                case id, None:
                    pass
                case str() | int() as id, str() as email:
                    yield id, email
                case _:
                    raise _wrong_rows()

    def is_enough(self, record: ClerkUser) -> bool:
        """Return whether a record has enough data to decide."""
        return record.grade == FULL or verified_email(record) is not None


class ByExternalId:
    """Link a new Clerk user to your user by the external id that your application has set at Clerk.

    Only your application can set an external id, so it proves more than an address. A token does not contain it: a
    resolver asks Clerk once when it sees a Clerk user for the first time, and needs `api=`. No user is made from a
    record without this data.

    Args:
        find: A function of an external id that returns the id of your user, or None.
    """

    def __init__(self, find: Callable[[str], Id | None]) -> None:
        if iscoroutinefunction(find) or not callable(find):
            raise ConfigurationError("ByExternalId takes a sync function of an external id, also in async code")
        self._find = find

    def __call__(self, record: ClerkUser) -> Id | None:
        """Return the id of the user, or None."""
        return None if record.external_id is None else self._find(record.external_id)

    def is_enough(self, record: ClerkUser) -> bool:
        """Return whether a record has enough data to decide."""
        return record.grade == FULL


def _wrong_rows() -> ConfigurationError:
    return ConfigurationError(
        "the function of ByVerifiedEmail must return rows of (id, address): id is str or int, address is str or None"
    )


def _each(several: object) -> Iterator[Any] | None:
    """Return the values in a list or a row of any driver's type. None if it is neither."""
    if isinstance(several, str | bytes | Mapping):
        return None
    try:
        return iter(several)  # type: ignore[call-overload,no-any-return]
    except TypeError:
        return None
