"""Forks: a child process writes and sees what it should, and nothing that was acknowledged is lost."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import ANN, HERE, person

FORK = """
import os, sys, threading
from clerkmap import ClerkUser, LockedOut, Resolver
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.samples import person, found, HERE
clerk = FakeClerk()
ann = clerk.create_user()
token = clerk.token(ann)
repository = SqliteRepository.open(sys.argv[1])
repository.put([person("user_parent")])
resolver = Resolver(clerk.instance, repository)
resolver.resolve(token)
done = threading.Event()
def poll():
    while not done.is_set():
        repository.poll()
threads = [threading.Thread(target=poll) for _ in range(3)]  # so that the fork finds locks taken
for thread in threads:
    thread.start()
children = []
for number in range(8):
    asked, answered = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        repository.put([person(f"user_child_{number}")])
        resolver.resolve(token)
        os.write(answered[1], b".")
        os.read(asked[0], 1)
        try:
            repository.poll()
            resolver.resolve(token)
            os._exit(1)
        except LockedOut:
            os._exit(0 if found(repository, "user_parent").clerk_id else 2)
    children.append((child, asked, answered))
for _, _, answered in children:
    os.read(answered[0], 1)
done.set()
for thread in threads:
    thread.join()
repository.put([ClerkUser.deleted(clerk.instance.name, ann.id, observed_at=1)])
for child, asked, _ in children:
    os.write(asked[1], b".")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status
repository.put([person("user_later")])
repository.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_repository_survives_forks_under_load(tmp_path: Path) -> None:
    """A child has connections and locks of its own, and sees what is written elsewhere; the parent's stay whole."""
    path = tmp_path / "app.db"
    quiet = ["-W", "ignore::DeprecationWarning"]  # Python warns of forks with threads, which is what this is about
    subprocess.run([sys.executable, *quiet, "-c", FORK, str(path)], check=True, timeout=60)

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (11,)
    connection.close()


LEFT_ALONE = """
import os, subprocess, sys
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import person
path = sys.argv[1]
count = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM %s').fetchone())"
count %= "clerkmap_users"
repository = SqliteRepository.open(path)
repository.put([person("user_parent")])
leaves, left = os.pipe()
child = os.fork()
if child:
    repository.close()
    os.write(left, b".")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.read(leaves, 1)
for number in range(5):
    repository.put([person(f"user_{number}")])
    # Another process comes and goes. If it finds nobody else at the file, it takes the write-ahead log with it.
    visit = subprocess.run([sys.executable, "-c", count, path], capture_output=True, check=True)
    assert int(visit.stdout) == number + 2, visit.stdout
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_a_child_commits_stays_when_its_parent_has_gone(tmp_path: Path) -> None:
    """The parent closes the file, another process comes and goes, and still each put of the child is there."""
    subprocess.run([sys.executable, "-c", LEFT_ALONE, str(tmp_path / "app.db")], check=True, timeout=60)

    connection = sqlite3.connect(tmp_path / "app.db")
    assert connection.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (6,)
    connection.close()


FORKS_AT_ONCE = """
import os, sys, threading
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import ANN, HERE, person
repository = SqliteRepository.open(sys.argv[1])
repository.put([person()])
bad = []
def fork():
    for _ in range(25):
        child = os.fork()
        if child == 0:
            os._exit(0 if repository.find(HERE, ANN) else 1)
        if os.waitpid(child, 0)[1]:
            bad.append(child)
threads = [threading.Thread(target=fork) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not bad, bad
assert repository.find(HERE, ANN)
repository.close()
"""

CLOSED_IN_USE = """
import sys, threading
from clerkmap import RepositoryUnavailable
from clerkmap.repositories import SqliteRepository
from clerkmap.testing.samples import ANN, HERE, person
for number in range(60):
    repository = SqliteRepository.open(sys.argv[1])
    repository.put([person()])
    def use(call):
        try:
            while True:
                call()
        except RepositoryUnavailable:
            pass
    calls = [repository.poll, lambda: repository.find(HERE, ANN)] * 2
    threads = [threading.Thread(target=use, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    repository.close()
    for thread in threads:
        thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_may_fork_at_once(tmp_path: Path) -> None:
    """Two forks in one moment are told one after the other: neither parent nor child is left waiting."""
    quiet = ["-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *quiet, "-c", FORKS_AT_ONCE, str(tmp_path / "app.db")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", ["app.db", ":memory:"])
def test_closing_while_in_use(tmp_path: Path, path: str) -> None:
    """Whoever is inside finishes, whoever comes later is told that it is closed, and the process lives on."""
    where = path if path == ":memory:" else str(tmp_path / path)
    done = subprocess.run([sys.executable, "-c", CLOSED_IN_USE, where], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), "a thread was told something else"


def test_a_watcher_may_look_and_poll(tmp_path: Path) -> None:
    """A watcher that calls back into the repository while it is being told gets its answer, and no dead end."""
    here, there = (SqliteRepository.open(tmp_path / "app.db") for _ in range(2))
    seen: list[object] = []

    def look(keys: object) -> None:
        here.poll()
        seen.append(here.find(HERE, ANN))

    here.listeners.watch(look)
    there.put([person()])
    here.poll()

    assert [standing is not None for standing in seen] == [True]
    here.close()
    there.close()
