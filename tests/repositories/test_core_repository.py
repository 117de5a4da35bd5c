"""A repository with the core protocol alone: it keeps its contract, and serves requests and webhooks."""

from collections.abc import Callable
from typing import Any

import pytest

from clerkmap import CoreRepository, Reconciler, Resolver
from clerkmap.errors import UserDeleted
from clerkmap.testing import FakeClerk
from clerkmap.testing.contract import CoreContract
from docs_pages import ROOT, fences


def tiny() -> Callable[..., CoreRepository]:
    """The repository that the page on repositories shows."""
    (code,) = (code for _, _, code in fences(ROOT / "docs" / "repositories.md") if "class TinyRepository" in code)
    namespace: dict[str, Any] = {}
    exec(code.split("\n\n\nresolver =")[0], namespace)
    made: Callable[..., CoreRepository] = namespace["TinyRepository"]
    return made


class TestTiny(CoreContract):
    @pytest.fixture
    def make_repository(self) -> Callable[..., CoreRepository]:
        return tiny()


def test_it_serves_a_resolver_and_a_reconciler() -> None:
    """Requests make users, and webhooks change and delete them."""
    clerk = FakeClerk()
    ada = clerk.create_user()
    acme = clerk.create_organization("Acme", created_by=ada)
    repository = tiny()()
    resolver, reconciler = Resolver(clerk.instance, repository), Reconciler(clerk.instance, repository)

    def deliver() -> None:
        for delivery in clerk.deliveries():
            reconciler.receive(delivery.headers, delivery.body)

    principal = resolver.resolve(clerk.token(ada, acme))
    assert principal.user.clerk_id == ada.id
    clerk.update_user(ada, first_name="Ada")
    deliver()
    again = resolver.resolve(clerk.token(ada, acme))
    assert (again.user.id, again.user.name) == (principal.user.id, "Ada")
    assert again.organization is not None
    assert again.organization.name == "Acme"

    token = clerk.token(ada)
    assert resolver.resolve(token).user == again.user
    clerk.delete_user(ada)
    deliver()
    with pytest.raises(UserDeleted):
        resolver.resolve(token)
