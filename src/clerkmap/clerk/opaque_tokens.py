"""Verify opaque tokens with Clerk: the requests, threads and caches around `core/opaque_tokens.py`.

    Verifier(instance, accept=["session", "api_key"], opaque=OpaqueTokens(instance))

Each request runs in its own thread, one at a time for each token. All callers wait for the same future: threads block
on it, tasks await it, and no caller waits longer than the deadline. The cache holds each result under the digest of the
token, never under the token.

Requests about tokens that were valid before come first; with a repository, also after a restart. An attacker can send
any number of forged tokens. So tokens that never were valid have a small budget, which their sources share, and a
separate cache.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from copy import copy
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from .._runtime.bounded import Bounded
from .._runtime.driving import adrive, drive
from .._runtime.flights import Flight
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance
from ..core.opaque_tokens import Prefix, Vouched, prefix_of, read_answer, request_source
from ..errors import (
    ApiNotFound,
    ApiRefused,
    ApiUnavailable,
    ClerkmapError,
    ConfigurationError,
    TokenError,
    TokenUnknown,
)
from ..ports import AsyncRepository, Repository, is_async
from ..repositories.threaded import threaded
from . import endpoints
from .api import ClerkApi
from .budget import DEVELOPMENT, PRODUCTION, Budget, Shares
from .endpoints import ClerkRequest, Shape
from .known_tokens import KnownTokens, failed

if TYPE_CHECKING:
    import httpx

REFUSED_FOR = 10.0  # seconds to cache that Clerk does not know a token
AWAY_FOR = 1.0  # seconds to cache that Clerk did not answer
MOST_FLIGHTS = 32  # requests at once; at most half of them about tokens that never were valid

logger: logging.Logger = logging.getLogger("clerkmap.opaque")

_REQUESTS: Mapping[Prefix, Callable[[str], ClerkRequest[Shape]]] = {
    "ak": endpoints.verify_api_key,
    "mt": endpoints.verify_machine_token,
    "oat": endpoints.verify_oauth_token,
}


class _CachedAnswer(NamedTuple):
    """The result of a request, and the time until which it is cached."""

    said: Vouched | ClerkmapError
    until: float

    def tell(self) -> Vouched:
        if isinstance(self.said, Vouched):
            return self.said
        raise copy(self.said)  # a copy for each caller: a traceback belongs to one caller


class OpaqueTokens(SurvivesForks):
    """Verifies the opaque tokens of one instance with Clerk, and caches the results.

    Args:
        instance: The instance. Its `secret_key` and `api_url` are used.
        repository: The repository that keeps digests of valid tokens. After a restart, Clerk is asked about these
            tokens first. Without it, a new process treats all tokens as unknown at first.
        transport: An httpx transport for the requests, for a proxy or a test. It must not be carried across a fork.
        keep_for: Seconds to cache a valid token. Until then, a revoked token still passes.
        keep: The number of valid tokens to cache, and the number of invalid ones.
        budget: The rate limit of all requests, as of a `ClerkApi`.
        strangers: The rate limit for tokens that never were valid. By default half of the limit that Clerk allows.
        deadline: Seconds that a caller waits for Clerk.
        clock: The time, in seconds since 1970.
        monotonic: The clock that measures cache times.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        repository: Repository | AsyncRepository | None = None,
        transport: "httpx.BaseTransport | None" = None,
        keep_for: float = 60,
        keep: int = 10_000,
        budget: Budget | None = None,
        strangers: Budget | None = None,
        deadline: float = 5,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(keep_for) not in (int, float) or not 1 <= keep_for <= 300:
            raise ConfigurationError("keep_for must be from 1 to 300 seconds")
        if type(keep) is not int or keep < 8:
            raise ConfigurationError("keep must be an integer of at least 8")
        if type(deadline) not in (int, float) or not 0 < deadline <= 60:
            raise ConfigurationError("deadline must be more than 0 and at most 60 seconds")
        self.instance: Instance = instance
        self._api = ClerkApi(
            instance, transport=transport, timeout=deadline, patience=deadline, budget=budget, clock=monotonic
        )
        self._keep_for = keep_for
        self._deadline = deadline
        self._clock = clock
        self._monotonic = monotonic
        allowed = PRODUCTION if str(instance.secret_key).startswith("sk_live_") else DEVELOPMENT
        self._strangers = Budget(allowed / 2, monotonic) if strangers is None else strangers
        self._shares = Shares(self._strangers.limit * 0.9, monotonic)
        self._known = KnownTokens(instance, monotonic)
        self._repository = None if repository is None or is_async(repository) else cast(Repository, repository)
        self._async_repository: AsyncRepository | None = None
        if repository is not None:
            self._async_repository = (
                cast(AsyncRepository, repository) if self._repository is None else threaded(self._repository)
            )
        self._good: Bounded[bytes, _CachedAnswer] = Bounded(keep)  # also expired entries: these tokens were valid once
        self._bad: Bounded[bytes, _CachedAnswer] = Bounded(keep)
        self._lock = threading.Lock()
        self._known_aloft = 0  # running requests about tokens that were valid before
        self._flights: dict[bytes, Flight[_CachedAnswer]] = {}
        self.survive_forks()

    def peek(self, token: str) -> Vouched | None:
        """Return the cached result for a token, or None if it needs a request to Clerk."""
        word = self._remembered(_digest(token))
        return None if word is None else word.tell()

    def get(self, token: str) -> Vouched:
        """Return the verified content of a token. This may send a request to Clerk."""
        if self._repository is not None and self._remembered(_digest(token)) is None:
            self._exchange(self._repository)
        found = self._remembered_or_requested(token)
        if isinstance(found, _CachedAnswer):
            return found.tell()
        if not found.join(self._deadline):
            raise ApiUnavailable("the request timed out")
        return found.result().tell()

    async def aget(self, token: str) -> Vouched:
        """Do the same without blocking the event loop."""
        if self._async_repository is not None and self._remembered(_digest(token)) is None:
            await self._aexchange(self._async_repository)
        found = self._remembered_or_requested(token)
        if isinstance(found, _CachedAnswer):
            return found.tell()
        if not await found.ajoin(self._deadline):
            raise ApiUnavailable("the request timed out")
        return found.result().tell()

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, repository: Repository) -> None:
        """Load the digests of tokens that were valid before, and store the digests of tokens that are valid now."""
        due = self._known.due()
        if due is None:
            return
        flight, is_mine = due
        if not is_mine:
            flight.join(self._deadline)
            return
        steps = self._known.exchange()
        try:
            drive(steps, lambda step: step(repository))
        except ClerkmapError as error:
            failed(error)
        finally:
            steps.close()

    async def _aexchange(self, repository: AsyncRepository) -> None:
        """Do the same without blocking the event loop."""
        due = self._known.due()
        if due is None:
            return
        flight, is_mine = due
        if not is_mine:
            await flight.ajoin(self._deadline)
            return
        steps = self._known.exchange()
        try:
            await adrive(steps, lambda step: step(repository))
        except ClerkmapError as error:
            failed(error)
        finally:
            steps.close()

    def _remembered(self, digest: bytes) -> _CachedAnswer | None:
        now = self._monotonic()
        for memory in (self._good, self._bad):
            word = memory.get(digest)
            if word is None or now >= word.until:
                continue
            if isinstance(word.said, ClerkmapError) or self._clock() < word.said.payload["exp"]:
                return word
        return None

    def _remembered_or_requested(self, token: str) -> _CachedAnswer | Flight[_CachedAnswer]:
        digest = _digest(token)
        word = self._remembered(digest)
        if word is not None:
            return word
        with self._lock:  # another caller's answer may just have arrived
            return self._remembered(digest) or self._flights.get(digest) or self._start_request(token, digest)

    def _start_request(self, token: str, digest: bytes) -> Flight[_CachedAnswer]:
        is_known = digest in self._good or token in self._known
        if len(self._flights) >= (MOST_FLIGHTS if is_known else MOST_FLIGHTS // 2):
            raise ApiUnavailable("too many requests are under way")
        if not is_known:
            self._check_stranger(token)
        self._known_aloft += is_known
        flight = self._flights[digest] = Flight[_CachedAnswer]()
        if not flight.start(lambda: self._request_in_thread(token, digest, is_known), "clerkmap-opaque"):
            self._finish_request(token, digest, is_known, ApiUnavailable("no thread can be started"))
        return flight

    def _check_stranger(self, token: str) -> None:
        """Raise if a token that never was valid must wait: for tokens that were, or for other sources."""
        if self._known_aloft and not self._api.budget.is_half_full():
            raise ApiUnavailable("known tokens are looked up first")
        if not self._shares.take(_source_of(token)):
            raise ApiUnavailable("too many unknown tokens come from one source")
        if self._strangers.take():
            raise ApiUnavailable("too many unknown tokens are being looked up")

    def _request_in_thread(self, token: str, digest: bytes, is_known: bool) -> None:
        said: Vouched | ClerkmapError
        try:
            said = self._request(token)
        except TokenError as error:
            said = error
        except Exception as error:  # noqa: BLE001 - the waiting callers must get any error
            logger.warning("looking up an opaque token at Clerk failed: %s", type(error).__name__)
            said = error if isinstance(error, ClerkmapError) else ApiUnavailable(type(error).__name__)
        with self._lock:
            self._finish_request(token, digest, is_known, copy(said) if isinstance(said, ClerkmapError) else said)

    def _request(self, token: str) -> Vouched:
        """Return Clerk's answer about a token, or raise the reason why there is none."""
        prefix = prefix_of(token)
        if prefix is None:
            raise TokenUnknown
        now = self._clock()  # before the request: a slow answer must not extend the cache time
        try:
            said = self._api.send(_REQUESTS[prefix](token))
        except ApiNotFound:
            raise TokenUnknown from None
        except ApiRefused as refused:
            if refused.status not in (400, 422):
                raise
            # The form of the request is known to be right, so the form of the token is wrong.
            logger.warning("Clerk refused the format of an opaque token: %s", refused)
            raise TokenUnknown("its format is wrong") from None
        try:
            return read_answer(prefix, said, self.instance.issuer, now, self._keep_for)
        except (KeyError, ValueError, OverflowError, RecursionError):
            raise ApiUnavailable("the response cannot be read") from None

    def _finish_request(self, token: str, digest: bytes, is_known: bool, said: Vouched | ClerkmapError) -> None:
        now = self._monotonic()
        self._known_aloft -= is_known
        if isinstance(said, Vouched):
            self._known.add(token)
            word = _CachedAnswer(said, now + self._keep_for)
            self._bad.pop(digest, None)
            self._good.pop(digest, None)  # so that the first entry is the one with the oldest answer
            self._good.keep(digest, word)
        else:
            is_bad = isinstance(said, TokenError)
            word = _CachedAnswer(said, now + (REFUSED_FOR if is_bad else AWAY_FOR))
            if is_bad:
                self._known.drop(token)
                self._good.pop(digest, None)
            self._bad.pop(digest, None)
            self._bad.keep(digest, word)
        flight = self._flights.pop(digest, None)
        if flight is not None:
            flight.land(word)

    def after_fork_in_child(self) -> None:
        """Replace the lock and the running requests in a child process: their threads exist in the parent only."""
        self._lock = threading.Lock()
        self._flights = {}
        self._known_aloft = 0

    def __repr__(self) -> str:
        return f"OpaqueTokens({self.instance.name!r})"


def _source_of(token: str) -> str:
    """Return the source of an unknown token: the address of the request, or the form of the token without an address.

    All addresses of an IPv6 network of one customer (/64) count as one.
    """
    address = request_source.get()
    if ":" in address:
        from ipaddress import IPv6Address

        try:
            parsed = IPv6Address(address.partition("%")[0])
        except ValueError:
            return address
        return str(parsed.ipv4_mapped or parsed.packed[:8].hex())
    return address or f"{prefix_of(token)} {len(token)}"


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
