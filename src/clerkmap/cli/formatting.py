"""Output for people: marks, times and progress. Text from outside is escaped for the terminal."""

import os
import re
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..sync.job import OnProgress, Progress

_MARKS = {
    True: ("✓", "ok", "green"),
    False: ("✗", "NO", "red"),
    None: ("\u2013", "--", "yellow"),  # an en dash
}
_SPANS = ((86_400, "days"), (3_600, "h"), (60, "min"))


def mark(passed: bool | None) -> str:
    """Return a tick, a cross, or a dash for a skipped check."""
    sign, plainer, color = _MARKS[passed]
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        sign = plainer
    return click.style(sign, fg=color, bold=True)


def plain(text: object) -> str:
    """Return a text with every character escaped that could control the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def say(text: str, *, err: bool = True, indent: int = 0) -> None:
    """Write a line of prose. On a terminal it is wrapped between words, with the following lines indented."""
    click.echo(wrapped(text, err=err, indent=indent), err=err)


def wrapped(text: str, *, err: bool = True, indent: int = 0) -> str:
    """Return a text wrapped to the width of the terminal; unchanged if the output is not a terminal."""
    if not (sys.stderr if err else sys.stdout).isatty():
        return text
    room, lines = max(20, shutil.get_terminal_size().columns), list[str]()
    for line in text.split("\n"):
        lines.append("")
        for word in re.findall(r" *[^ ]+| +$", line):
            if lines[-1].strip() and len(click.unstyle(lines[-1] + word)) > room:
                lines.append(" " * min(indent, room // 2) + word.lstrip())
            else:
                lines[-1] += word
    return "\n".join(lines)


def moment(at: datetime | str | None, now: float | None = None) -> str:
    """Return a time, and how long ago it was. A text is ISO 8601."""
    if at is None:
        return "never"
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return f"{at:%Y-%m-%d %H:%M:%S UTC}, {span((time.time() if now is None else now) - at.timestamp())} ago"


def span(seconds: float) -> str:
    """Return a duration as text."""
    for length, word in _SPANS:
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {word}"
    return f"{seconds:.0f} s"


def many(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def can_draw() -> bool:
    """Return whether stderr is a terminal with a movable cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress() -> "Generator[OnProgress | None]":
    """Draw the progress of a run on stderr, if that is a terminal."""
    if not can_draw():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        drawn = dict[str, TaskID]()

        def tell(so_far: "Progress") -> None:
            if so_far.stage not in drawn:
                drawn[so_far.stage] = bars.add_task(so_far.stage, total=None)
            total = None if so_far.total is None else max(so_far.total, so_far.done)
            bars.update(drawn[so_far.stage], completed=so_far.done, total=total)

        yield tell
