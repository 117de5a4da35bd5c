"""Breaks clerkmap on purpose, once for each line of the table, and looks whether the tests notice.

    python tests/support/mutants.py            each mutant and what became of it; 1 if one of them survived
    python tests/support/mutants.py --json     the same for a program
    python tests/support/mutants.py grade      those in whose name or reason this word stands

A mutant lives in a copy of the source, in a temporary folder; the source itself is left alone. The table is in
`mutants_table.py`. A text of it that does not stand exactly once where the table says is an error: so it cannot rot.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from mutants_table import MUTANTS, Mutant
from postgres_server import postgres

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "clerkmap"
TIMEOUT = 900  # seconds; a mutant that makes a test wait for ever is found out, too


class TableIsOutOfDate(Exception):
    """A text of the table is not in its place, or more than once, or there is no such place."""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: `by` is the first test that failed."""

    name: str
    why: str
    killed: bool
    by: str | None
    seconds: float


def places(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Yield the functions, classes and assignments of a module, its classes included, with their qualified names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from places(node, f"{within}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((within + each.id, node) for each in targets if isinstance(each, ast.Name))


def replaced(text: str, place: str, original: str, mutated: str) -> str:
    """Return the module with the original text of this place replaced; raise LookupError unless it is there once."""
    node = dict(places(ast.parse(text))).get(place)
    if node is None or node.end_lineno is None:
        raise LookupError("there is no such place")
    lines = text.splitlines(keepends=True)
    before, inside, after = lines[: node.lineno - 1], lines[node.lineno - 1 : node.end_lineno], lines[node.end_lineno :]
    pattern = r"\s+".join(re.escape(word) for word in re.split(r"\s+", original))
    changed, count = re.subn(pattern, lambda _: mutated, "".join(inside))
    if count != 1:
        raise LookupError(f"{original!r} stands there {count} times")
    return "".join([*before, changed, *after])


def mutated(mutant: Mutant, package: Path = SOURCE) -> dict[str, str]:
    """The files that this mutant changes, as they are then."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        file = f"{edit.module.replace('.', '/')}.py"
        try:
            if file not in texts:
                texts[file] = (package / file).read_text(encoding="utf-8")
            texts[file] = replaced(texts[file], edit.place, edit.original, edit.mutated)
        except (OSError, LookupError) as error:
            raise TableIsOutOfDate(f"{mutant.name}: {file}, {edit.place}: {error}") from error
    return texts


def run(mutant: Mutant | None, tests: Iterable[str] = ()) -> Fate:
    """Run the tests of a mutant on a copy of the source with the mutant in it; without one, these on the source."""
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
        command += [f"--basetemp={folder}/tests", "--tb=no", "-o", "addopts=-p no:faker -p no:xdist"]
        command += [str(TESTS / name) for name in (mutant.tests if mutant is not None else tests)]
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
    unmutated = run(None, dict.fromkeys(test for each in chosen for test in each.tests))
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
