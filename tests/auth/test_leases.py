"""Leases: long streams that check theirs, and a renewal in the middle of a look."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx
import pytest

from asgi_base import PATIENCE, SERVERS, World, served, until
from clerkmap import ClerkmapError, Repository, Requirement, Resolver
from clerkmap.adapters.asgi import AuthMiddleware, lease_of, principal_of
from clerkmap.auth.lease import Lease
from clerkmap.errors import ConfigurationError, NotForUs, TokenExpired, UserBanned
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock
from socket_base import Room, Slow, locked_out


@pytest.mark.parametrize("how", ["banned", "expired"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_long_stream_checks_its_lease(server: str, how: str) -> None:
    """It goes on beyond its token for as long as the grace, and breaks off when the user has no access."""

    async def run() -> None:
        world = World()
        sent = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                principal = await lease_of(scope).check()
                assert principal.user == principal_of(scope).user
                sent += 1
                await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
                await asyncio.sleep(0.01)

        protected = AuthMiddleware(app, world.resolver, require=True)
        headers = {"Authorization": f"Bearer {world.token(expires_in=60)}"}
        async with (
            served(server, protected) as port,
            httpx.AsyncClient(trust_env=False, headers=headers, timeout=120) as client,
            asyncio.timeout(PATIENCE),
            client.stream("GET", f"http://127.0.0.1:{port}") as response,
        ):
            assert response.status_code == 200
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == ["tick"] * 3
            world.clock.advance(65)  # beyond the token, within the grace
            assert [await anext(lines) for _ in range(3)] == ["tick"] * 3
            if how == "banned":
                world.rows.put([world.clerk.record(world.user, banned=True)])
            else:
                world.clock.advance(60)
            so_far = sent
            with pytest.raises(httpx.RemoteProtocolError):
                [line async for line in lines]
            assert sent == so_far

    asyncio.run(run())


def test_another_persons_token_renews_nothing() -> None:
    """The lease is who was let in, and stays that."""

    async def run() -> None:
        world = World()
        lease = Lease(world.resolver, await world.resolver.aresolve(world.token()))
        with pytest.raises(NotForUs):
            await lease.renew(world.clerk.token(world.clerk.create_user()))
        assert (await lease.check()).user.clerk_id == world.user.id

    asyncio.run(run())


def test_an_older_token_changes_nothing() -> None:
    """Answers may overtake each other: neither the time that is left nor the organization goes back."""

    async def run() -> None:
        world = World()
        lease = Lease(world.resolver, await world.resolver.aresolve(world.token(expires_in=120)))
        left = lease.seconds_left
        principal = await lease.renew(world.clerk.token(world.user, expires_in=60))
        assert principal is lease.principal
        assert principal.organization is not None
        assert 0 <= left - lease.seconds_left < 30

    asyncio.run(run())


@pytest.mark.parametrize("left", [False, True])
def test_a_lease_that_is_renewed_while_it_is_checked_stays_renewed(left: bool) -> None:
    """A look that began with the old token must not put it back, nor end what goes on with another organization."""

    async def run() -> None:
        clock = Clock()
        rows = Slow(MemoryRepository(clock=clock))
        world = World(cast(Repository, rows), clock=clock)
        other = world.clerk.create_organization("Other", created_by=world.user)
        lease = Lease(world.resolver, await world.resolver.aresolve(world.token(expires_in=60)), grace=0)
        if left:
            rows.rows.put([locked_out(world, "membership_deleted")])
        rows.holds_next = True
        look = asyncio.create_task(lease.check())
        await until(rows.holding.is_set)
        renewed = await lease.renew(world.clerk.token(world.user, other, expires_in=300))
        assert renewed.organization is not None
        assert renewed.organization.clerk_id == other.id
        world.clock.advance(120)
        rows.go.set()
        assert (await look).organization == renewed.organization
        assert (await lease.check()).organization == renewed.organization

    asyncio.run(run())


def test_a_look_that_takes_too_long_comes_too_late() -> None:
    """The token and the grace are over by the time the repository has answered."""

    async def run() -> None:
        clock = Clock()
        rows = Slow(MemoryRepository(clock=clock))
        world = World(cast(Repository, rows), clock=clock)
        lease = Lease(world.resolver, await world.resolver.aresolve(world.token(expires_in=60)), grace=0)
        rows.holds_next = True
        look = asyncio.create_task(lease.check())
        await until(rows.holding.is_set)
        world.clock.advance(61)
        rows.go.set()
        with pytest.raises(TokenExpired):
            await look

    asyncio.run(run())


@pytest.mark.parametrize("grace", [-1, 86_401, True, "60", None, float("nan")])
def test_a_grace_that_is_none_is_refused_where_it_is_given(grace: Any) -> None:
    """Not when the first WebSocket opens."""
    with pytest.raises(ConfigurationError):
        AuthMiddleware(Room, World().resolver, grace=grace)  # type: ignore[arg-type]


def test_many_leases_ask_the_repository_no_more_than_one() -> None:
    """Whether memory is out of date is asked for all of them at once; and what somebody else has written is heard."""

    async def run(path: Path) -> None:
        world = World()
        now = Clock(1000)
        mine = SqliteRepository.open(path, clock=world.clock)
        theirs = SqliteRepository.open(path, clock=world.clock)
        rows = Counting(mine)
        resolver = Resolver(world.clerk.instance, cast(Repository, rows), verifier=world.verifier, monotonic=now)
        people = [world.clerk.create_user() for _ in range(20)]
        leases = [Lease(resolver, await resolver.aresolve(world.clerk.token(each))) for each in people]
        for turn in range(4):
            now.advance(1)
            rows.calls.clear()
            for lease in leases:
                await lease.check()
            if turn:  # the first may find that it was itself that wrote
                assert rows.calls == ["poll"]
        theirs.put([world.clerk.record(people[7], banned=True)])
        now.advance(1)
        outcomes = await asyncio.gather(*(lease.check() for lease in leases), return_exceptions=True)
        assert [type(each) is UserBanned for each in outcomes] == [place == 7 for place in range(20)]
        mine.close()
        theirs.close()

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "app.db"))


class Counting:
    """Notes what a repository is asked."""

    def __init__(self, rows: Repository) -> None:
        self.poll_every = rows.poll_every
        self.listeners = rows.listeners
        self.max_token_lifetime = rows.max_token_lifetime
        self.needs_full_user = rows.needs_full_user
        self.calls: list[str] = []
        for name in ("find", "put", "poll"):
            setattr(self, name, self._noting(name, getattr(rows, name)))

    def _noting(self, name: str, method: Any) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            return method(*args)

        return call


def test_what_was_required_goes_on_to_be() -> None:
    """A renewal with less is refused, and so is whoever has lost the role. How old factors are is asked only once."""
    world = World()
    acme, other = (
        world.clerk.create_organization("Acme", created_by=world.user),
        world.clerk.create_organization("Other"),
    )
    world.clerk.add_member(other, world.user)
    required = Requirement(organization_role="admin", reverified="strict")
    principal = world.resolver.resolve(world.clerk.token(world.user, acme, factor_ages=(1, 1)))
    lease = Lease(world.resolver, principal, required=required)

    async def renewed_with(token: str) -> str:
        try:
            await lease.renew(token)
        except ClerkmapError as error:
            return error.code
        return "renewed"

    assert (
        asyncio.run(renewed_with(world.clerk.token(world.user, acme, factor_ages=(60, 60), expires_in=90))) == "renewed"
    )
    assert asyncio.run(renewed_with(world.clerk.token(world.user, other, expires_in=120))) == "role_missing"
    assert lease.principal.organization is not None
    assert lease.principal.organization.clerk_id == acme.id
