"""`clerkmap init`: the tables and the first lines of an application."""

import os
from typing import TYPE_CHECKING

import click

from .formatting import say
from .options import DATABASE, ids_option, url_option

if TYPE_CHECKING:
    from .database import CommandDatabase, DatabaseState, NewIds

_SETTINGS = {
    "CLERK_PUBLISHABLE_KEY": "from the API keys page of Clerk's dashboard",
    "CLERK_SECRET_KEY": "from the same page; for requests to Clerk's API, such as `clerkmap sync`",
    "CLERK_WEBHOOK_SIGNING_SECRET": "from the endpoint's page under Webhooks",
}


@click.command("init")
@click.option(
    "--framework",
    required=True,
    type=click.Choice(["fastapi", "starlette", "django", "flask", "asgi", "wsgi"]),
    help="The framework of your application.",
)
@url_option
@ids_option
def command(framework: str, url: str | None, ids: "NewIds | None") -> None:
    """Create the tables, print the first lines of an application, and list the settings that are missing.

    The lines are Python on stdout: > app.py writes them to a file. They hold no secret, because they read the
    environment. The command asks no questions, and changes none of your files. The default database is
    app.db in this folder. For Django no tables are created: its migrations create them.
    """
    if framework == "django":
        click.echo(_DJANGO, nl=False)
    else:
        from .database_names import database

        place = database(url or "sqlite:///app.db")
        found = place.look()
        if found.version:
            place.check(found, ids, makes=True)
            say(f"The tables in {place.shown} exist already.")
        else:
            place.migrate(ids, found)
            say(f"The tables in {place.shown} were created.")
        found = place.check(place.look(), ids)
        click.echo(_beginning(framework, *_opened(place, found)), nl=False)
        if found.ids == "integer":
            say("\nfirst_id=1 is for an application without users. If you have rows with numbers, name their table")
            say('instead: users_table="customers".')
    say("\nSet these for your application, and for the other commands:")
    for name, where in _SETTINGS.items():
        say(f"  {name:<30}{'is set' if os.environ.get(name) else where}")
    made = "is set" if os.environ.get(DATABASE) else "the same database" if url else "sqlite:///app.db"
    say(f"  {DATABASE:<30}{made}")
    then = "python manage.py migrate, then " if framework == "django" else ""
    say(f"Next: {then}`clerkmap doctor`. Without an account at Clerk: `clerkmap dev`.")


def _opened(place: "CommandDatabase", found: "DatabaseState") -> tuple[str, str]:
    """Return the class of repository, and the code that opens it.

    A URL stays in the environment: it may hold a password.
    """
    from .sqlite_database import SqliteDatabase

    # The reader must check the number: clerkmap does not know the tables of an application.
    is_number = found.ids == "integer"
    options = (", ids=int, first_id=1" if is_number else f', ids="{found.ids}"') * (
        found.ids != "uuid7"
    ) + ', id_type="uuid"' * (found.id_type == "uuid")
    if isinstance(place, SqliteDatabase):
        is_plain = place.shown.isprintable() and not set('"\\') & set(place.shown)
        path = f'"{place.shown}"' if is_plain else ascii(place.shown)
        return "SqliteRepository", f"SqliteRepository.open({path}{options})"
    return "PostgresRepository", f'PostgresRepository.open(os.environ["{DATABASE}"]{options})'


def _beginning(framework: str, home: str, repository: str) -> str:
    """Return the lines for a framework, with a class of repository and the code that opens it."""
    imports, rest = _FRAMEWORKS[framework]
    first = "import os\n" + ("" if framework == "fastapi" else "\n") if "os." in repository else ""
    head = _HEAD.format(imports=imports.format(os=first, home=home).rstrip(), repository=repository)
    return head + rest


# The first lines of an application in each framework. A test runs all of them.
_HEAD = """\
{imports}

instance = Instance.from_env()
repository = {repository}
resolver = Resolver(instance, repository)
reconciler = Reconciler(instance, repository)
"""

# The imports and the rest for each framework. The database fills in {os} and {home}.
_FRAMEWORKS = {
    "fastapi": (
        """\
{os}from typing import Annotated

from fastapi import Depends, FastAPI

from clerkmap import Instance, Reconciler, Resolver, User
from clerkmap.adapters.fastapi import Clerk, webhook
from clerkmap.repositories import {home}
""",
        """\
clerk = Clerk(resolver)
app = FastAPI()
app.include_router(webhook(reconciler))


@app.get("/me")
def me(user: Annotated[User, Depends(clerk.user)]) -> dict:
    return {"id": user.id}
""",
    ),
    "starlette": (
        """\
{os}from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.asgi import AuthMiddleware, WebhookEndpoint, principal_of
from clerkmap.repositories import {home}
""",
        """\


async def me(request: Request) -> JSONResponse:
    return JSONResponse({"id": principal_of(request.scope).user.id})


app = Starlette(
    routes=[Route("/me", me), Route("/webhooks/clerk", WebhookEndpoint(reconciler))],
    middleware=[Middleware(AuthMiddleware, resolver=resolver)],
)
""",
    ),
    "flask": (
        """\
{os}from flask import Flask

from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.flask import Clerk, current_user, webhook
from clerkmap.repositories import {home}
""",
        """\
app = Flask(__name__)
clerk = Clerk(app, resolver)
app.register_blueprint(webhook(reconciler))


@app.get("/me")
@clerk.signed_in
def me() -> dict:
    return {"id": current_user.id}
""",
    ),
    "asgi": (
        """\
{os}from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.asgi import AuthMiddleware, WebhookEndpoint, principal_of
from clerkmap.repositories import {home}
""",
        """\
webhooks = WebhookEndpoint(reconciler)


async def pages(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/webhooks/clerk":
        return await webhooks(scope, receive, send)
    body = str(principal_of(scope).user.id).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = AuthMiddleware(pages, resolver)
""",
    ),
    "wsgi": (
        """\
{os}from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.wsgi import AuthMiddleware, WebhookEndpoint, principal_of
from clerkmap.repositories import {home}
""",
        """\
webhooks = WebhookEndpoint(reconciler)


def pages(environ, start_response):
    if environ["PATH_INFO"] == "/webhooks/clerk":
        return webhooks(environ, start_response)
    body = str(principal_of(environ).user.id).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


app = AuthMiddleware(pages, resolver)
""",
    ),
}

_DJANGO = """\
# at the end of settings.py
INSTALLED_APPS += ["clerkmap.adapters.django"]
MIDDLEWARE += ["clerkmap.adapters.django.AuthMiddleware"]

# at the end of urls.py
from django.http import JsonResponse

from clerkmap.adapters.django import require, webhook


@require
def me(request):
    return JsonResponse({"id": request.clerk.principal.user.id})


urlpatterns += [path("me", me), path("webhooks/clerk", webhook)]
"""
