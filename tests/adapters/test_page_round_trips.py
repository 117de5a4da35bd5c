"""Visitors in a real browser: each comes to the page they asked for, in every framework, and no browser goes round."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from browser import PATIENCE, Browser, Page
from clerkmap import Resolver, Verifier
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from front_end import CLIENT, FrontEnd
from page_apps import FRAMEWORKS, served

pytestmark = pytest.mark.slow

ASKED = "/orders?id=3&q=a%20b"


class Visit(NamedTuple):
    """A visitor in front of an application."""

    page: Page
    address: str
    asked: Any
    front: FrontEnd
    user_id: str

    def cookie(self, name: str, value: str) -> None:
        """Give the browser a cookie of the application's host, and of Clerk's: a port does not tell them apart."""
        url, script_writes_it = f"{self.address}/", name != CLIENT
        self.page.ask("Network.setCookie", name=name, value=value, url=url, httpOnly=not script_writes_it)

    def open(self, path: str) -> None:
        """Go to a page."""
        self.page.ask("Page.navigate", url=self.address + path)

    def wait_for(self, text: str) -> None:
        """Wait until a page that shows a text has been loaded."""
        self._settle(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, name: str) -> None:
        """Click a button, once the page that has it has been loaded: the browser goes on by itself until then."""
        buttons = "[...document.querySelectorAll('button')]"
        self._settle(f"{buttons}.some((each) => each.textContent === {json.dumps(name)})")
        self.page.click("button", name)

    def _settle(self, condition: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.page.evaluate(f"document.readyState === 'complete' && !!document.body && {condition}"):
                    return
            except AssertionError as navigated:  # the page that was asked is gone
                if "context" not in str(navigated) and "navigated" not in str(navigated):
                    raise
            time.sleep(0.02)
        raise AssertionError(f"never true: {condition}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for these tests."""
    with Browser() as browser:
        yield browser


@contextmanager
def visiting(browser: Browser, framework: str, *, server_is_ahead: int = 0, errors: bool = False) -> Generator[Visit]:
    """A visitor on an empty page. With `errors`, the browser may report them: that a page is a 401, for example."""
    clerk = FakeClerk(seed=32)
    user = clerk.create_user()
    clerk.create_organization("Acme", created_by=user)
    verifier = Verifier(clerk.instance, clock=lambda: clerk.clock() + server_is_ahead)
    repository = MemoryRepository()
    (change,) = repository.put([clerk.record(user)])
    assert change.user is not None
    resolver = Resolver(clerk.instance, repository, verifier=verifier)
    front = FrontEnd(clerk, user)
    with (
        front.served(),
        served(framework, front, resolver) as (address, asked),
        browser.page("about:blank", errors=errors) as page,
    ):
        page.ask("Network.enable")
        page.ask("Network.clearBrowserCookies")
        yield Visit(page, address, asked, front, str(change.user.id))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_returning_visitor_sees_the_page_they_asked_for(browser: Browser, framework: str) -> None:
    """With a cookie an hour old, after one round trip to the refresh page; again, without any."""
    with visiting(browser, framework) as visit:
        old = visit.front.clerk.token(visit.front.user, expires_in=-3600)
        visit.cookie("__session", old)
        visit.cookie(CLIENT, "signed-in")
        visit.open(ASKED)
        visit.wait_for(f"{ASKED} of {visit.user_id}")
        assert visit.page.evaluate("location.pathname + location.search") == ASKED
        assert (visit.asked["/refresh"], visit.asked["/orders"], visit.front.asked["tokens"]) == (1, 2, 1)
        visit.open("/orders?id=4")
        visit.wait_for(f"/orders?id=4 of {visit.user_id}")
        assert (visit.asked["/refresh"], visit.asked["/orders"], visit.asked["/sign-in"]) == (1, 3, 0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_new_visitor_signs_in_and_picks_an_organization(browser: Browser, framework: str) -> None:
    """Each page comes in its turn, and leads back to the page that the visitor asked for."""
    with visiting(browser, framework) as visit:
        visit.open("/team")
        visit.click("Sign in")
        visit.click("Acme")
        visit.wait_for(f"/team of {visit.user_id} in acme")
        assert visit.asked["/sign-in"] == visit.asked["/choose"] == 1
        assert visit.asked["/refresh"] == 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_server_whose_clock_is_off(browser: Browser, framework: str) -> None:
    """It refuses the new token as well. The visitor sees the error after one round trip."""
    with visiting(browser, framework, server_is_ahead=7200, errors=True) as visit:
        visit.cookie("__session", visit.front.clerk.token(visit.front.user))
        visit.cookie(CLIENT, "signed-in")
        visit.open(ASKED)
        visit.wait_for("token_expired")
        assert (visit.asked["/refresh"], visit.asked["/orders"], visit.front.asked["tokens"]) == (1, 2, 1)


def test_a_browser_that_writes_no_cookies(browser: Browser) -> None:
    """The refresh page sees that the new cookie is not kept, says so, and stays."""
    with visiting(browser, "flask") as visit:
        visit.cookie("__session", visit.front.clerk.token(visit.front.user, expires_in=-3600))
        visit.cookie(CLIENT, "signed-in")
        visit.page.ask("Emulation.setDocumentCookieDisabled", disabled=True)
        visit.open(ASKED)
        visit.wait_for("does not keep the cookie")
        assert (visit.asked["/refresh"], visit.asked["/orders"]) == (1, 1)


def test_a_browser_without_cookies() -> None:
    """It sees the sign-in page, and stays there. After a sign-in it comes back there once."""
    with Browser(cookies=False) as strict, visiting(strict, "flask", errors=True) as visit:
        visit.open(ASKED)
        visit.click("Sign in")
        end = time.monotonic() + PATIENCE
        while visit.asked["/sign-in"] < 2:
            assert time.monotonic() < end, "the browser does not come back"
            time.sleep(0.02)
        visit.wait_for("Sign in")
        assert (visit.asked["/sign-in"], visit.asked["/orders"], visit.asked["/refresh"]) == (2, 2, 0)


def test_a_visitor_who_has_signed_out_at_clerk(browser: Browser) -> None:
    """The refresh page finds no session, and leads to the sign-in page, with the page that the visitor asked for."""
    with visiting(browser, "fastapi") as visit:
        visit.cookie("__session", visit.front.clerk.token(visit.front.user, expires_in=-3600))
        visit.open(ASKED)
        visit.click("Sign in")
        visit.wait_for(f"{ASKED} of {visit.user_id}")
        assert (visit.asked["/refresh"], visit.asked["/sign-in"], visit.asked["/orders"]) == (1, 1, 2)


def test_a_visitor_whom_only_clerk_knows(browser: Browser) -> None:
    """With the cookie that Clerk keeps for the whole domain, and without a session cookie: no sign-in is shown."""
    with visiting(browser, "flask") as visit:
        visit.cookie("__client_uat", "1733000000")
        visit.cookie(CLIENT, "signed-in")
        visit.open(ASKED)
        visit.wait_for(f"{ASKED} of {visit.user_id}")
        assert (visit.asked["/refresh"], visit.asked["/sign-in"]) == (1, 0)


@pytest.mark.parametrize(
    "to",
    [
        *("//evil.example/a", "/\\evil.example", "https://evil.example", "javascript:alert(1)"),
        *("/.//evil.example", "/a/..//evil.example", "/\t/evil.example"),
    ],
)
def test_the_refresh_page_returns_to_this_host_only(browser: Browser, to: str) -> None:
    """A link to the refresh page that names another host leads to the first page of this one."""
    with visiting(browser, "fastapi", errors=True) as visit:
        visit.cookie(CLIENT, "signed-in")
        visit.open(f"/refresh?redirect_url={quote(to, safe='')}")
        visit.wait_for("Not Found")
        assert visit.page.evaluate("location.pathname") == "/"
        assert visit.page.evaluate("location.origin") == visit.address
