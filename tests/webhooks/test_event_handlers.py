"""Handlers of events: their patterns, one call for each delivery, one transaction with the records, and errors."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Change, ReceivedEvent, Reconciler, Resolver, parse_event, threaded
from clerkmap.core.event_handlers import EventHandler
from clerkmap.errors import ConfigurationError, HandlerFailed
from clerkmap.hooks import Hook
from clerkmap.repositories import AsyncPostgresRepository, MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.fake.webhook_delivery import Delivery
from postgres_server import postgres

NOW = 1_790_000_000
MADE = "CREATE TABLE IF NOT EXISTS seats (address TEXT PRIMARY KEY)"


class World:
    """One Clerk with an organization, and a repository that knows it."""

    def __init__(self, repository: Any = None) -> None:
        self.clerk = FakeClerk(seed=1, clock=Clock(NOW))
        self.acme = self.clerk.create_organization("Acme")
        self.repository: Any = MemoryRepository() if repository is None else repository
        self.invited("first@example.com")

    def invited(self, address: str = "grace@example.com") -> Delivery:
        self.clerk.invite(self.acme, address)
        *_, delivery = self.clerk.deliveries()
        return delivery

    def reconciler(self, on_event: Mapping[str, EventHandler] | None = None, hooks: Iterable[Hook] = ()) -> Reconciler:
        return Reconciler(self.clerk.instance, self.repository, hooks=hooks, on_event=on_event, clock=self.clerk.clock)


@pytest.fixture(params=["memory", "file"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    repository = MemoryRepository() if request.param == "memory" else SqliteRepository.open(tmp_path / "app.db")
    yield World(repository)
    repository.close()


def take_seat(event: ReceivedEvent, tx: sqlite3.Connection) -> None:
    """Insert a row of the application."""
    tx.execute(MADE)
    tx.execute("INSERT INTO seats VALUES (?)", (event.payload["email_address"],))


def seats(world: World) -> list[Any]:
    """Return the addresses that were stored."""
    found: list[Any] = []

    def look(tx: sqlite3.Connection) -> None:
        tx.execute(MADE)
        found.extend(tx.execute("SELECT address FROM seats").fetchall())

    world.repository.put_once(None, [], look)
    return found


def test_an_event_that_is_not_stored_is_handled(world: World) -> None:
    """The handler gets the event and the transaction; a repetition calls nothing."""
    told: list[ReceivedEvent] = []

    def handle(event: ReceivedEvent, tx: sqlite3.Connection) -> None:
        told.append(event)
        take_seat(event, tx)

    mine = world.reconciler(on_event={"organizationInvitation.*": handle})
    given = world.invited()

    outcome = mine.receive(given.headers, given.body)

    assert (outcome.kind, outcome.changes, outcome.handled) == ("applied", (), True)
    (event,) = told
    assert (event.type, event.instance) == ("organizationInvitation.created", world.clerk.instance.name)
    assert event.timestamp.replace(microsecond=0) == datetime.fromtimestamp(NOW, UTC)
    assert event.delivery_id == given.headers["svix-id"]
    assert event.payload == parse_event(given.body).payload()
    assert event.payload["email_address"] == "grace@example.com"
    again = mine.receive(given.headers, given.body)
    assert (again.kind, again.handled) == ("nothing_new", False)
    assert "before" in (again.reason or "")
    assert len(told) == 1
    assert seats(world) == [("grace@example.com",)]


@pytest.mark.parametrize(
    ("pattern", "takes"),
    [
        ("organizationInvitation.created", True),
        ("organizationInvitation.*", True),
        ("*", True),
        ("organizationInvitation", False),
        ("organization.*", False),
        ("organizationInvitation.create", False),
        ("organizationinvitation.*", False),
        ("organizationInvitation.created.*", False),
    ],
)
def test_patterns(pattern: str, takes: bool) -> None:
    """A whole type, a prefix that ends at a dot, or everything."""
    world, told = World(), list[object]()
    given = world.invited()
    outcome = world.reconciler(on_event={pattern: lambda event, tx: told.append(event)}).receive(
        given.headers, given.body
    )
    assert (len(told), outcome.kind) == ((1, "applied") if takes else (0, "ignored"))


def test_every_matching_handler_is_called_in_your_order() -> None:
    """Each gets its own copy of the payload."""
    world, told = World(), list[str]()

    def first(event: ReceivedEvent, tx: object) -> None:
        told.append(f"first {event.payload.pop('email_address')}")

    def second(event: ReceivedEvent, tx: object) -> None:
        told.append(f"second {event.payload['email_address']}")

    given = world.invited("a@example.com")
    mine = world.reconciler(on_event={"*": first, "user.*": first, "organizationInvitation.created": second})
    mine.receive(given.headers, given.body)

    assert told == ["first a@example.com", "second a@example.com"]
    assert {"type": "*", "outcome": "applied", "count": 1} in mine.counts()["events"]


def test_a_stored_event_may_have_handlers_too(world: World) -> None:
    """They are called after the records are put and the hooks were called, and see the records."""
    told: list[Any] = []
    ada = world.clerk.create_user("ada@example.com")
    (given,) = world.clerk.deliveries()

    def hook(change: Change, tx: object) -> None:
        told.append("hook")

    def handle(event: ReceivedEvent, tx: object) -> None:
        told.append(world.repository.find(event.instance, ada.id).user.email)

    mine = world.reconciler(hooks=[hook], on_event={"user.created": handle})
    outcome = mine.receive(given.headers, given.body)

    assert told == ["hook", "ada@example.com"]
    assert (outcome.kind, len(outcome.changes), outcome.handled) == ("applied", 1, True)
    assert mine.receive(given.headers, given.body).kind == "nothing_new"
    assert len(told) == 2


def test_a_handler_that_raises_undoes_everything(world: World) -> None:
    """Its rows, the records and the note of the delivery; the next attempt handles it. No text quotes the payload."""
    attempts: list[int] = []

    def handle(event: ReceivedEvent, tx: sqlite3.Connection) -> None:
        tx.execute(MADE)
        tx.execute("INSERT INTO seats VALUES (?)", (event.payload["id"],))
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError(f"no seat for {event.payload}")

    ada = world.clerk.create_user("ada@example.com")
    (given,) = world.clerk.deliveries()
    mine = world.reconciler(on_event={"user.*": handle})

    with pytest.raises(HandlerFailed) as failed:
        mine.receive(given.headers, given.body)

    assert str(failed.value).endswith("handle raised ValueError")
    assert isinstance(failed.value.__cause__, ValueError)
    assert "ada" not in str(failed.value)
    assert world.repository.find(world.clerk.instance.name, ada.id) is None
    assert seats(world) == []
    assert mine.receive(given.headers, given.body).handled
    assert seats(world) == [(ada.id,)]


@pytest.mark.parametrize("way", ["put", "apply"])
def test_a_handler_must_not_write_through_the_repository(world: World, way: str) -> None:
    """It would wait for itself: the text says to use the transaction."""
    other = parse_event(world.invited("b@example.com").body)

    def handle(event: ReceivedEvent, tx: object) -> None:
        if way == "put":
            world.repository.put([world.clerk.record(world.clerk.create_user())])
        else:
            mine.apply(other, again=True)

    mine = world.reconciler(on_event={"*": handle})
    given = world.invited()
    with pytest.raises(HandlerFailed) as failed:
        mine.receive(given.headers, given.body)
    assert isinstance(failed.value.__cause__, ConfigurationError)
    assert "use the transaction" in str(failed.value.__cause__)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_end_of_the_process_passes_unchanged(world: World, fault: type[BaseException]) -> None:
    """It is rolled back as well, and the next attempt handles the delivery."""
    faults = [fault()]

    def handle(event: ReceivedEvent, tx: sqlite3.Connection) -> None:
        take_seat(event, tx)
        if faults:
            raise faults.pop()

    mine = world.reconciler(on_event={"*": handle})
    given = world.invited()
    with pytest.raises(fault):
        mine.receive(given.headers, given.body)
    assert mine.receive(given.headers, given.body).handled
    assert len(seats(world)) == 1


def test_a_handler_must_not_commit(tmp_path: Path) -> None:
    """The commit is refused, and the delivery is not handled."""
    repository = SqliteRepository.open(tmp_path / "app.db")
    world = World(repository)
    given = world.invited()
    mine = world.reconciler(on_event={"*": lambda event, tx: tx.execute("COMMIT")})
    with pytest.raises((HandlerFailed, ConfigurationError)):
        mine.receive(given.headers, given.body)
    assert world.reconciler(on_event={"*": take_seat}).receive(given.headers, given.body).handled
    repository.close()


def test_two_deliveries_at_once_call_the_handler_once(world: World) -> None:
    """Threads and tasks with one delivery: one of them handles it."""
    mine = world.reconciler(on_event={"*": take_seat})
    given = world.invited()
    start, kinds = threading.Barrier(8), list[str]()

    def race() -> None:
        start.wait()
        kinds.append(mine.receive(given.headers, given.body).kind)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kinds) == ["applied", *["nothing_new"] * 7]

    given = world.invited("b@example.com")

    async def receive_all() -> list[str]:
        outcomes = await asyncio.gather(*(mine.areceive(given.headers, given.body) for _ in range(8)))
        return sorted(outcome.kind for outcome in outcomes)

    assert asyncio.run(receive_all()) == ["applied", *["nothing_new"] * 7]
    assert len(seats(world)) == 2


def test_apply_handles_each_delivery_id_once(world: World) -> None:
    """Without an id, handlers are called only on request: nothing shows whether they were called before."""
    told: list[str | None] = []
    mine = world.reconciler(on_event={"*": lambda event, tx: told.append(event.delivery_id)})
    given = world.invited()
    event, id = parse_event(given.body), given.headers["svix-id"]

    assert mine.apply(event).kind == "ignored"
    assert mine.apply(event, delivery_id=id).handled
    assert not mine.apply(event, delivery_id=id).handled
    assert not mine.receive(given.headers, given.body).handled
    assert told == [id]
    assert mine.apply(event, delivery_id=id, again=True).handled
    assert mine.apply(event, again=True).handled
    assert asyncio.run(mine.aapply(event, again=True)).handled
    assert told == [id, id, None, None]
    for invalid in ("", "a" * 129, "msg 1", "msg\n"):
        with pytest.raises(ConfigurationError, match="svix-id"):
            mine.apply(event, delivery_id=invalid)
    longest = "a" * 128
    assert mine.apply(event, delivery_id=longest).handled
    assert not mine.apply(event, delivery_id=longest).handled


def test_an_id_of_another_instance_is_another_delivery() -> None:
    """The ids of two instances do not collide in one repository."""
    world, other, told = World(), FakeClerk(seed=2, clock=Clock(NOW)), list[str]()
    event = parse_event(world.invited().body)
    for clerk in (world.clerk, other):
        mine = Reconciler(
            clerk.instance, world.repository, on_event={"*": lambda event, tx: told.append(event.instance)}
        )
        mine.apply(event, delivery_id="msg_1")
    assert told == [world.clerk.instance.name, other.instance.name]


def test_an_event_that_cannot_be_stored_is_handled_all_the_same() -> None:
    """The reason stays in the outcome."""
    world, told = World(), list[Any]()
    mine = world.reconciler(on_event={"user.*": lambda event, tx: told.append(event.payload)})
    broken = parse_event(f'{{"type": "user.updated", "timestamp": {NOW}000, "data": {{"id": 7}}}}')
    outcome = mine.apply(broken, delivery_id="msg_1")
    assert (outcome.kind, outcome.handled, outcome.changes) == ("applied", True, ())
    assert "must be a Clerk id" in (outcome.reason or "")
    assert told == [{"id": 7}]


def test_a_payload_can_be_stored() -> None:
    """NUL and halves of characters are replaced in every text and name, and all other values stay."""
    world, told = World(), list[Any]()
    text = r'{"a\u0000": ["\ud800", 1.5, 1e300, 123456789012345678901234567890, null, true, {"\udfff": ""}], "n": {}}'
    event = parse_event(f'{{"type": "waitlistEntry.created", "timestamp": {NOW}000, "data": {text}}}')
    world.reconciler(on_event={"*": lambda event, tx: told.append(event)}).apply(event, delivery_id="msg_1")
    (received,) = told
    assert received.payload == {
        "a\ufffd": ["\ufffd", 1.5, 1e300, 123456789012345678901234567890, None, True, {"\ufffd": ""}],
        "n": {},
    }
    assert "1.5" not in repr(received)
    assert hash(received) == hash(received)


def test_a_deep_payload() -> None:
    """The depth that a delivery may have is copied."""
    world, told = World(), list[Any]()
    deep = '{"a": ' * 126 + "[]" + "}" * 126
    event = parse_event(f'{{"type": "waitlistEntry.created", "timestamp": {NOW}000, "data": {deep}}}')
    world.reconciler(on_event={"*": lambda event, tx: told.append(event)}).apply(event, delivery_id="msg_1")
    assert len(told) == 1


async def _async_handler(event: ReceivedEvent, tx: Any) -> None: ...


def _generator(event: ReceivedEvent, tx: Any) -> Iterator[None]:
    yield


class _AsyncObject:
    async def __call__(self, event: ReceivedEvent, tx: Any) -> None: ...


@pytest.mark.parametrize(
    ("on_event", "text"),
    [
        ([("*", print)], "dictionary"),
        ("user.*", "dictionary"),
        ({"user.": print}, "pattern"),
        ({"user*": print}, "pattern"),
        ({".*": print}, "pattern"),
        ({"**": print}, "pattern"),
        ({"": print}, "pattern"),
        ({"user.*\n": print}, "pattern"),
        ({7: print}, "pattern"),
        ({"user.*": "handle"}, "function"),
        ({"user.*": None}, "function"),
        ({"user.*": _async_handler}, "sync function"),
        ({"user.*": _AsyncObject()}, "sync function"),
        ({"user.*": _generator}, "sync function"),
    ],
)
def test_wrong_handlers_are_refused_at_construction(on_event: Any, text: str) -> None:
    """With a sentence that says what to write."""
    with pytest.raises(ConfigurationError, match=text):
        World().reconciler(on_event=on_event)


def test_a_lambda_that_returns_a_coroutine_is_refused() -> None:
    """It would never be awaited, so nothing is committed."""
    world = World()
    given = world.invited()
    mine = world.reconciler(on_event={"*": lambda event, tx: _async_handler(event, tx)})
    with pytest.raises(HandlerFailed, match="must be a sync function"):
        mine.receive(given.headers, given.body)


def test_a_repository_without_put_once_takes_no_handlers() -> None:
    """Without handlers it works as before."""

    class Small:
        def __init__(self, repository: MemoryRepository) -> None:
            self.listeners = repository.listeners
            self.poll_every = repository.poll_every
            self.find, self.put, self.row = repository.find, repository.put, repository.row
            self.needs_full_user, self.max_token_lifetime = False, 1.0
            self.poll, self.close = repository.poll, repository.close

    world = World(Small(MemoryRepository()))
    world.clerk.create_user()
    (given,) = world.clerk.deliveries()
    assert world.reconciler().receive(given.headers, given.body).kind == "applied"
    with pytest.raises(ConfigurationError, match="put_once, which Small does not have"):
        world.reconciler(on_event={"*": take_seat})


def test_a_resolver_calls_no_handler() -> None:
    """A token is no event."""
    world, told = World(), list[object]()
    world.reconciler(on_event={"*": lambda event, tx: told.append(event)})
    Resolver(world.clerk.instance, world.repository, verifier=world.clerk.verifier()).resolve(
        world.clerk.token(world.clerk.create_user())
    )
    assert told == []


def test_old_notes_are_removed_in_bounded_portions(tmp_path: Path) -> None:
    """A delivery removes a hundred that are older than 90 days, not more."""
    repository = SqliteRepository.open(tmp_path / "app.db", clock=lambda: now[0])
    now = [float(NOW)]
    for number in range(150):
        repository.put_once(f"{number:032}", [], lambda tx: None)

    def stored() -> int:
        connection = sqlite3.connect(tmp_path / "app.db")
        (count,) = connection.execute("SELECT count(*) FROM clerkmap_deliveries").fetchone()
        connection.close()
        return int(count)

    now[0] += 91 * 86_400
    assert stored() == 150
    repository.put_once("a" * 32, [], lambda tx: None)
    assert stored() == 51
    repository.put_once("b" * 32, [], lambda tx: None)
    assert stored() == 2
    repository.close()


def test_async_handlers_share_the_transaction(postgres_schema: str) -> None:
    """They are awaited with the async connection; an error and a cancellation roll back, and a race calls one."""

    async def run() -> None:
        async with AsyncPostgresRepository.open(postgres(), schema=postgres_schema) as repository:
            world, called = World.__new__(World), list[str]()
            world.clerk = FakeClerk(seed=1, clock=Clock(NOW))
            world.acme, world.repository = world.clerk.create_organization("Acme"), repository
            inside = asyncio.Event()

            async def handle(event: ReceivedEvent, tx: Any) -> None:
                await tx.execute(f"CREATE TABLE IF NOT EXISTS {postgres_schema}.seats (address text PRIMARY KEY)")
                address = event.payload["email_address"]
                await tx.execute(f"INSERT INTO {postgres_schema}.seats VALUES (%s)", (address,))
                called.append(address)
                if called.count(address) == 1 and address.startswith("bad"):
                    raise ValueError(address)
                if called.count(address) == 1 and address.startswith("slow"):
                    inside.set()
                    await asyncio.Event().wait()

            plain: list[object] = []
            mine = world.reconciler(
                on_event={"organizationInvitation.*": handle, "*": lambda event, tx: plain.append(tx)}
            )
            given = world.invited("good@example.com")
            outcomes = await asyncio.gather(*(mine.areceive(given.headers, given.body) for _ in range(5)))
            assert sorted(each.kind for each in outcomes) == ["applied", *["nothing_new"] * 4]

            given = world.invited("bad@example.com")
            with pytest.raises(HandlerFailed):
                await mine.areceive(given.headers, given.body)
            assert (await mine.areceive(given.headers, given.body)).handled

            given = world.invited("slow@example.com")
            task = asyncio.create_task(mine.areceive(given.headers, given.body))
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await mine.areceive(given.headers, given.body)).handled
            assert called == ["good@example.com", *["bad@example.com"] * 2, *["slow@example.com"] * 2]
            assert len(plain) == 3
            with pytest.raises(ConfigurationError, match="asynchronous"):
                mine.receive(given.headers, given.body)
            with pytest.raises(ConfigurationError, match="no generator"):
                world.reconciler(on_event={"*": _generator})

    asyncio.run(run())


def test_a_threaded_repository_takes_sync_handlers_alone(world: World) -> None:
    """Its calls run in threads, where nothing awaits."""
    repository = threaded(world.repository)
    with pytest.raises(ConfigurationError, match="sync function"):
        Reconciler(world.clerk.instance, repository, on_event={"*": _async_handler})
