"""The method of all measurements.

A single time means little on a busy machine, and the ratio of two times from different minutes means less. So the two
sides of a row alternate within one run (A B A B ...), and a disturbance affects both. The ratio is the median of the
ratios of all rounds. The minimum next to the median shows the speed of the undisturbed machine.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One side of a row: seconds for one call, or bytes for one user."""

    median: float
    minimum: float


class Aim(NamedTuple):
    """The goal of a row: upper bounds of the ratio and of the median."""

    text: str
    ratio: float = float("inf")
    limit: float = float("inf")


@dataclass(frozen=True)
class Row:
    """One line of the table. `unit` is "s" or "B". `theirs` is None without a comparison."""

    group: str
    what: str
    ours: Figure
    against: str = ""
    theirs: Figure | None = None
    ratio: float | None = None
    aim: Aim | None = None
    unit: str = "s"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met. None without an aim."""
        if self.aim is None:
            return None
        return self.ours.median <= self.aim.limit and (self.ratio is None or self.ratio <= self.aim.ratio)


class Side(NamedTuple):
    """A function, and a source of new arguments for each round, outside the measured time.

    The arguments must be new, because a string caches its hash: a token that is used again as the same object would be
    looked up faster than a token from a request.
    """

    call: Callable[[Any], object]
    arguments: Callable[[], Sequence[Any]]


def constant(arguments: Sequence[Any]) -> Callable[[], Sequence[Any]]:
    """Use the same arguments in every round, if no cache depends on them."""
    return lambda: arguments


def compare(ours: Side, theirs: Side, rounds: int, label: str) -> tuple[Figure, Figure, float]:
    """Alternate the two sides, after one unmeasured round of each. Return both figures and the median ratio."""
    _round(ours)
    _round(theirs)
    pairs = []
    for number in range(rounds):
        progress(f"{label}: round {number + 1} of {rounds}")
        pairs.append((_round(ours), _round(theirs)))
    progress("")
    mine, other = zip(*pairs, strict=True)
    return figure(mine), figure(other), median(a / b for a, b in pairs)


def figure(values: Sequence[float]) -> Figure:
    return Figure(median(values), min(values))


def _round(side: Side) -> float:
    """Return the seconds per call, without garbage collections, which would count for an arbitrary side."""
    call, arguments = side.call, side.arguments()
    gc.disable()
    try:
        begin = perf_counter()
        for argument in arguments:
            call(argument)
        return (perf_counter() - begin) / len(arguments)
    finally:
        gc.enable()


def progress(text: str) -> None:
    """Show the progress in a line that overwrites itself, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
