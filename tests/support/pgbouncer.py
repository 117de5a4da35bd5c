"""A real PgBouncer in transaction mode, in front of a server. It is a package of the system's, not of Python's."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from postgres_cluster import free_port
from postgres_server import unprivileged

BINARY = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
needs_pgbouncer = pytest.mark.skipif(BINARY is None, reason="there is no pgbouncer on this machine")
STARTS_WITHIN = 30  # seconds

_SETTINGS = """
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
server_login_retry = 0.1
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def pgbouncer(server: int, *, size: int = 12) -> Iterator[int]:
    """The port of a PgBouncer in front of a server's port, with so many sessions of the server."""
    assert BINARY is not None
    folder = Path(tempfile.mkdtemp(prefix="clerkmap-pgbouncer-"))
    port, user = free_port(), unprivileged()  # it refuses to run as root
    settings = folder / "pgbouncer.ini"
    settings.write_text(_SETTINGS.format(server=server, port=port, size=size), encoding="utf-8")
    folder.chmod(0o755)
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen([BINARY, str(settings)], stdout=log, stderr=log, user=user)
        try:
            _wait(port, process, folder / "log")
            yield port
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            shutil.rmtree(folder)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.05)
        else:
            return
