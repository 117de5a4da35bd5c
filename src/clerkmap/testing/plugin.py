"""The pytest plugin: each test gets a new Clerk, which is trusted by applications that read Clerk's environment.

pytest imports it at every start, also for suites that do not use it, so it imports only pytest at the top. All Clerks
of a run share keys and secrets, so that an application can live as long as the run. Each has its own users: a user that
an application has cached from one test is unknown in the next.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..auth.resolver import Resolver
    from ..ports import Repository
    from ..repositories.memory import MemoryRepository
    from ..webhooks import Reconciler
    from .clock import Clock
    from .fake_clerk import FakeClerk

OPTION = "clerkmap_environment"
MARKER = (
    'clerk_user(email, role="org:admin", ...): the caller of `clerk.auth()` and `clerk.signed_in(client)`. '
    "Takes the arguments of `create_user` and `token`, and the name of an organization"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting for applications that are created on import."""
    text = "set Clerk's environment variables, for the `clerk` of all tests, before your modules are imported"
    parser.addini(OPTION, text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(wrapper=True)  # a wrapper runs before other plugins load settings or a conftest.py
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Set the environment for the whole run, if configured."""
    if early_config.getini(OPTION):
        from .fake_clerk import FakeClerk

        environment = pytest.MonkeyPatch()
        early_config.add_cleanup(environment.undo)
        _set_environment(environment, FakeClerk())
    return (yield)


@pytest.fixture
def clerk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "FakeClerk":
    """Return a new Clerk, which is in Clerk's environment variables until the test ends."""
    from .fake_clerk import FakeClerk

    clerk = FakeClerk(ids=request.node.nodeid)
    _set_environment(monkeypatch, clerk)
    marker = request.node.get_closest_marker("clerk_user")
    if marker is not None:
        _set_caller(clerk, *marker.args, **marker.kwargs)
    return clerk


@pytest.fixture
def clerk_clock(clerk: "FakeClerk") -> "Clock":
    """Return the clock of `clerk`, frozen."""
    clerk.clock.freeze()
    return clerk.clock


@pytest.fixture
def clerk_repository() -> "MemoryRepository":
    """Return an empty repository in memory."""
    from ..repositories.memory import MemoryRepository

    return MemoryRepository()


@pytest.fixture
def clerk_resolver(clerk: "FakeClerk", clerk_repository: "Repository") -> "Resolver":
    """Return a resolver for the tokens of `clerk`, with its clock."""
    from ..auth.resolver import Resolver

    return Resolver(clerk.instance, clerk_repository, verifier=clerk.verifier())


@pytest.fixture
def clerk_reconciler(clerk: "FakeClerk", clerk_repository: "Repository") -> "Reconciler":
    """Return a reconciler for the deliveries of `clerk`, with its clock and the repository of `clerk_resolver`."""
    from ..webhooks import Reconciler

    return Reconciler(clerk.instance, clerk_repository, clock=clerk.clock)


def _set_environment(environment: pytest.MonkeyPatch, clerk: "FakeClerk") -> None:
    for name, value in clerk.environment().items():
        environment.setenv(name, value)
    # Origins of the real environment would refuse the tokens of this one.
    environment.delenv("CLERK_AUTHORIZED_PARTIES", raising=False)


def _set_caller(
    clerk: "FakeClerk", *email: str, organization: str | None = None, role: str | None = None, **said: Any
) -> None:
    """Make the user of a marker the caller."""
    from inspect import signature

    profile = {name: said.pop(name) for name in signature(clerk.create_user).parameters if name in said}
    user = clerk.create_user(*email, **profile)
    clerk.set_caller(user, clerk.create_organization(organization) if organization else None, role=role, **said)
