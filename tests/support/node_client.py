"""Clerk's official client for JavaScript, in a process of Node: `js/clerk.mjs` says what it can be asked.

npm installs it into `js/node_modules` the first time that a test asks for it. Without Node, without npm, and
where npm cannot install it, the tests that need it are skipped, and say why.
"""

import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "js"
PACKAGE = "@clerk/backend"
PATIENCE = 120.0  # seconds after which a process that hangs is ended


class NodeRefuses(Exception):
    """The client has raised an error. `error` holds its name, message, reason, status and errors."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error: dict[str, Any] = error


class NodeClient:
    """One process that answers one question after the other."""

    def __init__(self, node: str) -> None:
        quiet = {**os.environ, "CLERK_TELEMETRY_DISABLED": "1"}
        self._process = subprocess.Popen(
            [node, "clerk.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=quiet
        )

    def ask(self, call: str, **said: Any) -> Any:
        """What the client answers; `NodeRefuses` where it raises an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        impatience = threading.Timer(PATIENCE, self._process.kill)
        impatience.start()
        try:
            self._process.stdin.write(json.dumps({"call": call, "said": said}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            impatience.cancel()
            impatience.join()
        assert line, f"Node has ended instead of answering {call}"
        answer = json.loads(line)
        if "error" in answer:
            raise NodeRefuses(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process, and wait until it has."""
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise


@contextmanager
def node_client() -> Generator[NodeClient]:
    """A process for as long as the block."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"{PACKAGE} needs Node and npm, which are not here")
    _install(npm)
    client = NodeClient(node)
    try:
        yield client
    finally:
        client.close()


def _install(npm: str) -> None:
    """Install once, whoever asks first; all the others wait for it."""
    with (FOLDER / "package.json").open() as package:
        fcntl.flock(package, fcntl.LOCK_EX)
        if _installed() == json.load(package)["dependencies"]:
            return
        # No lock file: it would name the registry of whoever wrote it. A Node that is too old is an error.
        quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
        quick = ("--engine-strict", "--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
        command = [npm, "install", *quiet, *quick]
        try:
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm has not installed {PACKAGE} within {PATIENCE:.0f} seconds")
        if done.returncode:
            reason = " ".join(done.stderr.split())[:300]
            pytest.skip(f"npm could not install {PACKAGE}: {reason}")


def _installed() -> dict[str, str]:
    """What npm installed here, by its own word, which it writes down when all is in place."""
    try:
        said = json.loads((FOLDER / "node_modules" / ".package-lock.json").read_text(encoding="utf-8"))
        return {PACKAGE: said["packages"][f"node_modules/{PACKAGE}"]["version"]}
    except (OSError, ValueError, KeyError):
        return {}
