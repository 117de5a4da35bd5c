"""How a WebSocket ends that outlives its token, through real servers and with a real client."""

import asyncio
import contextlib
from typing import Any

import pytest

from asgi_base import PATIENCE, SERVERS, Message, World, served, until, websocket_scope
from clerkmap.adapters.asgi import AuthMiddleware
from clerkmap.errors import RepositoryUnavailable
from socket_base import Room, closing, echoed, locked_out, opened, with_outages


@pytest.mark.parametrize("server", SERVERS)
def test_it_ends_when_its_token_and_the_grace_are_over(server: str) -> None:
    """With 4401, also where nothing happens on it; until then every message passes."""

    async def run() -> None:
        world = World()
        room = Room(world, grace=5)
        async with served(server, room) as port, opened(port, world.token(expires_in=60)) as client:
            assert await echoed(client, "at first") == "at first"
            world.clock.advance(62)
            assert await echoed(client, "in the grace") == "in the grace"
            world.clock.advance(5)
            assert await closing(client) == (4401, "token_expired")
            await asyncio.wait_for(room.ended.wait(), PATIENCE)
        assert [end["code"] for end in room.ends] == [4401]

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_it_goes_on_when_it_is_renewed(server: str) -> None:
    """By a newer token of the same person, over the socket itself. Anything else changes nothing."""

    async def run() -> None:
        world = World()
        room = Room(world, grace=5)
        stranger = world.clerk.create_user()
        async with served(server, room) as port, opened(port, world.token(expires_in=60)) as client:
            assert await echoed(client, f"renew {world.clerk.token(stranger)}") == "token_not_for_us"
            assert await echoed(client, "renew nonsense") == "token_malformed"
            assert await echoed(client, f"renew {world.token(expires_in=30)}") == f"renewed {world.user.id}"
            assert await echoed(client, f"renew {world.token(expires_in=120)}") == f"renewed {world.user.id}"
            world.clock.advance(100)
            assert await echoed(client, "long after") == "long after"
            await asyncio.sleep(1.2)  # the watch has looked, too
            assert await echoed(client, f"renew {world.token(expires_in=-60)}") == "token_expired"
            assert await echoed(client, f"renew {world.clerk.token(world.user)}") == f"renewed {world.user.id}"
            world.clock.advance(70)
            assert await closing(client) == (4401, "token_expired")

    asyncio.run(run())


@pytest.mark.parametrize("how", ["user_banned", "user_deleted", "session_ended", "membership_deleted"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_locked_out_caller_is_out_without_a_word(server: str, how: str) -> None:
    """Without a word from anybody; and if there is one, it does not get through, in either direction."""

    async def run() -> None:
        world = World()
        room = Room(world)
        async with served(server, room) as port, opened(port, world.token(session="sess_1")) as idle:
            async with opened(port, world.token(session="sess_1")) as busy:
                assert await echoed(idle, "hello") == await echoed(busy, "hello") == "hello"
                world.rows.put([locked_out(world, how)])
                await busy.send("too late")
                assert await closing(busy) == (4401, how)
            assert await closing(idle) == (4401, how)
        assert room.heard == ["hello", "hello"]

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_an_outage_of_the_database_sends_nobody_away_who_says_nothing(server: str) -> None:
    """A message is another matter: it is closed with "try again later", and the message does not pass."""

    async def run() -> None:
        world, outages = with_outages()
        room = Room(world)
        async with served(server, room) as port, opened(port, world.token()) as idle:
            async with opened(port, world.token()) as busy:
                assert await echoed(busy, "hello") == "hello"
                outages.error = RepositoryUnavailable()
                before = outages.asked
                await until(lambda: outages.asked >= before + 3)  # the watches have looked
                await busy.send("not now")
                assert await closing(busy) == (1013, "repository_unavailable")
            outages.error = None
            assert await echoed(idle, "back again") == "back again"
        assert room.heard == ["hello", "back again"]

    asyncio.run(run())


def test_the_watch_survives_an_error_that_nobody_knows() -> None:
    """A driver's error that a repository forgot to translate is no reason never to look again."""

    async def run() -> None:
        world, outages = with_outages()
        async with served("uvicorn", Room(world)) as port, opened(port, world.token()) as client:
            assert await echoed(client, "hello") == "hello"
            outages.error = RuntimeError("lost connection to user_31BkqQp9x")
            before = outages.asked
            await until(lambda: outages.asked >= before + 2)
            outages.error = None
            outages.rows.put([world.clerk.record(world.user, banned=True)])
            assert await closing(client) == (4401, "user_banned")

    asyncio.run(run())


@pytest.mark.parametrize("server", SERVERS)
def test_an_application_that_only_sends_is_stopped_by_an_os_error(server: str) -> None:
    """As ASGI has it of a client that is gone; nothing that it sends after the ban goes out."""
    stopped: list[type[BaseException]] = []
    sent = 0

    async def run() -> None:
        world = World()

        async def ticker(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            await receive()
            await send({"type": "websocket.accept"})
            try:
                while True:
                    await send({"type": "websocket.send", "text": str(sent)})
                    sent += 1
                    await asyncio.sleep(0.01)
            except OSError as error:
                stopped.append(type(error))

        async with (
            served(server, AuthMiddleware(ticker, world.resolver, require=True)) as port,
            opened(port, world.token()) as client,
        ):
            assert await client.recv() == "0"
            world.rows.put([world.clerk.record(world.user, banned=True)])
            so_far = sent
            assert await closing(client) == (4401, "user_banned")
            assert sent == so_far

    asyncio.run(run())
    assert stopped == [ConnectionAbortedError]


def test_the_client_is_told_before_the_application_is() -> None:
    """An application that returns at once does not cut off what is being sent."""
    told: list[Message] = []

    async def run() -> None:
        world = World()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            world.rows.put([world.clerk.record(world.user, banned=True)])
            heard: Message = {"type": ""}
            while heard["type"] != "websocket.disconnect":
                with contextlib.suppress(TimeoutError):
                    heard = await asyncio.wait_for(receive(), 0.02)

        async def receive() -> Message:
            if not connected.is_set():
                connected.set()
                return {"type": "websocket.connect"}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            await asyncio.sleep(0.1)
            told.append(message)

        connected = asyncio.Event()
        protected = AuthMiddleware(app, world.resolver, require=True)
        async with asyncio.timeout(PATIENCE):
            await protected(websocket_scope(world.bearer()), receive, send)

    asyncio.run(run())
    assert [(message["type"], message.get("code")) for message in told] == [
        ("websocket.accept", None),
        ("websocket.close", 4401),
    ]


def test_who_has_hung_up_is_told_nothing_and_it_is_no_failure() -> None:
    """A server raises an OSError then; the application hears that it is over."""
    ends: list[Message] = []

    async def run() -> None:
        world = World()
        over = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            world.rows.put([world.clerk.record(world.user, banned=True)])
            ends.append(await receive())

        heard: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]

        async def receive() -> Message:
            return heard.pop(0)

        async def send(message: Message) -> None:
            if message["type"] == "websocket.close":
                over.set()
                raise OSError("gone")

        protected = AuthMiddleware(app, world.resolver, require=True)
        await protected(websocket_scope(world.bearer()), receive, send)
        assert over.is_set()

    asyncio.run(run())
    assert [(end["type"], end["code"]) for end in ends] == [("websocket.disconnect", 4401)]
