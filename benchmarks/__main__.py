"""`python -m benchmarks [--short] [--json] [names...]`"""

import argparse
import json
import os
import platform
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version

from . import (
    backfills,
    databases,
    headers,
    overload,
    postgres,
    processes,
    reading,
    rush,
    servers,
    sizes,
    sockets,
    tokens,
    webhooks,
)
from .measure import Figure, Row
from .steps import steps

GROUPS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "resolve": tokens.resolve,
    "verify": tokens.verify,
    "steps": steps,
    "sqlite": databases.sqlite,
    "first": databases.first,
    "webhook": webhooks.webhook,
    "asgi": servers.servers,
    "headers": headers.headers,
    "overload": overload.overload,
    "sockets": sockets.sockets,
    "postgres": postgres.postgres,
    "reading": reading.reading,
    "rush": rush.rush,
    "backfill": backfills.backfills,
    "sizes": sizes.sizes,
    "import": processes.imports,
    "lookup": databases.lookup,
    "memory": processes.memory,
}
HEADINGS = ("what", "median (min)", "against", "median (min)", "ratio", "aim", "")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The figures of docs/speed.md.")
    parser.add_argument("--short", action="store_true", help="a few seconds in all: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("names", nargs="*", metavar="name", help=f"groups of rows: {', '.join(GROUPS)}; all by default")
    options = parser.parse_args()
    if unknown := set(options.names) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    rows = [row for name in options.names or GROUPS for row in GROUPS[name](options.short)]
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [as_json(row) for row in rows]}, indent=2))
    else:
        print(machine(), table(rows), sep="\n\n")


def machine() -> str:
    """Return the machine and the versions, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("cryptography", "PyJWT", "clerk-backend-api"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {packages}, SQLite {sqlite3.sqlite_version}, {platform.machine()}, {os.cpu_count()} cores"


def as_json(row: Row) -> dict[str, object]:
    named = {
        side: None if value is None else value._asdict() for side, value in (("ours", row.ours), ("theirs", row.theirs))
    }
    return asdict(row) | named | {"aim": None if row.aim is None else row.aim.text, "met": row.met}


def table(rows: list[Row]) -> str:
    """Return the table as Markdown for the docs."""
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * max(width, 3) for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {None: "", True: "met", False: "missed"}[row.met]
    against = f"{row.against} ({row.note})" if row.note and row.against else row.against or row.note
    return (
        row.what,
        _figure(row.ours, row.unit),
        against,
        "" if row.theirs is None else _figure(row.theirs, row.unit),
        "" if row.ratio is None else _ratio(row.ratio),
        "" if row.aim is None else row.aim.text,
        verdict,
    )


def _figure(figure: Figure, unit: str) -> str:
    return f"{_amount(figure.median, unit)} ({_amount(figure.minimum, unit)})"


def _amount(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value:.0f} B"
    size, name = next((each for each in _UNITS if abs(value) >= each[0]), _UNITS[-1])
    return f"{value / size:.3g} {name}"


def _ratio(ratio: float) -> str:
    return f"1/{1 / ratio:.0f}" if 0 < ratio < 0.1 else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
