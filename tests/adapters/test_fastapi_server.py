"""FastAPI: the event loop is never blocked, the current principal never leaks, and a real server serves it."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Annotated

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from websockets.sync.client import connect

from adapter_world import ADA, CLERK, TOKEN, bearer, make_resolver, shown, wanted
from clerkmap import Principal, Resolver, User
from clerkmap.adapters.asgi import AuthMiddleware, principal_of
from clerkmap.adapters.fastapi import Clerk
from clerkmap.auth.result import current_principal
from clerkmap.core.principal import Standing
from clerkmap.errors import TokenMissing
from clerkmap.repositories import MemoryRepository
from uvicorn_server import PATIENCE, asked, serving


class Stalled(MemoryRepository):
    """A database that does not answer until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def find(
        self, instance: str, clerk_user_id: str, clerk_organization_id: str | None = None, session: str | None = None
    ) -> Standing | None:
        self.asked.set()
        assert self.go_on.wait(PATIENCE)
        return super().find(instance, clerk_user_id, clerk_organization_id, session)


def test_the_event_loop_goes_on_while_the_database_is_waited_for() -> None:
    """Another page is answered in the meantime, by the same loop."""
    repository = Stalled()
    clerk, app = Clerk(Resolver(CLERK.instance, repository)), FastAPI()

    @app.get("/user")
    async def user(user: Annotated[User, Depends(clerk.user)]) -> str | None:
        return user.clerk_id

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
            waiting = asyncio.create_task(client.get("/user", headers=bearer(TOKEN)))
            await asyncio.to_thread(repository.asked.wait, PATIENCE)
            assert (await client.get("/plain")).json() == "plain"
            assert not waiting.done()
            repository.go_on.set()
            assert (await waiting).json() == ADA.id

    asyncio.run(main())


def test_the_current_principal_lasts_as_long_as_the_path_function() -> None:
    """With an AuthMiddleware around, also while a body is streamed and in background tasks."""
    resolver = make_resolver()
    clerk, app = Clerk(resolver), FastAPI()
    seen: list[str] = []

    def who() -> str:
        try:
            return str(current_principal().user.clerk_id)
        except TokenMissing:
            return "nobody"

    @app.get("/", dependencies=[Depends(clerk.user)])
    async def page(tasks: BackgroundTasks) -> StreamingResponse:
        def body() -> Iterator[str]:
            yield who()

        tasks.add_task(lambda: seen.append(who()))
        seen.append(who())
        return StreamingResponse(body())

    assert TestClient(app).get("/", headers=bearer(TOKEN)).text == "nobody"
    assert TestClient(AuthMiddleware(app, resolver)).get("/", headers=bearer(TOKEN)).text == ADA.id
    assert seen == [ADA.id, "nobody", ADA.id, ADA.id]


def test_a_real_server() -> None:
    """Under uvicorn: pages, WebSockets, and a connection on which somebody else's request comes next."""
    clerk, app = Clerk(make_resolver()), FastAPI()
    may_end = threading.Event()

    @app.get("/user")
    def user(user: Annotated[User, Depends(clerk.user)], tasks: BackgroundTasks) -> bool:
        tasks.add_task(may_end.wait, PATIENCE)
        return current_principal().user is user

    @app.get("/public")
    def public() -> str:
        try:
            return str(current_principal().user.clerk_id)
        except TokenMissing:
            return "nobody"

    @app.websocket("/socket")
    async def socket_page(websocket: WebSocket, principal: Annotated[Principal, Depends(clerk.principal)]) -> None:
        await websocket.accept()
        await websocket.send_text(str(principal_of(websocket.scope).user.clerk_id))

    head = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with serving(app) as (host, port):
        with socket.create_connection((host, port)) as connection:
            answers = asked(connection, b"GET /user HTTP/1.1\r\n" + head, b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n")
            may_end.set()
            assert answers == [b"true", b'"nobody"']
        told = httpx.get(f"http://{host}:{port}/user", timeout=120)
        assert shown(told.status_code, dict(told.headers), told.content) == wanted(TokenMissing())
        with connect(f"ws://{host}:{port}/socket", additional_headers=bearer(TOKEN)) as websocket:
            assert websocket.recv() == ADA.id
        with pytest.raises(Exception, match="401"):
            connect(f"ws://{host}:{port}/socket")


@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
def test_without_the_framework(framework: str) -> None:
    """Who has not installed it is told what to install."""
    program = f"import sys; sys.modules[{framework!r}] = None\nimport clerkmap.adapters.{framework}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert f"pip install 'clerkmap[{framework}]'" in ended.stderr
