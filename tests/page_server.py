"""`clerkmap dev` as people start it: a process of its own, on a port that is free; and what its page shows."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest

from browser import Browser, Page

PATIENCE = 30.0  # seconds after which a test that hangs is ended
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
SOURCE = Path(__file__).parent.parent / "src"


class Dev:
    """The command, running in a folder of its own. `url` is where its page is."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._client = httpx.Client(timeout=PATIENCE)
        self._folder = folder
        self._options = options
        self.start(0)

    def start(self, port: int) -> None:
        """Start it, and wait until it says where it is."""
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clerkmap", "dev", "--port", str(port), *self._options],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = self._told_port()
        self.url = f"http://127.0.0.1:{self.port}/"

    def do(self, action: str, **details: Any) -> dict[str, Any]:
        """Ask it for something behind the page's back."""
        answer = self._client.post(f"{self.url}do", json={"action": action, **details})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def state(self) -> dict[str, Any]:
        """What it tells the page."""
        return dict(self._client.get(f"{self.url}state").json())

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """End it, as a terminal that is closed does."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._lines.put(line)
        self._lines.put("")

    def _told_port(self) -> int:
        heard = ""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except Empty:
                line = ""
            heard += line
            if found := ADDRESS.search(line):
                return int(found[1])
            if not line:
                self.stop()
                raise AssertionError(f"the server did not start: {heard}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One server for the tests of a module."""
    dev = Dev(tmp_path_factory.mktemp("dev"))
    yield dev
    dev.close()


@pytest.fixture
def dev(running: Dev) -> Dev:
    """The server with nothing in it."""
    running.do("reset")
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    with Browser() as browser:
        yield browser


@contextmanager
def shown(browser: Browser, dev: Dev, width: int = 1440, *, dark: bool = False) -> Generator[Page]:
    """The page in a new tab, once it has been drawn. Its console must show no error until the block is left."""
    with browser.page(dev.url, width, dark=dark) as page:
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
    page.click("button", "Sign up the first person" if page.has("button", "Sign up the first person") else "Sign up")
    page.fill("First name", first)
    page.fill("Last name", last)
    page.fill("E-mail address", email)
    page.click("button", "Sign up")
