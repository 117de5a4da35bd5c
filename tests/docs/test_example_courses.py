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
from clerkmap.testing import Clock, FakeClerk, FakeUser
from examples.courses.app import Caller, Courses, NotAllowed
from sample_bodies import say


class World:
    """Clerk, the platform, and what it has written into Clerk's metadata."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clerk = FakeClerk(clock=Clock(1_790_000_000))
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.courses = self.open()

    def open(self) -> Courses:
        return Courses(self.clerk.instance, str(self.path), clock=self.clerk.clock, merge_metadata=self.merge)

    def merge(self, clerk_id: str, metadata: dict[str, Any]) -> None:
        self.written.append((clerk_id, metadata))

    def deliver(self) -> list[int]:
        """Hand over what is due, and tell how each delivery was answered."""
        return [self.courses.webhook(each.headers, each.body) for each in self.clerk.deliveries()]

    def person(self, name: str = "Ann", **said: Any) -> FakeUser:
        """Somebody who has signed up, of whom nothing is delivered yet."""
        return self.clerk.create_user(f"{name.lower()}@example.com", first_name=name, **said)

    def known(self, name: str = "Ann", **said: Any) -> FakeUser:
        """The same, and it is delivered."""
        user = self.person(name, **said)
        assert self.deliver() == [200]
        return user

    def caller(self, user: FakeUser) -> Caller:
        return self.courses.caller(self.clerk.token(user))

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    made = World(tmp_path / "courses.db")
    yield made
    made.courses.close()


def test_a_user_has_an_id_of_ours_and_what_clerk_says(world: World) -> None:
    """A UUID that other tables refer to; name, email, image, role and dates beside it; one row for each Clerk id."""
    ann = world.person()
    (created,) = world.clerk.deliveries()
    assert [world.courses.webhook(created.headers, created.body) for _ in range(2)] == [200, 200]
    id, role = world.caller(ann)
    world.courses.enrol(world.clerk.token(ann), "Algebra")

    assert (UUID(str(id)).version, role) == (7, "user")
    assert world.courses.courses_of(id) == ["Algebra"]
    row = world.rows("SELECT clerk_id, name, email, image_url, updated_at FROM clerkmap_identities")
    assert row == [(ann.id, "Ann", "ann@example.com", world.clerk.shape(ann)["image_url"], ann.updated_at)]


def test_a_late_update_brings_nothing_old_back(world: World) -> None:
    """The newest word stays, whenever an older one comes."""
    ann = world.person()
    for name in ("Anne", "Anna"):
        world.clerk.update_user(ann, first_name=name)
    for late in reversed([*world.clerk.deliveries()]):
        assert world.courses.webhook(late.headers, late.body) == 200
        assert world.rows("SELECT name FROM clerkmap_identities") == [("Anna",)]


def test_deletions_redact_never_collide_and_stay(world: World) -> None:
    """The second deletion works like the first, references hold, and a late update raises nobody from the dead."""
    for number in range(3):
        user = world.known(f"P{number}")
        world.courses.enrol(world.clerk.token(user), "Algebra")
        late = say(world.clerk, "user.updated", world.clerk.shape(user) | {"first_name": "Back again"}, after=60)
        world.clerk.wire.hold(late)
        world.clerk.delete_user(user)
        assert world.deliver() == [200]
        world.clerk.wire.release(late)
        assert world.deliver() == [200]
        with pytest.raises(UserDeleted):
            world.caller(user)

    assert world.rows("SELECT clerk_id, name, email, image_url FROM clerkmap_identities") == [(None,) * 4] * 3
    join = "SELECT count(*) FROM enrolments e JOIN clerkmap_users u ON u.id = e.user_id WHERE u.deleted_at IS NOT NULL"
    assert world.rows(join) == [(3,)]


def test_our_id_and_role_go_to_clerk_without_a_loop(world: World) -> None:
    """Once; the `user.updated` with which Clerk answers finds them there. Another role there changes nothing here."""
    ann = world.known(public_metadata={"role": "admin", "theme": "dark"})
    id, role = world.caller(ann)
    ours = {"user_id": id, "role": "admin"}
    assert (role, world.written) == ("admin", [(ann.id, ours)])

    world.clerk.merge_metadata(ann, public_metadata=ours)
    assert (world.deliver(), len(world.written)) == ([200], 1)
    world.clerk.replace_metadata(ann, public_metadata={"role": "user"})
    assert world.deliver() == [200]
    assert world.caller(ann).role == "admin"


def test_a_token_without_our_id_needs_no_detour(world: World) -> None:
    """Who comes before the webhook is somebody already, and stays the same when it comes."""
    ann = world.person()
    first = world.caller(ann)
    assert world.deliver() == [200]

    assert world.caller(ann) == first
    assert world.rows("SELECT count(*) FROM clerkmap_users") == [(1,)]


def test_a_demoted_admin_is_none_from_the_next_request_on(world: World) -> None:
    """The database is the truth: the token that was made before is as good as one that was made after."""
    ann, bea = (world.known(name, public_metadata={"role": "admin"}) for name in ("Ann", "Bea"))
    token = world.clerk.token(bea)
    assert len(world.courses.people(token)) == 2

    world.courses.promote(world.clerk.token(ann), world.courses.caller(token).id, "user")

    with pytest.raises(NotAllowed):
        world.courses.people(token)
    with pytest.raises(NotAllowed):
        world.courses.promote(token, world.courses.caller(token).id, "admin")


def test_what_is_cached_is_never_old(world: World) -> None:
    """A webhook, a role, an enrolment, and a write of another process: each is seen by the next read."""
    ann = world.known(public_metadata={"role": "admin"})
    token = world.clerk.token(ann)
    assert [name for _, name, _, _ in world.courses.people(token)] == ["Ann"]

    world.clerk.update_user(ann, first_name="Anna")
    assert world.deliver() == [200]
    assert [name for _, name, _, _ in world.courses.people(token)] == ["Anna"]
    world.courses.enrol(token, "Algebra")
    assert world.courses.courses_of(world.courses.caller(token).id) == ["Algebra"]

    world.person("Bea")
    other = world.open()
    assert [other.webhook(each.headers, each.body) for each in world.clerk.deliveries()] == [200]
    other.close()
    assert {name for _, name, _, _ in world.courses.people(token)} == {"Anna", "Bea"}


def test_errors_are_told_by_their_class(world: World) -> None:
    """A bad signature is 400, a body too large 413, a database that is away 503; a bad token names its fault."""
    world.person()
    (created,) = world.clerk.deliveries()
    assert world.courses.webhook(created.headers, created.body + b" ") == 400
    assert world.courses.webhook(created.headers, b"x" * 2_000_000) == 413
    with pytest.raises(TokenError) as refused:
        world.courses.caller("forged")
    assert refused.value.code == "token_malformed"
    world.courses.close()
    assert world.courses.webhook(created.headers, created.body) == 503


def test_users_survive_a_restart(world: World) -> None:
    """The mapping is a file: who was known yesterday is the same today."""
    ann = world.clerk.create_user()
    before = world.caller(ann)
    world.courses.close()
    world.courses = world.open()

    assert world.caller(ann) == before
