"""Django: what others than the caller must not get: from caches, by OPTIONS, past a mixin in the wrong place."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.views import View

import django_site as django_site  # settings first
from clerkmap import Resolver
from clerkmap.adapters.django import AuthMiddleware, RequireMixin, require
from clerkmap.errors import ConfigurationError, TokenMissing
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

clerk = FakeClerk(seed=7)
resolver = Resolver(clerk.instance, MemoryRepository())
OURS = {"RESOLVER": "test_django_caches.resolver"}


def test_options_is_refused_like_any_method() -> None:
    """Few functions look at the method. Nor is a mixin let stand behind a view."""
    reached: list[str] = []

    @require(organization_role="admin")
    def report(request: Any) -> HttpResponse:
        reached.append(request.method)
        return HttpResponse("salaries")

    with override_settings(CLERKMAP=OURS), pytest.raises(TokenMissing):
        AuthMiddleware(report)(RequestFactory().options("/"))
    assert reached == []
    with pytest.raises(ConfigurationError, match="first"):
        type("Wrong", (View, RequireMixin), {})


def test_what_is_made_for_somebody_is_nobody_elses() -> None:
    """Caches are told by what it differs."""

    def page(request: Any) -> HttpResponse:
        return HttpResponse("hello")

    headers = {"Authorization": f"Bearer {clerk.token(clerk.create_user())}"}
    with override_settings(CLERKMAP=OURS):
        told = AuthMiddleware(page)(RequestFactory().get("/", headers=headers))
        to_anybody = AuthMiddleware(page)(RequestFactory().get("/"))
    assert told["Vary"] == "Authorization, Cookie"
    assert "Vary" not in to_anybody
