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

from clerk_server import SECRET_KEY, ClerkServer, clerk_server
from clerkmap import HookFailed
from delivery_base import CLERK, INSTANCE, NOW, event, signed
from examples.hotel.app import HotelApp
from examples.hotel.clerk_api import ClerkApi
from examples.hotel.sync import sync

MS = NOW * 1000
GRAND = CLERK.create_organization("Grand Hotel")
ANN = CLERK.create_user()
Answer = tuple[int, dict[str, Any]]


def organization(name: str = "Grand Hotel", at: int = MS, **said: Any) -> dict[str, Any]:
    return {"id": GRAND.id, "name": name, "updated_at": at, "public_metadata": {}, **said}


def membership(clerk_id: str = "orgmem_1", role: str = "org:member", at: int = MS) -> dict[str, Any]:
    ends = {"organization": organization(), "public_user_data": {"user_id": ANN.id, "first_name": "Ann"}}
    return {"id": clerk_id, "role": role, "updated_at": at, **ends}


def body(type_: str, data: dict[str, Any], at: int = MS) -> bytes:
    return event(type=type_, data=data, timestamp=at)


class World:
    """The application as a server would call it, with a Clerk to call back to."""

    def __init__(self, directory: Path, server: ClerkServer) -> None:
        self.server = server
        self.api = ClerkApi(SECRET_KEY, server.url)
        self.path = directory / "hotels.db"
        self.app = HotelApp(INSTANCE, str(self.path), clock=CLERK.clock, merge_metadata=self.api.merge_metadata)

    def call(self, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> Answer:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(content)}
        environ["CONTENT_LENGTH"] = str(len(content))
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        setup_testing_defaults(environ)
        told: list[int] = []
        answer = b"".join(self.app(environ, lambda status, headers: told.append(int(status.split()[0]))))
        return told[0], json.loads(answer)

    def deliver(self, type_: str, data: dict[str, Any], at: int = MS) -> Answer:
        content = body(type_, data, at)
        return self.call("POST", "/webhooks/clerk", signed(content), content)

    def get(self, path: str = "/hotel", token: str | None = None) -> Answer:
        return self.call("GET", path, {"Authorization": f"Bearer {token or CLERK.token(ANN, GRAND)}"})

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def world(tmp_path: Path) -> Generator[World, None, None]:
    with clerk_server() as server:
        server.organizations.append(organization(public_metadata={"theme": "dark"}))
        made = World(tmp_path, server)
        yield made
        made.api.close()
        made.app.close()


def test_an_organization_becomes_a_hotel_with_its_departments(world: World) -> None:
    """In one transaction, and once, however often Clerk says so. Its id is Clerk's own."""
    assert world.deliver("organization.created", organization()) == (200, {"outcome": "applied"})
    assert world.deliver("organization.created", organization()) == (200, {"outcome": "nothing_new"})

    assert world.rows("SELECT * FROM hotels") == [(GRAND.id, "Grand Hotel", 0)]
    assert len(world.rows("SELECT * FROM departments")) == 3


def test_a_member_becomes_staff_and_a_duplicate_is_no_error(world: World) -> None:
    """The user, the membership and the row on the staff are made together; twice is once."""
    assert world.deliver("organizationMembership.created", membership()) == (200, {"outcome": "applied"})
    assert world.deliver("organizationMembership.created", membership()) == (200, {"outcome": "nothing_new"})

    assert world.rows("SELECT user_id, role, left_it FROM staff") == [(ANN.id, "org:member", 0)]


def test_nobody_waits_for_a_hotel(world: World) -> None:
    """A member who comes before the organization was told of brings it along, and is let in at once."""
    assert world.deliver("organizationMembership.created", membership())[0] == 200

    status, page = world.get()
    assert (status, page["hotel"], page["your role"]) == (200, "Grand Hotel", "org:member")


def test_every_order_ends_in_the_same_rows(tmp_path: Path) -> None:
    """Whatever comes first: promoted, renamed, left, joined again."""
    history = [
        body("organization.created", organization()),
        body("organizationMembership.created", membership()),
        body("organization.updated", organization("Palace", MS + 1), MS + 1),
        body("organizationMembership.updated", membership(role="org:admin", at=MS + 2), MS + 2),
    ]
    ends = []
    with clerk_server() as server:
        server.organizations.append(organization())
        for number, order in enumerate(permutations(history)):
            (tmp_path / str(number)).mkdir()
            world = World(tmp_path / str(number), server)
            for content in order:
                assert world.call("POST", "/webhooks/clerk", signed(content), content)[0] == 200
            ends.append((world.rows("SELECT * FROM hotels"), world.rows("SELECT user_id, role, left_it FROM staff")))
            world.api.close()
            world.app.close()
    assert all(end == ([(GRAND.id, "Palace", 0)], [(ANN.id, "org:admin", 0)]) for end in ends)


def test_leaving_and_joining_again(world: World) -> None:
    """Who was removed is refused at once and off the staff; who comes back is on it again, in the same row."""
    world.deliver("organizationMembership.created", membership())
    world.deliver("organizationMembership.deleted", membership(), MS + 5)
    assert world.get() == (403, {"error": "membership_deleted"})
    assert world.rows("SELECT left_it FROM staff") == [(1,)]

    world.deliver("organizationMembership.created", membership("orgmem_2", at=MS + 9), MS + 9)
    assert world.get()[0] == 200
    assert world.rows("SELECT left_it FROM staff") == [(0,)]


def test_a_deleted_organization_closes_its_hotel(world: World) -> None:
    """The type in the body decides, and no route: a deletion makes nothing, and the hotel's rows stay."""
    assert world.deliver("organization.deleted", {"id": GRAND.id, "deleted": True})[0] == 200
    assert world.rows("SELECT * FROM hotels") == []
    other = CLERK.create_organization("Inn")
    world.deliver("organization.created", {"id": other.id, "name": "Inn"})
    world.deliver("organization.deleted", {"id": other.id, "deleted": True}, MS + 1)

    assert world.rows("SELECT name, closed FROM hotels") == [("Inn", 1)]
    assert world.get() == (403, {"error": "organization_deleted"})


def test_a_founder_needs_no_webhook(world: World) -> None:
    """The application founds the organization at Clerk, and the founder's next token makes the hotel."""
    clerk_id = world.api.found("Seaside", ANN.id)
    claims = {"o": {"id": clerk_id, "rol": "admin", "slg": "seaside"}}

    status, page = world.get(token=CLERK.token(ANN, GRAND, claims=claims))

    assert (status, page["your role"], len(page["departments"])) == (200, "org:admin", 3)


def test_its_own_id_goes_into_clerks_metadata_once(world: World) -> None:
    """Beside what is there already, and without an answer to the answer: what is there is not written again."""
    world.deliver("organization.created", organization())
    metadata = {"theme": "dark", "hotel_id": GRAND.id}
    assert world.server.organizations[0]["public_metadata"] == metadata

    at = MS + 1
    world.deliver("organization.updated", organization(at=at, public_metadata=metadata), at)
    assert world.server.requests == [f"PATCH /organizations/{GRAND.id}/metadata"]


def test_who_belongs_to_no_hotel_is_told_so(world: World) -> None:
    """They are sent to a page that says what to do."""
    nobody = CLERK.token(ANN)
    assert world.get(token=nobody) == (303, {"see": "/no-hotel"})

    status, page = world.get("/no-hotel", token=nobody)
    assert (status, page["user"]) == (200, ANN.id)


def test_the_sync_brings_everybody_in_page_by_page(world: World) -> None:
    """More people than two pages hold, members and hotels; again, it changes nothing; and a later webhook counts."""
    world.server.users = [{"id": f"user_{number}", "first_name": f"N {number}"} for number in range(1_100)]
    world.server.memberships = [
        {
            "id": f"orgmem_{number}",
            "role": "org:member",
            "organization": world.server.organizations[0],
            "public_user_data": {"user_id": f"user_{number}"},
        }
        for number in range(600)
    ]
    # The hotel twice: with its memberships comes the id that the application has just put into its metadata.
    assert sync(world.api, world.app.reconciler, CLERK.clock) == 1_100 + 2 + 600
    assert world.rows("SELECT count(*) FROM clerkmap_identities WHERE first_name IS NOT NULL") == [(1_100,)]
    assert world.rows("SELECT count(*) FROM staff") == [(600,)]

    assert sync(world.api, world.app.reconciler, CLERK.clock) == 0
    assert world.deliver("user.deleted", {"id": "user_7"}, MS + 1)[1] == {"outcome": "applied"}
    assert sync(world.api, world.app.reconciler, CLERK.clock) == 0


def test_what_is_answered(world: World) -> None:
    """What is not Clerk's: 400, 413. A forged token: 401. A fault of ours: an error, and Clerk tries again."""
    content = body("organization.created", organization())
    assert world.call("POST", "/webhooks/clerk", {}, content)[0] == 400
    assert world.call("POST", "/webhooks/clerk", signed(content), content + b" ")[0] == 400
    assert world.call("POST", "/webhooks/clerk", signed(content), b"x" * 1_100_000)[0] == 413
    assert world.get(token="forged")[0] == 401
    assert world.get("/nowhere")[0] == 404
    with closing(sqlite3.connect(world.path)) as connection:
        connection.execute("DROP TABLE departments")

    with pytest.raises(HookFailed):
        world.deliver("organization.created", organization())
    assert world.rows("SELECT * FROM hotels") == world.rows("SELECT * FROM clerkmap_organizations") == []
