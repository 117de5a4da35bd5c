"""Every value that a function of clerkmap returns can be printed without showing a secret or personal data."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from conftest import SECRET

from clerkmap import Reconciler, WriteBack
from clerkmap.clerk import ClerkApi
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.sync import backfill, create_organization, diff, drain
from clerkmap.testing import Clock
from opaque_world import NOW, World

# The test kit and the command line handle made-up people and print rows on purpose.
PRINTING = ("clerkmap.testing", "clerkmap.local", "clerkmap.cli")
CANARY = "Canarina"


@contextmanager
def returned_values(found: dict[str, str]) -> Generator[None]:
    """Collect the repr of each object of clerkmap's own types that its functions return and that tells too much."""
    busy = False

    def look(frame: FrameType, event: str, value: Any) -> None:
        nonlocal busy
        module = frame.f_globals.get("__name__", "")
        if busy or event != "return" or not module.startswith("clerkmap.") or module.startswith(PRINTING):
            return
        busy = True
        try:
            for thing in _own(value):
                shown = repr(thing)
                if SECRET.search(shown) or CANARY in shown:
                    found[type(thing).__qualname__] = f"{module}.{frame.f_code.co_name}: {shown[:200]}"
        finally:
            busy = False

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def _own(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, Mapping) else value if type(value) in (list, tuple, set) else [value]
    return [each for each in items if type(each).__module__.startswith("clerkmap") and not is_printed(type(each))]


def is_printed(kind: type) -> bool:
    return kind.__module__.startswith(PRINTING)


def _life(world: World, repository: Any) -> None:
    """Use every way in once: tokens, webhooks, API pages, write-back, comparison and opaque tokens."""
    clerk, api = world.clerk, ClerkApi(world.instance, transport=world.api)
    ann = clerk.create_user("canary@example.com", first_name=CANARY)
    acme = clerk.create_organization(CANARY, created_by=ann)
    reconciler = Reconciler(world.instance, repository, clock=world.clock)
    world.resolver.resolve(clerk.token(ann, acme, claims={"email": "canary@example.com"}))
    world.resolver.resolve(clerk.oauth_token(ann))
    for delivery in clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)
    backfill(api, repository)
    diff(api, repository)
    drain(api, repository)
    create_organization(api, repository, idempotency_key="beta", name="Beta", created_by=ann.id)
    clerk.delete_user(ann)
    for delivery in clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)


@pytest.mark.parametrize("make", [MemoryRepository, lambda **options: SqliteRepository.open(":memory:", **options)])
def test_no_value_shows_more_than_it_may(make: Callable[..., Any]) -> None:
    """Whatever a debugger, a log or an error page prints of clerkmap's own objects holds no secret."""
    world = World()
    clock = Clock(NOW)
    repository = make(clock=clock, write_back=WriteBack(user_id="clerkmap_id"))
    found: dict[str, str] = {}
    with returned_values(found):
        _life(world, repository)
    repository.close()
    assert found == {}
