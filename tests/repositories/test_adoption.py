"""Fifty customers from before clerkmap, and strangers who come early, often and under false names: nobody but a
customer gets a customer's number."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from backfill_world import plenty
from clerk_api_world import Far, answer, failure
from clerkmap import ClerkmapError, ClerkUser, ConfigurationError, Reconciler, Resolver, Verifier
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.adapters.wsgi import AuthMiddleware as WsgiAuthMiddleware
from clerkmap.clerk import AsyncClerkApi, ClerkApi
from clerkmap.clerk.budget import Budget
from clerkmap.clerk.first_sight import MOST_FLIGHTS, FirstSights
from clerkmap.errors import ApiUnavailable, UserDeleted
from clerkmap.repositories import ByExternalId, ByVerifiedEmail, MemoryRepository
from clerkmap.testing import FakeClerk, FakeUser
from clerkmap.testing.samples import found
from postgres_racers import together
from shops import SHOPS, Shop

OFTEN = Budget(1e6, time.monotonic)
ADDRESS = "customer{}@example.com"
COLOURS = ["sync", "async", "a sync API in async code"]


class Counting(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The way to Clerk's API: counts the questions about each person, and can be cut."""

    def __init__(self, clerk: FakeClerk) -> None:
        self._inner = clerk.transport()
        self.asked: list[str] = []
        self.is_cut = False
        self.held: threading.Event | None = None
        self.began = threading.Event()

    def _checkpoint(self, request: httpx.Request) -> None:
        if request.url.path.startswith("/v1/users/"):
            self.asked.append(request.url.path)
            self.began.set()
            if self.is_cut:
                raise httpx.ConnectError("cut")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._checkpoint(request)
        if self.held is not None and request.url.path.startswith("/v1/users/"):
            assert self.held.wait(60)
        return self._inner.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._checkpoint(request)
        if self.held is not None and request.url.path.startswith("/v1/users/"):
            assert await asyncio.to_thread(self.held.wait, 60)
        return await self._inner.handle_async_request(request)


class Opened:
    """A shop that has taken Clerk in: its customers are found by the addresses that they verify."""

    def __init__(self, stack: ExitStack, shop: Shop, colour: str) -> None:
        self.clerk = FakeClerk(87)
        self.shop = shop
        shop.fill(0)
        for number in range(1, 51):
            shop.run(f"INSERT INTO customers (email) VALUES ('{ADDRESS.format(number)}')")
        self.rows = [(number, ADDRESS.format(number)) for number in range(1, 51)]
        self.repository = shop.open(users_table="customers", linker=ByVerifiedEmail(lambda email: self.rows))
        self.transport = Counting(self.clerk)
        self.runner = stack.enter_context(asyncio.Runner())
        self.colour = colour
        api = AsyncClerkApi if colour == "async" else ClerkApi
        self.api: Any = api(
            self.clerk.instance, transport=self.transport, patience=1, budget=Budget(1e6, time.monotonic)
        )
        self.resolver = Resolver(self.clerk.instance, self.repository, api=self.api)
        self.reconciler = Reconciler(self.clerk.instance, self.repository)

    def sign_in(self, user: FakeUser, organization: Any = None) -> Any:
        """The id that a request of this person leads to."""
        token = self.clerk.token(user, organization)
        if self.colour == "sync":
            return self.resolver.resolve(token).user.id
        return self.runner.run(self.resolver.aresolve(token)).user.id

    def hear(self) -> None:
        """Have the webhooks arrive."""
        for delivery in self.clerk.deliveries():
            self.reconciler.receive(delivery.headers, delivery.body)

    def told(self, email: str, *, verified: bool = True, clerk_id: str = "user_told") -> Any:
        """The id of a person of whom a webhook tells."""
        name = self.clerk.instance.name
        self.repository.put([ClerkUser.full(name, clerk_id, observed_at=9, email=email, email_verified=verified)])
        return found(self.repository, clerk_id, name).id


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture(params=SHOPS, ids=lambda shop: shop.__name__)
def opened(request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, postgres_schema: str) -> Opened:
    return Opened(stack, request.param(stack, tmp_path, postgres_schema), "sync")


def one(stack: ExitStack, colour: str, tmp_path: Path, kind: int = 1) -> Opened:
    """The same on SQLite, in a colour."""
    return Opened(stack, SHOPS[kind](stack, tmp_path, ""), colour)


def test_who_comes_first_is_nobody_special(opened: Opened) -> None:
    """Strangers before customers, tokens before webhooks, and webhooks before tokens."""
    strangers = [opened.clerk.create_user(f"stranger{number}@example.com") for number in range(3)]
    ids = [opened.sign_in(each) for each in strangers]
    assert ids == [51, 52, 53]
    early = opened.clerk.create_user(ADDRESS.format(1))
    assert opened.sign_in(early) == 1  # the token came before the webhook
    opened.hear()
    late = opened.clerk.create_user(ADDRESS.format(12))
    opened.hear()
    assert opened.sign_in(late) == 12  # and here after it
    assert [opened.sign_in(each) for each in strangers] == ids
    assert opened.sign_in(early) == 1
    assert len(opened.transport.asked) == 4  # each person who came in by a token, once
    assert opened.told("another@example.com") == 54


@pytest.mark.parametrize("by", ["token", "webhook"])
def test_an_address_that_is_not_verified_proves_nothing(opened: Opened, by: str) -> None:
    """Nor does one that is verified later, or changed into a customer's. The customer is still found afterwards."""
    typed = opened.clerk.create_user(ADDRESS.format(7), verified=False)
    changed = opened.clerk.create_user("changed@example.com")
    if by == "webhook":
        opened.hear()
    before = [opened.sign_in(typed), opened.sign_in(changed)]
    assert min(before) > 50
    address = opened.clerk.add_address(changed, ADDRESS.format(8), primary=True)
    assert address.verified
    name = opened.clerk.instance.name
    at = int(opened.clerk.clock() * 1000) + 10_000
    later = ClerkUser.full(name, typed.id, observed_at=at, updated_at=at, email=ADDRESS.format(7), email_verified=True)
    opened.hear()
    opened.repository.put([later])
    assert [opened.sign_in(typed), opened.sign_in(changed)] == before
    assert found(opened.repository, typed.id, name).clerk.email_verified
    assert opened.told(ADDRESS.format(7)) == 7


@pytest.mark.parametrize(
    ("email", "id"),
    [
        ("CUSTOMER9@EXAMPLE.COM", 9),  # the same address
        ("customer9@example.co", None),
        ("сustomer9@example.com", None),
        ("customer9@example.com ", None),
        ("customer９@example.com", None),
        ("ﬁnn@example.com", None),  # a ligature
        ("\u212arista@example.com", None),  # the sign of kelvin, whose small letter is a k
        ("customer9+clerk_test@example.com", None),  # everybody can verify it
    ],
)
def test_addresses_that_look_alike(stack: ExitStack, tmp_path: Path, email: str, id: int | None) -> None:
    """Only the capital letters of ASCII do not count, whatever the application's own look-up returns."""
    opened = one(stack, "sync", tmp_path)
    opened.rows += [(50, "finn@example.com"), (49, "krista@example.com"), (9, "customer9+clerk_test@example.com")]
    told = opened.told(email)
    assert told == (id if id is not None else 51)


def test_an_address_of_several_customers(stack: ExitStack, tmp_path: Path) -> None:
    """Whose it is cannot be told, in whatever case it stands; rows without one are nobody's."""
    opened = one(stack, "sync", tmp_path)
    opened.rows += [(11, "Customer10@example.com"), (12, ""), (13, None)]  # type: ignore[list-item]
    assert opened.told(ADDRESS.format(10)) == 51
    assert opened.told("", clerk_id="user_empty") == 52
    opened.rows += [(14, ADDRESS.format(14).upper())]  # twice the same row
    assert opened.told(ADDRESS.format(14), clerk_id="user_twice") == 14


def test_a_second_account_with_one_address(opened: Opened) -> None:
    """Who deletes the account and registers anew is somebody new: the address may have another owner by now."""
    first = opened.clerk.create_user(ADDRESS.format(3))
    assert opened.sign_in(first) == 3
    opened.clerk.delete_user(first)
    second = opened.clerk.create_user(ADDRESS.format(3))
    assert opened.sign_in(second) == 51
    opened.hear()
    with pytest.raises(UserDeleted):
        opened.sign_in(first)
    assert opened.sign_in(second) == 51


def test_what_tells_no_address_makes_nobody(opened: Opened) -> None:
    """A membership's webhook shows its person without addresses: the user waits for one that does."""
    ada = opened.clerk.create_user(ADDRESS.format(5))
    acme = opened.clerk.create_organization("Acme", created_by=ada)
    for delivery in opened.clerk.deliveries():
        if b'"organizationMembership.created"' in delivery.body or b'"organization.created"' in delivery.body:
            opened.reconciler.receive(delivery.headers, delivery.body)
    assert opened.repository.find(opened.clerk.instance.name, ada.id) is None
    assert opened.sign_in(ada, acme) == 5
    principal = opened.resolver.resolve(opened.clerk.token(ada, acme))
    assert principal.membership is not None
    assert principal.organization is not None
    assert principal.organization.name == "Acme"


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("kind", [1, 2], ids=["SQLite", "PostgreSQL"])
def test_all_at_once(stack: ExitStack, tmp_path: Path, postgres_schema: str, colour: str, kind: int) -> None:
    """First requests of customers and strangers, several each, beside their webhooks: each has one id, and the right
    one, and Clerk is asked once about each at a time."""
    opened = Opened(stack, SHOPS[kind](stack, tmp_path, postgres_schema), colour)
    customers = [opened.clerk.create_user(ADDRESS.format(number)) for number in range(1, 7)]
    strangers = [opened.clerk.create_user(f"stranger{number}@example.com") for number in range(6)]
    tokens = [opened.clerk.token(each) for each in (*customers, *strangers) for _ in range(4)]
    start, ids = threading.Barrier(len(tokens) + 1 if colour == "sync" else 2), dict[str, set[Any]]()

    def keep(principal: Any) -> None:
        ids.setdefault(principal.user.clerk_id, set()).add(principal.user.id)

    def request(token: str) -> None:
        start.wait(60)
        keep(opened.resolver.resolve(token))

    def requests() -> None:
        async def all_of_them() -> None:
            for principal in await asyncio.gather(*map(opened.resolver.aresolve, tokens)):
                keep(principal)

        start.wait(60)
        opened.runner.run(all_of_them())

    def webhooks() -> None:
        start.wait(60)
        opened.hear()

    calls: list[Callable[[], None]] = [lambda token=token: request(token) for token in tokens]  # type: ignore[misc]
    together(*(calls if colour == "sync" else [requests]), webhooks)
    assert [ids[each.id] for each in customers] == [{number} for number in range(1, 7)]
    theirs = [ids[each.id] for each in strangers]
    assert all(len(each) == 1 and min(each) > 50 for each in theirs)
    assert len(set.union(*theirs)) == len(strangers)


@pytest.mark.parametrize("colour", COLOURS)
def test_one_question_for_many_requests(stack: ExitStack, tmp_path: Path, colour: str) -> None:
    """While Clerk takes its time, further requests of the same person wait for the same answer, whatever session or
    organization they are about; and those of others who are known do not wait at all."""
    opened = one(stack, colour, tmp_path)
    known = opened.clerk.create_user("known@example.com")
    opened.sign_in(known)
    ada = opened.clerk.create_user(ADDRESS.format(5))
    acme = opened.clerk.create_organization("Acme", created_by=ada)
    tokens = [opened.clerk.token(ada), opened.clerk.token(ada), opened.clerk.token(ada, acme)]
    opened.transport.held = threading.Event()
    opened.transport.asked.clear()
    opened.transport.began.clear()

    async def requests() -> list[Any]:
        waiting = [asyncio.ensure_future(opened.resolver.aresolve(token)) for token in tokens]
        assert await asyncio.to_thread(opened.transport.began.wait, 60)
        assert (await opened.resolver.aresolve(opened.clerk.token(known))).user.id == 51
        assert opened.transport.held is not None
        opened.transport.held.set()
        return list(await asyncio.gather(*waiting))

    if colour == "sync":
        ids: list[Any] = []
        threads = [
            threading.Thread(target=lambda token=token: ids.append(opened.resolver.resolve(token).user.id))
            for token in tokens
        ]
        for thread in threads:
            thread.start()
        assert opened.sign_in(known) == 51
        assert opened.transport.began.wait(60)
        opened.transport.held.set()
        for thread in threads:
            thread.join()
    else:
        ids = [principal.user.id for principal in opened.runner.run(requests())]
    assert ids == [5, 5, 5]
    assert 1 <= len(opened.transport.asked) <= len(tokens)  # one that is late finds the first one's answer gone


@pytest.mark.parametrize("colour", ["async", "a sync API in async code"])
def test_who_asks_meanwhile_waits_for_the_same_answer(stack: ExitStack, tmp_path: Path, colour: str) -> None:
    """Clerk is asked once, for all tasks that ask before it has answered."""
    opened = one(stack, colour, tmp_path)
    ada = opened.clerk.create_user(ADDRESS.format(5))
    sights = FirstSights(opened.api, opened.clerk.instance, opened.clerk.clock)
    opened.transport.held = held = threading.Event()

    async def ask() -> list[ClerkUser]:
        asking = [asyncio.ensure_future(sights.aget(ada.id)) for _ in range(20)]
        await asyncio.sleep(0)  # each of them has asked
        assert await asyncio.to_thread(opened.transport.began.wait, 60)
        held.set()
        return list(await asyncio.gather(*asking))

    assert {user.email for user in opened.runner.run(ask())} == {ADDRESS.format(5)}
    assert len(opened.transport.asked) == 1


@pytest.mark.parametrize("colour", ["async", "a sync API in async code"])
def test_questions_about_new_users_are_bounded(stack: ExitStack, tmp_path: Path, colour: str) -> None:
    """While the greatest number of look-ups is under way, the next one is refused; afterwards it is made."""
    opened = one(stack, colour, tmp_path)
    sights = FirstSights(opened.api, opened.clerk.instance, opened.clerk.clock)
    opened.transport.held = held = threading.Event()

    async def ask() -> None:
        asking = [asyncio.ensure_future(sights.aget(f"user_{number}")) for number in range(MOST_FLIGHTS)]
        await asyncio.sleep(0)  # each of them has asked
        with pytest.raises(ApiUnavailable, match="at once"):
            await sights.aget("user_more")
        held.set()
        done = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(each) for each in done} == {UserDeleted}  # Clerk has no user of these ids
        with pytest.raises(UserDeleted):
            await sights.aget("user_more")

    opened.runner.run(ask())


@pytest.mark.parametrize("colour", COLOURS)
def test_a_first_request_waits_no_longer_than_the_deadline(stack: ExitStack, tmp_path: Path, colour: str) -> None:
    """Clerk's answer that does not come in time is a 503 for the request."""
    opened = one(stack, colour, tmp_path)
    ada = opened.clerk.create_user(ADDRESS.format(5))
    sights = FirstSights(opened.api, opened.clerk.instance, opened.clerk.clock, deadline=0.01)
    opened.transport.held = threading.Event()

    def look_up() -> ClerkUser:
        return sights.get(ada.id) if colour == "sync" else opened.runner.run(sights.aget(ada.id))

    with pytest.raises(ApiUnavailable, match="timed out"):
        look_up()
    opened.transport.held.set()


@pytest.mark.parametrize("colour", COLOURS)
def test_while_clerk_is_away(stack: ExitStack, tmp_path: Path, colour: str) -> None:
    """A new person is answered 503 and makes no row. Known people come in, and the new one does when Clerk is back."""
    opened = one(stack, colour, tmp_path)
    known, ada = opened.clerk.create_user("known@example.com"), opened.clerk.create_user(ADDRESS.format(5))
    opened.sign_in(known)
    opened.transport.is_cut = True

    def page(*_: Any) -> Any:
        raise AssertionError("it was reached")

    app = AuthMiddleware(page, opened.resolver, require=True)
    headers = {"authorization": f"Bearer {opened.clerk.token(ada)}"}

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as client:
            return await client.get("/", headers=headers)

    if colour == "sync":
        wsgi: Any = WsgiAuthMiddleware(page, opened.resolver, require=True)
        with httpx.Client(transport=httpx.WSGITransport(wsgi), base_url="http://shop.example") as client:
            reply = client.get("/", headers=headers)
    else:
        reply = opened.runner.run(ask())
    told = (reply.status_code, reply.json()["code"], reply.headers.get("retry-after"))
    assert told == (503, "api_unavailable", "10")
    assert opened.repository.find(opened.clerk.instance.name, ada.id) is None
    with pytest.raises(ApiUnavailable):
        opened.sign_in(ada)
    assert opened.repository.find(opened.clerk.instance.name, ada.id) is None
    assert opened.sign_in(known) == 51
    opened.transport.is_cut = False
    assert opened.sign_in(ada) == 5


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (answer(b'{"id": "user_somebody_else", "object": "user"}'), ApiUnavailable),
        (answer(b"{}"), ApiUnavailable),
        (answer(b"[]"), ApiUnavailable),
        (answer(b'{"errors": [{"code": "resource_not_found"}]}', 404), UserDeleted),
        (answer(b'{"errors": [{"code": "feature_not_enabled"}]}', 404), ClerkmapError),
        (failure(httpx.ReadError), ApiUnavailable),
    ],
)
def test_an_answer_that_is_none(said: Any, error: type[ClerkmapError]) -> None:
    """No user is made of it."""
    clerk = FakeClerk()
    repository = MemoryRepository(linker=ByVerifiedEmail(lambda email: []))
    far = Far(said)
    far.keys = clerk.jwks()
    api = ClerkApi(clerk.instance, transport=far, patience=0, budget=plenty())
    ada = clerk.create_user("ada@example.com")
    resolver = Resolver(clerk.instance, repository, api=api)
    with pytest.raises(error):
        resolver.resolve(clerk.token(ada))
    assert repository.find(clerk.instance.name, ada.id) is None


def test_an_external_id_is_asked_for_too() -> None:
    """A token before the backfill makes no wrong user, and who has none is somebody new."""
    clerk = FakeClerk()
    repository = MemoryRepository(linker=ByExternalId({"auth0|18": "mine"}.get))
    resolver = Resolver(clerk.instance, repository, api=ClerkApi(clerk.instance, transport=clerk.transport()))
    eve, bob = clerk.create_user("eve@example.com", external_id="auth0|18"), clerk.create_user("bob@example.com")
    unknown = clerk.create_user("uma@example.com", external_id="auth0|19")
    name = clerk.instance.name
    embedded = ClerkUser.make("1", name, eve.id, observed_at=1, email="eve@example.com", email_verified=True)
    assert repository.put([embedded]) == []
    assert resolver.resolve(clerk.token(eve)).user.id == "mine"
    assert {resolver.resolve(clerk.token(each)).user.id for each in (bob, unknown)}.isdisjoint({"mine"})
    repository.put([ClerkUser.deleted(name, "user_gone", observed_at=1)])
    assert repository.find(name, "user_gone") is not None


class ByUsername:
    """A linker of the application's own, which needs more of Clerk's record than a token tells."""

    def __init__(self, ids: dict[str | None, Any]) -> None:
        self._ids = ids

    def __call__(self, record: ClerkUser) -> Any:
        return self._ids.get(record.username)

    def is_enough(self, record: ClerkUser) -> bool:
        return record.username is not None


def test_a_linker_of_yours_says_what_is_enough() -> None:
    """Clerk is asked about a person whose record is not enough for it, as with the linkers of clerkmap."""
    clerk = FakeClerk()
    repository = MemoryRepository(ids=int, first_id=100, linker=ByUsername({"ada": 7}))
    assert repository.needs_full_user
    with pytest.raises(ConfigurationError, match="api=ClerkApi"):
        Resolver(clerk.instance, repository)
    resolver = Resolver(clerk.instance, repository, api=ClerkApi(clerk.instance, transport=clerk.transport()))
    ada = clerk.create_user("ada@example.com", username="ada")
    name = clerk.instance.name
    assert repository.put([ClerkUser.make("1", name, ada.id, observed_at=1, email="ada@example.com")]) == []
    assert resolver.resolve(clerk.token(ada)).user.id == 7
    repository.put([ClerkUser.deleted(name, "user_gone", observed_at=1)])
    assert repository.find(name, "user_gone") is not None


def wrong_id(record: ClerkUser) -> Any:
    return "7"


@pytest.mark.parametrize(("linker", "name"), [(ByUsername({"ann": "7"}), "ByUsername"), (wrong_id, "wrong_id")])
def test_what_a_linker_of_yours_must_return(linker: Any, name: str) -> None:
    """The error names the linker, and the type of an id."""
    repository = MemoryRepository(ids=int, first_id=100, linker=linker)
    with pytest.raises(ConfigurationError, match=f"linker {name} must return .* int"):
        repository.put([ClerkUser.full("app", "user_a", observed_at=1, username="ann")])


def test_what_cannot_work_is_refused_at_the_start() -> None:
    """A linker that needs an address beside a resolver that cannot ask, and what is no function."""
    clerk, other = FakeClerk(1), FakeClerk(2)
    repository = MemoryRepository(linker=ByVerifiedEmail(lambda email: []))
    assert repository.needs_full_user
    assert not MemoryRepository().needs_full_user
    with pytest.raises(ConfigurationError, match="api=ClerkApi"):
        Resolver(clerk.instance, repository)
    with pytest.raises(ConfigurationError, match="the same instance"):
        Resolver(clerk.instance, repository, api=ClerkApi(other.instance, transport=other.transport()))
    provider = clerk.make_oidc_instance("https://api.example.com")
    with pytest.raises(ConfigurationError, match="api="):
        Resolver(provider, repository, verifier=Verifier(provider))

    async def find(email: str) -> Any: ...

    linker = ByUsername({})
    linker.is_enough = find  # type: ignore[method-assign, assignment]
    with pytest.raises(ConfigurationError, match="is_enough must be a sync function"):
        MemoryRepository(linker=linker)
    wrong: list[Any] = [find, None, "SELECT 1"]
    for each in wrong:
        for kind in (ByVerifiedEmail, ByExternalId):
            with pytest.raises(ConfigurationError, match="sync function"):
                kind(each)
    api = AsyncClerkApi(clerk.instance, transport=clerk.transport())
    with pytest.raises(ConfigurationError, match="aresolve"):
        Resolver(clerk.instance, repository, api=api).resolve(clerk.token(clerk.create_user()))


class Columns:
    """A row that is read like a pair, and is no tuple, as a driver may make it."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __getitem__(self, index: int) -> Any:
        return self.values[index]


FULL = ClerkUser.full("app", "user_a", observed_at=1, email=ADDRESS.format(1), email_verified=True, external_id="x")


@pytest.mark.parametrize(
    "rows",
    [
        None,
        1,
        True,
        "mine",
        ADDRESS.format(1),
        [None],
        [1],
        [(1,)],
        ["ab"],
        [b"ab"],
        (1, ADDRESS.format(1)),  # a row, and not a list of rows
        {1: ADDRESS.format(1)},
        [{"id": 1, "email": ADDRESS.format(1)}],
        [(1, ADDRESS.format(1), "more")],
        [(ADDRESS.format(1), 1)],
        [(1, b"customer1@example.com")],
        [([], ADDRESS.format(1))],
        [(None, ADDRESS.format(1))],
        [(1.0, ADDRESS.format(1))],
        [(True, ADDRESS.format(1))],
        [("1", ADDRESS.format(1))],
        [(2**63, ADDRESS.format(1))],
    ],
)
def test_a_find_that_returns_something_else(rows: Any) -> None:
    """It is told whose fault it is, and nobody is made."""
    repository = MemoryRepository(ids=int, first_id=100, linker=ByVerifiedEmail(lambda email: rows))
    with pytest.raises(ConfigurationError, match=r"ByVerifiedEmail.*(\(id, address\)|the id of your user)"):
        repository.put([FULL])
    assert repository.find("app", "user_a") is None


@pytest.mark.parametrize("id", ["1", True, 1.0, [], (1,), [(1,)], 2**63])
def test_a_find_that_returns_no_id(id: Any) -> None:
    repository = MemoryRepository(ids=int, first_id=100, linker=ByExternalId(lambda external_id: id))
    with pytest.raises(ConfigurationError, match=r"linker ByExternalId must return .* int"):
        repository.put([FULL])
    assert repository.find("app", "user_a") is None


def test_a_find_that_fails_by_itself() -> None:
    """What it raises is what is seen, and not taken for rows of another shape."""

    def find(email: str) -> Iterator[Any]:
        yield 1, None
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        MemoryRepository(ids=int, first_id=100, linker=ByVerifiedEmail(find)).put([FULL])


@pytest.mark.parametrize("row", [(7, ADDRESS.format(1)), [7, ADDRESS.format(1)], Columns(7, ADDRESS.format(1))])
def test_rows_of_other_kinds(row: Any) -> None:
    """Beside addresses that no person can have: half of a surrogate pair, a zero character, none."""
    rows = [(1, "customer1@example.com\ud800"), (2, "\udcff"), (3, "a\x00b"), (4, None), (5, ""), row]
    repository = MemoryRepository(ids=int, first_id=100, linker=ByVerifiedEmail(lambda email: rows))
    repository.put([FULL])
    assert found(repository, "user_a", "app").id == 7
