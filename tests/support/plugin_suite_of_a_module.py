"""A suite whose application is made when its module is imported, before there is any test."""

import asyncio
from typing import Any

import httpx
import pytest

from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.asgi import AuthMiddleware, principal_of
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

instance, repository = Instance.from_env(), MemoryRepository()
reconciler = Reconciler(instance, repository)


async def page(scope: Any, receive: Any, send: Any) -> None:
    body = str(principal_of(scope).user.clerk_id).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = AuthMiddleware(page, Resolver(instance, repository))


async def ask(**headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        return await client.get("/", headers=headers)


@pytest.mark.parametrize("turn", range(6))
def test_nobody_meets_who_was_deleted_in_another_test(clerk: FakeClerk, turn: int) -> None:
    """What the application keeps of one test concerns nobody in the next."""
    ada = clerk.create_user("ada@example.com")
    assert asyncio.run(ask(**clerk.auth(ada))).text == ada.id
    clerk.delete_user(ada)
    for delivery in clerk.deliveries():
        reconciler.receive(delivery.headers, delivery.body)
    assert asyncio.run(ask(**clerk.auth(ada))).json()["code"] == "user_deleted"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_in_a_loop_of_anyio(clerk: FakeClerk, anyio_backend: str) -> None:
    """The fixtures need no loop, and do not mind one."""
    ada = clerk.create_user()
    assert (await ask(**clerk.auth(ada))).text == ada.id
