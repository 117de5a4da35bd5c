"""WebSockets through real servers, with a real client: who may open one, and what the application may do with it."""

import asyncio
import json
from typing import Any, cast

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from asgi_base import SERVERS, World, served, until
from clerkmap import Repository
from clerkmap.adapters.asgi import AuthMiddleware, Require, lease_of
from clerkmap.core.requirements import Requirement
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock
from socket_base import Room, Slow, closing, echoed, opened


@pytest.mark.parametrize("server", SERVERS)
def test_who_is_refused_is_answered_before_it_opens(server: str) -> None:
    """In HTTP, with the very answer that a request gets, and without the application."""

    async def run() -> dict[str, tuple[int, str, str]]:
        world = World()
        banned = world.clerk.create_user()
        world.rows.put([world.clerk.record(banned, banned=True)])
        room = Room(world, require=Requirement(organization_role="org:admin"))
        cookie = {"Cookie": f"__session={world.token()}"}
        bearers = {
            "token_expired": world.token(expires_in=-60),
            "role_missing": world.clerk.token(world.user, world.organization, role="org:member", session="s_1"),
            "user_banned": world.clerk.token(banned, world.organization),
            "organization_missing": world.clerk.token(world.user),
        }
        tries: dict[str, dict[str, Any]] = {code: {"token": token} for code, token in bearers.items()}
        tries["token_missing"] = {}
        tries["authorization_refused"] = {"headers": {"Authorization": "Bearer"}}
        tries["origin_refused"] = {"headers": cookie, "origin": Origin("https://evil.example")}
        tries["no origin at all"] = {"headers": cookie}
        answers = {}
        async with served(server, room) as port:
            for code, options in tries.items():
                with pytest.raises(InvalidStatus) as refused:
                    async with opened(port, **options):
                        pass
                response = refused.value.response
                told = json.loads(response.body or b"{}")
                answers[code] = (response.status_code, told["code"], response.headers.get("www-authenticate", ""))
        assert room.reached == 0
        return answers

    answers = asyncio.run(run())
    assert {code: answer[0] for code, answer in answers.items()} == {
        "token_missing": 401,
        "token_expired": 401,
        "organization_missing": 401,
        "authorization_refused": 400,
        "role_missing": 403,
        "user_banned": 403,
        "origin_refused": 403,
        "no origin at all": 403,
    }
    assert {code: answer[1] for code, answer in answers.items()} == {
        code: code if code != "no origin at all" else "origin_refused" for code in answers
    }
    assert answers["token_missing"][2] == "Bearer"


@pytest.mark.parametrize("server", SERVERS)
def test_it_opens_with_a_header_and_with_a_cookie_from_an_allowed_page(server: str) -> None:
    """The page's own host, or one that is listed."""

    async def run() -> None:
        world = World()
        room = Room(world)
        listed = Room(world, origins=["https://app.example.com"])
        cookie = {"Cookie": f"__session={world.token()}"}
        async with served(server, room) as port:
            async with opened(port, world.token()) as client:
                assert await echoed(client, "by header") == "by header"
            async with opened(port, headers=cookie, origin=Origin(f"http://127.0.0.1:{port}")) as client:
                assert await echoed(client, "by cookie") == "by cookie"
        async with (
            served(server, listed) as port,
            opened(port, headers=cookie, origin=Origin("https://app.example.com")) as client,
        ):
            assert await echoed(client, "from the list") == "from the list"
        assert (room.reached, listed.reached) == (2, 1)

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("when", ["at once", "asked", "open", "closed", "gone"])
def test_an_application_may_refuse_at_any_time(server: str, when: str) -> None:
    """Before it is open that is an answer in HTTP, after it a code; and never a second one."""
    surprises: list[Any] = []

    async def run() -> None:
        world = World()
        done = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: surprises.append(context))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                if when != "at once":
                    assert (await receive())["type"] == "websocket.connect"
                if when in ("open", "closed", "gone"):
                    await send({"type": "websocket.accept"})
                if when == "closed":
                    await send({"type": "websocket.close", "code": 3000})
                if when == "gone":
                    assert (await receive())["type"] == "websocket.disconnect"
                await lease_of(scope).renew("nonsense")
            finally:
                done.set()

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            try:
                await AuthMiddleware(Require(app), world.resolver)(scope, receive, send)
            except BaseException as error:
                surprises.append(error)
                raise

        async with served(server, noting) as port:
            if when in ("at once", "asked"):
                with pytest.raises(InvalidStatus) as refused:
                    async with opened(port, world.token()):
                        pass
                assert refused.value.response.status_code == 401
                return
            async with opened(port, world.token()) as client:
                if when == "gone":
                    await client.close()
                else:
                    assert (await closing(client))[0] == {"open": 4401, "closed": 3000}[when]
                await done.wait()

    asyncio.run(run())
    assert surprises == []


@pytest.mark.parametrize("server", SERVERS)
def test_two_middlewares_share_one_lease(server: str) -> None:
    """One around everything and one around a mount: what the application renews is what both go by."""

    async def run() -> None:
        world = World()
        room = Room(world, grace=5)
        both = AuthMiddleware(room, world.resolver, grace=5)
        async with served(server, both) as port, opened(port, world.token(expires_in=60)) as client:
            assert await echoed(client, f"renew {world.token(expires_in=300)}") == f"renewed {world.user.id}"
            world.clock.advance(120)
            assert await echoed(client, "still here") == "still here"
            await asyncio.sleep(1.2)
            assert await echoed(client, "and the watch has looked") == "and the watch has looked"
            assert len([task for task in asyncio.all_tasks() if "_watch" in repr(task.get_coro())]) == 1
            world.rows.put([world.clerk.record(world.user, banned=True)])
            assert await closing(client) == (4401, "user_banned")

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_a_client_that_hangs_up_leaves_nothing_behind(server: str) -> None:
    """No task, no watch, and the application hears of it."""

    async def run() -> None:
        world = World()
        room = Room(world)
        async with served(server, room) as port:
            async with opened(port, world.token()) as client:
                assert await echoed(client, "hello") == "hello"
            async with opened(port, world.token()) as client:
                client.transport.abort()
            await until(lambda: len(room.ends) == 2)
            await until(lambda: not [task for task in asyncio.all_tasks() if "_watch" in repr(task.get_coro())])

    asyncio.run(run())


def test_a_message_survives_a_receive_that_was_cancelled() -> None:
    """Who waits for a message for so long and no longer loses none that came meanwhile."""

    async def run() -> None:
        clock = Clock()
        rows = Slow(MemoryRepository(clock=clock))
        world = World(cast(Repository, rows), clock=clock)
        heard = asyncio.Queue[str]()
        connected = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            rows.holds_all = True  # the watch asks, too
            connected.set()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive(), 0.3)
            rows.go.set()
            for _ in range(2):
                await heard.put((await receive())["text"])

        async with (
            served("uvicorn", AuthMiddleware(app, world.resolver)) as port,
            opened(port, world.token()) as client,
        ):
            await connected.wait()
            await client.send("first")
            await client.send("second")
            assert [await heard.get(), await heard.get()] == ["first", "second"]

    asyncio.run(run())
