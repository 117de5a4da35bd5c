"""For what outlives a request: a WebSocket, a stream, whose token lasts a minute.

A lease is somebody's admission, for as long as their token and a little longer, unless it is renewed with a newer one.
It ends at once when the person is locked out.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from ..core.model import Id
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..errors import ClerkmapError, ConfigurationError, LockedOut, NotForUs, TokenExpired, Unavailable
from .resolver import Resolver

GRACE = 60.0  # seconds after the token's end: front ends renew tokens shortly before it, and networks are slow


class Lease:
    """Somebody's admission.

    Args:
        resolver: Whom tokens lead to.
        principal: Who was let in.
        grace: How many seconds the lease goes on when its token has expired.
        required: What let them in, and has to go on to hold.
    """

    def __init__(
        self, resolver: Resolver, principal: Principal, *, grace: float = GRACE, required: Requirement | None = None
    ) -> None:
        check_grace(grace)
        self.resolver: Resolver = resolver
        self._clock: Callable[[], float] = resolver.verifier.clock
        self._grace = grace
        # How lately factors were shown is asked at the beginning: later it would only be longer ago.
        self._required = replace(required, reverified=None) if required is not None else None
        self._principal = principal
        self._connections: list[_Connection] = []

    @property
    def principal(self) -> Principal:
        """Who was let in, as last heard. To be sure that they still are, `check`."""
        return self._principal

    @property
    def seconds_left(self) -> float:
        """How long until it ends, if it is not renewed."""
        return self.ends_at - self._clock()

    @property
    def ends_at(self) -> float:
        """The same as a moment, in seconds since 1970."""
        return self._principal.claims.expires_at + self._grace

    async def check(self) -> Principal:
        """The principal as of now; `TokenExpired` or `LockedOut` if the lease is over. As a rule, memory can tell."""
        while True:
            asked = self._principal
            if self.seconds_left <= 0:
                raise TokenExpired("nobody has renewed the lease")
            try:
                confirmed = self.resolver.confirm_nowait(asked) or await self.resolver.arecall(asked)
                if self._required is not None and self._required.needs_role(confirmed):
                    confirmed = await self.resolver.awith_role(asked)
            except LockedOut:
                if self._principal.claims is asked.claims:
                    raise
                continue  # it was renewed meanwhile, perhaps with another organization
            if self._principal.claims is asked.claims:
                if self._required is not None:
                    self._required.check(confirmed)
                self._principal = confirmed
                if self.seconds_left > 0:  # the repository may have taken its time
                    return confirmed

    async def renew(self, token: str) -> Principal:
        """Go on with a newer token of the same person. Another organization is fine: the principal says which."""
        principal = await self.resolver.aresolve(token)
        if _who(principal) != _who(self._principal):
            raise NotForUs("it is another person's")
        if self._required is not None:
            if self._required.needs_role(principal):
                principal = await self.resolver.awith_role(principal)
            self._required.check(principal)  # before it counts: what let them in must go on to hold
        if principal.claims.expires_at > self._principal.claims.expires_at:
            self._principal = principal
            for connection in self._connections:
                self.resolver.watch.moved(connection)
        return await self.check()

    @asynccontextmanager
    async def watched(self, end: Callable[[ClerkmapError], Awaitable[None]]) -> AsyncGenerator[None, None]:
        """Within the block, await `end` with the reason as soon as the lease is over, whatever else goes on meanwhile.

        Nothing is asked again and again for it: one watch serves all leases, and wakes those that a change concerns.
        An outage of the repository ends no lease.
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
    """What a lease keeps open, as the watch sees it."""

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
                # Beside the watch: a client that is slow to hang up must not hold up the others.
                self._ending = asyncio.ensure_future(self._end(error))

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait({self._ending})


def _who(principal: Principal) -> tuple[str, Id | None]:
    """Whoever is calling, by your own id. Which organization a person acts in makes no difference."""
    if principal.optional_user is not None:
        return "user", principal.optional_user.id
    return "organization", principal.organization.id if principal.organization is not None else None


def check_grace(grace: object) -> None:
    """Refuse what cannot be a number of seconds to go on for."""
    if not (isinstance(grace, (int, float)) and not isinstance(grace, bool) and 0 <= grace <= 86_400):
        raise ConfigurationError("grace must be from 0 to 86400 seconds")
