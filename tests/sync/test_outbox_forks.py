"""A process whose outbox is being emptied may fork at any moment: the child writes, and sends too if it is told to."""

import os

import pytest

from forking import run_script

# Run in a process of its own, which has no threads but those made here.
SCRIPT = """
import os, signal, sys, time
from clerkmap import WriteBack
from clerkmap.clerk import ClerkApi
from clerkmap.sync import OutboxWorker
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

clerk = FakeClerk(43)
repository = MemoryRepository(write_back=WriteBack(user_id="userId", role="role"))
ada = clerk.create_user("ada@example.com")
repository.put([clerk.record(ada)])
id = repository.find(clerk.instance.name, ada.id).user.id
worker = OutboxWorker(ClerkApi(clerk.instance, transport=clerk.transport()), repository, every=0.1)
worker.start()
with worker._woken._cond:  # held by somebody who stays behind
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)  # whoever hangs is ended, and found out
            repository.set_role(id, "admin")
            with worker:
                while (ada.public_metadata or {}).get("role") != "admin":
                    time.sleep(0.05)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
worker.stop()
print("good")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork() -> None:
    """With the thread at work, and a lock of its held."""
    ended = run_script(SCRIPT)
    assert (ended.returncode, ended.stdout) == (0, "good\n"), ended.stderr
