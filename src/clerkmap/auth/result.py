"""The result of authentication: a principal, or the error why there is none.

Every adapter passes it to the application. The application decides whether the result is enough: it asks for the
principal, or checks a requirement. This module does not depend on HTTP.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from copy import copy
from typing import Generic

from ..core.model import IdT
from ..core.principal import Principal
from ..core.requirements import Requirement
from ..errors import ClerkmapError, TokenMissing
from .lease import GRACE, Lease
from .resolver import Resolver

SIGNED_IN = Requirement()


class AuthResult(Generic[IdT]):
    """The principal of a request, or the error why there is none."""

    __slots__ = ("_principal", "_resolver", "error")

    def __init__(self, resolver: Resolver[IdT], found: Principal[IdT] | ClerkmapError) -> None:
        self._resolver = resolver
        self._principal = found if isinstance(found, Principal) else None
        self.error: ClerkmapError | None = found if isinstance(found, ClerkmapError) else None

    @property
    def principal(self) -> Principal[IdT]:
        """The principal. Raises `error` if there is none."""
        if self._principal is None:
            assert self.error is not None
            raise self.error.with_traceback(None)
        return self._principal

    @property
    def optional_principal(self) -> Principal[IdT] | None:
        """The principal, or None if the request has no token. Raises the error of a bad token.

        So no caller becomes anonymous by accident. While an exception is handled, this is None for a bad token too: an
        error page must not raise a second error.
        """
        if self._principal is None and (isinstance(self.error, TokenMissing) or sys.exception() is not None):
            return None
        return self.principal

    @property
    def principal_or_none(self) -> Principal[IdT] | None:
        """The principal, or None for any reason. Never raises.

        For layouts, logs and metrics. For access control, use `principal` or `optional_principal`.
        """
        return self._principal

    def require(self, requirement: Requirement = SIGNED_IN) -> Principal[IdT]:
        """Return the principal if it meets the requirement. May read from the repository."""
        principal = self.principal
        if requirement.fresh_membership:
            principal = self._resolver.confirm(principal)
        elif requirement.user_role is not None:
            principal = self.with_role()
        if requirement is not SIGNED_IN:  # the default requires only a principal
            requirement.check(principal)
        return principal

    async def arequire(self, requirement: Requirement = SIGNED_IN) -> Principal[IdT]:
        """Do the same as `require` without blocking the event loop."""
        principal = self.principal
        if requirement.fresh_membership:
            principal = await self._resolver.aconfirm(principal)
        elif requirement.user_role is not None:
            principal = await self.awith_role()
        if requirement is not SIGNED_IN:
            requirement.check(principal)
        return principal

    def with_role(self) -> Principal[IdT]:
        """Return the principal with its role. Read it from the repository if the token does not contain it."""
        principal = self.principal
        return principal if principal.role_is_known else self._learned(self._resolver.with_role(principal))

    async def awith_role(self) -> Principal[IdT]:
        """Do the same as `with_role` without blocking the event loop."""
        principal = self.principal
        return principal if principal.role_is_known else self._learned(await self._resolver.awith_role(principal))

    def _learned(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Keep a principal with a known role, here and in the copy that `current_within` made."""
        before, self._principal = self._principal, principal
        current = _current.get()
        if current is not None and current._principal is before:
            current._principal = principal
        return principal

    def lease(self, *, grace: float = GRACE, required: Requirement | None = None) -> Lease[IdT]:
        """Return a lease of the principal, for a connection that outlives the token."""
        return Lease(self._resolver, self.principal, grace=grace, required=required)

    def dismiss(self) -> None:
        """Remove the principal: the result is then the same as without a token."""
        self._principal, self.error = None, TokenMissing()

    def __repr__(self) -> str:
        return f"AuthResult({self._principal or self.error!r})"


_current: ContextVar[AuthResult | None] = ContextVar("clerkmap_auth_result", default=None)


def current_principal() -> Principal:
    """Return the principal of the current request, at any call depth. Raise the error if there is none."""
    result = _current.get()
    if result is None:
        raise TokenMissing("this thread or task handles no request")
    return result.principal


def enter(result: AuthResult | None) -> Token[AuthResult | None]:
    """Set the current auth result, or None, until `leave`: for this thread or task, and the tasks that it starts."""
    return _current.set(result)


def leave(token: Token[AuthResult | None]) -> None:
    """Restore the previous auth result."""
    try:  # noqa: SIM105 - a hot path: each request runs this several times
        _current.reset(token)
    except ValueError:
        pass  # a stopping server closed the request from another context, where none was set


@contextmanager
def current_within(result: AuthResult) -> Generator[None]:
    """Set the current auth result within a block. Clear it afterwards, also in the tasks and threads that it started.

    For servers that may start the next request in the context of this one.
    """
    lent = copy(result)
    before = enter(lent)
    try:
        yield
    finally:
        leave(before)
        lent.dismiss()
