"""The lines with which an application begins, in each framework. A test runs every one of them."""

_HEAD = """\
{imports}

instance = Instance.from_env()
repository = {repository}
resolver = Resolver(instance, repository)
reconciler = Reconciler(instance, repository)
"""

# What a framework has to import, and what comes after the head. {os} and {home} are the database's.
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

DJANGO = """\
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


def beginning(framework: str, home: str, repository: str) -> str:
    """The lines for a framework: with the class of repository, and how one is opened."""
    imports, rest = _FRAMEWORKS[framework]
    first = "import os\n" + ("" if framework == "fastapi" else "\n") if "os." in repository else ""
    head = _HEAD.format(imports=imports.format(os=first, home=home).rstrip(), repository=repository)
    return head + rest
