"""For every test of the suite: what clerkmap logs is read, at every level, and must hold nothing secret or personal."""

import gc
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from postgres_server import postgres_schema as postgres_schema

# The same histories in every run, so that a change is judged by what it changes; new ones in a soak.
settings.register_profile("suite", deadline=None, derandomize="CLERKMAP_SOAK" not in os.environ)
settings.load_profile("suite")

# Where the tests are run in the background, interruptions are ignored, and would be by every program they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A token, a key, a secret, a Clerk id of a person, an address: none of them belongs in a log.
SECRET = re.compile(r"ey[JK][\w-]{8,}|[ps]k_(test|live)_\w+|whsec_\w+|user_\w{6,}|BEGIN|[\w.]+@example\.com")
SLOW_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files unread in which every test is slow, where slow tests are left out: to import them takes long, too."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return bool(SLOW_FILE.search(collection_path.read_text(encoding="utf-8"))) or None


# Nothing that is made while the tests are read is garbage afterwards: to look for it again and again takes long.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, and leave out all that is there by now."""
    gc.freeze()
    gc.enable()


class Listener(logging.Handler):
    """Keeps what is logged, as it would be written, traceback and all."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    """Listens to clerkmap during a test, and fails the test if it heard a secret."""
    listener = Listener()
    logger = logging.getLogger("clerkmap")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield listener
    logger.removeHandler(listener)
    logger.setLevel(before)
    heard = [line for line in listener.lines if SECRET.search(line)]
    assert heard == [], "a secret or a personal datum was logged"
