"""A PostgreSQL that a test may treat badly: restart at once, kill, copy to a standby, promote. It listens on a port."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from postgres_server import bin_path, unprivileged


class Cluster:
    """One server. Its files belong to an unprivileged user where the tests run as root, since it would not start."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self.port = free_port()
        self.log = folder / "log"
        self._folder = folder

    @property
    def uri(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def new_database(self) -> str:
        """Another database of this server, empty: its connection string."""
        name = f"d{time.monotonic_ns()}"
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{self.uri.rpartition('/')[0]}/{name}"

    def make(self, **settings: str) -> None:
        """A new, empty one, which is started."""
        self._own(self._folder)
        _run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self._data))
        self.configure(**settings)
        self.start()

    def copy_of(self, primary: "Cluster") -> None:
        """A standby that follows another, and is started."""
        self._own(self._folder)
        _run("pg_basebackup", "-d", primary.uri, "-D", str(self._data), "-R", "-X", "stream", "-c", "fast")
        self.start()

    def configure(self, **settings: str) -> None:
        """What the next start goes by."""
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories=''"
        _run("pg_ctl", "-w", "-t", "60", "-D", str(self._data), "-l", str(self.log), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is like a power cut: no process of it says goodbye."""
        _run("pg_ctl", "-w", "-D", str(self._data), "-m", mode, "stop")

    def restart(self, mode: str = "immediate") -> None:
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        _run("pg_ctl", "-w", "-D", str(self._data), "promote")

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _own(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        user = unprivileged()
        if user is not None:
            shutil.chown(folder, user)


@contextmanager
def clusters() -> Iterator[Any]:
    """Makes them, and stops and removes them at the end."""
    # Not where pytest keeps its files: those folders are closed to others, the unprivileged user among them.
    root = Path(tempfile.mkdtemp(prefix="clerkmap-cluster-"))
    root.chmod(0o755)
    made: list[Cluster] = []

    def new() -> Cluster:
        made.append(Cluster(root / str(len(made))))
        return made[-1]

    try:
        yield new
    finally:
        for cluster in made:
            if cluster.is_running:
                cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


def _run(command: str, *args: str) -> None:
    user = unprivileged()
    done = subprocess.run(
        [str(bin_path() / command), *args],
        stdout=subprocess.PIPE if command != "pg_ctl" else subprocess.DEVNULL,  # what it starts would keep a pipe open
        stderr=subprocess.STDOUT if command != "pg_ctl" else subprocess.DEVNULL,
        user=user,
        env=os.environ | ({"HOME": pwd.getpwnam(user).pw_dir} if user is not None else {}),
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} {' '.join(args)} failed: {done.stdout}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def settle(uri: str) -> None:
    """Wait until the server has ended all other sessions of a database: what one had begun, it may yet commit, and what
    it has counted it reports at its end."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(uri, autocommit=True) as connection:
        while connection.execute(others).fetchone() != (0,):
            time.sleep(0.01)
