"""The page of `clerkmap dev` in a real browser: what it shows, and how somebody signs up on it."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from browser import Browser, Page
from local_process import PATIENCE, Local


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    with Browser() as browser:
        yield browser


@contextmanager
def shown(browser: Browser, local: Local, width: int = 1440, *, dark: bool = False) -> Generator[Page]:
    """The page in a new tab, once it has been drawn. Its console must show no error until the block is left."""
    with browser.page(f"{local.address}/", width, dark=dark) as page:
        page.wait_for("document.body.classList.contains('ready')")
        yield page


def rows(page: Page, table: str) -> list[dict[str, str]]:
    """The rows of a table as the page shows them, by the names of their columns."""
    script = """[...document.querySelectorAll('section[data-key="TABLE"] tbody tr')].map((row) =>
        Object.fromEntries([...row.cells].map((cell) => [cell.dataset.column, cell.innerText.trim()])))"""
    found = page.evaluate(script.replace("TABLE", table))
    assert isinstance(found, list)
    return found


def wait_for_rows(page: Page, table: str, condition: Callable[[list[dict[str, str]]], bool]) -> list[dict[str, str]]:
    """The rows of a table, once they are as they should be."""
    end = time.monotonic() + PATIENCE
    while not condition(found := rows(page, table)):
        assert time.monotonic() < end, f"{table} stays as it is: {found}"
        time.sleep(0.02)
    return found


def sign_up(page: Page, first: str = "Ada", last: str = "Lovelace", email: str = "ada@example.com") -> None:
    """Sign somebody up, by mouse."""
    page.click("button", "Sign up the first user" if page.has("button", "Sign up the first user") else "Sign up")
    page.fill("First name", first)
    page.fill("Last name", last)
    page.fill("E-mail address", email)
    page.click("button", "Sign up")
