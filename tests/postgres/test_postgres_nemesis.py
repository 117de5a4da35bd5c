"""Whatever happens to the server, the network and the processes: nothing acknowledged is lost, nobody gets a second id,
nobody deleted comes back, and no rank goes backwards; and an order explains every role, link, erasure, note and entry
of the outbox that was written or read.

Eight processes write and read, and write down what they do, while their server is restarted at once, their back ends
are terminated, they themselves are paused, and the network between is cut or stalls. Then checkers read what they
wrote. All of it is done once directly, and once behind a PgBouncer in transaction mode.

`CLERKMAP_SOAK=1` makes it a minute of each of several seeds, and a minute of each operation alone, in which commits are
cut more often. `CLERKMAP_SEED` makes it other ones.
"""

import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from clerkmap.repositories import PostgresRepository
from linearizability import Call
from nemesis import STOPS, Event, Nemesis, schedule
from nemesis_checker import Operation, last_look, read, violations
from nemesis_worker import PROCESSES, Orders, work
from nemesis_writes import ALONE, EVERYTHING, METHODS, broken, last_calls, moved_from, read_calls
from pgbouncer import needs_pgbouncer, pgbouncer
from postgres_cluster import Cluster, clusters
from tcp_proxy import TcpProxy

SOAK = bool(os.environ.get("CLERKMAP_SOAK"))
SEED = os.environ.get("CLERKMAP_SEED", "3")  # whose short form takes 13 seconds
SECONDS = 60 if SOAK else 8
RUNS = [(EVERYTHING, SEED)]
if SOAK:
    RUNS = [*((EVERYTHING, f"{SEED}.{number}") for number in range(3)), *((each, SEED) for each in ALONE)]
SCHEMA = "nemesis"
STARTS_WITHIN = ENDS_WITHIN = 60  # seconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot pause a process"),
]


class Workers:
    """The processes, which are at work until they are told to stop."""

    def __init__(self, orders: Sequence[Orders]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for each in orders:
            pipe, theirs = context.Pipe()
            process = context.Process(target=work, args=(each, theirs), daemon=True)
            process.start()
            theirs.close()  # so that the pipe ends with the process
            self._pipes.append(pipe)
            self._processes.append(process)
        self.pids = [process.pid or 0 for process in self._processes]

    def wait_until_ready(self) -> None:
        for pipe in self._pipes:
            assert pipe.poll(STARTS_WITHIN), "a process did not start"
            pipe.recv()

    def stop(self) -> None:
        """Have them end what they are doing, and come back after what was done to them."""
        for pipe in self._pipes:
            pipe.send("stop")
        for process in self._processes:
            process.join(ENDS_WITHIN)
        assert [process.exitcode for process in self._processes] == [0] * len(self._processes)

    def close(self) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.kill()  # a paused one, too
            process.join()
            process.close()
            pipe.close()


@contextmanager
def started(orders: Sequence[Orders]) -> Iterator[Workers]:
    workers = Workers(orders)
    try:
        workers.wait_until_ready()
        yield workers
    finally:
        workers.close()


def summary(operations: Sequence[Operation], nemesis: Nemesis, answers_lost: int) -> str:
    """One line about a run."""
    seen = {(seen.thing, seen.rank) for each in operations for seen in each.seen}
    outcomes = Counter(f"{'puts' if each.put else 'finds'} {each.outcome}" for each in operations)
    landed = sum(each.outcome == "unknown" and not seen.isdisjoint(each.put) for each in operations)
    deleted = sum(rank.startswith("3") for each in operations if each.is_ok for _, rank in each.put)
    things = len({thing for each in operations for thing, _ in each.put})
    longest = max((each.ended - each.began) / 1e9 for each in operations)
    recovered = (max(each.ended for each in operations) - nemesis.healed_at) / 1e9
    return "; ".join(
        (
            ", ".join(f"{what} {count:,}" for what, count in sorted(outcomes.items())),
            f"{landed} of the unknown were seen to have been committed",
            f"{things:,} things, {deleted:,} deletions acknowledged",
            ", ".join(f"{what} {count}" for what, count in sorted(nemesis.done.items())),
            f"{nemesis.broken} connections cut, {answers_lost} at a commit, {nemesis.terminated} terminated",
            f"the longest operation took {longest:.1f} s, and all were back {recovered:.1f} s after the end",
        )
    )


def check_that_much_was_put(operations: Sequence[Operation]) -> None:
    """A run in which little was done would show nothing. How much a short one does is chance."""
    often, seldom = (5 * SECONDS, SECONDS / 10) if SOAK else (20, 1)
    acknowledged = [each for each in operations if each.put and each.is_ok]
    assert len(acknowledged) >= often
    assert sum(not each.put and each.is_ok for each in operations) >= often
    assert sum(rank.startswith("3") for each in acknowledged for _, rank in each.put) >= seldom
    assert sum(seen.is_gone for each in operations for seen in each.seen) >= seldom


def check_that_something_happened(nemesis: Nemesis) -> None:
    """A run to which little was done would show nothing either."""
    for what in ("restart", "terminate", "pause", "go on", *STOPS, "heal"):
        assert nemesis.done[what] >= 1
    assert nemesis.broken >= 1
    assert nemesis.terminated >= 1


def all_calls(cluster: Cluster, orders: Sequence[Orders]) -> tuple[dict[str, list[Call]], list[str]]:
    """The calls of all processes by the thing that they were about, with a last look; and what went wrong."""
    calls, wrong = defaultdict[str, list[Call]](list), list[str]()
    for each in orders:
        mine, mistakes = read_calls(each.writes)
        wrong += mistakes
        for thing, several in mine.items():
            calls[thing] += several
    latest = max((each.began for several in calls.values() for each in several), default=0)
    with closing(PostgresRepository.open(cluster.uri, schema=SCHEMA)) as repository:
        for thing, call in last_calls(repository, list(calls), 2 * latest):
            calls[thing].append(call)
    return calls, wrong


def summary_of_calls(calls: dict[str, list[Call]]) -> str:
    """One line about what was done to roles, links, notes and the outbox."""
    each_call = [call for several in calls.values() for call in several]
    done = Counter(call.does for call in each_call)
    unknown = sum(call.is_unknown for call in each_call)
    counted = ", ".join(f"{does} {count:,}" for does, count in sorted(done.items()))
    longest = max(len(several) for several in calls.values())
    return f"{len(calls):,} histories of at most {longest} calls; {counted}; {unknown} of them unknown"


def check_the_calls(calls: dict[str, list[Call]], only: str) -> None:
    """Each method was called, and where a run has one operation, often, and some of its commits went unanswered."""
    each_call = [call for several in calls.values() for call in several]
    assert {call.does for call in each_call} >= set(METHODS if only == EVERYTHING else ALONE[only])
    if ALONE.get(only):
        these = [call for call in each_call if call.does in ALONE[only]]
        assert sum(not call.is_unknown for call in these) >= 5 * SECONDS
        assert sum(call.is_unknown for call in these) >= 1


@pytest.mark.parametrize(("only", "seed"), RUNS)
@pytest.mark.parametrize("way", ["directly", pytest.param("pgbouncer", marks=needs_pgbouncer)])
def test_the_nemesis(tmp_path: Path, way: str, only: str, seed: str) -> None:
    """The checkers find nothing wrong in what the processes have seen, nor in what the tables hold at the end."""
    print(f"CLERKMAP_SEED={SEED}, seed {seed}, {SECONDS} s, {way}, {only}")
    with ExitStack() as stack:
        cluster = stack.enter_context(clusters())()
        cluster.make()
        behind = cluster.port if way == "directly" else stack.enter_context(pgbouncer(cluster.port))
        proxy = stack.enter_context(TcpProxy(behind))
        uri = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
        orders = [Orders(number, seed, uri, SCHEMA, tmp_path, only) for number in range(PROCESSES)]
        workers = stack.enter_context(started(orders))
        nemesis = Nemesis(cluster, proxy, workers.pids)
        nemesis.run(schedule(seed, SECONDS, PROCESSES, () if only == EVERYTHING else ("cut at commits",) * 3))
        workers.stop()
        operations = [operation for each in orders for operation in read(each.history)]
        calls, mistakes = all_calls(cluster, orders)
        at_the_end, wrong = last_look(cluster.uri, SCHEMA, operations, moved_from(calls))

    print(summary(operations, nemesis, proxy.answers_lost))
    if calls:
        print(summary_of_calls(calls))
    assert broken(calls) == []
    assert mistakes == []
    check_the_calls(calls, only)
    assert violations([*operations, at_the_end]) == []
    assert wrong == []
    for each in orders:  # each of them has come back by itself
        last = read(each.history)[-1]
        assert last.is_ok, f"{last.who} {last.outcome}: {last.why}"
        assert last.began > nemesis.healed_at
    if only in (EVERYTHING, "put"):
        check_that_much_was_put(operations)
    check_that_something_happened(nemesis)
    assert proxy.answers_lost >= nemesis.done["cut at commits"]


def test_a_seed_is_a_schedule() -> None:
    """The same seed does the same to the same processes, each thing at least once, and heals all of it."""
    events = schedule("a", 60, PROCESSES)

    assert events == schedule("a", 60, PROCESSES) != schedule("b", 60, PROCESSES)
    short = schedule("a", 1, PROCESSES)
    assert {event.what for event in short} == {event.what for event in events}
    paused: Counter[int] = Counter()
    stopped = False
    for event in events:
        stopped = event.what in STOPS or (stopped and event.what != "heal")
        paused.update({each: {"pause": 1, "go on": -1}.get(event.what, 0) for each in event.whom})
    assert (stopped, set(paused.values())) == (False, {0})
    assert all(isinstance(event, Event) and event.at >= 0 for event in events)
