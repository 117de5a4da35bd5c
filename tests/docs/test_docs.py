"""The README and the docs are true: their code runs, their links lead somewhere, and no error is missing from its page.

The python fences of one page share one namespace and run from top to bottom, each at its own line numbers, so that a
failure points into the page.
"""

import json
import re
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import pytest

import clerkmap.errors
from clerkmap.core.responses import error_response
from clerkmap.repositories import SqliteRepository
from docs_pages import ERRORS, FENCE, ROOT, fences
from postgres_server import url_of_a_new_schema

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages whose pieces are the files of a project: another test writes them where they say, runs and serves them.
PROJECTS = {
    ROOT / "docs" / "alembic.md": "test_alembic.py",
    ROOT / "docs" / "django.md": "test_django_project.py",
    ROOT / "docs" / "testing.md": "test_plugin_page.py",
}
LINKED = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fences."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if page not in PROJECTS], ids=name_of)
def test_every_python_fence_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_schema: str
) -> None:
    """What a reader copies works: the page's code runs as it stands, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    if "DATABASE_URL" in page.read_text(encoding="utf-8"):
        monkeypatch.setenv("DATABASE_URL", url_of_a_new_schema(postgres_schema))
    module = ModuleType(f"page_{page.stem}")  # some frameworks look where a function was written
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, language, code in fences(page):
        if language == "python":
            exec(compile("\n" * (line - 1) + code, page, "exec"), module.__dict__)


@pytest.mark.parametrize("page", PROJECTS, ids=name_of)
def test_every_project_has_a_test_of_its_own(page: Path) -> None:
    """No page escapes by being called a project."""
    assert f"docs/{page.name}" in next((ROOT / "tests").rglob(PROJECTS[page])).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_fence_says_its_language(page: Path) -> None:
    """No fence escapes by being called something else: python is run, and the others are not python."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(list(fences(page)))
    assert {language for _line, language, _code in fences(page)} <= {"html", "python", "sh", "sql", "text"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_leads_to_something(page: Path) -> None:
    """A relative link leads to a file that is there, and its anchor to a heading in it."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """A promise that names its test keeps naming a real one."""
    named = re.findall(r"`(test_\w+\.py)`", prose(page))
    assert [name for name in named if not list((ROOT / "tests").rglob(name))] == []


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_no_line_is_too_long_to_read(page: Path) -> None:
    """Prose keeps to the width of the code. A table's row may be as wide as it needs."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120 and not line.startswith("|")] == []


def test_the_index_names_every_page() -> None:
    """The table of contents is complete."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert linked >= {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}


def test_the_errors_page_has_every_error_and_no_other() -> None:
    """Each class with a code of its own stands in a table with exactly that code, a cause and a remedy."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \| (.+) \|$", prose(ROOT / "docs" / "errors.md"), re.MULTILINE)
    assert sorted((name, code) for name, code, _cause, _remedy in rows) == sorted(
        (each.__name__, each.code) for each in ERRORS if "code" in vars(each)
    )
    assert all(cause.strip() and remedy.strip() for _name, _code, cause, remedy in rows)


def test_the_errors_page_has_no_code_that_does_not_exist() -> None:
    """A word in the errors page that looks like a code or an error is one."""
    text = prose(ROOT / "docs" / "errors.md")
    assert set(re.findall(r"`(token_\w+|session_\w+|\w+_unavailable|\w+_deleted)`", text)) <= {
        each.code for each in ERRORS
    }


def test_the_repositories_page_explains_every_column() -> None:
    """Each table of the database stands on the page with its columns in their order, and with no other."""
    page = prose(ROOT / "docs" / "repositories.md")
    tables = re.findall(r"^\*\*`clerkmap_(\w+)`\*\*[^|]*((?:^\|.*\n)+)", page, re.MULTILINE)
    explained = {table: re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE) for table, rows in tables}
    connection = sqlite3.connect(":memory:")
    SqliteRepository(connection, migrate=True)
    for table in (
        "users",
        "identities",
        "organizations",
        "memberships",
        "sessions",
        "search_terms",
        "checkpoints",
        "outbox",
        "deliveries",
        "changes",
    ):
        columns = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (f"clerkmap_{table}",)).fetchall()
        assert explained.pop(table) == [name for (name,) in columns]
    assert not explained
    connection.close()


def test_codes_are_told_apart() -> None:
    """No two errors share a code: a program that was told a code knows the class."""
    codes = [each.code for each in ERRORS if "code" in vars(each)]
    assert len(codes) == len(set(codes))


def test_the_tree_in_the_errors_module_names_every_error_under_its_parent() -> None:
    """The drawing at the top of the module is complete, names nothing else, and has the right shape."""
    drawing = (clerkmap.errors.__doc__ or "").split("\n\n")[1]
    drawn: list[tuple[int, str]] = []
    for line in drawing.splitlines():
        names = line.lstrip("│├└─ ")
        drawn += [(len(line) - len(names), name) for name in re.split(r"\s{2,}", names)[0].split(" · ")]
    assert sorted(name for _depth, name in drawn) == sorted(each.__name__ for each in ERRORS)

    parents = {each.__name__: each.__bases__[0].__name__ for each in ERRORS}
    above: list[tuple[int, str]] = []
    for depth, name in drawn:
        while above and above[-1][0] >= depth:
            above.pop()
        assert not above or parents[name] == above[-1][1], name
        above.append((depth, name))


def test_the_requests_page_answers_every_error_as_it_is_answered() -> None:
    """Each error's row in the table of answers, its own or the nearest above, says what `answer` does."""
    page = prose(ROOT / "docs" / "requests.md").split("## Error responses")[1]
    rows = {"ClerkmapError": ("500", "", "none")}  # everything else
    for line in re.findall(r"^\| (`.*|any .*) \|$", page, re.MULTILINE):
        errors, statuses, challenge, remedy = (cell.strip() for cell in line.split("|"))
        names = re.findall(r"`(\w+)`", errors)
        for name, status in zip(names, re.findall(r"\d+", statuses) * len(names), strict=False):
            rows[name] = (status, challenge.strip("`"), remedy.split("`")[1] if "`" in remedy else "none")
    for kind in ERRORS:
        status, headers, body = error_response(kind())
        challenge = re.sub(r'Bearer error="(\w+)".*', r"\1", dict(headers).get("www-authenticate", ""))
        said = next(rows[each.__name__] for each in kind.__mro__ if each.__name__ in rows)
        assert said == (str(status), challenge, json.loads(body)["remedy"] or "none"), kind
