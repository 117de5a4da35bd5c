"""Who is calling, or why nobody is: what every adapter finds out about a request, and hands to the application.

Whether that is enough, the application decides: by asking for the principal, or by requiring something of it. Nothing
here knows of HTTP.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from copy import copy

from ..core.principal import Principal
from ..core.requirements import Requirement
from ..errors import ClerkmapError, TokenMissing
from .lease import GRACE, Lease
from .resolver import Resolver

SIGNED_IN = Requirement()


class AuthResult:
    """Who is calling, or why nobody is."""

    __slots__ = ("_principal", "_resolver", "refusal")

    def __init__(self, resolver: Resolver, found: Principal | ClerkmapError) -> None:
        self._resolver = resolver
        self._principal = found if isinstance(found, Principal) else None
        self.refusal: ClerkmapError | None = found if isinstance(found, ClerkmapError) else None

    @property
    def principal(self) -> Principal:
        """The principal. Where there is none, this raises why."""
        if self._principal is None:
            assert self.refusal is not None
            raise self.refusal.with_traceback(None)
        return self._principal

    @property
    def optional_principal(self) -> Principal | None:
        """The principal, or None where the request carries no token. A token that is refused is refused here too, so
        that no caller becomes anonymous by accident.

        While an exception is being handled a refusal is None as well: an error page must not fail in its turn.
        """
        if self._principal is None and (isinstance(self.refusal, TokenMissing) or sys.exception() is not None):
            return None
        return self.principal

    @property
    def principal_or_none(self) -> Principal | None:
        """The principal, or None for whatever reason there is none. Never raises.

        For layouts, logs and metrics. Decide what a caller may do by the other two.
        """
        return self._principal

    def require(self, requirement: Requirement = SIGNED_IN) -> Principal:
        """The principal, who has what is required. May ask the repository."""
        principal = self.principal
        if requirement.fresh_membership:
            principal = self._resolver.confirm(principal)
        elif requirement.user_role is not None:
            principal = self.with_role()
        if requirement is not SIGNED_IN:  # which asks for nothing more
            requirement.check(principal)
        return principal

    async def arequire(self, requirement: Requirement = SIGNED_IN) -> Principal:
        """The same without holding up the event loop."""
        principal = self.principal
        if requirement.fresh_membership:
            principal = await self._resolver.aconfirm(principal)
        elif requirement.user_role is not None:
            principal = await self.awith_role()
        if requirement is not SIGNED_IN:
            requirement.check(principal)
        return principal

    def with_role(self) -> Principal:
        """Return the principal with its role, which the repository is asked for where the token did not tell it."""
        principal = self.principal
        return principal if principal.role_is_known else self._learned(self._resolver.with_role(principal))

    async def awith_role(self) -> Principal:
        """The same without holding up the event loop."""
        principal = self.principal
        return principal if principal.role_is_known else self._learned(await self._resolver.awith_role(principal))

    def _learned(self, principal: Principal) -> Principal:
        """Keep a principal whose role is known now, here and in the copy that `current_within` has made."""
        before, self._principal = self._principal, principal
        current = _current.get()
        if current is not None and current._principal is before:
            current._principal = principal
        return principal

    def lease(self, *, grace: float = GRACE, required: Requirement | None = None) -> Lease:
        """The principal's admission, for what goes on longer than their token."""
        return Lease(self._resolver, self.principal, grace=grace, required=required)

    def dismiss(self) -> None:
        """From now on this is nobody."""
        self._principal, self.refusal = None, TokenMissing()

    def __repr__(self) -> str:
        return f"Caller({self._principal or self.refusal!r})"


_current: ContextVar[AuthResult | None] = ContextVar("clerkmap_caller", default=None)


def current_principal() -> Principal:
    """Who is calling, in the code that a request is being answered by, however deep. Where there is none, this raises
    why."""
    caller = _current.get()
    if caller is None:
        raise TokenMissing
    return caller.principal


def enter(caller: AuthResult | None) -> Token[AuthResult | None]:
    """Make somebody the current caller, or nobody, for this thread or task and what it begins, until `leave`."""
    return _current.set(caller)


def leave(token: Token[AuthResult | None]) -> None:
    """Whoever was the current caller before is that again."""
    try:  # noqa: SIM105 - each request comes by here, several times
        _current.reset(token)
    except ValueError:
        pass  # a server that stops closed the request from outside its context, where nobody entered


@contextmanager
def current_within(caller: AuthResult) -> Generator[None]:
    """Make somebody the current caller within a block, and nobody afterwards: neither in the task or thread itself nor
    in any that it began. For where a server may begin the next request in the context of this one."""
    lent = copy(caller)
    before = enter(lent)
    try:
        yield
    finally:
        leave(before)
        lent.dismiss()
