"""The course platform: users with ids of its own, roles that the database decides, and deletions that stay."""

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clerkmap import TokenError
from clerkmap.errors import UserDeleted
from clerkmap.testing import FakeUser
from delivery_base import CLERK, INSTANCE, NOW, event, signed
from examples.courses.app import Courses, NotAllowed

MS = NOW * 1000


class World:
    """The platform, and what it has written into Clerk's metadata."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.courses = self.open()

    def open(self) -> Courses:
        return Courses(INSTANCE, str(self.path), clock=CLERK.clock, merge_metadata=self.merge)

    def merge(self, clerk_id: str, metadata: dict[str, Any]) -> None:
        self.written.append((clerk_id, metadata))

    def deliver(self, what: str, data: dict[str, Any], at: int = MS) -> int:
        body = event(type=f"user.{what}", data=data, timestamp=at)
        return self.courses.webhook(signed(body), body)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    made = World(tmp_path / "courses.db")
    yield made
    made.courses.close()


def said(user: FakeUser, name: str = "Ann", at: int = MS, **more: Any) -> dict[str, Any]:
    address = {"id": "idn_1", "email_address": f"{name.lower()}@example.com", "verification": {"status": "verified"}}
    email = {"email_addresses": [address], "primary_email_address_id": "idn_1"}
    return {"id": user.id, "first_name": name, "created_at": MS, "updated_at": at, **email, **more}


def test_a_user_has_an_id_of_ours_and_what_clerk_says(world: World) -> None:
    """A UUID that other tables refer to; name, email, image, role and dates beside it; one row for each Clerk id."""
    ann = CLERK.create_user()
    assert world.deliver("created", said(ann, image_url="https://img.example.com/a")) == 200
    assert world.deliver("created", said(ann, image_url="https://img.example.com/a")) == 200
    id, role = world.courses.caller(CLERK.token(ann))
    world.courses.enrol(CLERK.token(ann), "Algebra")

    assert (UUID(str(id)).version, role) == (7, "user")
    assert world.courses.courses_of(id) == ["Algebra"]
    row = world.rows("SELECT clerk_id, name, email, image_url, updated_at FROM clerkmap_identities")
    assert row == [(ann.id, "Ann", "ann@example.com", "https://img.example.com/a", MS)]


def test_a_late_update_brings_nothing_old_back(world: World) -> None:
    """The newest word stays, whenever an older one comes."""
    ann = CLERK.create_user()
    world.deliver("updated", said(ann, "Anna", MS + 5), MS + 5)
    world.deliver("updated", said(ann, "Ann", MS), MS)

    assert world.rows("SELECT name FROM clerkmap_identities") == [("Anna",)]


def test_deletions_redact_never_collide_and_stay(world: World) -> None:
    """The second deletion works like the first, references hold, and a late update raises nobody from the dead."""
    people = [CLERK.create_user() for _ in range(3)]
    for number, user in enumerate(people):
        world.deliver("created", said(user, f"P{number}"))
        world.courses.enrol(CLERK.token(user), "Algebra")
        assert world.deliver("deleted", {"id": user.id, "deleted": True}, MS + 1) == 200
        assert world.deliver("updated", said(user, "Back again", MS + 2), MS + 2) == 200
        with pytest.raises(UserDeleted):
            world.courses.caller(CLERK.token(user))

    assert world.rows("SELECT clerk_id, name, email, image_url FROM clerkmap_identities") == [(None,) * 4] * 3
    join = "SELECT count(*) FROM enrolments e JOIN clerkmap_users u ON u.id = e.user_id WHERE u.deleted_at IS NOT NULL"
    assert world.rows(join) == [(3,)]


def test_our_id_and_role_go_to_clerk_without_a_loop(world: World) -> None:
    """Once; the `user.updated` with which Clerk answers finds them there. Another role there changes nothing here."""
    ann = CLERK.create_user()
    world.deliver("created", said(ann, public_metadata={"role": "admin", "theme": "dark"}))
    id, role = world.courses.caller(CLERK.token(ann))
    ours = {"user_id": id, "role": "admin"}
    assert (role, world.written) == ("admin", [(ann.id, ours)])

    world.deliver("updated", said(ann, at=MS + 1, public_metadata={"theme": "dark", **ours}), MS + 1)
    assert len(world.written) == 1
    world.deliver("updated", said(ann, at=MS + 2, public_metadata={"role": "user"}), MS + 2)
    assert world.courses.caller(CLERK.token(ann)).role == "admin"


def test_a_token_without_our_id_needs_no_detour(world: World) -> None:
    """Who comes before the webhook is somebody already, and stays the same when it comes."""
    ann = CLERK.create_user()
    first = world.courses.caller(CLERK.token(ann))
    world.deliver("created", said(ann))

    assert world.courses.caller(CLERK.token(ann)) == first
    assert world.rows("SELECT count(*) FROM clerkmap_users") == [(1,)]


def test_a_demoted_admin_is_none_from_the_next_request_on(world: World) -> None:
    """The database is the truth: the token that was made before is as good as one that was made after."""
    ann, bea = CLERK.create_user(), CLERK.create_user()
    world.deliver("created", said(ann, public_metadata={"role": "admin"}))
    world.deliver("created", said(bea, "Bea", public_metadata={"role": "admin"}))
    token = CLERK.token(bea)
    assert len(world.courses.people(token)) == 2

    world.courses.promote(CLERK.token(ann), world.courses.caller(token).id, "user")

    with pytest.raises(NotAllowed):
        world.courses.people(token)
    with pytest.raises(NotAllowed):
        world.courses.promote(token, world.courses.caller(token).id, "admin")


def test_what_is_cached_is_never_old(world: World) -> None:
    """A webhook, a role, an enrolment, and a write of another process: each is seen by the next read."""
    ann, bea = CLERK.create_user(), CLERK.create_user()
    world.deliver("created", said(ann, public_metadata={"role": "admin"}))
    token = CLERK.token(ann)
    assert [name for _, name, _, _ in world.courses.people(token)] == ["Ann"]

    world.deliver("updated", said(ann, "Anna", MS + 1), MS + 1)
    assert [name for _, name, _, _ in world.courses.people(token)] == ["Anna"]
    world.courses.enrol(token, "Algebra")
    assert world.courses.courses_of(world.courses.caller(token).id) == ["Algebra"]

    other = world.open()
    body = event(type="user.created", data=said(bea, "Bea"))
    assert other.webhook(signed(body), body) == 200
    other.close()
    assert {name for _, name, _, _ in world.courses.people(token)} == {"Anna", "Bea"}


def test_errors_are_told_by_their_class(world: World) -> None:
    """A bad signature is 400, a body too large 413, a database that is away 503; a bad token names its fault."""
    body = event(type="user.created", data=said(CLERK.create_user()))
    assert world.courses.webhook(signed(body), body + b" ") == 400
    assert world.courses.webhook(signed(body), b"x" * 2_000_000) == 413
    with pytest.raises(TokenError) as refused:
        world.courses.caller("forged")
    assert refused.value.code == "token_malformed"
    world.courses.close()
    assert world.courses.webhook(signed(body), body) == 503


def test_users_survive_a_restart(world: World) -> None:
    """The mapping is a file: who was known yesterday is the same today."""
    ann = CLERK.create_user()
    before = world.courses.caller(CLERK.token(ann))
    world.courses.close()
    world.courses = world.open()

    assert world.courses.caller(CLERK.token(ann)) == before
