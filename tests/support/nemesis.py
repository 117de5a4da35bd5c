"""The nemesis: what goes wrong, and when, between some processes and their database. All of it follows from a seed."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

import psycopg

from postgres_cluster import Cluster
from tcp_proxy import COMMIT, TcpProxy

# What befalls the network, and what befalls the processes at both of its ends. Each goes on while the other does.
OF_NETWORK = ("cut", "stall", "stall, then cut", "stall answers, then cut", "cut at commits")
OF_PROCESSES = ("restart", "terminate", "terminate", "pause")
STOPS = ("cut", "stall", "stall answers", "cut at commits")  # what goes on until it is healed
LONGEST = 2.5  # seconds: longer than the repositories wait
COMES_WITHIN = 10  # seconds: a commit, however many processes are paused or remember an outage
HEALTHY = (0.5, 2.5)  # seconds between two of a kind, of which an outage that is remembered takes some


class Event(NamedTuple):
    """What is to happen how many seconds after the beginning, and to which of the processes."""

    at: float
    what: str
    whom: tuple[int, ...] = ()


def schedule(seed: str, seconds: float, processes: int, more: Sequence[str] = ()) -> list[Event]:
    """Return the events of so many seconds: each kind at least once, and `more` kinds of the network more often."""
    random = Random(f"{seed}/nemesis")
    return sorted(
        [
            *_of_one_kind((*OF_NETWORK, *more), random, seconds, lambda what, at: _network(what, at, random)),
            *_of_one_kind(OF_PROCESSES, random, seconds, lambda what, at: _processes(what, at, random, processes)),
        ]
    )


def _of_one_kind(
    kinds: Sequence[str], random: Random, seconds: float, events: Callable[[str, float], list[Event]]
) -> Iterator[Event]:
    at, number = random.uniform(*HEALTHY), 0
    left: list[str] = []
    while at < seconds or number < len(kinds):
        left = left or random.sample(kinds, len(kinds))
        number += 1
        happens = events(left.pop(), at)
        yield from happens
        at = happens[-1].at + random.uniform(*HEALTHY)


def _lasts(random: Random) -> float:
    return random.choice((random.uniform(0.05, 0.5), random.uniform(0.05, LONGEST)))


def _network(what: str, at: float, random: Random) -> list[Event]:
    happens: list[Event] = []
    for part in what.split(", then "):
        happens.append(Event(at, part))
        at += _lasts(random)
    return [*happens, Event(at, "heal")]


def _processes(what: str, at: float, random: Random, processes: int) -> list[Event]:
    if what != "pause":
        return [Event(at, what)]
    whom = tuple(random.sample(range(processes), random.choice((1, 1, 2, 4))))
    return [Event(at, "pause", whom), Event(at + _lasts(random), "go on", whom)]


class Nemesis:
    """Does what a schedule says, and counts it."""

    def __init__(self, cluster: Cluster, proxy: TcpProxy, pids: Sequence[int]) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self._pids = pids
        self.done: Counter[str] = Counter()
        self.broken = self.terminated = 0  # connections that were there to be broken
        self.healed_at = 0  # when the last of it was over, by the clock of the histories

    def run(self, events: Sequence[Event]) -> None:
        began = time.monotonic()
        try:
            for event in events:
                time.sleep(max(0, began + event.at - time.monotonic()))
                self._do(event)
                self.done[event.what] += 1
        finally:
            self.end()

    def end(self) -> None:
        """Undo what can be undone, whatever has happened."""
        self._proxy.heal()
        self._signal(range(len(self._pids)), signal.SIGCONT)
        self.healed_at = time.monotonic_ns()

    def _do(self, event: Event) -> None:
        match event.what:
            case "restart":
                self._cluster.restart()
            case "terminate":
                self.terminated += self._terminate()
            case "pause":
                self._signal(event.whom, signal.SIGSTOP)
            case "go on":
                self._signal(event.whom, signal.SIGCONT)
            case "cut":
                self.broken += self._proxy.cut()
            case "cut at commits":
                self._proxy.cut_at(COMMIT)
                self._proxy.has_lost.wait(COMES_WITHIN)
            case "stall":
                self._proxy.stall()
            case "stall answers":
                self._proxy.stall(answers_only=True)
            case "heal":
                self._proxy.heal()
            case what:
                raise ValueError(what)

    def _terminate(self) -> int:
        with psycopg.connect(self._cluster.uri, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return ended.rowcount

    def _signal(self, whom: Sequence[int], number: int) -> None:
        for each in whom:
            os.kill(self._pids[each], number)
