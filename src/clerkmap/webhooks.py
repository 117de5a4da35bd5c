"""Apply webhook deliveries to a repository.

`receive` takes a delivery from the network; `apply` takes an event from a trusted source. Both put the records, as
tokens do. So deliveries may come in any order: a delivery that comes twice, late or early ends in the same state.
Nothing waits for another delivery.

Your handlers of events are called in the transaction that puts the records. For them, the repository keeps a digest of
each delivery that was handled.
"""

import hmac
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isawaitable, iscoroutine
from typing import TYPE_CHECKING, Any, Literal, cast

from ._runtime.forks import SurvivesForks
from .core.deliveries import (
    MAX_BODY,
    TOLERANCE,
    UnverifiedDelivery,
    delivery_key,
    is_delivery_id,
    read_delivery,
)
from .core.event_handlers import EventHandler, EventHandlers, ReceivedEvent
from .core.events import Event, Unreadable, parse_event
from .core.http import Headers
from .core.instance import Instance
from .core.model import Change
from .core.records import AnyRecord
from .core.times import to_datetime
from .errors import ConfigurationError, HandlerFailed, WebhookError, WebhookFromElsewhere, WebhookSignatureInvalid
from .hooks import AfterCommit, Hook, Then, name_of, would_run
from .ports import (
    AsyncCoreRepository,
    AsyncDeliveryRepository,
    CoreRepository,
    DeliveryRepository,
    check_parts,
    is_async,
)
from .repositories.threaded import threaded

if TYPE_CHECKING:
    from svix.webhooks import Webhook

logger: logging.Logger = logging.getLogger("clerkmap.webhooks")

Kind = Literal["applied", "nothing_new", "ignored"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a delivery. Answer with a 2xx status: the delivery is committed, or has nothing to commit.

    `applied`: it changed something, or your handlers were called: then `handled` is true. `nothing_new`: its records,
    or newer ones, were stored already, and your handlers were called before. `ignored`: no handler takes it, and its
    type is not mirrored or it lacks a necessary field. `reason` says why nothing was stored.
    """

    kind: Kind
    type: str
    changes: tuple[Change, ...] = ()
    reason: str | None = None
    handled: bool = False


class Reconciler(SurvivesForks):
    """Applies the webhooks of one instance to a repository.

    Args:
        instance: The instance. Deliveries must be signed with one of its `webhook_secrets`.
        repository: The repository for the records. An async repository works only with `areceive` and `aapply`.
        hooks: Your functions to call inside each transaction, with each change and the transaction. They become hooks
            of the repository, so changes from tokens call them too.
        after_commit: Your functions to call with each change after its commit, at most once.
        on_event: Your handlers of events, by type (`"waitlistEntry.created"`), by prefix (`"subscription.*"`), or `"*"`
            for all. A handler is called with a `ReceivedEvent` and the transaction, once for each delivery, after the
            hooks. Handlers are sync functions, or also async ones if the repository is async.
        tolerance: The largest difference between the time of a delivery and the clock, in seconds.
        max_body: The largest size of a delivery, in bytes.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        instance: Instance,
        repository: CoreRepository | AsyncCoreRepository,
        *,
        hooks: Iterable[Hook] = (),
        after_commit: Iterable[AfterCommit] = (),
        on_event: Mapping[str, EventHandler] | None = None,
        tolerance: float = TOLERANCE,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_parts("Reconciler", instance, repository)
        if type(tolerance) not in (int, float) or not 0 < tolerance <= 3600:
            raise ConfigurationError("tolerance must be more than 0 and at most 3600 seconds")
        if type(max_body) is not int or max_body < 1024:
            raise ConfigurationError("max_body must be an integer of at least 1024 bytes")
        self._handlers = EventHandlers(on_event or {})
        _check_handlers(self._handlers, repository)
        repository.listeners.add(hooks, after_commit)
        self._instance = instance
        self._repository = None if is_async(repository) else cast(CoreRepository, repository)
        self._async_repository = (
            cast(AsyncCoreRepository, repository) if self._repository is None else threaded(self._repository)
        )
        self._speaks_async = repository.listeners.speaks_async
        self._tolerance = tolerance
        self.max_body: int = max_body
        self._clock = clock
        self._signers: list[Webhook] = []
        self._lock = threading.Lock()
        self._events: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._lag: float | None = None
        self.survive_forks()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def receive(self, headers: Headers, body: bytes) -> Outcome:
        """Apply a delivery: its headers, and its body with every byte as received.

        Raises:
            WebhookError: The delivery is not from Clerk, or cannot be read. Answer 400, or 413 for `WebhookTooLarge`.
            Exception: Any other error is on your side. Answer 500 or 503, and Clerk retries the delivery.
        """
        repository = self._synchronous()
        return self._put(repository, *self._read_verified_event(headers, body))

    async def areceive(self, headers: Headers, body: bytes) -> Outcome:
        """Do the same without blocking the event loop."""
        return await self._aput(*self._read_verified_event(headers, body))

    def check_receives(self, *, synchronous: bool = False) -> None:
        """Raise `ConfigurationError` if no delivery can be received. An endpoint calls it at the start.

        Args:
            synchronous: Whether the endpoint calls `receive`, and not `areceive`.
        """
        if not self._instance.webhook_secrets:
            raise ConfigurationError(
                "the instance has no webhook_secrets: pass the endpoint's signing secret, or set "
                "CLERK_WEBHOOK_SIGNING_SECRET"
            )
        if synchronous and self._repository is None:
            raise ConfigurationError(
                "a synchronous endpoint needs a synchronous repository, such as PostgresRepository, "
                "SqlAlchemyRepository or SqliteRepository"
            )

    def apply(self, event: Event, *, delivery_id: str | None = None, again: bool = False) -> Outcome:
        """Apply an event from a trusted source: a replay, your queue, a test.

        Args:
            event: The event.
            delivery_id: The id of its delivery, from the header `svix-id`. Your handlers are called once for each id.
                Without an id, they are called only with `again`, because nothing shows whether they were called before.
            again: Whether to call your handlers even if they were called before.
        """
        return self._put(self._synchronous(), self._dated(event), _checked_id(delivery_id), again)

    async def aapply(self, event: Event, *, delivery_id: str | None = None, again: bool = False) -> Outcome:
        """Do the same without blocking the event loop."""
        return await self._aput(self._dated(event), _checked_id(delivery_id), again)

    @property
    def instance(self) -> Instance:
        """The instance."""
        return self._instance

    @property
    def repository(self) -> CoreRepository | AsyncCoreRepository:
        """The repository."""
        return self._async_repository if self._repository is None else self._repository

    def counts(self) -> dict[str, Any]:
        """Return the counts since the start, for a metrics library.

        Events by type and outcome, refusals by code, and the seconds between the last event and its arrival.
        """
        with self._lock:
            events = [{"type": type_, "outcome": kind, "count": count} for (type_, kind), count in self._events.items()]
            return {"events": events, "refusals": dict(self._refusals), "lag_seconds": self._lag}

    def _read_verified_event(self, headers: Headers, body: bytes) -> tuple[Event, str]:
        """Return the event of a delivery that Clerk has signed, and the id of the delivery."""
        self.check_receives()
        try:
            now = self._clock()
            delivery = read_delivery(headers, body, now, tolerance=self._tolerance, max_body=self.max_body)
            self._check_signature(delivery)
            event = parse_event(delivery.body).not_after(delivery.timestamp * 1000)
            if self._instance.is_another(event.instance_id):
                raise WebhookFromElsewhere
        except WebhookError as refused:
            with self._lock:
                self._refusals[refused.code] += 1
            logger.warning("a webhook was refused: %s", refused)
            raise
        with self._lock:
            self._lag = max(0.0, now - event.timestamp / 1000)
        return event, delivery.id

    def _dated(self, event: Event) -> Event:
        return event.not_after(int(self._clock() * 1000))

    def _check_signature(self, delivery: UnverifiedDelivery) -> None:
        at = datetime.fromtimestamp(delivery.timestamp, UTC)
        signers = self._all_signers() if delivery.signatures else []
        # Sign once for each secret, not for each signature that the sender gives: the body may be large.
        expected = [signer.sign(delivery.id, at, delivery.body) for signer in signers]
        if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in delivery.signatures):
            raise WebhookSignatureInvalid

    def _all_signers(self) -> "list[Webhook]":
        if not self._signers:
            from svix.webhooks import Webhook  # imported here: it takes longer to load than all of clerkmap

            self._signers = [Webhook(secret) for secret in self._instance.webhook_secrets]
        return self._signers

    def _put(self, repository: CoreRepository, event: Event, delivery_id: str | None, again: bool = False) -> Outcome:
        records, reason = self._records(event)
        if not self._is_handled(event, delivery_id, again):
            return self._outcome(event, repository.put(records) if records else [], reason)
        key, then = self._key(delivery_id), self._then(event, delivery_id)
        changes = cast(DeliveryRepository, repository).put_once(key, records, then, again=again)
        return self._handled_outcome(event, changes, reason)

    async def _aput(self, event: Event, delivery_id: str | None, again: bool = False) -> Outcome:
        records, reason = self._records(event)
        repository = self._async_repository
        if not self._is_handled(event, delivery_id, again):
            return self._outcome(event, await repository.put(records) if records else [], reason)
        # The threads of a sync repository call a sync function.
        then = self._athen(event, delivery_id) if self._speaks_async else self._then(event, delivery_id)
        key = self._key(delivery_id)
        changes = await cast(AsyncDeliveryRepository, repository).put_once(key, records, then, again=again)
        return self._handled_outcome(event, changes, reason)

    def _is_handled(self, event: Event, delivery_id: str | None, again: bool) -> bool:
        """Return whether to call handlers, unless they were called for this delivery before."""
        return (again or delivery_id is not None) and bool(self._handlers.of(event.type))

    def _key(self, delivery_id: str | None) -> str | None:
        return None if delivery_id is None else delivery_key(self._instance.name, delivery_id)

    def _then(self, event: Event, delivery_id: str | None) -> Then:
        """Return the function that calls the handlers of an event, with a transaction."""

        def then(transaction: Any) -> None:
            for handler in self._handlers.of(event.type).values():
                with _as_handler_failure(handler):
                    result = handler(self._received(event, delivery_id), transaction)
                if isawaitable(result):
                    if iscoroutine(result):
                        result.close()
                    raise HandlerFailed(f"{name_of(handler)} returned an awaitable: it must be a sync function")

        return then

    def _athen(self, event: Event, delivery_id: str | None) -> Then:
        async def then(transaction: Any) -> None:
            for handler in self._handlers.of(event.type).values():
                with _as_handler_failure(handler):
                    result = handler(self._received(event, delivery_id), transaction)
                    if isawaitable(result):
                        await result

        return then

    def _received(self, event: Event, delivery_id: str | None) -> ReceivedEvent:
        timestamp = to_datetime(event.timestamp)
        return ReceivedEvent(event.type, self._instance.name, timestamp, event.payload(), delivery_id)

    def _records(self, event: Event) -> tuple[list[AnyRecord], str | None]:
        """Return the records of an event, or no records and the reason."""
        try:
            records = event.records(self._instance.name)
        except Unreadable as unreadable:
            # Not refused: Clerk would retry for a day, and no retry can be read either.
            logger.error("a webhook of type %s cannot be read: %s", event.type, unreadable)
            return [], str(unreadable)
        if records:
            return records, None
        return (
            [],
            "the event names no user or organization" if event.is_mirrored else "events of this type are not stored",
        )

    def _outcome(self, event: Event, changes: list[Change], reason: str | None) -> Outcome:
        kind: Kind = "ignored" if reason is not None else "applied" if changes else "nothing_new"
        self._count(event, kind)
        return Outcome(kind, event.type, tuple(changes), reason)

    def _handled_outcome(self, event: Event, changes: list[Change] | None, reason: str | None) -> Outcome:
        """Return the outcome of `put_once`. Without changes, the delivery was handled before."""
        if changes is None:
            self._count(event, "nothing_new")
            return Outcome("nothing_new", event.type, reason="your handlers were called for this delivery before")
        self._count(event, "applied")
        return Outcome("applied", event.type, tuple(changes), reason, handled=True)

    def _count(self, event: Event, kind: Kind) -> None:
        # Types that are not mirrored are counted by your pattern: their number has no bound.
        name = event.type if event.is_mirrored else next(iter(self._handlers.of(event.type)), "other")
        with self._lock:
            self._events[name, kind] += 1

    def _synchronous(self) -> CoreRepository:
        if self._repository is None:
            raise ConfigurationError("the repository is asynchronous: await areceive or aapply")
        return self._repository


def _check_handlers(handlers: EventHandlers, repository: CoreRepository | AsyncCoreRepository) -> None:
    """Check that the repository can call these handlers."""
    if handlers.by_pattern and not hasattr(repository, "put_once"):
        raise ConfigurationError(
            f"on_event needs a repository with the method put_once, which {type(repository).__name__} does not have: "
            "implement clerkmap.DeliveryRepository, or leave on_event out"
        )
    speaks_async = repository.listeners.speaks_async
    for pattern, handler in handlers.by_pattern.items():
        if not would_run(handler, speaks_async=speaks_async):
            wanted = (
                "a function, and no generator" if speaks_async else "a sync function, because the repository is sync"
            )
            raise ConfigurationError(f"the handler of {pattern!r} must be {wanted}: a call would not run it")


def _checked_id(delivery_id: str | None) -> str | None:
    if delivery_id is not None and not is_delivery_id(delivery_id):
        raise ConfigurationError("delivery_id must be the header svix-id of a delivery: letters, digits, '_' and '-'")
    return delivery_id


@contextmanager
def _as_handler_failure(handler: EventHandler) -> Generator[None, None, None]:
    try:
        yield
    except Exception as error:
        raise HandlerFailed(f"{name_of(handler)} raised {type(error).__name__}") from error
