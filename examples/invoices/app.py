"""Invoices of organizations. `uvicorn --factory examples.invoices.app:create_app` serves them.

Clerk's environment variables configure the instance. The repository is an argument, so that tests can pass one.
"""

from typing import Annotated

from fastapi import Depends, FastAPI

from clerkmap import Instance, Organization, Reconciler, Repository, Resolver, User
from clerkmap.adapters.fastapi import Clerk, webhook
from clerkmap.repositories import SqliteRepository


def create_app(repository: Repository[str] | None = None) -> FastAPI:
    """Return the application, with invoices in memory."""
    repository = repository or SqliteRepository.open("invoices.db")
    instance = Instance.from_env()
    clerk = Clerk(Resolver(instance, repository))
    invoices: dict[str, list[dict[str, str]]] = {}

    app = FastAPI()
    app.include_router(webhook(Reconciler(instance, repository), "/webhooks/clerk"))

    @app.get("/invoices")
    async def read(organization: Annotated[Organization[str], Depends(clerk.organization)]) -> list[dict[str, str]]:
        return invoices.get(organization.id, [])

    @app.post("/invoices", status_code=201, dependencies=[Depends(clerk.require(permission="org:invoices:create"))])
    async def write(
        text: str,
        user: Annotated[User, Depends(clerk.user)],
        organization: Annotated[Organization[str], Depends(clerk.organization)],
    ) -> dict[str, str]:
        invoice = {"text": text, "by": str(user.email)}
        invoices.setdefault(organization.id, []).append(invoice)
        return invoice

    return app
