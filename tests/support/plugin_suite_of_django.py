"""A suite of a Django project: settings from the environment, one resolver for the run, a transaction for each test.

It stands alone, as `manage.py` and pytest-django would have it: this module is the settings and the addresses, too.
"""

import os
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["clerkmap.adapters.django"],
    MIDDLEWARE=["clerkmap.adapters.django.AuthMiddleware"],
    CLERKMAP={"INSTANCE": {"publishable_key": os.environ["CLERK_PUBLISHABLE_KEY"]}},
)
django.setup()

from django.core.management import call_command
from django.db import transaction
from django.http import JsonResponse
from django.test import Client
from django.urls import path

from clerkmap.adapters.django import require, webhook
from clerkmap.adapters.django.settings import resolver
from clerkmap.testing import FakeClerk


@require(organization_role="admin")
def me(request: Any) -> Any:
    """Who is calling."""
    user = request.clerk.principal.user
    return JsonResponse({"id": user.id, "email": user.email})


urlpatterns = [path("me", me), path("webhooks/clerk", webhook)]


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """Nothing is left of a test in the database. The resolver does not hear of that."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.clerk_user("ada@example.com", role="org:admin")
def test_rows_are_there_although_the_last_ones_were_undone(clerk: FakeClerk, turn: int) -> None:
    """Whom the resolver remembers is nobody in this test, so each test's person is made a row anew."""
    client = clerk.signed_in(Client())
    assert client.get("/me").json()["email"] is None
    for delivery in clerk.deliveries():
        kind = delivery.headers.pop("content-type")
        assert client.post("/webhooks/clerk", delivery.body, kind, headers=delivery.headers).status_code == 200
    answer = client.get("/me").json()
    assert answer["email"] == "ada@example.com"
    (ada,) = clerk.users
    found = resolver().resolve(clerk.token(clerk.users[ada]))
    assert found.user.id == answer["id"]
    assert Client().get("/me").status_code == 401
    assert Client().get("/me", headers=clerk.auth(role="org:member")).status_code == 403
