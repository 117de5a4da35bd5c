"""Forks in the tests: work done in a child process, and how it ended. For scripts that have a process of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PATIENCE = 120  # seconds after which a child that hangs is ended, and found out


def child(work: Callable[[], object]) -> int:
    """Do something in a child process. What is given is its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(PATIENCE)
        work()
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child, and tell how it ended: 0 is well, and less a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_script(script: str, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
    """Run a script in a process of its own, which finds what the tests find."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
