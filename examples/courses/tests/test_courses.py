"""The course platform: all tokens and webhooks are really signed and verified, and all rows are in PostgreSQL."""

import asyncio
from uuid import UUID

import httpx
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from clerkmap.clerk import AsyncClerkApi
from clerkmap.sync import adrain
from clerkmap.testing import FakeClerk, FakeUser

from ..app import create_app
from ..models import tables

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


async def deliver(clerk: FakeClerk, client: httpx.AsyncClient) -> None:
    """Deliver the webhooks that are due."""
    for delivery in clerk.deliveries():
        answer = await client.post("/webhooks/clerk", content=delivery.body, headers=delivery.headers)
        assert answer.status_code == 200, answer.text


async def person(clerk: FakeClerk, client: httpx.AsyncClient, name: str, role: str | None = None) -> FakeUser:
    """Return a user that has signed up, and that the platform has heard of."""
    metadata = {"role": role} if role else None
    user = clerk.create_user(f"{name.lower()}@example.com", first_name=name, public_metadata=metadata)
    await deliver(clerk, client)
    return user


@pytest.fixture
async def admin(clerk: FakeClerk, client: httpx.AsyncClient) -> Headers:
    """Return the headers of an administrator."""
    return clerk.auth(await person(clerk, client, "Ada", "admin"))


@pytest.fixture
async def algebra(client: httpx.AsyncClient, admin: Headers) -> int:
    """Return the id of a course."""
    answer = await client.post("/admin/courses", json={"title": "Algebra"}, headers=admin)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def test_a_user_has_an_id_of_ours_and_what_clerk_says(clerk: FakeClerk, client: httpx.AsyncClient) -> None:
    """The id is a UUID, the role comes from the platform, and the profile comes from Clerk."""
    bea = await person(clerk, client, "Bea")
    me = (await client.get("/me", headers=clerk.auth(bea))).json()
    assert (UUID(me["id"]).version, me["role"]) == (7, "user")
    profile = (await client.get("/me/profile", headers=clerk.auth(bea))).json()
    assert (profile["id"], profile["name"], profile["email"]) == (me["id"], "Bea", "bea@example.com")


async def test_a_token_before_the_webhook_needs_no_detour(
    clerk: FakeClerk, client: httpx.AsyncClient, algebra: int
) -> None:
    """The first request creates the user, and the webhook finds it."""
    bea = clerk.create_user("bea@example.com", first_name="Bea")
    before = (await client.get("/me", headers=clerk.auth(bea))).json()
    assert (await client.put(f"/me/courses/{algebra}", headers=clerk.auth(bea))).status_code == 204
    await deliver(clerk, client)
    assert (await client.get("/me", headers=clerk.auth(bea))).json() == before


async def test_enrolling_twice_is_enrolling_once(
    clerk: FakeClerk, client: httpx.AsyncClient, admin: Headers, algebra: int
) -> None:
    """A user sees the course, and administrators see the user in it."""
    bea = clerk.auth(await person(clerk, client, "Bea"))
    for _ in range(2):
        assert (await client.put(f"/me/courses/{algebra}", headers=bea)).status_code == 204
    assert (await client.put("/me/courses/0", headers=bea)).status_code == 404
    assert (await client.get("/me/courses", headers=bea)).json() == [{"id": algebra, "title": "Algebra"}]
    users = (await client.get(f"/admin/courses/{algebra}/users", headers=admin)).json()
    assert [user["name"] for user in users] == ["Bea"]


async def test_only_administrators_administrate(clerk: FakeClerk, client: httpx.AsyncClient) -> None:
    """Everybody sees the courses. A stranger is asked to sign in, and a user is refused."""
    bea = clerk.auth(await person(clerk, client, "Bea"))
    assert (await client.get("/courses")).json() == []
    for path in ("/admin/users", "/admin/courses/1/users"):
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bea)).json()["code"] == "role_missing"
    assert (await client.get("/me/courses")).status_code == 401


async def test_a_demoted_admin_is_none_from_the_next_request_on(
    clerk: FakeClerk, client: httpx.AsyncClient, admin: Headers
) -> None:
    """The database decides about roles: a token that was made before is no better than one that was made after."""
    bea = clerk.auth(await person(clerk, client, "Bea", "admin"))
    id = (await client.get("/me", headers=bea)).json()["id"]
    assert len((await client.get("/admin/users", headers=bea)).json()) == 2
    changed = await client.put(f"/admin/users/{id}/role", json="user", headers=admin)
    assert changed.status_code == 204
    assert (await client.get("/admin/users", headers=bea)).status_code == 403
    unknown = await client.put(f"/admin/users/{UUID(int=0)}/role", json="user", headers=admin)
    assert unknown.status_code == 404
    assert (await client.put(f"/admin/users/{id}/role", json="king", headers=admin)).status_code == 422


async def test_deletions_redact_never_collide_and_stay(
    clerk: FakeClerk, client: httpx.AsyncClient, connection: AsyncConnection, admin: Headers, algebra: int
) -> None:
    """The second deletion works like the first, enrolments stay, and a late webhook brings no user back."""
    users = [await person(clerk, client, name) for name in ("Bea", "Cleo")]
    for user in users:
        assert (await client.put(f"/me/courses/{algebra}", headers=clerk.auth(user))).status_code == 204
        clerk.update_user(user, last_name="Late")
        *_, late = clerk.deliveries()
        clerk.delete_user(user)
        await deliver(clerk, client)
        answer = await client.post("/webhooks/clerk", content=late.body, headers=late.headers)
        assert answer.status_code == 200
        assert (await client.get("/me", headers=clerk.auth(user))).json()["code"] == "user_deleted"
    assert (await client.get(f"/admin/courses/{algebra}/users", headers=admin)).json() == []
    assert [user["name"] for user in (await client.get("/admin/users", headers=admin)).json()] == ["Ada"]
    kept = select(tables.users.c.id).where(tables.users.c.deleted_at.is_not(None))
    assert len((await connection.execute(kept)).all()) == 2


async def test_a_team_has_its_current_members(clerk: FakeClerk, client: httpx.AsyncClient, algebra: int) -> None:
    """Without those who were removed or banned; only an administrator of the organization sees it."""
    acme = clerk.create_organization("Acme")
    people = {name: await person(clerk, client, name) for name in ("Bea", "Cleo", "Dora", "Edna")}
    for name, user in people.items():
        clerk.add_member(acme, user, role="org:admin" if name == "Bea" else "org:member")
    clerk.remove_member(acme, people["Cleo"])
    clerk.ban(people["Dora"])
    await deliver(clerk, client)
    await client.put(f"/me/courses/{algebra}", headers=clerk.auth(people["Edna"]))
    team = await client.get("/team", headers=clerk.auth(people["Bea"], acme))
    assert [(each["name"], each["role"], each["courses"]) for each in team.json()] == [
        ("Bea", "org:admin", 0),
        ("Edna", "org:member", 1),
    ]
    assert (await client.get("/team", headers=clerk.auth(people["Edna"], acme))).status_code == 403


async def test_ids_and_roles_go_to_clerk(clerk: FakeClerk, client: httpx.AsyncClient, app: FastAPI) -> None:
    """The front end reads them in Clerk's metadata. Other metadata stays, and the echo causes no second write."""
    bea = await person(clerk, client, "Bea", "admin")
    clerk.merge_metadata(bea, public_metadata={"theme": "dark"})
    await deliver(clerk, client)
    me = (await client.get("/me", headers=clerk.auth(bea))).json()
    clerk.clock.advance(5)
    async with AsyncClerkApi(clerk.instance, transport=clerk.transport(), clock=clerk.clock) as api:
        assert (await adrain(api, app.state.repository, clock=clerk.clock)).written == 1
        assert bea.public_metadata == {"role": "admin", "theme": "dark", "user_id": me["id"]}
        await deliver(clerk, client)
        clerk.clock.advance(5)
        assert (await adrain(api, app.state.repository, clock=clerk.clock)).written == 0


async def test_a_bad_signature_is_refused(clerk: FakeClerk, client: httpx.AsyncClient) -> None:
    """A webhook that Clerk has not signed is a 400."""
    clerk.create_user()
    (delivery,) = clerk.deliveries()
    answer = await client.post("/webhooks/clerk", content=delivery.body + b" ", headers=delivery.headers)
    assert answer.status_code == 400


async def test_the_application_starts_and_stops(clerk: FakeClerk, database: str) -> None:
    """As a server runs it: with an engine, and the outbox beside the requests."""
    app = create_app(create_async_engine(database))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://courses.test/courses")).json() == []


@pytest.mark.parametrize("_", range(2))
async def test_each_test_begins_without_users(client: httpx.AsyncClient, connection: AsyncConnection, _: int) -> None:
    """Nothing of another test is left in the database."""
    assert (await connection.execute(select(tables.users.c.id))).all() == []


async def test_the_models_need_no_migration(database: str, migrations: Config) -> None:
    """`alembic check` finds no difference between the models and the database."""
    await asyncio.to_thread(command.check, migrations)
