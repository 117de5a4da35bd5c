"""What the tests of this project share. `clerk` comes with clerkmap.

The application is made once: each test has people and organizations of its own, so there is nothing to clear away.
"""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

from .app import create_app


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """The application, which finds Clerk in the environment that `pytest.ini` asks for."""
    return create_app(MemoryRepository())


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client that nobody is signed in to."""
    return TestClient(app)


@pytest.fixture
def clerk(clerk: FakeClerk) -> FakeClerk:
    """Clerk, with the role that this application has besides Clerk's own."""
    clerk.create_role("org:accountant", permissions=["org:invoices:create"])
    return clerk
