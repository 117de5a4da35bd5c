"""Asking Clerk what an opaque token stands for: the sockets, the threads and the memory around `core/opaque_tokens.py`.

    Verifier(instance, accept=["session", "api_key"], opaque=OpaqueTokens(instance))

A question runs in a thread of its own, one at a time for each token, and whoever needs its answer waits for the same
future: threads block on it, tasks await it, and nobody waits longer than the deadline. What comes of it is remembered
by the digest of the token, never by the token. Tokens that were good before are asked about first, also after a restart
where there is a repository. Strangers can send as many tokens as they like: those that never were good have a small
budget of their own, which their sources share, and a memory of their own.
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
from ..core.opaque_tokens import Prefix, Vouched, prefix_of, read_word, request_source
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
from .endpoints import Question, Shape
from .known_tokens import KnownTokens, failed

if TYPE_CHECKING:
    import httpx

REFUSED_FOR = 10.0  # seconds for which a token that Clerk does not know is not asked about again
AWAY_FOR = 1.0  # the same where Clerk has not told
MOST_FLIGHTS = 32  # questions at once; half of them for tokens that never were good

logger: logging.Logger = logging.getLogger("clerkmap.opaque")

_QUESTIONS: Mapping[Prefix, Callable[[str], Question[Shape]]] = {
    "ak": endpoints.verify_api_key,
    "mt": endpoints.verify_machine_token,
    "oat": endpoints.verify_oauth_token,
}


class _Word(NamedTuple):
    """What came of a question, and until when it is remembered."""

    said: Vouched | ClerkmapError
    until: float

    def tell(self) -> Vouched:
        if isinstance(self.said, Vouched):
            return self.said
        raise copy(self.said)  # for each who asked one: a traceback belongs to one of them


class OpaqueTokens(SurvivesForks):
    """What the opaque tokens of one instance stand for, as Clerk says.

    Args:
        instance: Whose. Its `secret_key` and `api_url` are used.
        repository: Where digests of good tokens are kept, so that after a restart they are asked about before any
            other. Without it, a new process takes all tokens for strangers' at first.
        transport: An httpx transport to ask through, for a proxy or a test. It must not be carried across a fork.
        keep_for: Seconds for which Clerk's word on a good token counts: until then, one that was revoked still passes.
        keep: How many good tokens to remember, and how many bad ones.
        budget: How often to ask, as of a `ClerkApi`.
        strangers: How often to ask about tokens that never were good; by default half of what Clerk allows.
        deadline: Seconds that anybody waits for Clerk.
        clock: The time, in seconds since 1970.
        monotonic: The clock that measures how long something is remembered.
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
            raise ConfigurationError("keep must be an integer, and at least 8")
        if type(deadline) not in (int, float) or not 0 < deadline <= 60:
            raise ConfigurationError("deadline must be at most 60 seconds")
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
        self._good: Bounded[bytes, _Word] = Bounded(keep)  # also those whose word is over: they were good once
        self._bad: Bounded[bytes, _Word] = Bounded(keep)
        self._lock = threading.Lock()
        self._known_aloft = 0  # questions about tokens that were good
        self._flights: dict[bytes, Flight[_Word]] = {}
        self.survive_forks()

    def peek(self, token: str) -> Vouched | None:
        """What is remembered of a token; None where Clerk would have to be asked."""
        word = self._remembered(_digest(token))
        return None if word is None else word.tell()

    def get(self, token: str) -> Vouched:
        """What a token stands for. May ask Clerk."""
        if self._repository is not None and self._remembered(_digest(token)) is None:
            self._exchange(self._repository)
        found = self._remembered_or_asked(token)
        if isinstance(found, _Word):
            return found.tell()
        if not found.join(self._deadline):
            raise ApiUnavailable("it did not answer in time")
        return found.result().tell()

    async def aget(self, token: str) -> Vouched:
        """The same without holding up the event loop."""
        if self._async_repository is not None and self._remembered(_digest(token)) is None:
            await self._aexchange(self._async_repository)
        found = self._remembered_or_asked(token)
        if isinstance(found, _Word):
            return found.tell()
        if not await found.ajoin(self._deadline):
            raise ApiUnavailable("it did not answer in time")
        return found.result().tell()

    def close(self) -> None:
        """Let go of the connections."""
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, repository: Repository) -> None:
        """Learn which tokens were good before, and keep those that are now."""
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
        """The same without holding up the event loop."""
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

    def _remembered(self, digest: bytes) -> _Word | None:
        now = self._monotonic()
        for memory in (self._good, self._bad):
            word = memory.get(digest)
            if word is None or now >= word.until:
                continue
            if isinstance(word.said, ClerkmapError) or self._clock() < word.said.payload["exp"]:
                return word
        return None

    def _remembered_or_asked(self, token: str) -> _Word | Flight[_Word]:
        digest = _digest(token)
        word = self._remembered(digest)
        if word is not None:
            return word
        with self._lock:  # somebody else's answer may just have come
            return self._remembered(digest) or self._flights.get(digest) or self._take_off(token, digest)

    def _take_off(self, token: str, digest: bytes) -> Flight[_Word]:
        is_known = digest in self._good or token in self._known
        if len(self._flights) >= (MOST_FLIGHTS if is_known else MOST_FLIGHTS // 2):
            raise ApiUnavailable("too much is being asked of it at once")
        if not is_known:
            self._check_stranger(token)
        self._known_aloft += is_known
        flight = self._flights[digest] = Flight[_Word]()
        if not flight.start(lambda: self._fly(token, digest, is_known), "clerkmap-opaque"):
            self._land(token, digest, is_known, ApiUnavailable("there is no thread to ask in"))
        return flight

    def _check_stranger(self, token: str) -> None:
        """Raise if a token that never was good has to wait: for those that were, or for other sources."""
        if self._known_aloft and not self._api.budget.is_half_full():
            raise ApiUnavailable("tokens that were good before are asked about first")
        if not self._shares.take(_source_of(token)):
            raise ApiUnavailable("too many tokens that never were good come from one source")
        if self._strangers.take():
            raise ApiUnavailable("too many tokens are being tried that never were good")

    def _fly(self, token: str, digest: bytes, is_known: bool) -> None:
        said: Vouched | ClerkmapError
        try:
            said = self._ask(token)
        except TokenError as error:
            said = error
        except Exception as error:  # noqa: BLE001 - whatever went wrong out there, the waiters must be told
            logger.warning("asking Clerk about an opaque token failed: %s", type(error).__name__)
            said = error if isinstance(error, ClerkmapError) else ApiUnavailable(type(error).__name__)
        with self._lock:
            self._land(token, digest, is_known, copy(said) if isinstance(said, ClerkmapError) else said)

    def _ask(self, token: str) -> Vouched:
        """Clerk's word, or why there is none."""
        prefix = prefix_of(token)
        if prefix is None:
            raise TokenUnknown
        now = self._clock()  # of before: how long the word counts is not made longer by a slow answer
        try:
            said = self._api.ask(_QUESTIONS[prefix](token))
        except ApiNotFound:
            raise TokenUnknown from None
        except ApiRefused as refused:
            if refused.status not in (400, 422):
                raise
            # The form of the question is ours and right, so it is the token's that is not.
            logger.warning("Clerk refuses the form of an opaque token: %s", refused)
            raise TokenUnknown("Clerk cannot read it") from None
        try:
            return read_word(prefix, said, self.instance.issuer, now, self._keep_for)
        except (KeyError, ValueError, OverflowError, RecursionError):
            raise ApiUnavailable("its answer cannot be read") from None

    def _land(self, token: str, digest: bytes, is_known: bool, said: Vouched | ClerkmapError) -> None:
        now = self._monotonic()
        self._known_aloft -= is_known
        if isinstance(said, Vouched):
            self._known.add(token)
            word = _Word(said, now + self._keep_for)
            self._bad.pop(digest, None)
            self._good.pop(digest, None)  # so that the oldest is the one that was asked about longest ago
            self._good.keep(digest, word)
        else:
            is_bad = isinstance(said, TokenError)
            word = _Word(said, now + (REFUSED_FOR if is_bad else AWAY_FOR))
            if is_bad:
                self._known.drop(token)
                self._good.pop(digest, None)
            self._bad.pop(digest, None)
            self._bad.keep(digest, word)
        flight = self._flights.pop(digest, None)
        if flight is not None:
            flight.land(word)

    def after_fork_in_child(self) -> None:
        """In a child process: the threads that were asking have stayed behind, and so may the holder of the lock."""
        self._lock = threading.Lock()
        self._flights = {}
        self._known_aloft = 0

    def __repr__(self) -> str:
        return f"OpaqueTokens({self.instance.name!r})"


def _source_of(token: str) -> str:
    """Return what tells strangers apart: the address of the request, or the form of the token where none is known. All
    addresses of an IPv6 network of one customer (/64) count as one."""
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
