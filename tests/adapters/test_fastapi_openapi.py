"""FastAPI: the error responses in the schema are those that are sent, and the lifespan opens and closes resources."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from adapter_world import NOT_ENOUGH, REFUSED, Case, bearer
from clerkmap import Resolver
from clerkmap.adapters.fastapi import Clerk, ClerkErrorBody
from clerkmap.clerk import AsyncClerkApi, ClerkApi
from clerkmap.errors import UserUnknown
from clerkmap.repositories import AsyncPostgresRepository, ByVerifiedEmail, MemoryRepository, SqliteRepository
from clerkmap.testing import FakeClerk
from postgres_server import url_of_a_new_schema
from test_fastapi import Site

CLERK = FakeClerk(seed=34)


@pytest.mark.parametrize("case", [*REFUSED, *NOT_ENOUGH], ids=lambda case: case.name)
def test_the_schema_has_every_answer(case: Case) -> None:
    """Each error of the table has a status in the schema, and its body fits the model without a field too many."""
    status, _, body = Site(case.trouble).ask(case.page, case.headers)
    clerk = Clerk(Resolver(CLERK.instance, MemoryRepository()))
    assert status in clerk.responses
    told = ClerkErrorBody.model_validate_json(body, strict=True, extra="forbid")
    assert told.code == case.error.code


def test_openapi() -> None:
    """A router with `responses` describes each status with the model of the error."""
    clerk = Clerk(Resolver(CLERK.instance, MemoryRepository()))
    router, app = APIRouter(responses=clerk.responses), FastAPI()
    router.add_api_route("/me", lambda: "me", dependencies=[Depends(clerk.user)])
    app.include_router(router)
    schema = app.openapi()
    answers = schema["paths"]["/me"]["get"]["responses"]
    assert sorted(answers) == ["200", "400", "401", "403", "503"]
    for status in ("400", "401", "403", "503"):
        model = answers[status]["content"]["application/json"]["schema"]
        assert model == {"$ref": "#/components/schemas/ClerkErrorBody"}
    fields = schema["components"]["schemas"]["ClerkErrorBody"]
    assert fields["required"] == ["code", "remedy", "message"]
    remedies = fields["properties"]["remedy"]["anyOf"][0]["enum"]
    assert remedies == ["refresh_token", "sign_in", "pick_organization", "reverify", "ask_again"]


# ------------------------------------------------------------------------------------------------------ the lifespan


def asked(clerk: Clerk, lifespan: Callable[[Any], Any]) -> list[int]:
    """The statuses of a request within the lifespan of an application, and of one after it."""
    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/me", lambda: "me", dependencies=[Depends(clerk.user)])
    token = bearer(CLERK.token(CLERK.create_user()))
    with TestClient(app) as client:
        statuses = [client.get("/me", headers=token).status_code]
    new = bearer(CLERK.token(CLERK.create_user()))
    return [*statuses, TestClient(app, raise_server_exceptions=False).get("/me", headers=new).status_code]


def test_a_synchronous_repository_is_closed_at_the_end(tmp_path: Any) -> None:
    """And so is its API client."""
    repository = SqliteRepository.open(tmp_path / "app.db", linker=ByVerifiedEmail(lambda email: []))
    api = ClerkApi(CLERK.instance, transport=CLERK.transport())
    clerk = Clerk(Resolver(CLERK.instance, repository, api=api))
    status, after = asked(clerk, clerk.lifespan)
    assert (status, after >= 500) == (200, True)


def test_an_asynchronous_repository_is_opened_and_closed(postgres_schema: str) -> None:
    """With a client for Clerk's API that belongs to the loop of the application."""
    url = url_of_a_new_schema(postgres_schema)
    repository = AsyncPostgresRepository.open(url, linker=ByVerifiedEmail(lambda email: []))
    api = AsyncClerkApi(CLERK.instance, transport=CLERK.transport())
    clerk = Clerk(Resolver(CLERK.instance, repository, api=api))
    status, after = asked(clerk, clerk.lifespan)
    assert (status, after >= 500) == (200, True)


def test_it_stands_within_a_lifespan_of_the_application() -> None:
    """What the application opens before it is closed after it, and an error in the middle closes both."""
    clerk, told = Clerk(Resolver(CLERK.instance, MemoryRepository())), list[str]()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        told.append("opened")
        try:
            async with clerk.lifespan(app):
                yield
        finally:
            told.append("closed")

    assert asked(clerk, lifespan)[0] == 200
    assert told == ["opened", "closed"]

    async def fail() -> None:
        async with lifespan(FastAPI()):
            raise UserUnknown

    with pytest.raises(UserUnknown):
        asyncio.run(fail())
    assert told == ["opened", "closed"] * 2
