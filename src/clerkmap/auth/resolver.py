"""From a token to a principal: the caller, with your ids.

The first token of a user makes your user, and the organization and membership that it names, in one transaction and
without a call to Clerk. After that, a known token of a known user costs two look-ups in memory.

`resolve` asks the repository in the caller's thread. `aresolve` runs the same functions in a thread of the repository,
or awaits an asynchronous one. `resolve_nowait` asks neither keys nor the repository.
"""

import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, cast

from .._runtime.bounded import Bounded
from ..clerk.first_sight import FirstSights
from ..core.claims import MACHINES, Claims
from ..core.instance import Instance
from ..core.model import Organization, User
from ..core.opaque_tokens import prefix_of
from ..core.principal import Principal, Standing, admit, admit_organization, token_records
from ..core.records import FROM_TOKEN, AnyRecord, ClerkOrganization, ClerkUser, key_of
from ..errors import (
    ConfigurationError,
    IssuerRefused,
    LifetimeRefused,
    MachineToken,
    OrganizationDeleted,
    RepositoryUnavailable,
    TokenExpired,
    TokenMalformed,
    UserDeleted,
)
from ..ports import AsyncCoreRepository, CoreRepository, is_async, served_first
from ..repositories.threaded import threaded
from .caches import CallerIds, Heard, Known, Seen, Standings
from .flights import Flights, Turns
from .verifier import Verifier
from .watch import Watch

if TYPE_CHECKING:
    from ..clerk.api import AsyncClerkApi, ClerkApi

VERIFY_AGAIN_AFTER = 300  # seconds: a token that lives for a day must notice, too, that its key is gone

DAY = 86_400  # seconds
VERIFIED_AT_ONCE = 32  # tokens in one iteration of an event loop: a millisecond or two

# Seconds after which a change has long been written back to Clerk, and the clocks do not differ by more.
SETTLED_AFTER = 120

Who = Standing | Organization  # a user who is calling, or an organization that is calling itself


class _Found(NamedTuple):
    """A caller as memory or the repository knows them, and when they were read: the epoch and the time of before."""

    who: Who | None
    known: Known | None = None
    epoch: int = 0
    at: float = float("-inf")


class Resolver:
    """Resolves tokens of one instance to principals.

    Args:
        instance: The instance of the tokens.
        repository: The repository of your users. An asynchronous one can only be used with `aresolve`.
        verifier: Your verifier; by default, one with the default policy.
        trust_own_id: Take your id from the token, where the verifier reads one, without a look at the repository. Only
            a token counts that is newer by two minutes than anything heard of the person, and that names no
            organization. `user.role` is None then, and `role_is_known` is False: a requirement of a role asks the
            repository, and so does `confirm`.
        keep: How many tokens, and how many standings, to remember.
        api: Clerk's API, where the repository's linker needs more than a token tells: asked once about each person whom
            a token shows for the first time. While Clerk is away, such a first request is `ApiUnavailable`.
        serve_stale: For how many seconds callers are still admitted while the repository is away, by the standing that
            was last known to be true. A ban that another process has written in these seconds is not seen. 0: not at
            all, and each request is `RepositoryUnavailable`.
        monotonic: The clock that measures how fresh a remembered standing is.
    """

    def __init__(
        self,
        instance: Instance,
        repository: CoreRepository | AsyncCoreRepository,
        *,
        verifier: Verifier | None = None,
        trust_own_id: bool = False,
        api: "ClerkApi | AsyncClerkApi | None" = None,
        keep: int = 10_000,
        serve_stale: float = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.verifier: Verifier = Verifier(instance) if verifier is None else verifier
        if self.verifier.instance is not instance:
            raise ConfigurationError("the verifier is for another instance")
        if type(keep) is not int or keep < 8:
            raise ConfigurationError("keep must be an integer, and at least 8")
        if is_async(repository):
            self._repository, self._async_repository = None, cast(AsyncCoreRepository, repository)
        else:
            self._repository = cast(CoreRepository, repository)
            self._lent = threaded(self._repository)
            self._async_repository = self._lent
        if repository.needs_full_user and api is None:
            raise ConfigurationError(
                "the repository's linker needs more of a person than a token tells: give the resolver "
                "api=ClerkApi(instance), or AsyncClerkApi in async code"
            )
        # Asks Clerk about a user who is seen for the first time.
        self._first_sights = (
            FirstSights(api, instance, self.verifier.clock) if api is not None and repository.needs_full_user else None
        )
        self._keys = self.verifier.keys
        self._clock = self.verifier.clock
        self._monotonic = monotonic
        self._max_lifetime = repository.max_token_lifetime
        self._tokens: Bounded[str, Seen] = Bounded(keep)
        if type(serve_stale) not in (int, float) or not 0 <= serve_stale <= 86_400:
            raise ConfigurationError("serve_stale must be a number of seconds from 0 to 86400")
        self._serve_stale = serve_stale
        self._standings = Standings(keep)
        self._flights = Flights()
        self._turns = Turns(VERIFIED_AT_ONCE)
        self._poll_every = repository.poll_every
        self._fresh_until = float("inf") if self._poll_every is None else float("-inf")
        if trust_own_id and not self.verifier.rules.own_id_at:
            raise ConfigurationError("trust_own_id takes a verifier that reads your id: Verifier(instance, own_id=...)")
        self._heard = Heard(keep, self._clock) if trust_own_id else None
        if self._heard is not None:
            repository.listeners.watch(self._heard.hear)
        repository.listeners.watch(self._standings.forget)
        # After that: a connection that is woken must not find in memory what has just been changed.
        self.watch: Watch = Watch(repository.listeners, self.arefresh, self._seconds_fresh, self._clock)

    def for_resource(self, resource: str, *, allow_no_audience: bool = False) -> "Resolver":
        """Return a resolver of the same users for tokens that were made for one resource: see `Verifier.for_resource`.

        Both remember users together, and each remembers its own tokens.
        """
        bound = copy(self)
        bound.verifier = self.verifier.for_resource(resource, allow_no_audience=allow_no_audience)
        bound._tokens = Bounded(self._tokens.limit)
        return bound

    def resolve(self, token: str, *, within: CoreRepository | None = None) -> Principal:
        """Return the caller. Raises `TokenError` for a bad token, and `LockedOut` for a user who may not come in.

        A user who is seen for the first time is written through `within`, if it is given: the same repository on your
        connection, so that the write becomes a part of your transaction.
        """
        seen = self._remembered(token) or self._verify_nowait(token)
        if seen is None:
            generation = self._keys.generation
            seen = self._see(token, self.verifier.verify(token), generation)
        principal = self._recognise(seen)
        if principal is not None:
            return principal
        if within is not None and is_async(within):
            raise ConfigurationError("within is asynchronous: await aresolve(token, within=...)")
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aresolve(token)")
        if within is not None or seen.claims.kind == "organization_api_key":
            return self._look_up(self._repository, seen, within)
        repository = self._repository
        try:
            return self._flights.join(
                _caller(seen.claims), lambda: self._recognise(seen), lambda: self._look_up(repository, seen)
            )
        except RepositoryUnavailable:
            stale = self._stale(seen.claims)
            if stale is None:
                raise
            return admit(seen.claims, stale)

    async def aresolve(self, token: str, *, within: AsyncCoreRepository | None = None) -> Principal:
        """Do the same without holding up the event loop, and without leaving it when memory has the answer."""
        seen = self._remembered(token)
        if seen is None:
            await self._turns.take()
            seen = self._remembered(token) or self._verify_nowait(token)
        if seen is None:
            generation = self._keys.generation
            seen = self._see(token, await self.verifier.averify(token), generation)
        principal = self._recognise(seen)
        if principal is not None:
            return principal
        if within is not None and not is_async(within):
            within = threaded(cast(CoreRepository, within))
        if within is not None or seen.claims.kind == "organization_api_key":
            return await self._alook_up(seen, within)
        known = seen  # which is not None from here on, in the functions below, too
        try:
            return await self._flights.ajoin(
                _caller(known.claims), lambda: self._recognise(known), lambda: self._alook_up(known)
            )
        except RepositoryUnavailable:
            stale = self._stale(known.claims)
            if stale is None:
                raise
            return admit(known.claims, stale)

    def resolve_nowait(self, token: str) -> Principal | None:
        """Do the same from memory alone. Return None when keys or the repository would have to be asked."""
        seen = self._remembered(token) or self._verify_nowait(token)
        return None if seen is None else self._recognise(seen)

    def confirm(self, principal: Principal) -> Principal:
        """Return the same caller as the repository knows them at this moment, past all that is remembered.

        Whether their token has expired meanwhile is not asked. Raises `LockedOut` if they may not come in any more; and
        `TokenExpired` 29 days after the token was made (a day after `max_token_lifetime`).
        """
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aconfirm(principal)")
        return _admit_anew(principal, self._find(self._repository, self._ours(principal)).who)

    async def aconfirm(self, principal: Principal) -> Principal:
        """Do the same without holding up the event loop."""
        return _admit_anew(principal, (await self._afind(self._async_repository, self._ours(principal))).who)

    def confirm_nowait(self, principal: Principal) -> Principal | None:
        """Do the same from memory alone. Return None when memory does not know the caller, or may be out of date."""
        known = self._standings.get(_caller(self._ours(principal)))
        if known is None or self._monotonic() >= self._fresh_until:
            return None
        return _admit_anew(principal, known.standing)

    async def arecall(self, principal: Principal) -> Principal:
        """Return the same caller as last heard of. Unlike `aconfirm` this asks the repository no more than a request
        does: now and then whether memory is out of date, and otherwise only for callers that memory does not know."""
        claims = self._ours(principal)
        try:
            found = await self._alook(claims)
        except RepositoryUnavailable:
            stale = self._stale(claims)
            if stale is None:
                raise
            return _admit_anew(principal, stale)
        self._keep(claims, found)
        return _admit_anew(principal, found.who)

    async def arefresh(self) -> None:
        """Ask the repository whether memory is out of date, unless that was done a moment ago."""
        if self._seconds_fresh() <= 0:
            now = self._monotonic()
            await self._async_repository.poll()
            self._vouch(now)

    def keys_of(self, principal: Principal) -> tuple[str, ...]:
        """Return the keys whose changes concern a caller: of the user, the organization and the session."""
        return tuple(key_of(id) for id in _caller(self._ours(principal)) if id is not None)

    def with_role(self, principal: Principal) -> Principal:
        """Return the same caller with the role that the repository knows. It is remembered, unlike with `confirm`."""
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await awith_role(principal)")
        claims = self._ours(principal)
        found = self._find(self._repository, claims)
        self._keep(claims, found)
        return _admit_anew(principal, found.who)

    async def awith_role(self, principal: Principal) -> Principal:
        """Do the same without holding up the event loop."""
        claims = self._ours(principal)
        found = await self._afind(self._async_repository, claims)
        self._keep(claims, found)
        return _admit_anew(principal, found.who)

    def _ours(self, principal: Principal) -> Claims:
        """What a principal's token proved. One of another instance may have come a long way, and is not known here."""
        claims = principal.claims
        if claims.instance != self.verifier.instance.name:
            raise IssuerRefused
        # Two days after that, the end of a session may be forgotten. A lease may go on for one of them.
        if claims.session_id is not None and claims.issued_at + self._max_lifetime + DAY < self._clock():
            raise TokenExpired("the end of its session may be forgotten by now")
        return claims

    def _remembered(self, token: str) -> Seen | None:
        """What is known of a token that has been verified, if it would be verified again now."""
        try:
            seen = self._tokens.get(token)
        except (TypeError, ValueError):  # what cannot be a key in a dictionary is no text
            raise TokenMalformed("a token must be a string") from None
        if seen is None or seen.generation != self._keys.generation:
            return None
        return seen if seen.starts <= self._clock() < seen.ends else None

    def _verify_nowait(self, token: str) -> Seen | None:
        generation = self._keys.generation
        claims = self.verifier.verify_nowait(token)
        return None if claims is None else self._see(token, claims, generation)

    def _see(self, token: str, claims: Claims, generation: int) -> Seen:
        """Remember a verified token for as long as it stays verified.

        The generation is that of before: keys that changed meanwhile may have been the ones it was verified with. An
        opaque token may be good for years. Only its source remembers it, by a digest.
        """
        if claims.kind in MACHINES:
            raise MachineToken("a machine has no user; use the verifier alone")
        if prefix_of(token) is not None:
            return Seen(claims, generation, 0, 0)
        if claims.expires_at - claims.issued_at > self._max_lifetime:
            raise LifetimeRefused
        leeway = self.verifier.rules.leeway
        starts = max(claims.issued_at, claims.not_before or 0) - leeway
        ends = min(claims.expires_at + leeway, self._clock() + VERIFY_AGAIN_AFTER)
        seen = Seen(claims, generation, starts, ends)
        self._tokens.keep(token, seen)
        return seen

    def _recognise(self, seen: Seen) -> Principal | None:
        """Return the caller from memory alone."""
        if self._monotonic() >= self._fresh_until:
            return None
        seat = seen.seat
        if seat is not None and seat[0].current:
            return seat[1]
        claims = seen.claims
        known = self._known(claims)
        if known is None or token_records(claims, known.standing):
            return None
        return _seat(seen, known)

    def _look_up(self, repository: CoreRepository, seen: Seen, within: CoreRepository | None = None) -> Principal:
        """Find the caller; if the token tells more than the repository knows, put that and look again.

        The first look is never within your transaction, which may see the past: a user who was deleted meanwhile must
        not get in.
        """
        claims = seen.claims
        found = self._look(repository, claims)
        told = _told(claims, found.who)
        if told:
            if found.who is None and self._first_sights is not None:
                told = _instead_of_token_record(told, self._first_sights.get(claims.subject))
            (within or repository).put(told)
            found = self._find(within or repository, claims)
        return self._admit(seen, found)

    async def _alook_up(self, seen: Seen, within: AsyncCoreRepository | None = None) -> Principal:
        """Do the same without holding up the event loop, which is left once for a synchronous repository."""
        claims = seen.claims
        if self._repository is not None and within is None and self._first_sights is None:
            return self._admit(seen, await self._look_up_in_threads(self._repository, claims))
        found = await self._alook(claims)
        told = _told(claims, found.who)
        if told:
            if found.who is None and self._first_sights is not None:
                told = _instead_of_token_record(told, await self._first_sights.aget(claims.subject))
            await (within or self._async_repository).put(told)
            found = await self._afind(within or self._async_repository, claims)
        return self._admit(seen, found)

    async def _look_up_in_threads(self, repository: CoreRepository, claims: Claims) -> _Found:
        told: list[AnyRecord] = []

        def look() -> _Found | None:
            found = self._look(repository, claims)
            told.extend(_told(claims, found.who))
            return None if told else found

        return await self._lent.read_or_write(
            look, lambda: repository.put(told), lambda: self._find(repository, claims)
        )

    def _look(self, repository: CoreRepository, claims: Claims) -> _Found:
        """Take a caller out of memory that is not out of date, or else out of the repository."""
        if claims.kind == "organization_api_key":  # of which nothing is remembered: programs can wait
            return self._find(repository, claims)
        with served_first(only_if=self._standings.was_known(_caller(claims))):
            if self._seconds_fresh() <= 0:
                now = self._monotonic()
                repository.poll()
                self._vouch(now)
            known = self._known(claims)
            return self._find(repository, claims) if known is None else _Found(known.standing, known)

    async def _alook(self, claims: Claims) -> _Found:
        """Do the same: in a thread with a synchronous repository, whatever the number of questions."""
        repository = self._repository
        if repository is not None:
            return await self._lent.reading(lambda: self._look(repository, claims))
        if claims.kind == "organization_api_key":
            return await self._afind(self._async_repository, claims)
        with served_first(only_if=self._standings.was_known(_caller(claims))):
            await self.arefresh()
            known = self._known(claims)
            if known is not None:
                return _Found(known.standing, known)
            return await self._afind(self._async_repository, claims)

    def _find(self, repository: CoreRepository, claims: Claims) -> _Found:
        """Ask the repository for a caller."""
        epoch, at = self._standings.epoch, self._monotonic()
        if claims.kind == "organization_api_key":
            row = repository.row("organization", claims.instance, key_of(claims.subject))
            return _Found(cast(Organization | None, row))
        return _Found(repository.find(claims.instance, *_caller(claims)), None, epoch, at)

    async def _afind(self, repository: AsyncCoreRepository, claims: Claims) -> _Found:
        """Do the same without holding up the event loop."""
        epoch, at = self._standings.epoch, self._monotonic()
        if claims.kind == "organization_api_key":
            row = await repository.row("organization", claims.instance, key_of(claims.subject))
            return _Found(cast(Organization | None, row))
        return _Found(await repository.find(claims.instance, *_caller(claims)), None, epoch, at)

    def _admit(self, seen: Seen, found: _Found) -> Principal:
        if found.who is None:  # the put was undone, by a rollback of your transaction
            raise RepositoryUnavailable
        if isinstance(found.who, Organization):
            return admit_organization(seen.claims, found.who)
        known = self._keep(seen.claims, found)
        return admit(seen.claims, found.who) if known is None else _seat(seen, known)

    def _keep(self, claims: Claims, found: _Found) -> Known | None:
        """Remember a standing that was found, in the place of what a token alone has told."""
        if found.known is not None or not isinstance(found.who, Standing):
            return found.known
        return self._standings.keep(_caller(claims), found.who, found.epoch, found.at)

    def _stale(self, claims: Claims) -> Standing | None:
        """While the repository is away: the standing that was true a short time ago, if that is to be served."""
        if self._serve_stale <= 0:
            return None
        standing = self._standings.stale(_caller(claims), self._monotonic() - self._serve_stale)
        return None if standing is None or token_records(claims, standing) else standing

    def _seconds_fresh(self) -> float:
        """The seconds for which memory may be believed without asking the repository for changes."""
        return self._fresh_until - self._monotonic()

    def _vouch(self, now: float) -> None:
        """Take note that the repository was asked for changes at this time."""
        self._fresh_until = now + (self._poll_every or 0)
        self._standings.vouch(now)

    def _known(self, claims: Claims) -> Known | None:
        """Return a caller from memory, or from the token alone if that is to be trusted."""
        caller = _caller(claims)
        known = self._standings.get(caller)
        if known is not None or self._heard is None or claims.own_id is None or claims.organization is not None:
            return known
        epoch = self._standings.epoch  # first: a change that is heard from here on ends it
        issued_at = claims.issued_at * 1000
        record = ClerkUser.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=issued_at)
        heard = max(self._heard.last(key_of(id)) for id in caller if id is not None)
        if claims.issued_at - SETTLED_AFTER <= heard:
            return None
        standing = Standing(User(claims.own_id, None, issued_at, None, record), role_is_known=False)
        return self._standings.keep(caller, standing, epoch)


def _seat(seen: Seen, known: Known) -> Principal:
    """Admit a caller, and remember that beside the token."""
    principal = admit(seen.claims, known.standing)
    seen.seat = (known, principal)
    return principal


def _told(claims: Claims, who: Who | None) -> list[AnyRecord]:
    """Return the records of a token that the repository lacks."""
    if claims.kind != "organization_api_key":
        return token_records(claims, cast(Standing | None, who))
    if who is not None:
        return []
    observed_at = claims.issued_at * 1000
    return [ClerkOrganization.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=observed_at)]


def _instead_of_token_record(told: list[AnyRecord], user: ClerkUser) -> list[AnyRecord]:
    """Return the records of a token, with Clerk's full record of the user."""
    return [user, *(record for record in told if not isinstance(record, ClerkUser))]


def _admit_anew(principal: Principal, who: Who | None) -> Principal:
    if who is None:  # no row is ever taken out of a repository, so it is another one, or it lost what it had
        raise UserDeleted if principal.optional_user is not None else OrganizationDeleted
    if isinstance(who, Organization):
        return admit_organization(principal.claims, who)
    return admit(principal.claims, who)


def _caller(claims: Claims) -> CallerIds:
    return claims.subject, claims.organization.id if claims.organization is not None else None, claims.session_id
