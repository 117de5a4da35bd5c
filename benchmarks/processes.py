"""Measures that need a separate process: the cost of an import, and the memory of a million users.

A second import in one process costs nothing, and memory that was freed is rarely given back, so each figure comes from
fresh interpreters.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk

from .measure import Aim, Figure, Row, figure, progress
from .people import DAY, from_token, populate, profiled

STATM = Path("/proc/self/statm")
KINDS: dict[str, Callable[[int], list[AnyRecord]]] = {"sighted": from_token, "profiled": profiled}
_READY = """
import sys
from clerkmap import Instance, Verifier
Verifier(Instance(publishable_key=sys.argv[1], jwt_key=sys.argv[2])).verify(sys.argv[3])
"""


def imports(short: bool) -> Iterator[Row]:
    """Measure the start of a process: whole interpreters, from start to exit, in turn.

    The bare interpreter has its own row. The other rows are without its median and minimum, and the ratio is that of
    the differences. All bytecode is compiled beforehand into a separate folder, because a checkout may have none
    where installed packages have some.
    """
    rounds = 3 if short else 31
    clerk = FakeClerk(1)
    arguments = [clerk.publishable_key, clerk.key.pem(), clerk.token(clerk.create_user(), expires_in=DAY)]
    commands = {
        "bare": ["pass"],
        "clerkmap": ["import clerkmap"],
        "jwt": ["import jwt"],
        "ready": [_READY, *arguments],
        "sdk": ["import clerk_backend_api"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with TemporaryDirectory() as bytecode:
        modules = {
            name: _count_modules(command, bytecode) for name, command in commands.items()
        }  # and compiles the bytecode
        for number in range(rounds):
            progress(f"import: round {number + 1} of {rounds}")
            for name, command in commands.items():
                times[name].append(_seconds(command, bytecode))
    progress("")
    start = figure(times["bare"])
    cost = {name: Figure(median(each) - start.median, min(each) - start.minimum) for name, each in times.items()}

    def row(what: str, ours: str, against: str, theirs: str, aim: Aim) -> Row:
        ratio = cost[ours].median / cost[theirs].median
        added = [modules[name] - modules["bare"] for name in (ours, theirs)]
        note = f"{added[0]} modules against {added[1]}"
        return Row("import", what, cost[ours], against, cost[theirs], ratio, aim, note=note)

    yield row("import clerkmap", "clerkmap", "import jwt", "jwt", Aim("<= 15 ms", limit=0.015))
    yield row(
        "import, construct, verify one token",
        "ready",
        "the official SDK's import alone",
        "sdk",
        Aim("<= 80 ms", limit=0.080),
    )
    yield Row("import", "the bare interpreter, start to exit", start, note=f"{modules['bare']} modules")


def _run(arguments: list[str], **environment: str) -> str:
    env = os.environ | environment
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True, env=env).stdout


def _seconds(command: list[str], bytecode: str) -> float:
    begin = perf_counter()
    _run(["-c", *command], PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=bytecode)
    return perf_counter() - begin


def _count_modules(command: list[str], bytecode: str) -> int:
    counting = [f"{command[0]}\nimport sys; print(len(sys.modules))", *command[1:]]
    return int(_run(["-c", *counting], PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=bytecode))


def memory(short: bool) -> Iterator[Row]:
    """Measure the bytes for each user in a memory repository, by the resident memory of the process.

    This includes the stored strings, the spare room of dictionaries and the rounding of the allocator. Without /proc
    there is no row.
    """
    size = 20_000 if short else 1_000_000
    aim = Aim("<= 1 kB", limit=1000)
    for kind, known in (("sighted", "only a token seen"), ("profiled", "full profile")):
        if STATM.exists():
            progress(f"memory: {size:,} users, {known}")
            weighed = [int(_run(["-m", __name__, kind, str(size)])) / size for _ in range(1 if short else 3)]
            progress("")
            what = f"memory of each of {size:,} users, {known}"
            yield Row("memory", what, figure(weighed), aim=aim, unit="B")


def weigh(kind: str, size: int) -> int:
    """Return how many bytes this process grows when it stores so many users."""
    gc.disable()  # it frees nothing here, and traverses everything repeatedly
    repository = MemoryRepository()
    populate(repository, 1, KINDS[kind])  # modules and caches that are loaded once
    before = _resident()
    populate(repository, size, KINDS[kind])
    return _resident() - before


def _resident() -> int:
    import resource

    return int(STATM.read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    print(weigh(sys.argv[1], int(sys.argv[2])))
