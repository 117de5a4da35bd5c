"""Clerk's front end for a real browser: a script, and the addresses it asks, for the users of a `FakeClerk`.

It does what an application's pages see of Clerk's own script. The session is in a cookie of Clerk's host, and lasts.
The session token is in a cookie of the application's host, which the script writes. Hosts here differ by their ports.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clerkmap.testing import FakeClerk
from uvicorn_server import serving

CLIENT = "__client"
SCRIPT = """
(() => {
const host = new URL(document.currentScript.src).origin;
const ask = async (method, path) => (await fetch(host + path, { method, credentials: "include" })).json();
const keep = (token) => {
  document.cookie = `__session=${token}; path=/; max-age=31536000; samesite=lax`;
  return token;
};
const back = () => new URLSearchParams(location.search).get("redirect_url") ?? "/";
const button = (node, name, act) => {
  const made = document.createElement("button");
  made.textContent = name;
  made.onclick = async () => { await act(); location.assign(back()); };
  node.append(made);
};
const renew = async () => {
  const { jwt } = await ask("POST", "/v1/client/sessions/current/tokens");
  return jwt === null ? null : keep(jwt);
};
window.Clerk = {
  session: null,
  async load() {
    const client = await ask("GET", "/v1/client");
    Clerk.organizations = client.organizations;
    if (client.signed_in) Clerk.session = { getToken: renew };
  },
  mountSignIn(node) {
    button(node, "Sign in", async () => { await ask("POST", "/v1/client/sign_ins"); await renew(); });
  },
  mountOrganizationList(node) {
    for (const each of Clerk.organizations) {
      button(node, each.name, async () => { await ask("POST", `/v1/client/organizations/${each.id}`); await renew(); });
    }
  },
};
})();
"""


class FrontEnd:
    """The front end of one user in one browser. `asked` counts the requests by their path."""

    def __init__(self, clerk: FakeClerk, user: Any) -> None:
        self.clerk = clerk
        self.user = user
        self.organization: Any = None
        self.asked: Counter[str] = Counter()
        self.address = ""

    @property
    def app(self) -> Starlette:
        """The application that serves it."""
        routes = [
            Route("/clerk.js", self._script),
            Route("/v1/client", self._client),
            Route("/v1/client/sign_ins", self._sign_in, methods=["POST"]),
            Route("/v1/client/organizations/{id}", self._choose, methods=["POST"]),
            Route("/v1/client/sessions/current/tokens", self._token, methods=["POST"]),
        ]
        cors = Middleware(CORSMiddleware, allow_origin_regex=".*", allow_credentials=True, allow_methods=["*"])
        return Starlette(routes=routes, middleware=[cors])

    @contextmanager
    def served(self) -> Generator[str]:
        """Serve it on a port of this machine."""
        with serving(self.app) as (_, port):
            self.address = f"http://localhost:{port}"
            yield self.address

    @property
    def script(self) -> str:
        """The address of the script."""
        return f"{self.address}/clerk.js"

    def page(self, body: str) -> str:
        """A page of the application that uses the script."""
        start = f"<script>Clerk.load().then(() => {{ {body} }})</script>" if body else ""
        head = '<!doctype html><link rel="icon" href="data:,"><title>Page</title>'
        return f'{head}<main id="here"></main><script src="{self.script}"></script>{start}'

    async def _script(self, request: Request) -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    async def _client(self, request: Request) -> JSONResponse:
        known = [self.clerk.organizations[each.organization_id] for each in self.clerk.memberships_of(self.user)]
        listed = [{"id": each.id, "name": each.name} for each in known]
        return JSONResponse({"signed_in": CLIENT in request.cookies, "organizations": listed})

    async def _sign_in(self, request: Request) -> JSONResponse:
        response = JSONResponse({})
        response.set_cookie(CLIENT, "signed-in", httponly=True, samesite="lax")
        return response

    async def _choose(self, request: Request) -> JSONResponse:
        self.organization = self.clerk.organizations[request.path_params["id"]]
        return JSONResponse({})

    async def _token(self, request: Request) -> JSONResponse:
        self.asked["tokens"] += 1
        if CLIENT not in request.cookies:
            return JSONResponse({"jwt": None}, 401)
        return JSONResponse({"jwt": self.clerk.token(self.user, self.organization)})
