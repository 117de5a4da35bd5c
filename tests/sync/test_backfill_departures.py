"""Who has gone is found, though nobody said so; and nobody is taken for gone whom Clerk knows."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest

from backfill_world import World, plenty
from clerkmap import Reconciler, Resolver
from clerkmap.clerk.api import ClerkApi
from clerkmap.errors import ApiError, UserBanned, UserDeleted
from clerkmap.sync.backfill import backfill
from clerkmap.sync.drift import diff


@pytest.fixture
def world() -> World:
    """A world that was copied."""
    world = World.of(41, people=40, organizations=2)
    backfill(world.api, world.repository)
    return world


def in_step(world: World) -> bool:
    """Whether both say the same, and diff says so."""
    return world.stored() == world.said() and not diff(world.api, world.repository)


def test_an_organization_goes_with_all_its_members(world: World) -> None:
    """Half of all memberships end with it. That is one departure, and none of them is asked about."""
    with world.clerk.silence():
        world.clerk.delete_organization(world.company(1))
    world.clerk.api.requests.clear()
    report = backfill(world.api, world.repository)
    assert (report.departed, report.held_back) == (1, 0)
    assert len(world.clerk.api.requests) == 6  # keys, a count, three lists, and the one organization
    assert in_step(world)


def test_memberships_of_what_is_gone_hold_nothing_back(world: World) -> None:
    """What went long ago and was told of does not look like so many departures, in this run or in any later one."""
    reconciler = Reconciler(world.clerk.instance, world.repository)
    world.clerk.delete_organization(world.company(1))
    for delivery in world.clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)
    with world.clerk.silence():
        world.clerk.delete_user(world.person(3))
    for departed in (1, 0, 0):
        report = backfill(world.api, world.repository)
        assert (report.departed, report.held_back) == (departed, 0)
        assert in_step(world)


def test_who_left_and_came_back(world: World) -> None:
    """The old membership has ended, the new one stands, and it is the new role that counts."""
    company, person = world.company(0), world.person(4)
    with world.clerk.silence():
        world.clerk.remove_member(company, person)
        world.clerk.add_member(company, person, role="org:admin")
    assert backfill(world.api, world.repository).departed == 1
    assert in_step(world)
    principal = Resolver(world.clerk.instance, world.repository).resolve(world.clerk.token(person, company))
    assert principal.membership is not None
    assert principal.membership.role == "org:admin"


def test_who_is_known_from_a_token_alone(world: World) -> None:
    """They are there and get their names; or they are gone, and locked out."""
    resolver = Resolver(world.clerk.instance, world.repository)
    with world.clerk.silence():
        stays, goes = world.clerk.create_user("stays@example.com"), world.clerk.create_user("goes@example.com")
        world.clerk.add_member(world.company(0), stays)
    tokens = [world.clerk.token(stays, world.company(0)), world.clerk.token(goes)]
    for token in tokens:
        resolver.resolve(token)
    with world.clerk.silence():
        world.clerk.delete_user(goes)
    assert backfill(world.api, world.repository).departed == 1
    assert in_step(world)
    with pytest.raises(UserDeleted):
        resolver.resolve(tokens[1])


def test_who_was_banned(world: World) -> None:
    """And nobody said so."""
    person = world.person(4)
    token = world.clerk.token(person)
    with world.clerk.silence():
        world.clerk.ban(person)
    backfill(world.api, world.repository)
    with pytest.raises(UserBanned):
        Resolver(world.clerk.instance, world.repository).resolve(token)


class Refusing(httpx.BaseTransport):
    """Clerk's API, whose refusals are others."""

    def __init__(self, world: World, status: int, code: str) -> None:
        self._inner = world.clerk.transport()
        self._status = status
        self._body = json.dumps({"errors": [{"code": code, "message": "No"}]})

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if answer.status_code < 400:
            return answer
        answer.read()
        return httpx.Response(self._status, text=self._body, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((404, "organization_not_enabled_in_instance"), (404, "unknown_version"), (403, "not_allowed")),
        *((401, "clerk_key_invalid"), (422, "form_param_missing"), (500, "internal_clerk_error"), (410, "gone")),
    ],
)
@pytest.mark.parametrize("what", ["user", "organization", "membership"])
def test_only_a_404_of_the_id_deletes(world: World, what: str, status: int, code: str) -> None:
    """Whatever else is said of a thing that is not listed, it stays."""
    before = world.stored()
    with world.clerk.silence():
        if what == "user":
            world.clerk.delete_user(world.person(3))
        elif what == "organization":
            world.clerk.delete_organization(world.company(1))
        else:
            world.clerk.remove_member(world.company(0), world.person(6))
    transport = Refusing(world, status, code)
    api = ClerkApi(world.clerk.instance, transport=transport, budget=plenty(), patience=0)
    with suppress(ApiError):
        assert backfill(api, world.repository).departed == 0
    assert world.stored() == before
    backfill(world.api, world.repository, most_departures=1)
    assert in_step(world)


def test_who_comes_back_into_the_list_is_only_put(world: World) -> None:
    """Somebody is passed over by the list, changed since: they are asked for, found, and put."""
    hidden = world.person(5)
    with world.clerk.silence():
        world.clerk.update_user(hidden, first_name="Hidden")
    row = world.clerk.shape(hidden)

    class Hiding(httpx.BaseTransport):
        def __init__(self) -> None:
            self._inner = world.clerk.transport()

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = self._inner.handle_request(request)
            said: Any = json.loads(answer.read())
            if isinstance(said, list):
                said = [each for each in said if each["id"] != row["id"]]
            return httpx.Response(answer.status_code, json=said)

    api = ClerkApi(world.clerk.instance, transport=Hiding(), budget=plenty())
    report = backfill(api, world.repository)
    assert (report.departed, report.complete) == (0, False)
    assert in_step(world)


def test_many_small_kinds(world: World) -> None:
    """Ten of a kind may always go; of eleven in forty, none is asked about, and none of another kind."""
    with world.clerk.silence():
        for _ in range(10):
            world.clerk.delete_user(world.person(9))
    assert backfill(world.api, world.repository).departed == 10
    with world.clerk.silence():
        world.clerk.delete_organization(world.company(1))
        for _ in range(11):
            world.clerk.delete_user(world.person(9))
    report = backfill(world.api, world.repository)
    assert (report.departed, report.held_back) == (0, 12)
    assert backfill(world.api, world.repository, most_departures=0.4).departed == 12
    assert in_step(world)
