"""Fixtures of this project. clerkmap provides `clerk`.

The application is created once. Each test creates its own users and organizations, so no cleanup is needed.
"""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

from .app import create_app


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """Return the application. It reads the environment variables that `pytest.ini` enables."""
    return create_app(MemoryRepository())


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Return a client without a signed-in user."""
    return TestClient(app)


@pytest.fixture
def clerk(clerk: FakeClerk) -> FakeClerk:
    """Return the fake Clerk, with this application's custom role."""
    clerk.create_role("org:accountant", permissions=["org:invoices:create"])
    return clerk
