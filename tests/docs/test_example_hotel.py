"""The hotel application: organizations as hotels, members as staff, and nothing that comes too early or twice."""

import io
import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from itertools import permutations
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from backfill_world import plenty
from clerkmap import HookFailed
from clerkmap.clerk import ClerkApi
from clerkmap.sync import backfill, drain
from clerkmap.testing import Clock, Delivery, FakeClerk
from clerkmap.testing.fake.shapes import deleted_shape
from examples.hotel.app import HotelApp
from sample_bodies import say

Answer = tuple[int, dict[str, Any]]


class World:
    """The application as a server would call it, and the Clerk that it calls back to.

    Ann and the organization Grand Hotel are there at Clerk, and nothing of it was delivered: `founded` is at hand.
    """

    def __init__(self, directory: Path) -> None:
        self.clerk = FakeClerk(clock=Clock(1_790_000_000))
        self.ann = self.clerk.create_user("ann@example.com", first_name="Ann")
        self.grand = self.clerk.create_organization("Grand Hotel", public_metadata={"theme": "dark"})
        _, self.founded = self.clerk.deliveries()
        self.api = ClerkApi(self.clerk.instance, transport=self.clerk.transport(), budget=plenty())
        self.path = directory / "hotels.db"
        self.app = self.open(self.path)

    def open(self, path: Path) -> HotelApp:
        return HotelApp(self.clerk.instance, str(path), clock=self.clerk.clock)

    def call(self, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> Answer:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(content)}
        environ["CONTENT_LENGTH"] = str(len(content))
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        setup_testing_defaults(environ)
        told: list[int] = []
        answer = b"".join(self.app(environ, lambda status, headers: told.append(int(status.split()[0]))))
        return told[0], json.loads(answer)

    def receive(self, delivery: Delivery) -> Answer:
        return self.call("POST", "/webhooks/clerk", delivery.headers, delivery.body)

    def deliver(self) -> None:
        """Hand over all that is due."""
        for delivery in self.clerk.deliveries():
            assert self.receive(delivery)[0] == 200

    def get(self, path: str = "/hotel", token: str | None = None) -> Answer:
        return self.call("GET", path, {"Authorization": f"Bearer {token or self.clerk.token(self.ann, self.grand)}"})

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def close(self) -> None:
        self.api.close()
        self.app.close()


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    made = World(tmp_path)
    yield made
    made.close()


def test_an_organization_becomes_a_hotel_with_its_departments(world: World) -> None:
    """In one transaction, and once, however often Clerk says so. Its id is Clerk's own."""
    assert world.receive(world.founded) == (200, {"outcome": "applied"})
    assert world.receive(world.founded) == (200, {"outcome": "nothing_new"})

    assert world.rows("SELECT * FROM hotels") == [(world.grand.id, "Grand Hotel", 0)]
    assert len(world.rows("SELECT * FROM departments")) == 3


def test_a_member_becomes_staff_and_a_duplicate_is_no_error(world: World) -> None:
    """The user, the membership and the row on the staff are made together; twice is once."""
    world.clerk.add_member(world.grand, world.ann)
    (joined,) = world.clerk.deliveries()
    assert world.receive(joined) == (200, {"outcome": "applied"})
    assert world.receive(joined) == (200, {"outcome": "nothing_new"})

    assert world.rows("SELECT user_id, role, left_it FROM staff") == [(world.ann.id, "org:member", 0)]


def test_nobody_waits_for_a_hotel(world: World) -> None:
    """A member who comes before the organization was told of brings it along, and is let in at once."""
    world.clerk.add_member(world.grand, world.ann)
    world.deliver()

    status, page = world.get()
    assert (status, page["hotel"], page["your role"]) == (200, "Grand Hotel", "org:member")


def test_every_order_ends_in_the_same_rows(world: World, tmp_path: Path) -> None:
    """Whatever comes first: founded, joined, renamed, promoted."""
    world.clerk.add_member(world.grand, world.ann)
    world.clerk.update_organization(world.grand, name="Palace")
    world.clerk.add_member(world.grand, world.ann, role="org:admin")
    ends = []
    for number, order in enumerate(permutations([world.founded, *world.clerk.deliveries()])):
        world.app.close()
        world.path = tmp_path / f"{number}.db"
        world.app = world.open(world.path)
        for delivery in order:
            assert world.receive(delivery)[0] == 200
        ends.append((world.rows("SELECT * FROM hotels"), world.rows("SELECT user_id, role, left_it FROM staff")))
    assert len(ends) == 24
    assert all(end == ([(world.grand.id, "Palace", 0)], [(world.ann.id, "org:admin", 0)]) for end in ends)


def test_leaving_and_joining_again(world: World) -> None:
    """Who was removed is refused at once and off the staff; who comes back is on it again, in the same row."""
    world.clerk.add_member(world.grand, world.ann)
    world.clerk.remove_member(world.grand, world.ann)
    world.deliver()
    assert world.get() == (403, {"error": "membership_deleted"})
    assert world.rows("SELECT left_it FROM staff") == [(1,)]

    world.clerk.add_member(world.grand, world.ann)
    world.deliver()
    assert world.get()[0] == 200
    assert world.rows("SELECT left_it FROM staff") == [(0,)]


def test_a_deleted_organization_closes_its_hotel(world: World) -> None:
    """The type in the body decides, and no route: a deletion makes nothing, and the hotel's rows stay."""
    world.clerk.delete_organization(world.grand)
    world.deliver()
    assert world.rows("SELECT * FROM hotels") == []
    inn = world.clerk.create_organization("Inn")
    world.deliver()
    world.clerk.delete_organization(inn)
    world.deliver()

    assert world.rows("SELECT name, closed FROM hotels") == [("Inn", 1)]
    assert world.get() == (403, {"error": "organization_deleted"})


def test_a_founder_needs_no_webhook(world: World) -> None:
    """The application founds the organization at Clerk and its hotel, once, and the founder's next token opens it."""
    seaside, again = (world.app.create(world.api, "form 7", "Seaside", world.ann.id) for _ in range(2))
    assert seaside == again
    assert world.rows("SELECT id, name FROM hotels") == [(seaside, "Seaside")]

    status, page = world.get(token=world.clerk.token(world.ann, world.clerk.organizations[seaside]))

    assert (status, page["your role"], len(page["departments"])) == (200, "org:admin", 3)


def test_its_own_id_goes_into_clerks_metadata_once(world: World) -> None:
    """Beside what is there already, and without an answer to the answer: what is there is not written again."""
    world.receive(world.founded)
    world.clerk.clock.advance(2)
    assert drain(world.api, world.app.repository, clock=world.clerk.clock).written == 1
    assert world.grand.public_metadata == {"theme": "dark", "hotel_id": world.grand.id}

    (answer,) = world.clerk.deliveries()
    assert (answer.type, world.receive(answer)[0]) == ("organization.updated", 200)
    assert world.app.repository.outbox(world.clerk.instance.name) == []


def test_who_belongs_to_no_hotel_is_told_so(world: World) -> None:
    """They are sent to a page that says what to do."""
    nobody = world.clerk.token(world.ann)
    assert world.get(token=nobody) == (303, {"see": "/no-hotel"})

    status, page = world.get("/no-hotel", token=nobody)
    assert (status, page["user"]) == (200, world.ann.id)


@pytest.mark.slow
def test_a_backfill_brings_everybody_in(world: World) -> None:
    """People, members and hotels, with their rows; again, it changes nothing; and a later webhook counts."""
    clerk = world.clerk
    with clerk.silence():
        people = [world.ann, *(clerk.create_user(first_name=f"N {number}") for number in range(1_099))]
        for person in people[:600]:
            clerk.add_member(world.grand, person)
    report = backfill(world.api, world.app.repository, clock=clerk.clock)
    assert report.changed == {"users": 1_100, "organizations": 1, "memberships": 600}
    assert world.rows("SELECT count(*) FROM clerkmap_identities WHERE first_name IS NOT NULL") == [(1_100,)]
    assert world.rows("SELECT count(*) FROM staff") == [(600,)]

    assert set(backfill(world.api, world.app.repository, clock=clerk.clock).changed.values()) == {0}
    say(clerk, "user.deleted", deleted_shape("user", people[7].id))  # and Clerk lists them still
    *_, deletion = clerk.deliveries()
    assert world.receive(deletion)[1] == {"outcome": "applied"}
    assert set(backfill(world.api, world.app.repository, clock=clerk.clock).changed.values()) == {0}


def test_what_is_answered(world: World) -> None:
    """What is not Clerk's: 400, 413. A forged token: 401. A fault of ours: an error, and Clerk tries again."""
    headers, content = world.founded.headers, world.founded.body
    assert world.call("POST", "/webhooks/clerk", {}, content)[0] == 400
    assert world.call("POST", "/webhooks/clerk", headers, content + b" ")[0] == 400
    assert world.call("POST", "/webhooks/clerk", headers, b"x" * 1_100_000)[0] == 413
    assert world.get(token="forged")[0] == 401
    assert world.get("/nowhere")[0] == 404
    with closing(sqlite3.connect(world.path)) as connection:
        connection.execute("DROP TABLE departments")

    with pytest.raises(HookFailed):
        world.receive(world.founded)
    assert world.rows("SELECT * FROM hotels") == world.rows("SELECT * FROM clerkmap_organizations") == []
