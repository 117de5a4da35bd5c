"""Token in, principal out: who is calling, in your own ids.

At first sight of a person the token alone makes your user, and the organization and membership it names, in one
transaction and without a call to Clerk. After that, a token and a person seen before cost two look-ups in memory.

What may do I/O is written once, as a generator of things to ask a repository for; `resolve` and `aresolve` only differ
in how they ask. `resolve_nowait` asks nobody.
"""

import time
from collections.abc import Callable, Generator
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .._runtime.bounded import Bounded
from .._runtime.driving import adrive, drive
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
from ..ports import AsyncRepository, Repository, is_async, served_first
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

T = TypeVar("T")
# A step asks something of a repository. Handed a synchronous one it returns the answer, otherwise an awaitable of it.
Step = Callable[[Any], Any]
Found = Standing | Organization  # what a repository knows of who is calling


class Resolver:
    """Resolves tokens of one instance to principals.

    Args:
        instance: Whose tokens.
        repository: Where your users are. An asynchronous one can only be used with `aresolve`.
        verifier: A verifier of your own making; by default, one with the default policy.
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
        repository: Repository | AsyncRepository,
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
            self._repository, self._async_repository = None, cast(AsyncRepository, repository)
        else:
            self._repository = cast(Repository, repository)
            lent = self._async_repository = threaded(self._repository)
            self._lent = lent
        if repository.needs_full_user and api is None:
            raise ConfigurationError(
                "the repository's linker needs more of a person than a token tells: give the resolver "
                "api=ClerkApi(instance), or AsyncClerkApi in async code"
            )
        # Whom to ask about a person who is seen for the first time.
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

    def resolve(self, token: str, *, within: Repository | None = None) -> Principal:
        """Who is calling. `TokenError` for a bad token, `LockedOut` for a person who may not come in.

        What the token tells of a person for the first time is written through `within`, if it is given: the same
        repository on a connection of yours, so that it becomes a part of your transaction.
        """
        principal = self.resolve_nowait(token)
        if principal is not None:
            return principal
        if within is not None and is_async(within):
            raise ConfigurationError("within is asynchronous: await aresolve(token, within=...)")
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aresolve(token)")
        seen = self._remembered(token)
        generation = self._keys.generation
        claims = self._see(token, self.verifier.verify(token), generation) if seen is None else seen.claims
        if within is not None or claims.kind == "organization_api_key":
            return self._look_up(token, claims, within)
        try:
            return self._flights.join(
                _caller(claims), lambda: self._recognise(token, claims), lambda: self._look_up(token, claims, None)
            )
        except RepositoryUnavailable:
            stale = self._stale(claims)
            if stale is None:
                raise
            return admit(claims, stale)

    async def aresolve(self, token: str, *, within: AsyncRepository | None = None) -> Principal:
        """The same without holding up the event loop, and without leaving it when memory has the answer."""
        if self._remembered(token) is None:
            await self._turns.take()
        principal = self.resolve_nowait(token)
        if principal is not None:
            return principal
        seen = self._remembered(token)
        generation = self._keys.generation
        claims = self._see(token, await self.verifier.averify(token), generation) if seen is None else seen.claims
        if within is not None and not is_async(within):
            within = threaded(cast(Repository, within))
        if within is not None or claims.kind == "organization_api_key":
            return await self._alook_up(token, claims, within)
        try:
            return await self._flights.ajoin(
                _caller(claims), lambda: self._recognise(token, claims), lambda: self._alook_up(token, claims, None)
            )
        except RepositoryUnavailable:
            stale = self._stale(claims)
            if stale is None:
                raise
            return admit(claims, stale)

    def resolve_nowait(self, token: str) -> Principal | None:
        """The same from memory alone. None when keys or the repository would have to be asked."""
        seen = self._remembered(token)
        if seen is None:
            generation = self._keys.generation
            verified = self.verifier.verify_nowait(token)
            if verified is None:
                return None
            claims = self._see(token, verified, generation)
        else:
            claims, seat = seen.claims, seen.seat
            if seat is not None and seat[0].current and self._monotonic() < self._fresh_until:
                return seat[1]
        return self._recognise(token, claims)

    def _recognise(self, token: str, claims: Claims) -> Principal | None:
        """The caller from memory alone, by what a token has proved."""
        if self._monotonic() >= self._fresh_until:
            return None
        known = self._standings.get(_caller(claims)) or self._trusted(claims)
        if known is None or token_records(claims, known.standing):
            return None
        return self._seat(token, claims, known)

    def confirm(self, principal: Principal) -> Principal:
        """The same caller as the repository knows them at this moment, past all that is remembered. `LockedOut` if
        they may not come in any more. Whether their token has expired meanwhile is not asked; only 29 days after it
        was made (a day after `max_token_lifetime`) this raises `TokenExpired`."""
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await aconfirm(principal)")
        return _admit_anew(principal, self._find(self._ours(principal))(self._repository))

    async def aconfirm(self, principal: Principal) -> Principal:
        """The same without holding up the event loop."""
        return _admit_anew(principal, await self._find(self._ours(principal))(self._async_repository))

    def confirm_nowait(self, principal: Principal) -> Principal | None:
        """The same from memory alone. None when memory does not know, or may be out of date."""
        known = self._standings.get(_caller(self._ours(principal)))
        if known is None or self._monotonic() >= self._fresh_until:
            return None
        return _admit_anew(principal, known.standing)

    async def arecall(self, principal: Principal) -> Principal:
        """The same caller as last heard of. Unlike `aconfirm` this asks the repository no more than a request does:
        now and then whether memory is out of date, and otherwise only for whom memory does not know."""
        claims = self._ours(principal)
        try:
            return _admit_anew(principal, await self._aread(self._recall_and_keep(claims)))
        except RepositoryUnavailable:
            stale = self._stale(claims)
            if stale is None:
                raise
            return _admit_anew(principal, stale)

    async def arefresh(self) -> None:
        """Ask the repository whether memory is out of date, unless that was done a moment ago."""
        if self._seconds_fresh() <= 0:
            await adrive(self._refresh(), lambda step: step(self._async_repository))

    def keys_of(self, principal: Principal) -> tuple[str, ...]:
        """Return the keys whose changes concern a caller: of the user, the organization and the session."""
        return tuple(key_of(id) for id in _caller(self._ours(principal)) if id is not None)

    def with_role(self, principal: Principal) -> Principal:
        """Return the same caller with the role that the repository knows. It is remembered, unlike with `confirm`."""
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await awith_role(principal)")
        standing = drive(self._find_and_keep(self._ours(principal)), lambda step: step(self._repository))
        return _admit_anew(principal, standing)

    async def awith_role(self, principal: Principal) -> Principal:
        """The same without holding up the event loop."""
        standing = await self._aread(self._find_and_keep(self._ours(principal)))
        return _admit_anew(principal, standing)

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
            raise TokenMalformed("a token is text") from None
        if seen is None or seen.generation != self._keys.generation:
            return None
        return seen if seen.starts <= self._clock() < seen.ends else None

    def _see(self, token: str, claims: Claims, generation: int) -> Claims:
        """Remember a verified token for as long as it stays verified. The generation is that of before: keys that
        changed meanwhile may have been the ones it was verified with. An opaque one, which may be good for years, is
        remembered by nobody but its source, who keeps no more than a digest."""
        if claims.kind in MACHINES:
            raise MachineToken("a machine has no user; use the verifier alone")
        if prefix_of(token) is not None:
            return claims
        if claims.expires_at - claims.issued_at > self._max_lifetime:
            raise LifetimeRefused
        leeway = self.verifier.rules.leeway
        starts = max(claims.issued_at, claims.not_before or 0) - leeway
        ends = min(claims.expires_at + leeway, self._clock() + VERIFY_AGAIN_AFTER)
        self._tokens.keep(token, Seen(claims, generation, starts, ends))
        return claims

    def _look_up(self, token: str, claims: Claims, within: Repository | None) -> Principal:
        """Find the caller's standing; if the token tells more than the repository knows, put that and look again.

        The first look is never within a transaction of yours, which may see the past: who was deleted meanwhile must
        not get in.
        """

        def ask(step: Step) -> Any:
            return step(self._repository)

        if claims.kind == "organization_api_key":
            return drive(self._look_up_organization(claims, within), ask)
        asked_at = self._monotonic()
        with served_first(only_if=self._standings.was_known(_caller(claims))):
            standing, known, epoch = drive(self._recall(claims), ask)
        told = token_records(claims, standing)
        if standing is None and self._first_sights is not None:
            told = _instead_of_token_record(told, self._first_sights.get(claims.subject))
        if told or standing is None:
            standing, epoch = drive(self._tell(claims, told, within), ask)
            known = None
        return self._admit(token, claims, standing, known, (epoch, asked_at))

    async def _alook_up(self, token: str, claims: Claims, within: AsyncRepository | None) -> Principal:
        """The same without holding up the event loop, which is left once to read, and once more where there is
        something to write."""
        if claims.kind == "organization_api_key":
            return await adrive(self._look_up_organization(claims, within), lambda step: step(self._async_repository))
        asked_at = self._monotonic()
        with served_first(only_if=self._standings.was_known(_caller(claims))):
            standing, known, epoch = await self._aread(self._recall(claims))
        told = token_records(claims, standing)
        if standing is None and self._first_sights is not None:
            told = _instead_of_token_record(told, await self._first_sights.aget(claims.subject))
        if told or standing is None:
            standing, epoch = await self._atell(claims, told, within)
            known = None
        return self._admit(token, claims, standing, known, (epoch, asked_at))

    async def _aread(self, steps: Generator[Step, Any, T]) -> T:
        """Ask the repository all that is to be asked: a synchronous one in a thread, whatever the number of steps."""
        if self._repository is None:
            return await adrive(steps, lambda step: step(self._async_repository))
        return await self._lent.reading(lambda: drive(steps, lambda step: step(self._repository)))

    def _tell(
        self, claims: Claims, told: list[AnyRecord], within: Repository | AsyncRepository | None
    ) -> Generator[Step, Any, tuple[Standing | None, int]]:
        """Put what a token tells, and look again: the standing, and the epoch of before."""
        yield lambda repository: (within or repository).put(told)
        epoch = self._standings.epoch
        return (yield self._find(claims, within)), epoch

    async def _atell(
        self, claims: Claims, told: list[AnyRecord], within: AsyncRepository | None
    ) -> tuple[Standing | None, int]:
        """The same in one thread, or through a repository that speaks async."""
        repository = self._repository
        if repository is None or within is not None:
            return await adrive(self._tell(claims, told, within), lambda step: step(self._async_repository))

        def look() -> tuple[Standing | None, int]:
            epoch = self._standings.epoch
            return self._find(claims)(repository), epoch

        return await self._lent.writing(lambda: repository.put(told), look)

    def _admit(
        self, token: str, claims: Claims, standing: Standing | None, known: Known | None, asked: tuple[int, float]
    ) -> Principal:
        if standing is None:  # what was put is gone again: a transaction of yours was undone
            raise RepositoryUnavailable
        known = known or self._standings.keep(_caller(claims), standing, *asked)
        return admit(claims, standing) if known is None else self._seat(token, claims, known)

    def _stale(self, claims: Claims) -> Standing | None:
        """While the repository is away: the standing that was true a short time ago, if that is to be served."""
        if self._serve_stale <= 0:
            return None
        standing = self._standings.stale(_caller(claims), self._monotonic() - self._serve_stale)
        return None if standing is None or token_records(claims, standing) else standing

    def _look_up_organization(
        self, claims: Claims, within: Repository | AsyncRepository | None
    ) -> Generator[Step, Any, Principal]:
        """The same for an organization that is calling itself. Nothing of it is remembered: programs can wait."""
        found = yield _find_organization(claims)
        if found is None:
            observed_at = claims.issued_at * 1000
            from_token = ClerkOrganization.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=observed_at)
            yield lambda repository: (within or repository).put([from_token])
            found = yield _find_organization(claims, within)
        if found is None:
            raise RepositoryUnavailable
        return admit_organization(claims, found)

    def _recall(self, claims: Claims) -> Generator[Step, Any, tuple[Standing | None, Known | None, int]]:
        """A standing out of memory that is not out of date, or else out of the repository; and the epoch of before."""
        if self._seconds_fresh() <= 0:
            yield from self._refresh()
        known = self._standings.get(_caller(claims)) or self._trusted(claims)
        epoch = self._standings.epoch
        standing: Standing | None = known.standing if known is not None else (yield self._find(claims))
        return standing, known, epoch

    def _seconds_fresh(self) -> float:
        """The seconds for which memory may be believed without asking the repository for changes."""
        return self._fresh_until - self._monotonic()

    def _refresh(self) -> Generator[Step, Any, None]:
        now = self._monotonic()
        yield lambda repository: repository.poll()
        self._fresh_until = now + (self._poll_every or 0)
        self._standings.vouch(now)

    def _trusted(self, claims: Claims) -> Known | None:
        """What the token alone tells of a caller, if that is to be trusted."""
        if self._heard is None or claims.own_id is None or claims.organization is not None:
            return None
        epoch = self._standings.epoch  # first: what is heard from here on ends it
        issued_at = claims.issued_at * 1000
        record = ClerkUser.make(FROM_TOKEN, claims.instance, claims.subject, observed_at=issued_at)
        heard = max(self._heard.last(key_of(id)) for id in _caller(claims) if id is not None)
        if claims.issued_at - SETTLED_AFTER <= heard:
            return None
        standing = Standing(User(claims.own_id, None, issued_at, None, record), role_is_known=False)
        return self._standings.keep(_caller(claims), standing, epoch)

    def _recall_and_keep(self, claims: Claims) -> Generator[Step, Any, Found | None]:
        if claims.kind == "organization_api_key":
            return cast(Organization | None, (yield self._find(claims)))
        asked_at = self._monotonic()
        standing, known, epoch = yield from self._recall(claims)
        if standing is not None and known is None:
            self._standings.keep(_caller(claims), standing, epoch, asked_at)
        return standing

    def _find_and_keep(self, claims: Claims) -> Generator[Step, Any, Found | None]:
        """What the repository knows, in the place of what a token alone has told."""
        epoch, asked_at = self._standings.epoch, self._monotonic()
        standing: Found | None = yield self._find(claims)
        if isinstance(standing, Standing):
            self._standings.keep(_caller(claims), standing, epoch, asked_at)
        return standing

    def _find(self, claims: Claims, within: Repository | AsyncRepository | None = None) -> Step:
        if claims.kind == "organization_api_key":
            return _find_organization(claims, within)
        caller = _caller(claims)
        return lambda repository: (within or repository).find(claims.instance, *caller)

    def _seat(self, token: str, claims: Claims, known: Known) -> Principal:
        principal = admit(claims, known.standing)
        seen = self._tokens.get(token)
        if seen is not None and seen.claims is claims:
            seen.seat = (known, principal)
        return principal


def _instead_of_token_record(told: list[AnyRecord], user: ClerkUser) -> list[AnyRecord]:
    """What a token tells, with Clerk's full word in the place of the person's mere id."""
    return [user, *(record for record in told if not isinstance(record, ClerkUser))]


def _admit_anew(principal: Principal, found: Found | None) -> Principal:
    if found is None:  # nobody is ever taken out of a repository, so it is another one, or it lost what it had
        raise UserDeleted if principal.optional_user is not None else OrganizationDeleted
    if isinstance(found, Organization):
        return admit_organization(principal.claims, found)
    return admit(principal.claims, found)


def _find_organization(claims: Claims, within: Repository | AsyncRepository | None = None) -> Step:
    key = key_of(claims.subject)
    return lambda repository: (within or repository).row("organization", claims.instance, key)


def _caller(claims: Claims) -> CallerIds:
    return claims.subject, claims.organization.id if claims.organization is not None else None, claims.session_id
