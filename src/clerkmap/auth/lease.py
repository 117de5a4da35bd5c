"""Leases for connections that outlive a request, such as WebSockets and streams. A token lasts only a minute.

A lease admits a principal for the lifetime of the token and a little longer. A newer token renews it. It ends at once
when the user is locked out.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Generic

from ..core.model import Id, IdT
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..errors import ClerkmapError, ConfigurationError, LockedOut, NotForUs, TokenExpired, Unavailable
from .resolver import Resolver

GRACE = 60.0  # seconds after the token's end: front ends renew tokens shortly before it, and networks are slow


class Lease(Generic[IdT]):
    """The admission of a principal for a long connection.

    Args:
        resolver: The resolver for the principal and for newer tokens.
        principal: The admitted principal.
        grace: The seconds for which the lease continues after the token expires.
        required: The requirement for the admission, which must stay met.
    """

    def __init__(
        self,
        resolver: Resolver[IdT],
        principal: Principal[IdT],
        *,
        grace: float = GRACE,
        required: Requirement | None = None,
    ) -> None:
        check_grace(grace)
        self.resolver: Resolver[IdT] = resolver
        self._clock: Callable[[], float] = resolver.verifier.clock
        self._grace = grace
        # The age of the factors is checked only at the start, because it grows during the lease.
        self._required = replace(required, reverified=None) if required is not None else None
        self._principal = principal
        self._connections: list[_Connection] = []

    @property
    def principal(self) -> Principal[IdT]:
        """The admitted principal, as of the last check or renewal. Call `check` for the current state."""
        return self._principal

    @property
    def seconds_left(self) -> float:
        """The seconds until the lease ends, if it is not renewed."""
        return self.ends_at - self._clock()

    @property
    def ends_at(self) -> float:
        """The time at which the lease ends, in seconds since 1970."""
        return self._principal.claims.expires_at + self._grace

    async def check(self) -> Principal[IdT]:
        """Return the current principal. As a rule, this is answered from memory.

        Raises:
            TokenExpired: The lease has expired.
            LockedOut: The user is locked out.
        """
        while True:
            asked = self._principal
            if self.seconds_left <= 0:
                raise TokenExpired("the lease was not renewed in time")
            try:
                confirmed = self.resolver.confirm_nowait(asked) or await self.resolver.arecall(asked)
                if self._required is not None and self._required.needs_role(confirmed):
                    confirmed = await self.resolver.awith_role(asked)
            except LockedOut:
                if self._principal.claims is asked.claims:
                    raise
                continue  # renewed meanwhile, perhaps with another organization
            if self._principal.claims is asked.claims:
                if self._required is not None:
                    self._required.check(confirmed)
                self._principal = confirmed
                if self.seconds_left > 0:  # the repository may have been slow
                    return confirmed

    async def renew(self, token: str) -> Principal[IdT]:
        """Continue with a newer token of the same user. It may name another organization: see the principal."""
        principal = await self.resolver.aresolve(token)
        if _id_of_caller(principal) != _id_of_caller(self._principal):
            raise NotForUs("it belongs to another user")
        if self._required is not None:
            if self._required.needs_role(principal):
                principal = await self.resolver.awith_role(principal)
            self._required.check(principal)  # before the renewal: the requirement must stay met
        if principal.claims.expires_at > self._principal.claims.expires_at:
            self._principal = principal
            for connection in self._connections:
                self.resolver.watch.moved(connection)
        return await self.check()

    @asynccontextmanager
    async def watched(self, end: Callable[[ClerkmapError], Awaitable[None]]) -> AsyncGenerator[None, None]:
        """Within the block, await `end` with the reason as soon as the lease is over, while other code runs.

        This does not poll for each lease: one watch serves all leases, and wakes those that depend on a change. An
        outage of the repository ends no lease.
        """
        connection = _Connection(self, end)
        self._connections.append(connection)
        self.resolver.watch.add(connection)
        try:
            yield
        finally:
            self._connections.remove(connection)
            self.resolver.watch.remove(connection)
            await connection.close()


class _Connection:
    """A connection of a lease, as the watch uses it."""

    def __init__(self, lease: Lease, end: Callable[[ClerkmapError], Awaitable[None]]) -> None:
        self._lease = lease
        self._end = end
        self._ending: asyncio.Future[None] | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return self._lease.resolver.keys_of(self._lease.principal)

    @property
    def ends_at(self) -> float:
        return self._lease.ends_at

    async def look(self) -> None:
        try:
            await self._lease.check()
        except Unavailable:
            raise
        except ClerkmapError as error:
            if self._ending is None:
                # In a separate task: a client that closes slowly must not block the watch.
                self._ending = asyncio.ensure_future(self._end(error))

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait({self._ending})


def _id_of_caller(principal: Principal) -> tuple[str, Id | None]:
    """Return the caller by your id. The active organization of a user makes no difference."""
    if principal.optional_user is not None:
        return "user", principal.optional_user.id
    return "organization", principal.organization.id if principal.organization is not None else None


def check_grace(grace: object) -> None:
    """Refuse a grace that is not a valid number of seconds."""
    if not (isinstance(grace, (int, float)) and not isinstance(grace, bool) and 0 <= grace <= 86_400):
        raise ConfigurationError("grace must be from 0 to 86400 seconds")
