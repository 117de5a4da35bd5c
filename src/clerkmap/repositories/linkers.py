"""Linkers: which of your users a person is, decided at first sight.

A linker is a function of Clerk's record, or an object that is called like one, see `clerkmap.ports.Linker`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from ..core.merging import verified_address
from ..core.model import Id
from ..core.records import FULL, ClerkUser, key_of
from ..errors import ConfigurationError
from .arguments import folded, is_storable

Rows = Iterable[tuple[Id, str | None]]


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


class ByVerifiedEmail:
    """Link a new person to the one user of yours who has the address that the person has verified at Clerk.

    The address must be the primary one and verified, and exactly one row may have it. Capital letters of ASCII do not
    count; every other character must be the same. A person without such a row is a new user, and stays one: an
    address that is verified or changed later links no user.

    A token does not tell an address. So a resolver asks Clerk once when it sees a person for the first time, and needs
    `api=`. No user is made from a record that tells less.

    Args:
        find: A function that returns the rows which may have an address, each as an id and the address in the row. It
            is handed the address with small ASCII letters, inside the transaction. It may return more than match, for
            the addresses are compared here.
    """

    def __init__(self, find: Callable[[str], Rows]) -> None:
        if iscoroutinefunction(find) or not callable(find):
            raise ConfigurationError("ByVerifiedEmail takes a plain function of an address, also in async code")
        self._find = find

    def __call__(self, record: ClerkUser) -> Id | None:
        """Return the id of the one user who has this address, or None."""
        wanted = verified_address(record)
        if wanted is None:
            return None
        ids = {id for id, email in self._rows(wanted) if is_storable(email) and folded(email) == wanted}
        return ids.pop() if len(ids) == 1 else None

    def _rows(self, address: str) -> Iterator[tuple[Id, str]]:
        """The rows with an address of which `find` says that they may match, or `ConfigurationError`."""
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
        """Whether a record tells enough to decide by."""
        return record.grade == FULL or verified_address(record) is not None


class ByExternalId:
    """Link a new person to the user of yours whose id your application has set as the external id at Clerk.

    Only your application can set an external id, so it proves more than an address. A token does not tell it: a
    resolver asks Clerk once when it sees a person for the first time, and needs `api=`. No user is made from a record
    that tells less.

    Args:
        find: A function of an external id that returns the id of your user, or None.
    """

    def __init__(self, find: Callable[[str], Id | None]) -> None:
        if iscoroutinefunction(find) or not callable(find):
            raise ConfigurationError("ByExternalId takes a plain function of an external id, also in async code")
        self._find = find

    def __call__(self, record: ClerkUser) -> Id | None:
        """Return the id of the user, or None."""
        return None if record.external_id is None else self._find(record.external_id)

    def is_enough(self, record: ClerkUser) -> bool:
        """Whether a record tells enough to decide by."""
        return record.grade == FULL


def _wrong_rows() -> ConfigurationError:
    return ConfigurationError(
        "ByVerifiedEmail's find must return rows of (id, address): each id text or a number, each address text or None"
    )


def _each(several: object) -> Iterator[Any] | None:
    """The values in a list or a row, of whatever type a driver makes them. None where it is neither."""
    if isinstance(several, str | bytes | Mapping):
        return None
    try:
        return iter(several)  # type: ignore[call-overload,no-any-return]
    except TypeError:
        return None
