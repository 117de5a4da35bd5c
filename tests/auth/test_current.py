"""The current principal is that of the request which is being answered, and never another's: in no task, after no
exception and no cancellation. Of threads, `test_current_threads.py` tells.
"""

import asyncio
import contextlib
import contextvars
import gc
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from clerkmap import PrincipalRefused
from clerkmap.adapters.asgi import AuthMiddleware, principal_of
from clerkmap.errors import TokenExpired
from current_base import (
    EXPIRED,
    TOKENS,
    Scope,
    call,
    current,
    fresh_resolver,
    name_of,
    no_message,
    nowhere,
    run,
    scope_of,
)


def test_a_crowd_at_once_and_everybody_is_themselves() -> None:
    """Hundreds of requests stand in the application at the same time, and take turns at every await. Some bring no
    token, some a bad one: they are nobody, and not the one before them."""
    asked = [*TOKENS, *[None] * 30, *[EXPIRED] * 30]
    looks = 0

    async def main() -> None:
        everybody_in = asyncio.Barrier(len(asked))

        async def deep(scope: Scope, levels: int) -> None:
            nonlocal looks
            looks += 1
            assert current() == scope["who"]
            await asyncio.sleep(0)
            if levels:
                await deep(scope, levels - 1)
                await asyncio.gather(deep(scope, 0), asyncio.create_task(deep(scope, 0)))
            assert current() == scope["who"]

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            assert current() == scope["who"]
            await everybody_in.wait()
            turns = Random(scope["who"])
            for _ in range(turns.randrange(5)):
                await asyncio.sleep(0)
            await deep(scope, 3)

        middleware = AuthMiddleware(app, fresh_resolver())
        Random(1).shuffle(asked)
        await asyncio.gather(*(call(middleware, token) for token in asked))

    run(main())
    assert looks == len(asked) * 10


def test_requests_one_after_the_other_in_one_task() -> None:
    """Some servers, and all test clients, answer many requests in one task: nothing stays from the one before."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert current() == scope["who"]

    async def main() -> None:
        middleware = AuthMiddleware(app, fresh_resolver())
        for token in [TOKENS[0], None, TOKENS[1], EXPIRED, None, TOKENS[0]]:
            await call(middleware, token)
            assert current() == "TokenMissing"

    run(main())


def test_an_application_within_another() -> None:
    """A mounted application may have a middleware of its own. When it is done, the outer caller is current again."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert current() == name_of(TOKENS[1])

    async def main() -> None:
        inner = AuthMiddleware(app, fresh_resolver())

        async def outer(scope: Scope, receive: Any, send: Any) -> None:
            assert current() == name_of(TOKENS[0])
            await call(inner, TOKENS[1])
            assert current() == name_of(TOKENS[0]) == principal_of(scope).user.clerk_id

        await call(AuthMiddleware(outer, fresh_resolver()), TOKENS[0])

    run(main())


def test_a_background_task_keeps_whose_it_is() -> None:
    """What a request began goes on in its caller's name after the answer, while others come and go."""
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        answered = asyncio.Event()

        async def later(who: str) -> None:
            assert current() == who
            await answered.wait()
            assert current() == who
            assert await asyncio.to_thread(current) == who

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            tasks.append(asyncio.create_task(later(scope["who"])))

        middleware = AuthMiddleware(app, fresh_resolver())
        for token in [*TOKENS[:30], None, EXPIRED]:
            await call(middleware, token)
        await asyncio.sleep(0)
        answered.set()
        await asyncio.gather(*tasks)

    run(main())
    assert len(tasks) == 32


def test_threads_that_take_the_context_along_and_those_that_do_not() -> None:
    """`asyncio.to_thread` knows the caller; a thread of your own begins with nobody, also when it is used again."""

    async def main() -> None:
        with ThreadPoolExecutor(2) as pool:

            async def app(scope: Scope, receive: Any, send: Any) -> None:
                loop = asyncio.get_running_loop()
                for _ in range(3):
                    assert await asyncio.to_thread(current) == scope["who"]
                    assert await loop.run_in_executor(pool, current) == "TokenMissing"
                    took_along = contextvars.copy_context()
                    assert await loop.run_in_executor(pool, took_along.run, current) == scope["who"]

            middleware = AuthMiddleware(app, fresh_resolver())
            await asyncio.gather(*(call(middleware, token) for token in [*TOKENS[:60], None, EXPIRED]))

    run(main())


class Broken(Exception):
    """The application's own."""


@pytest.mark.parametrize("error", [Broken, PrincipalRefused, TokenExpired, KeyboardInterrupt])
def test_an_exception_leaves_nobody_behind(error: type[BaseException]) -> None:
    """However an application ends, its caller is gone with it."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        middleware = AuthMiddleware(app, fresh_resolver())
        for _ in range(3):
            with contextlib.suppress(error):
                await call(middleware, TOKENS[0])
            assert current() == "TokenMissing"

    run(main())


def test_a_cancellation_leaves_nobody_behind() -> None:
    """A request that is given up, in the task that goes on, in one that does not, and before it reaches its app."""

    async def main() -> None:
        inside = asyncio.Event()

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            inside.set()
            await asyncio.Event().wait()

        middleware = AuthMiddleware(app, fresh_resolver())
        for token in (TOKENS[0], EXPIRED, None):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await call(middleware, token)
            assert current() == "TokenMissing"

            inside.clear()
            task = asyncio.create_task(call(middleware, token))
            await inside.wait()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert current() == "TokenMissing"

            task = asyncio.create_task(call(middleware, TOKENS[1]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert current() == "TokenMissing"

    run(main())


def test_a_request_that_is_thrown_away_by_somebody_else() -> None:
    """A server that stops may close a request from outside its context. That is no error, and changes nobody else."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        resolver = fresh_resolver()
        await resolver.aresolve(TOKENS[0])
        middleware = AuthMiddleware(app, resolver)
        request = middleware(scope_of(TOKENS[0]), no_message, nowhere)
        contextvars.copy_context().run(request.send, None)

        async def closes(scope: Scope, receive: Any, send: Any) -> None:
            request.close()
            assert current() == scope["who"]

        await call(AuthMiddleware(closes, resolver), TOKENS[1])

    run(main())
    gc.collect()


def test_web_sockets_at_once() -> None:
    """Many open WebSockets take turns, each with a watch of its own beside it: everybody is themselves."""

    async def main() -> None:
        everybody_in = asyncio.Barrier(100)

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            await everybody_in.wait()
            for _ in range(5):
                message = await receive()
                assert message["type"] == "websocket.receive"
                assert current() == scope["who"]
                await send({"type": "websocket.send", "text": ""})
                assert current() == scope["who"]

        async def message() -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"type": "websocket.receive", "text": ""}

        middleware = AuthMiddleware(app, fresh_resolver())
        await asyncio.gather(*(middleware(scope_of(token, "websocket"), message, nowhere) for token in TOKENS[:100]))

    run(main())
