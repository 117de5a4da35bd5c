"""docs/testing.md is true: its files are a project whose tests pass, and the rest of its code runs as it stands."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import clerkmap
import clerkmap.testing.plugin as plugin
from docs_pages import ROOT, fences
from postgres_server import new_database

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

PAGE = ROOT / "docs" / "testing.md"
PLACE = re.compile(r"# ([\w/]+\.py)\n")


def pieces() -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The files of the page by their names, and the other pieces with the lines where they begin."""
    files: dict[str, str] = {}
    script: list[tuple[int, str]] = []
    for line, language, code in fences(PAGE):
        found = PLACE.match(code)
        if found is not None:
            assert found[1] not in files
            files[found[1]] = code
        elif language == "python":
            script.append((line, code))
    return files, script


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database, on a server that is started before `pytester`, which forgets every module that is imported later."""
    with new_database() as url:
        yield url


def test_the_project_of_the_page_passes_its_tests(
    database: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied as they stand, in an environment that clerkmap is installed in, and with nothing else configured."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(clerkmap.__file__).parent.parent))
    files, _script = pieces()
    monkeypatch.setenv("DATABASE_URL", database.replace(":", "+psycopg:", 1))
    for name, code in files.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    result = pytester.runpytest_subprocess("-p", plugin.__name__, "-p", "no:cacheprovider", timeout=120)
    # The test with a database runs twice: the second time without the rows of the first.
    result.assert_outcomes(passed=sum(code.count("def test_") for code in files.values()) + 1)


def test_the_rest_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no pytest, as it says."""
    module = ModuleType("page_testing")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, code in pieces()[1]:
        exec(compile("\n" * (line - 1) + code, PAGE, "exec"), module.__dict__)


def test_the_page_names_every_fixture() -> None:
    """The table of the fixtures is complete, and has no other."""
    told = re.findall(r"^\| `(clerk\w*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert told == [name for name in vars(plugin) if name == "clerk" or name.startswith("clerk_")]
    assert plugin.OPTION in PAGE.read_text(encoding="utf-8")
