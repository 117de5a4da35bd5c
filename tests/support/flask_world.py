"""A Clerk, a repository that can be away, and a Flask application with a page of each kind, for the tests of Flask."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Flask, g

from adapter_world import redirected
from clerkmap import Change, ClerkmapError, Resolver, Standing, Verifier
from clerkmap.adapters.flask import Clerk, current_user
from clerkmap.auth.result import current_principal
from clerkmap.core.records import AnyRecord
from clerkmap.core.responses import error_response
from clerkmap.errors import RepositoryUnavailable
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

HOST = "app.example.com"
Headers = dict[str, str] | list[tuple[str, str]]


class MayBeAway(MemoryRepository):
    """A repository that is away while `away` is set: it holds what every look at it raises."""

    away: Exception | None = None

    def put(self, records: Iterable[AnyRecord]) -> list[Change]:
        self._look()
        return super().put(records)

    def find(self, *ids: Any) -> Standing | None:
        self._look()
        return super().find(*ids)

    def _look(self) -> None:
        if self.away is not None:
            raise self.away


AWAY = RepositoryUnavailable()


class FlaskWorld:
    """One Clerk, its users and an application. `reached` is how often protected code ran."""

    def __init__(self, *, verifier: Verifier | None = None, seed: int = 61, **options: Any) -> None:
        self.fake = FakeClerk(seed)
        self.repository = MayBeAway()
        self.resolver = Resolver(
            self.fake.instance if verifier is None else verifier.instance, self.repository, verifier=verifier
        )
        self.ada = self.fake.create_user()
        self.acme = self.fake.create_organization(created_by=self.ada)
        self.reached = 0
        self.clerk = Clerk(self.resolver, **options)
        self.app = Flask(__name__)
        self.clerk.init_app(self.app)
        self._add_pages()

    def bearer(self, token: str | None = None, **options: Any) -> dict[str, str]:
        """The header with a token; by default one of Ada's."""
        return {"Authorization": f"Bearer {token or self.fake.token(self.ada, **options)}"}

    def id_of(self, token: str) -> str:
        """Whose token it is, in ids of ours."""
        return str(self.resolver.resolve(token).user.id)

    def page(self) -> dict[str, Any]:
        """What every protected page answers: who is calling, by each of the ways to ask."""
        self.reached += 1
        ids = {str(each.id) for each in (current_user, current_principal().user, g.clerk.principal.user)}
        return {"id": ids.pop(), "agreed": not ids}

    async def apage(self) -> dict[str, Any]:
        return self.page()

    def _add_pages(self) -> None:
        clerk, any_method = self.clerk, ["GET", "POST", "OPTIONS", "DELETE"]

        def add(path: str, view: Any, app: Flask | Blueprint = self.app) -> None:
            app.add_url_rule(path, path.strip("/"), view, methods=any_method)

        add("/me", clerk.signed_in(self.page))
        add("/ame", clerk.signed_in(self.apage))
        for name, guard in {
            "admin": clerk.require(organization_role="admin"),
            "organization": clerk.require(organization=True),
            "chosen": clerk.require(organization_page="/choose"),
            "strict": clerk.require(reverified="strict"),
            "fresh": clerk.require(fresh_membership=True),
            "oneself": clerk.require(not_impersonated=True),
            "invoices": clerk.require(permission="org:invoices:create"),
        }.items():
            add(f"/{name}", guard(self.page))
            add(f"/a{name}", guard(self.apage))
            blueprint = Blueprint(f"b{name}", __name__, url_prefix=f"/b{name}")
            blueprint.before_request(guard)
            add("/page", self.page, blueprint)
            self.app.register_blueprint(blueprint)

        @self.app.get("/open")
        def open_page() -> dict[str, Any]:
            principal = g.clerk.optional_principal
            return {"id": None if principal is None else str(principal.user.id)}

        @self.app.get("/by-hand")
        def by_hand() -> dict[str, Any]:
            return {"id": str(current_principal().user.id)}


def ask(world: FlaskWorld, path: str, headers: Headers, method: str = "GET") -> Any:
    """A request as it stands, by Flask's own client, which keeps no cookies of its own."""
    client = world.app.test_client(use_cookies=False)
    return client.open(path, method=method, headers=[("Host", HOST), *pairs(headers)])


def pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, dict) else headers


def told(response: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """A response as values that can be compared."""
    return response.status_code, sorted((name.lower(), value) for name, value in response.headers), response.data


def want(error: ClerkmapError, page: str | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the table of answers says to an error."""
    status, headers, body = error_response(error) if page is None else redirected(page)
    return status, sorted(headers), body


def served() -> Flask:
    """For a server in another process. Whoever makes a `FlaskWorld` has the same Ada, and can sign for her."""
    return FlaskWorld().app
