"""The pytest plugin: each test has a fresh Clerk, and an application that reads Clerk's environment trusts it.

pytest imports this at every start, also for suites that never use it. So nothing but pytest is imported up here.
All Clerks of a run have the same keys and secrets, so an application may be made once and live as long as the run. Each
has its own people: what an application remembers of one test's is nobody in the next.
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
    'clerk_user(email, role="org:admin", ...): who `clerk.auth()` and `clerk.signed_in(client)` are. '
    "Takes the arguments of `create_user` and `token`, and the name of an organization"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """One setting, for applications that are made when their module is imported."""
    text = "set Clerk's environment variables, for the `clerk` of all tests, before anything of yours is imported"
    parser.addini(OPTION, text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(wrapper=True)  # around the others, and so before one of them loads settings or a conftest.py
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Set the environment for the whole run, if that is asked for."""
    if early_config.getini(OPTION):
        from .fake_clerk import FakeClerk

        environment = pytest.MonkeyPatch()
        early_config.add_cleanup(environment.undo)
        _set_environment(environment, FakeClerk())
    return (yield)


@pytest.fixture
def clerk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "FakeClerk":
    """A Clerk of this test's own. Until the test ends it is the one in Clerk's environment variables."""
    from .fake_clerk import FakeClerk

    clerk = FakeClerk(ids=request.node.nodeid)
    _set_environment(monkeypatch, clerk)
    marker = request.node.get_closest_marker("clerk_user")
    if marker is not None:
        _set_caller(clerk, *marker.args, **marker.kwargs)
    return clerk


@pytest.fixture
def clerk_clock(clerk: "FakeClerk") -> "Clock":
    """The clock of `clerk`, which stands still until you move it."""
    clerk.clock.freeze()
    return clerk.clock


@pytest.fixture
def clerk_repository() -> "MemoryRepository":
    """An empty repository in memory."""
    from ..repositories.memory import MemoryRepository

    return MemoryRepository()


@pytest.fixture
def clerk_resolver(clerk: "FakeClerk", clerk_repository: "Repository") -> "Resolver":
    """Resolves the tokens of `clerk`, by its clock."""
    from ..auth.resolver import Resolver

    return Resolver(clerk.instance, clerk_repository, verifier=clerk.verifier())


@pytest.fixture
def clerk_reconciler(clerk: "FakeClerk", clerk_repository: "Repository") -> "Reconciler":
    """Takes in the deliveries of `clerk`, by its clock, into the repository of `clerk_resolver`."""
    from ..webhooks import Reconciler

    return Reconciler(clerk.instance, clerk_repository, clock=clerk.clock)


def _set_environment(environment: pytest.MonkeyPatch, clerk: "FakeClerk") -> None:
    for name, value in clerk.environment().items():
        environment.setenv(name, value)
    # Those of the real environment, which tokens of this one are not made for.
    environment.delenv("CLERK_AUTHORIZED_PARTIES", raising=False)


def _set_caller(
    clerk: "FakeClerk", *email: str, organization: str | None = None, role: str | None = None, **said: Any
) -> None:
    """Make the person that a marker describes the caller."""
    from inspect import signature

    profile = {name: said.pop(name) for name in signature(clerk.create_user).parameters if name in said}
    user = clerk.create_user(*email, **profile)
    clerk.set_caller(user, clerk.create_organization(organization) if organization else None, role=role, **said)
