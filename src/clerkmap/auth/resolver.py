"""Resolve a token to a principal: the caller, with your ids.

The first token of a user creates your user, and the organization and membership in the token. This takes one
transaction and no call to Clerk's API. After that, a known token of a known user costs two look-ups in memory.

The private methods are in the order of this path: a token from memory, or verified; the principal from memory; the
caller from the repository, after a put of the records that only the token has.

`resolve` reads the repository in the caller's thread. `aresolve` runs the same functions in a thread of the repository,
or awaits an async repository. `resolve_nowait` uses memory alone.
"""

import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Generic, NamedTuple, cast

from .._runtime.bounded import Bounded
from ..clerk.first_sight import FirstSights
from ..core.admission import admit_organization, admit_user, new_records_of_token
from ..core.claims import MACHINES, Claims
from ..core.instance import Instance
from ..core.model import IdT, Organization, User
from ..core.opaque_tokens import prefix_of
from ..core.principal import Principal, Standing
from ..core.records import FROM_TOKEN, AnyRecord, ClerkOrganization, ClerkUser, key_of
from ..core.times import to_datetime
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
from ..ports import AsyncCoreRepository, CoreRepository, check_parts, is_async, served_first
from ..repositories.threaded import threaded
from .caches import CachedStanding, CallerIds, LastChanges, StandingCache, VerifiedToken
from .shared_lookups import SharedLookUps, Turns
from .verifier import Verifier
from .watch import Watch

if TYPE_CHECKING:
    from ..clerk.api import AsyncClerkApi, ClerkApi

VERIFY_AGAIN_AFTER = 300  # seconds: the removal of a key must also end tokens that live for a day

DAY = 86_400  # seconds
VERIFIED_AT_ONCE = 32  # tokens in one iteration of an event loop: a millisecond or two

# Seconds after which a change is surely written back to Clerk. Longer than any difference between the clocks.
SETTLED_AFTER = 120

Caller = Standing | Organization  # the caller: a user, or an organization with its own API key


class _Found(NamedTuple):
    """A caller from memory or the repository, with the epoch and the time from before the read."""

    caller: Caller | None
    cached: CachedStanding | None = None
    epoch: int = 0
    at: float = float("-inf")


class Resolver(Generic[IdT]):
    """Resolves tokens of one instance to principals.

    Args:
        instance: The instance of the tokens.
        repository: The repository of your users. An async repository works only with `aresolve`.
        verifier: Your verifier; by default, one with the default policy.
        trust_own_id: Take your id from the token, if the verifier reads one, not from the repository. The token must
            name no organization, and be two minutes newer than the last known change of the user. `user.role` is then
            None, and `role_is_known` is False: a requirement of a role reads it from the repository, as `confirm` does.
        keep: The largest number of cached tokens, and of cached standings.
        api: Clerk's API, for a linker that needs more than a token contains. It is called once, at the first token of
            each user. While Clerk's API is unavailable, such a first request raises `ApiUnavailable`.
        serve_stale: The seconds for which callers are still admitted by their last known standing while the repository
            is unavailable. A ban written by another process in these seconds is not seen. With 0, each such request
            raises `RepositoryUnavailable`.
        monotonic: The clock that measures the age of a cached standing.

    Attributes:
        repository: The repository of your users.
        api: Clerk's API, or None.
        verifier: Verifies the tokens.
    """

    def __init__(
        self,
        instance: Instance,
        repository: CoreRepository[IdT] | AsyncCoreRepository[IdT],
        *,
        verifier: Verifier | None = None,
        trust_own_id: bool = False,
        api: "ClerkApi | AsyncClerkApi | None" = None,
        keep: int = 10_000,
        serve_stale: float = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_parts("Resolver", instance, repository)
        self.repository: CoreRepository[IdT] | AsyncCoreRepository[IdT] = repository
        self.api: ClerkApi | AsyncClerkApi | None = api
        self.verifier: Verifier = Verifier(instance) if verifier is None else verifier
        if self.verifier.instance is not instance:
            raise ConfigurationError("verifier and resolver must have the same instance")
        if type(keep) is not int or keep < 8:
            raise ConfigurationError("keep must be an integer of at least 8")
        if is_async(repository):
            self._repository, self._async_repository = None, cast(AsyncCoreRepository, repository)
        else:
            self._repository = cast(CoreRepository, repository)
            self._lent = threaded(self._repository)
            self._async_repository = self._lent
        if repository.needs_full_user and api is None:
            raise ConfigurationError(
                "the repository's linker needs fields that a token does not have: pass api=ClerkApi(instance), "
                "or AsyncClerkApi in async code"
            )
        # Requests a user from Clerk's API at the first token.
        self._first_sights = (
            FirstSights(api, instance, self.verifier.clock) if api is not None and repository.needs_full_user else None
        )
        self._keys = self.verifier.keys
        self._clock = self.verifier.clock
        self._monotonic = monotonic
        self._max_lifetime = repository.max_token_lifetime
        self._tokens: Bounded[str, VerifiedToken] = Bounded(keep)
        if type(serve_stale) not in (int, float) or not 0 <= serve_stale <= 86_400:
            raise ConfigurationError("serve_stale must be a number of seconds from 0 to 86400")
        self._serve_stale = serve_stale
        self._standings = StandingCache(keep)
        self._look_ups = SharedLookUps()
        self._turns = Turns(VERIFIED_AT_ONCE)
        self._poll_every = repository.poll_every
        self._fresh_until = float("inf") if self._poll_every is None else float("-inf")
        if trust_own_id and not self.verifier.rules.own_id_at:
            raise ConfigurationError("trust_own_id needs a verifier that reads your id: Verifier(instance, own_id=...)")
        self._last_changes = LastChanges(keep, self._clock) if trust_own_id else None
        if self._last_changes is not None:
            repository.listeners.watch(self._last_changes.note)
        repository.listeners.watch(self._standings.forget)
        # After that: a woken connection must not find the old standing in memory.
        self.watch: Watch = Watch(repository.listeners, self.arefresh, self._seconds_fresh, self._clock)

    def for_resource(self, resource: str, *, allow_no_audience: bool = False) -> "Resolver[IdT]":
        """Return a resolver of the same users for tokens of one resource: see `Verifier.for_resource`.

        The two resolvers share the cache of users. Each has its own cache of tokens.
        """
        bound = copy(self)
        bound.verifier = self.verifier.for_resource(resource, allow_no_audience=allow_no_audience)
        bound._tokens = Bounded(self._tokens.limit)
        return bound

    @property
    def is_async(self) -> bool:
        """Whether the repository is async, so that only `aresolve` works."""
        return self._repository is None

    def resolve(self, token: str, *, within: CoreRepository[IdT] | None = None) -> Principal[IdT]:
        """Return the principal of a token.

        Args:
            token: The token of the request.
            within: Your repository, bound to your connection. A new user is written through it, as a part of your
                transaction.

        Raises:
            TokenError: The token is refused.
            LockedOut: The user is not admitted, for example because of a ban.
        """
        verified = self._remembered_token(token) or self._verify_nowait(token)
        if verified is None:
            generation = self._keys.generation
            verified = self._remember_token(token, self.verifier.verify(token), generation)
        principal = self._principal_from_memory(verified)
        if principal is not None:
            return principal
        if within is not None and is_async(within):
            raise ConfigurationError("within is asynchronous: await aresolve(token, within=...)")
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aresolve(token)")
        if within is not None or verified.claims.kind == "organization_api_key":
            return self._find_or_create(self._repository, verified, within)
        repository = self._repository
        try:
            return self._look_ups.join(
                _ids_of_caller(verified.claims),
                lambda: self._principal_from_memory(verified),
                lambda: self._find_or_create(repository, verified),
            )
        except RepositoryUnavailable:
            stale = self._standing_in_outage(verified.claims)
            if stale is None:
                raise
            return admit_user(verified.claims, stale)

    async def aresolve(self, token: str, *, within: AsyncCoreRepository[IdT] | None = None) -> Principal[IdT]:
        """Do the same without blocking the event loop, and without leaving it if memory has the answer."""
        verified = self._remembered_token(token)
        if verified is None:
            await self._turns.take()
            verified = self._remembered_token(token) or self._verify_nowait(token)
        if verified is None:
            generation = self._keys.generation
            verified = self._remember_token(token, await self.verifier.averify(token), generation)
        principal = self._principal_from_memory(verified)
        if principal is not None:
            return principal
        if within is not None and not is_async(within):
            within = threaded(cast(CoreRepository, within))
        if within is not None or verified.claims.kind == "organization_api_key":
            return await self._afind_or_create(verified, within)
        checked = verified  # for mypy: not None in the lambdas below
        try:
            return await self._look_ups.ajoin(
                _ids_of_caller(checked.claims),
                lambda: self._principal_from_memory(checked),
                lambda: self._afind_or_create(checked),
            )
        except RepositoryUnavailable:
            stale = self._standing_in_outage(checked.claims)
            if stale is None:
                raise
            return admit_user(checked.claims, stale)

    def resolve_nowait(self, token: str) -> Principal[IdT] | None:
        """Do the same from memory alone. Return None if this would need keys or the repository."""
        verified = self._remembered_token(token) or self._verify_nowait(token)
        return None if verified is None else self._principal_from_memory(verified)

    def confirm(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Return the same caller from the current state of the repository, without any cache.

        This does not check whether the token has expired meanwhile.

        Raises:
            LockedOut: The caller is not admitted any more.
            TokenExpired: The token was made more than 29 days ago (a day more than `max_token_lifetime`).
        """
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aconfirm(principal)")
        found = self._find_in_repository(self._repository, self._claims_of_instance(principal))
        return _admit_again(principal, found.caller)

    async def aconfirm(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Do the same without blocking the event loop."""
        found = await self._afind_in_repository(self._async_repository, self._claims_of_instance(principal))
        return _admit_again(principal, found.caller)

    def confirm_nowait(self, principal: Principal[IdT]) -> Principal[IdT] | None:
        """Do the same from memory alone. Return None if the caller is not in memory, or memory may be out of date."""
        cached = self._standings.get(_ids_of_caller(self._claims_of_instance(principal)))
        if cached is None or self._monotonic() >= self._fresh_until:
            return None
        return _admit_again(principal, cached.standing)

    async def arecall(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Return the same caller from memory, or from the repository if the caller is not in memory.

        Unlike `aconfirm`, this asks the repository no more than a request does: it polls for changes at intervals.
        """
        claims = self._claims_of_instance(principal)
        try:
            found = await self._afind_current(claims)
        except RepositoryUnavailable:
            stale = self._standing_in_outage(claims)
            if stale is None:
                raise
            return _admit_again(principal, stale)
        self._remember_standing(claims, found)
        return _admit_again(principal, found.caller)

    async def arefresh(self) -> None:
        """Poll the repository for changes, unless the last poll is recent."""
        if self._seconds_fresh() <= 0:
            now = self._monotonic()
            await self._async_repository.poll()
            self._note_poll(now)

    def keys_of(self, principal: Principal[IdT]) -> tuple[str, ...]:
        """Return the keys that a caller depends on: of the user, the organization and the session."""
        return tuple(key_of(id) for id in _ids_of_caller(self._claims_of_instance(principal)) if id is not None)

    def with_role(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Return the same caller with the role from the repository. Unlike `confirm`, this caches the standing."""
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await awith_role(principal)")
        claims = self._claims_of_instance(principal)
        found = self._find_in_repository(self._repository, claims)
        self._remember_standing(claims, found)
        return _admit_again(principal, found.caller)

    async def awith_role(self, principal: Principal[IdT]) -> Principal[IdT]:
        """Do the same without blocking the event loop."""
        claims = self._claims_of_instance(principal)
        found = await self._afind_in_repository(self._async_repository, claims)
        self._remember_standing(claims, found)
        return _admit_again(principal, found.caller)

    def _remembered_token(self, token: str) -> VerifiedToken | None:
        """Return a verified token from memory, if it is still valid."""
        try:
            verified = self._tokens.get(token)
        except (TypeError, ValueError):  # a value that cannot be a key of a dictionary is not a string
            raise TokenMalformed("a token must be a string") from None
        if verified is None or verified.generation != self._keys.generation:
            return None
        return verified if verified.starts <= self._clock() < verified.ends else None

    def _verify_nowait(self, token: str) -> VerifiedToken | None:
        generation = self._keys.generation
        claims = self.verifier.verify_nowait(token)
        return None if claims is None else self._remember_token(token, claims, generation)

    def _remember_token(self, token: str, claims: Claims, generation: int) -> VerifiedToken:
        """Cache a verified token for as long as it stays valid.

        The generation must be from before the verification, because the keys may have changed since then. An opaque
        token may be valid for years. Only its source caches it, by a digest.
        """
        if claims.kind in MACHINES:
            raise MachineToken("a machine has no user: use the verifier, not the resolver")
        if prefix_of(token) is not None:
            return VerifiedToken(claims, generation, 0, 0)
        if claims.expires_at - claims.issued_at > self._max_lifetime:
            raise LifetimeRefused
        leeway = self.verifier.rules.leeway
        starts = max(claims.issued_at, claims.not_before or 0) - leeway
        ends = min(claims.expires_at + leeway, self._clock() + VERIFY_AGAIN_AFTER)
        verified = VerifiedToken(claims, generation, starts, ends)
        self._tokens.keep(token, verified)
        return verified

    def _principal_from_memory(self, verified: VerifiedToken) -> Principal | None:
        """Return the caller from memory alone."""
        if self._monotonic() >= self._fresh_until:
            return None
        admitted = verified.admitted
        if admitted is not None and admitted[0].is_current:
            return admitted[1]
        claims = verified.claims
        cached = self._remembered_standing(claims)
        if cached is None or new_records_of_token(claims, cached.standing):
            return None
        return _admit_and_cache(verified, cached)

    def _remembered_standing(self, claims: Claims) -> CachedStanding | None:
        """Return a caller from memory, or from the token alone if `trust_own_id` allows it."""
        ids = _ids_of_caller(claims)
        cached = self._standings.get(ids)
        if cached is not None or self._last_changes is None or claims.own_id is None or claims.organization is not None:
            return cached
        epoch = self._standings.epoch  # read first: any later change ends the standing
        issued_at = claims.issued_at * 1000
        record = ClerkUser.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=issued_at)
        changed_at = max(self._last_changes.last_change(key_of(id)) for id in ids if id is not None)
        if claims.issued_at - SETTLED_AFTER <= changed_at:
            return None
        standing = Standing(User(claims.own_id, None, to_datetime(issued_at), None, record), role_is_known=False)
        return self._standings.keep(ids, standing, epoch)

    def _find_or_create(
        self, repository: CoreRepository, verified: VerifiedToken, within: CoreRepository | None = None
    ) -> Principal:
        """Find the caller. If the token has records that the repository lacks, put them and read again.

        The first read is never within your transaction, which may see old data: a user that was deleted meanwhile must
        not be admitted.
        """
        claims = verified.claims
        found = self._find_current(repository, claims)
        new_records = _records_to_put(claims, found.caller)
        if new_records:
            if found.caller is None and self._first_sights is not None:
                new_records = _with_full_user(new_records, self._first_sights.get(claims.subject))
            (within or repository).put(new_records)
            found = self._find_in_repository(within or repository, claims)
        return self._admit_and_remember(verified, found)

    async def _afind_or_create(self, verified: VerifiedToken, within: AsyncCoreRepository | None = None) -> Principal:
        """Do the same without blocking the event loop. For a sync repository, the loop is left only once."""
        claims = verified.claims
        if self._repository is not None and within is None and self._first_sights is None:
            return self._admit_and_remember(verified, await self._afind_or_create_in_threads(self._repository, claims))
        found = await self._afind_current(claims)
        new_records = _records_to_put(claims, found.caller)
        if new_records:
            if found.caller is None and self._first_sights is not None:
                new_records = _with_full_user(new_records, await self._first_sights.aget(claims.subject))
            await (within or self._async_repository).put(new_records)
            found = await self._afind_in_repository(within or self._async_repository, claims)
        return self._admit_and_remember(verified, found)

    async def _afind_or_create_in_threads(self, repository: CoreRepository, claims: Claims) -> _Found:
        new_records: list[AnyRecord] = []

        def look() -> _Found | None:
            found = self._find_current(repository, claims)
            new_records.extend(_records_to_put(claims, found.caller))
            return None if new_records else found

        return await self._lent.read_or_write(
            look, lambda: repository.put(new_records), lambda: self._find_in_repository(repository, claims)
        )

    def _find_current(self, repository: CoreRepository, claims: Claims) -> _Found:
        """Return a caller from memory, if it is up to date, or else from the repository."""
        if claims.kind == "organization_api_key":  # not cached: programs can wait
            return self._find_in_repository(repository, claims)
        with served_first(only_if=self._standings.was_known(_ids_of_caller(claims))):
            if self._seconds_fresh() <= 0:
                now = self._monotonic()
                repository.poll()
                self._note_poll(now)
            cached = self._remembered_standing(claims)
            return self._find_in_repository(repository, claims) if cached is None else _Found(cached.standing, cached)

    async def _afind_current(self, claims: Claims) -> _Found:
        """Do the same. With a sync repository, one thread makes all the calls."""
        repository = self._repository
        if repository is not None:
            return await self._lent.reading(lambda: self._find_current(repository, claims))
        if claims.kind == "organization_api_key":
            return await self._afind_in_repository(self._async_repository, claims)
        with served_first(only_if=self._standings.was_known(_ids_of_caller(claims))):
            await self.arefresh()
            cached = self._remembered_standing(claims)
            if cached is not None:
                return _Found(cached.standing, cached)
            return await self._afind_in_repository(self._async_repository, claims)

    def _find_in_repository(self, repository: CoreRepository, claims: Claims) -> _Found:
        """Read a caller from the repository."""
        epoch, at = self._standings.epoch, self._monotonic()
        if claims.kind == "organization_api_key":
            row = repository.row("organization", claims.instance, key_of(claims.subject))
            return _Found(cast(Organization | None, row))
        return _Found(repository.find(claims.instance, *_ids_of_caller(claims)), None, epoch, at)

    async def _afind_in_repository(self, repository: AsyncCoreRepository, claims: Claims) -> _Found:
        """Do the same without blocking the event loop."""
        epoch, at = self._standings.epoch, self._monotonic()
        if claims.kind == "organization_api_key":
            row = await repository.row("organization", claims.instance, key_of(claims.subject))
            return _Found(cast(Organization | None, row))
        return _Found(await repository.find(claims.instance, *_ids_of_caller(claims)), None, epoch, at)

    def _admit_and_remember(self, verified: VerifiedToken, found: _Found) -> Principal:
        if found.caller is None:  # your transaction was rolled back, and the put with it
            raise RepositoryUnavailable
        if isinstance(found.caller, Organization):
            return admit_organization(verified.claims, found.caller)
        cached = self._remember_standing(verified.claims, found)
        return admit_user(verified.claims, found.caller) if cached is None else _admit_and_cache(verified, cached)

    def _remember_standing(self, claims: Claims, found: _Found) -> CachedStanding | None:
        """Cache a standing from the repository. It replaces one that was made from a token alone."""
        if found.cached is not None or not isinstance(found.caller, Standing):
            return found.cached
        return self._standings.keep(_ids_of_caller(claims), found.caller, found.epoch, found.at)

    def _standing_in_outage(self, claims: Claims) -> Standing | None:
        """Return a recent standing while the repository is unavailable, if `serve_stale` allows it."""
        if self._serve_stale <= 0:
            return None
        standing = self._standings.last_known(_ids_of_caller(claims), self._monotonic() - self._serve_stale)
        if standing is None:
            return None
        # The profile of a token is not worth a refusal: the next token has it, too.
        needed = [each for each in new_records_of_token(claims, standing) if not isinstance(each, ClerkUser)]
        return None if needed else standing

    def _seconds_fresh(self) -> float:
        """Return the seconds until the repository has to be polled for changes."""
        return self._fresh_until - self._monotonic()

    def _note_poll(self, now: float) -> None:
        """Note that the repository was polled for changes at this time."""
        self._fresh_until = now + (self._poll_every or 0)
        self._standings.confirm_all(now)

    def _claims_of_instance(self, principal: Principal) -> Claims:
        """Return the claims of a principal. Refuse one of another instance, which this repository does not know."""
        claims = principal.claims
        if claims.instance != self.verifier.instance.name:
            raise IssuerRefused
        # The tombstone of a session is kept for two days more. A lease may continue for one of them.
        if claims.session_id is not None and claims.issued_at + self._max_lifetime + DAY < self._clock():
            raise TokenExpired("it is so old that clerkmap may have forgotten the end of its session")
        return claims


def _admit_and_cache(verified: VerifiedToken, cached: CachedStanding) -> Principal:
    """Admit a caller, and cache the principal with the token."""
    principal = admit_user(verified.claims, cached.standing)
    verified.admitted = (cached, principal)
    return principal


def _records_to_put(claims: Claims, caller: Caller | None) -> list[AnyRecord]:
    """Return the records of a token that the repository lacks."""
    if claims.kind != "organization_api_key":
        return new_records_of_token(claims, cast(Standing | None, caller))
    if caller is not None:
        return []
    observed_at = claims.issued_at * 1000
    return [ClerkOrganization.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=observed_at)]


def _with_full_user(new_records: list[AnyRecord], user: ClerkUser) -> list[AnyRecord]:
    """Return the records of a token, with Clerk's full record of the user."""
    return [user, *(record for record in new_records if not isinstance(record, ClerkUser))]


def _admit_again(principal: Principal, caller: Caller | None) -> Principal:
    if caller is None:  # a row is never removed, so this is another repository, or it lost data
        raise UserDeleted if principal.optional_user is not None else OrganizationDeleted
    if isinstance(caller, Organization):
        return admit_organization(principal.claims, caller)
    return admit_user(principal.claims, caller)


def _ids_of_caller(claims: Claims) -> CallerIds:
    return claims.subject, claims.organization.id if claims.organization is not None else None, claims.session_id
