"""Breaks clerkmap on purpose, once for each line of the table, and looks whether the tests notice.

    python tests/support/mutants.py            each mutant and what became of it; 1 if one of them survived
    python tests/support/mutants.py --json     the same for a program
    python tests/support/mutants.py grade      those in whose name or reason this word stands

A mutant lives in a copy of the source, in a temporary folder; the source itself is left alone. The table is in
`mutants_table.py`. A text of it that does not stand in the source exactly once is an error: so it cannot rot.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from mutants_table import MUTANTS, Mutant
from postgres_server import postgres

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "clerkmap"
# What finds most in least time comes first: a mutant is dead as soon as one test fails. Shrinking takes long, so the
# state machine comes last.
ORDERS = "test_orders.py::test_every_order_ends_alike"
CHOSEN = (
    "test_records.py",
    "test_transactions.py",
    "test_lasting_ids.py",
    "test_orders.py::test_all_at_once_ends_alike",
    "test_orders.py::test_sqlite_ends_where_memory_does[0]",
    "test_repositories.py::TestMemory",
    "test_repositories.py::TestSqliteFile",
    "test_bulk.py",
    "test_sqlite.py",
    "test_reconciler_orders.py",
    "test_reconciler.py",
    f"{ORDERS}[0]",
    f"{ORDERS}[2]",
    "test_repositories.py",
    "test_postgres.py::TestPostgres",
    "test_postgres_bulk.py",
)
TIMEOUT = 900  # seconds; a mutant that makes a test wait for ever is found out, too


class TableIsOutOfDate(Exception):
    """A text of the table is not in the source, or more than once."""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: `by` is the first test that failed."""

    name: str
    why: str
    killed: bool
    by: str | None
    seconds: float


def mutated(mutant: Mutant, package: Path = SOURCE) -> dict[str, str]:
    """The files that this mutant changes, as they are then."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        path = package / edit.file
        if edit.file not in texts:
            texts[edit.file] = path.read_text(encoding="utf-8") if path.is_file() else ""
        count = texts[edit.file].count(edit.original)
        if count != 1 or edit.mutated == edit.original:
            raise TableIsOutOfDate(f"{mutant.name}: in {edit.file} there is {count} times {edit.original!r}")
        texts[edit.file] = texts[edit.file].replace(edit.original, edit.mutated)
    return texts


def found(test: str) -> Path:
    """The path of a test by the name of its file, which no other folder has, and of a function in it."""
    file, _, function = test.partition("::")
    (path,) = TESTS.rglob(file)
    return path.with_name(f"{file}::{function}") if function else path


def run(mutant: Mutant | None) -> Fate:
    """Run the chosen tests on a copy of the source with this mutant in it; without one, on a copy as it is."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="clerkmap-mutant-") as folder:
        package = Path(folder) / "clerkmap"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            for file, text in mutated(mutant).items():
                (package / file).write_text(text, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLERKMAP", "PYTEST"))}
        environment |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "CLERKMAP_TEST_POSTGRES": postgres()}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        command += [f"--basetemp={folder}/tests", "--tb=no", "-o", "addopts="]
        command += [str(found(name)) for name in CHOSEN]
        try:
            ended = subprocess.run(
                command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
            told, code = ended.stdout + ended.stderr, ended.returncode
        except subprocess.TimeoutExpired:
            told, code = f"FAILED: more than {TIMEOUT} seconds", 1
    # 2 is an error while the tests are being read: a mutant may well spoil the import.
    lines = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if code not in (0, 1, 2):
        raise RuntimeError(f"pytest could not run the tests at all: {told[-2000:]}")
    name, why = ("none", "the source as it is") if mutant is None else (mutant.name, mutant.why)
    by = lines[0].partition(" - ")[0] if lines else told.strip()[-300:]
    return Fate(name, why, code != 0, by if code else None, round(time.perf_counter() - began, 1))


def main(arguments: Iterable[str]) -> int:
    words = [each for each in arguments if each != "--json"]
    as_json = "--json" in arguments
    out = sys.stderr if as_json else sys.stdout
    chosen = [each for each in MUTANTS if all(word in f"{each.name} {each.why}" for word in words)]
    for each in chosen:
        mutated(each)  # all of the table, before anything that takes time
    unmutated = run(None)
    if unmutated.killed:
        print(f"the source as it is does not pass: {unmutated.by}", file=sys.stderr)
        return 2
    fates: list[Fate] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for fate in pool.map(run, chosen):
            print(f"{'killed  ' if fate.killed else 'SURVIVED'} {fate.seconds:5.1f} s  {fate.name}: "
                  f"{fate.by or fate.why}", file=out, flush=True)  # fmt: skip
            fates.append(fate)
    survived = [fate.name for fate in fates if not fate.killed]
    print(f"{len(fates) - len(survived)} of {len(fates)} mutants killed", file=out)
    if as_json:
        print(json.dumps([asdict(fate) for fate in fates], indent=2))
    return 1 if survived or not fates else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
