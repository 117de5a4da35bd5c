"""Explain why a token is accepted or refused: list all checks in order, with the compared values.

For developers with a token to debug. The sender of a token never sees these details. No check runs twice: the rules of
the verifier run once, and the class of the error shows which check raised it.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._runtime.driving import adrive, drive
from ..core.jose import MAX_TOKEN, decode_base64url
from ..core.keys import VerifyingKey
from ..core.opaque_tokens import OpaqueSource, Vouched, prefix_of
from ..core.principal import Principal
from ..core.strict_json import read_object
from ..core.token_rules import KeyWanted
from ..errors import ClerkmapError, TokenMalformed
from .explained_checks import (
    CHECKS,
    KEY,
    LIFETIME,
    OPAQUE_CHECKS,
    OPAQUE_USER,
    SIGNATURE,
    WORD,
    Evidence,
    ExplainedCheck,
)
from .resolver import Resolver
from .verifier import Verifier


class Check(NamedTuple):
    """One check, its result and the compared values. `passed` is None if the check was not reached."""

    name: str
    passed: bool | None
    told: str


@dataclass(frozen=True)
class Explanation:
    """A token, decoded as far as possible, with all checks in order and the result.

    Header and payload are the content of the token, and may be unproven. For an opaque token, the payload comes from
    Clerk's API. With a verifier instead of a resolver, there is no principal.
    """

    header: dict[str, Any] | None = field(repr=False)
    payload: dict[str, Any] | None = field(repr=False)
    checks: tuple[Check, ...] = field(repr=False)
    error: ClerkmapError | None
    principal: Principal | None

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON. It contains personal data, but not the signature."""
        error = self.error
        return {
            "header": self.header,
            "payload": self.payload,
            "checks": [check._asdict() for check in self.checks],
            "error": None if error is None else {"code": error.code, "message": str(error)},
            "principal": None if self.principal is None else _described(self.principal),
        }


def explain(resolver: Resolver | Verifier, token: str) -> Explanation:
    """Run all checks of a resolver, or of a verifier, on a token. A refusal is returned as `error`, never raised.

    If it is the first token of a user, a resolver creates the row of the user, as in a request.
    """
    run = _Run(resolver, token)
    try:
        opaque = run.source()
        if opaque is not None:
            run.check_vouched(opaque.get(token))
        else:
            drive(run.check(), lambda wanted: run.verifier.keys.get(*wanted))
        if isinstance(resolver, Resolver):
            run.principal = resolver.resolve(token)
    except ClerkmapError as error:
        run.error = error
    return run.explanation()


async def aexplain(resolver: Resolver | Verifier, token: str) -> Explanation:
    """Do the same as `explain` without blocking the event loop."""
    run = _Run(resolver, token)
    try:
        opaque = run.source()
        if opaque is not None:
            run.check_vouched(await opaque.aget(token))
        else:
            await adrive(run.check(), lambda wanted: run.verifier.keys.aget(*wanted))
        if isinstance(resolver, Resolver):
            run.principal = await resolver.aresolve(token)
    except ClerkmapError as error:
        run.error = error
    return run.explanation()


class _Run:
    """The state of the checks of one token. `reached` is the first check that the token may not have passed."""

    def __init__(self, resolver: Resolver | Verifier, token: str) -> None:
        self.verifier: Verifier = resolver if isinstance(resolver, Verifier) else resolver.verifier
        is_opaque = self.verifier.opaque is not None and prefix_of(token) is not None
        rows, user = (OPAQUE_CHECKS, OPAQUE_USER) if is_opaque else (CHECKS, LIFETIME)
        self.rows: tuple[ExplainedCheck, ...] = rows if isinstance(resolver, Resolver) else rows[:user]
        self.reached: int = 0
        self.error: ClerkmapError | None = None
        self.principal: Principal | None = None
        self._token = token
        self._now = self.verifier.clock()
        self._said: dict[str, Any] | None = None

    def source(self) -> OpaqueSource | None:
        """Return the source for the token, or None for a JWT."""
        source = self.verifier.source_of(self._token)
        self.reached = 0 if source is None else WORD
        return source

    def check_vouched(self, vouched: Vouched) -> None:
        """Run the remaining checks of an opaque token, after Clerk's API has answered."""
        self._said, self.reached = vouched.payload, WORD + 1
        self.verifier.rules.check_vouched(vouched, self._now)
        self.reached = OPAQUE_USER

    def check(self) -> Generator[KeyWanted, VerifyingKey, None]:
        """Run the steps of the verifier. A request for a key, and the answer to it, show how far it has come."""
        steps = self.verifier.rules.check(self._token, self._now)
        wanted = next(steps)
        while self.reached < LIFETIME:
            self.reached = KEY
            key = yield wanted
            self.reached = SIGNATURE
            try:
                wanted = steps.send(key)
            except StopIteration:
                self.reached = LIFETIME

    def explanation(self) -> Explanation:
        """Return the explanation after all checks have run."""
        header, payload = _decoded(self._token) if self._said is None else (None, self._said)
        evidence = Evidence(self.verifier.rules, self._now, header or {}, payload or {})
        failed = len(self.rows) if self.error is None else self._failed(self.error)
        checks = [Check(row.name, True, row.told(evidence)) for row in self.rows[:failed]]
        stopped = self.rows[failed : failed + 1]
        checks += [Check(row.name, False, f"{row.told(evidence)} {_sentence(self.error)}") for row in stopped]
        checks += [Check(row.name, None, row.about) for row in self.rows[failed + 1 :]]
        return Explanation(header, payload, tuple(checks), self.error, self.principal)

    def _failed(self, error: ClerkmapError) -> int:
        """Return the index of the check that raised the error. Two checks, of header and claims, may share a class."""
        order = [*range(self.reached, len(self.rows)), *range(self.reached)]
        return next((place for place in order if type(error) in self.rows[place].raises), self.reached)


def _decoded(token: object) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the readable parts of the header and the payload. The cookies of a handshake are tokens: omit them."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        return None, None
    header, payload = map(_decoded_part, (*token.encode().split(b".", 2), b"", b"")[:2])
    if payload and "handshake" in payload:
        payload["handshake"] = "(left out)"
    return header, payload


def _decoded_part(part: bytes) -> dict[str, Any] | None:
    try:
        return read_object(decode_base64url(part))
    except (TokenMalformed, ValueError):
        return None


def _sentence(error: ClerkmapError | None) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _described(principal: Principal) -> dict[str, Any]:
    user, organization, membership = principal.optional_user, principal.organization, principal.membership
    return {
        "user": user
        and {
            "id": user.id,
            "clerk_id": user.clerk_id,
            "name": user.name,
            "email": user.email,
            "role": user.role,
        },
        "organization": organization and {"id": organization.id, "name": organization.name},
        "role": membership and membership.role,
    }
