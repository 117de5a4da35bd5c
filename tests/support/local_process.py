"""`clerkmap dev` as people start it: a process of its own, asked over HTTP, and ended as people end it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

PATIENCE = 120.0  # seconds after which a test that hangs is ended
SOURCE = Path(__file__).parents[2] / "src"
Json = dict[str, Any]


def command(*options: str) -> list[str]:
    """The command line that starts it on a port that is free."""
    return [sys.executable, "-m", "clerkmap", "dev", "--port", "0", *options]


def environment() -> dict[str, str]:
    """The environment in which it finds this clerkmap."""
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Start it, and wait until it has ended by itself."""
    return subprocess.run(
        command(*options),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Local:
    """One process. What it answers other than 200 is an error, unless it is asked for with `refused`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self.start()

    def start(self, *options: str) -> None:
        """Start it, for the first time or anew, and wait until it says where it is."""
        all_options = ("--json", *self._options, *options)
        self._process = subprocess.Popen(
            command(*all_options), cwd=self._folder, env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(PATIENCE)
            self._process.stdout.close()
            raise AssertionError("it did not start")
        told: Json = json.loads(line)
        self.address: str = told["address"]
        self.environment: dict[str, str] = told["environment"]
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGINT)

    def tell(self, how: signal.Signals) -> None:
        """Tell it something, as Ctrl-C does."""
        self._process.send_signal(how)

    def end(self, how: signal.Signals) -> int:
        """End it, and tell what it ended with."""
        if not self.client.is_closed:
            self.client.close()
            self._process.send_signal(how)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise
            finally:
                assert self._process.stdout is not None
                self._process.stdout.close()
        return self._process.wait(PATIENCE)

    def do(self, action: str, **arguments: Any) -> Json:
        """Have something done."""
        answer = self.client.post("/do", json={"action": action, **arguments})
        assert answer.status_code == 200, answer.text
        result: Json = answer.json()
        return result

    def refused(self, action: str, **arguments: Any) -> tuple[int, str]:
        """The status and the code with which something is refused."""
        answer = self.client.post("/do", json={"action": action, **arguments})
        return answer.status_code, answer.json()["error"]["code"]

    def state(self) -> Json:
        """How everything looks now."""
        snapshot: Json = self.client.get("/state").json()
        return snapshot

    def wait(self, condition: Callable[[Json], Any]) -> Json:
        """How everything looks once a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition(snapshot := self.state()):
            assert time.monotonic() < end, f"it stays as it is: {json.dumps(snapshot)[:4000]}"
            time.sleep(0.02)
        return snapshot

    def settle(self) -> Json:
        """How everything looks once nothing is waiting to be attempted for the first time."""
        return self.wait(lambda now: all(each["state"] != "waiting" for each in now["wire"]["messages"]))

    def sign_up(self, name: str = "Ada") -> str:
        """Somebody new, whose id is told."""
        id: str = self.do("sign_up", first_name=name, email=f"{name.lower()}@example.com")["user"]
        return id


def rows(snapshot: Json, table: str) -> list[Json]:
    """The rows of a table, each by the names of its columns."""
    (found,) = (each for each in snapshot["database"]["tables"] if each["name"] == f"clerkmap_{table}")
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def messages(snapshot: Json, type: str) -> list[Json]:
    """The events of a type, the newest first."""
    return [each for each in snapshot["wire"]["messages"] if each["type"] == type]


def kinds(message: Json) -> list[str]:
    """What came of each attempt of an event."""
    return [each["kind"] for each in message["outcomes"]]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One process for the tests of a module."""
    with Local(tmp_path_factory.mktemp("local"), "--db", ":memory:") as local:
        yield local


@pytest.fixture
def local(process: Local) -> Local:
    """The process with nothing in it."""
    process.do("reset")
    return process
