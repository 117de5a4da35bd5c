"""A Django site for the tests, of one module: settings, views, addresses. Settings can be made once in a process."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

PLACE = Path(tempfile.mkdtemp(prefix="clerkmap-django-"))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="django_site",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(PLACE / "default.db")}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "rest_framework",
        "clerkmap.adapters.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "clerkmap.adapters.django.AuthMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["clerkmap.adapters.django.rest.ClerkAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    CLERKMAP={"INSTANCE": {"issuer": "https://clerk.example.com", "jwks": {"keys": []}}},
)
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response
from rest_framework.views import APIView

from clerkmap.adapters.django import RequireMixin, awebhook, require, webhook
from clerkmap.adapters.django.rest import exception_handler, requires
from clerkmap.auth.result import current_principal
from clerkmap.core.requirements import Requirement

call_command("migrate", verbosity=0)
connections.close_all()

User: Any = get_user_model()

REQUIREMENTS: dict[str, dict[str, Any]] = {
    "signed-in": {},
    "admin": {"organization_role": "admin"},
    "organization": {"organization_page": "/choose"},
    "permission": {"permission": "org:invoices:create"},
    "strict": {"reverified": "strict"},
    "fresh": {"fresh_membership": True, "organization_role": "admin"},
    "real": {"not_impersonated": True},
}
reached: list[str] = []  # who has come as far as a view


def told(request: Any) -> dict[str, Any]:
    """What a view that was reached answers."""
    caller = getattr(request, "_request", request).clerk
    reached.append(request.path)
    return {"user": None if caller.error is not None else caller.principal.user.id}


def hand(request: Any) -> Any:
    """Asks for the principal itself."""
    return JsonResponse(told(request) | {"name": current_principal().user.id})


async def ahand(request: Any) -> Any:
    """The same in async code."""
    return JsonResponse(told(request) | {"name": request.clerk.principal.user.id})


def optional(request: Any) -> Any:
    """Lets anybody in who brings no token at all."""
    principal = request.clerk.optional_principal
    return JsonResponse({"user": principal and principal.user.id})


def user(request: Any) -> Any:
    """Who Django's own `request.user` is."""
    found = request.user
    return JsonResponse({"id": found.pk, "name": found.get_username(), "signed_in": found.is_authenticated})


async def auser(request: Any) -> Any:
    """The same in async code."""
    found = await request.auser()
    return JsonResponse({"id": found.pk, "name": found.get_username(), "signed_in": found.is_authenticated})


def stream(request: Any) -> Any:
    """Tells who is calling while the body is being sent."""

    def pieces() -> Any:
        yield current_principal().user.id

    return StreamingHttpResponse(pieces())


async def astream(request: Any) -> Any:
    """The same in async code."""

    async def pieces() -> Any:
        yield current_principal().user.id

    return StreamingHttpResponse(pieces())


def broken(request: Any) -> Any:
    """Fails as programs do."""
    raise ZeroDivisionError


def half(request: Any) -> Any:
    """Writes something and is refused then."""
    with transaction.atomic():
        User.objects.create(username="half")
        return JsonResponse({"user": request.clerk.principal.user.id})


def ways(name: str, **required: Any) -> list[Any]:
    """One requirement, in every way that Django has."""

    @csrf_exempt
    @require(**required)
    def view(request: Any) -> Any:
        return JsonResponse(told(request))

    @csrf_exempt
    @require(Requirement(**required))
    async def aview(request: Any) -> Any:
        return JsonResponse(told(request))

    class OfClass(RequireMixin, View):  # type: ignore[misc]
        def get(self, request: Any) -> Any:
            return JsonResponse(told(request))

        post = get

    OfClass.required = Requirement(**required)

    class AsyncOfClass(RequireMixin, View):  # type: ignore[misc]
        async def get(self, request: Any) -> Any:
            return JsonResponse(told(request))

        async def post(self, request: Any) -> Any:
            return JsonResponse(told(request))

        async def options(self, request: Any) -> Any:
            return HttpResponse()

    AsyncOfClass.required = Requirement(**required)

    class Rest(APIView):  # type: ignore[misc]
        permission_classes = (requires(**required),)

        def get(self, request: Any) -> Any:
            return Response(told(request))

        post = get

    class ExactRest(Rest):
        def get_exception_handler(self) -> Any:
            return exception_handler

    return [
        path(f"view/{name}", view),
        path(f"aview/{name}", aview),
        path(f"class/{name}", csrf_exempt(OfClass.as_view())),
        path(f"aclass/{name}", csrf_exempt(AsyncOfClass.as_view())),
        path(f"rest/{name}", Rest.as_view()),
        path(f"exact/{name}", ExactRest.as_view()),
    ]


urlpatterns = [
    *(each for name, required in REQUIREMENTS.items() for each in ways(name, **required)),
    path("hand", hand),
    path("ahand", ahand),
    path("optional", optional),
    path("user", user),
    path("auser", auser),
    path("stream", stream),
    path("astream", astream),
    path("broken", broken),
    path("half", half),
    path("webhook", webhook),
    path("awebhook", awebhook),
]
