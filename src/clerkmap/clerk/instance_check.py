"""The check that a secret key belongs to its instance, made once before the key is first used.

Clerk's API shows the signing keys of the instance that a secret key belongs to. One of them must be a signing key of
the configured instance. With the secret key of another instance, clerkmap would accept that instance's API keys. It
would also store that instance's records as records of this one. `ClerkApi` makes the check, so no feature can forget
it.
"""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal
from weakref import finalize

from .._runtime.flights import Flight
from .._runtime.forks import SurvivesForks
from ..core.instance import Instance
from ..core.keys import KeySet, import_jwks
from ..errors import ApiUnavailable, ClerkmapError, WrongInstance
from . import endpoints
from .endpoints import ClerkRequest

REFUSED_FOR = 60.0  # seconds to remember a mismatch: just after a rotation, one side may be out of date

Colour = Literal["sync", "async"]
Sending = Generator[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wait until another check has ended, or for some seconds. The answer is whether the check has ended."""

    flight: Flight[None]
    seconds: float


class InstanceChecks(SurvivesForks):
    """Remembers which secret keys were checked, and lets simultaneous first uses share one check.

    Only digests of keys are kept. A check without an answer from Clerk is not remembered.
    """

    def __init__(self) -> None:
        self._passed = set[bytes]()
        self._refused: dict[bytes, float] = {}
        self._lock = threading.Lock()
        # The colour is part of the key: a thread that blocks its event loop must not wait for a task of that loop.
        self._flights: dict[tuple[Colour, bytes], Flight[None]] = {}
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        """Replace the lock and the running checks in a child process: their threads exist in the parent only."""
        self._lock = threading.Lock()
        self._flights = {}

    def ensure(
        self,
        instance: Instance,
        name: bytes,
        colour: Colour,
        send: Callable[[ClerkRequest[Any]], Sending],
        patience: float,
        clock: Callable[[], float],
    ) -> Sending:
        """Return once the key has passed. Raise `WrongInstance`, or the `ApiError` that prevents the check."""
        ends = clock() + patience
        while name not in self._passed:
            if clock() < self._refused.get(name, float("-inf")):
                raise _mismatch(instance)
            with self._lock:
                flight = self._flights.get((colour, name))
                is_first = flight is None
                if flight is None:
                    flight = self._flights[colour, name] = Flight()
            if is_first:
                yield from self._check(instance, name, (colour, name), flight, send, clock)
                return
            if not (yield Waiting(flight, max(0.0, ends - clock()))):
                raise ApiUnavailable("the check of the secret key timed out")
            try:
                flight.result()
            except ApiUnavailable:
                if clock() >= ends:
                    raise

    def _check(
        self,
        instance: Instance,
        name: bytes,
        place: tuple[Colour, bytes],
        flight: Flight[None],
        send: Callable[[ClerkRequest[Any]], Sending],
        clock: Callable[[], float],
    ) -> Sending:
        outcome: ClerkmapError | None = ApiUnavailable("the check of the secret key was interrupted")
        try:
            published = yield from _published(instance, send)
            shown = import_jwks((yield from send(endpoints.jwks())), instance.algorithms)
            if not shown:  # an empty answer is no evidence of a mismatch
                raise ApiUnavailable("the response has no signing keys")
            if not published.shares_a_key(shown):
                self._refused[name] = clock() + REFUSED_FOR
                raise _mismatch(instance)
            self._passed.add(name)
            outcome = None
        except ClerkmapError as error:
            outcome = error
            raise
        finally:  # also when the generator is closed, because its task was cancelled
            with self._lock:
                if self._flights.get(place) is flight:
                    del self._flights[place]
            if outcome is None:
                flight.land(None)
            else:
                flight.fail(outcome)


def check_name(instance: Instance) -> bytes:
    """Return the digest of the API's address, the secret key and the instance's keys. It identifies a check."""
    told = "\n".join((instance.api_url, str(instance.secret_key), instance.issuer, str(instance.jwks_url)))
    keys = instance.local_keys.digest() if instance.local_keys is not None else b""
    return blake2b(told.encode(), key=keys).digest()


_own = InstanceChecks()  # of all clients without a given transport
_by_transport: dict[int, InstanceChecks] = {}  # by identity: a transport may be unhashable, or equal another transport
_making = threading.Lock()


def checks_of(transport: object | None) -> InstanceChecks:
    """Return the checks of this process. A given transport has its own, since it may lead to another server."""
    if transport is None:
        return _own
    with _making:
        checks = _by_transport.get(id(transport))
        if checks is None:
            checks = _by_transport[id(transport)] = InstanceChecks()
            finalize(transport, _by_transport.pop, id(transport)).atexit = False
        return checks


def _published(instance: Instance, send: Callable[[ClerkRequest[Any]], Sending]) -> Generator[Any, Any, KeySet]:
    if instance.local_keys is not None:
        return instance.local_keys
    try:
        said = yield from send(endpoints.published_jwks(str(instance.jwks_url)))
        keys = import_jwks(said, instance.algorithms)
    except ApiUnavailable as error:
        failure = ApiUnavailable(f"the instance's signing keys cannot be fetched from {instance.jwks_url}")
        failure.status = error.status
    else:
        if keys:
            return keys
        failure = ApiUnavailable(f"{instance.jwks_url} has no signing keys")
    raise failure


def _mismatch(instance: Instance) -> WrongInstance:
    if instance.local_keys is not None:
        return WrongInstance(
            "copy the secret key and the signing key (jwt_key or jwks) from one environment; after a rotation, copy"
            " the signing key again"
        )
    return WrongInstance("copy both from the API keys page of one environment in Clerk's dashboard")
