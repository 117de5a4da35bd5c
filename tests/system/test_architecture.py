"""The arrows: who may import whom, what the core may not touch, what an import costs. Read from the source itself."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import clerkmap
import clerkmap.clerk
import clerkmap.testing

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "clerkmap"
MODULES = sorted(SOURCE.rglob("*.py"))

# Which rooms each room may import from. The order of the rows is that of the arrows.
ARROWS: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "_runtime": {"errors"},
    "core": {"errors"},
    "hooks": {"errors", "core"},
    "ports": {"errors", "core", "hooks"},
    "repositories": {"errors", "_runtime", "core", "hooks", "ports"},
    "clerk": {"errors", "_runtime", "core", "ports", "repositories"},
    "auth": {"errors", "_runtime", "core", "hooks", "ports", "repositories", "clerk"},
    "webhooks": {"errors", "_runtime", "core", "hooks", "ports", "repositories"},
    "sync": {"errors", "_runtime", "core", "hooks", "ports", "repositories", "clerk"},
    "adapters": {"errors", "_runtime", "core", "repositories", "auth", "webhooks"},
    "testing": {"errors", "core", "hooks", "ports", "repositories", "clerk", "auth", "webhooks"},
    "local": {"errors", "core", "repositories", "auth", "webhooks", "adapters", "testing"},
    "cli": {
        *("__init__", "errors", "core", "ports", "repositories", "clerk", "auth", "webhooks", "sync", "testing"),
        "local",
    },
    "__main__": {"cli"},
}

# What applications run without: nothing below imports it.
TOP = {"testing", "local", "cli", "__main__"}

# What the core leaves to others: the world, and the time in it.
WORLD = {"socket", "ssl", "http", "urllib.request", "httpx", "sqlite3", "time", "asyncio", "threading"}
WORLD |= {"concurrent", "multiprocessing", "subprocess", "logging", "random", "secrets", "uuid", "os", "pathlib"}
WORLD_OF = {"core/instance.py": {"os", "pathlib"}, "core/validation.py": {"pathlib"}}

# Classes that share a name on purpose, and why.
TWINS = {
    "AuthMiddleware": "the middleware of ASGI, of WSGI and of Django",
    "Clerk": "the entry point of FastAPI and of Flask",
    "Require": "the requirement of ASGI and of WSGI",
    "WebhookEndpoint": "the endpoint of ASGI and of WSGI",
}

# A list of some sixty classes, each with a docstring, a code and a text, is as long as the list.
LONG = {"errors.py": 800}
MOST_LINES = 620

# Written in pieces, so that this file is clean too.
UNMENTIONABLE = [
    *("/" + folder + "/" for folder in ("work", "root")),
    *(host + "." + top for host, top in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))),
    *(option + "-url" for option in ("index", "extra-index")),
]


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts else "__init__"


def parts_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def type_checking_blocks(tree: ast.Module) -> list[ast.If]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]


def imports(path: Path, *, with_types: bool = False) -> Iterator[tuple[str, ...]]:
    """Every module that a file imports, in parts, wherever in it the import stands. A name from a package counts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = {id(node) for block in type_checking_blocks(tree) for each in block.body for node in ast.walk(each)} - (
        {id(node) for node in ast.walk(tree)} if with_types else set()
    )
    package = ("clerkmap", *parts_of(path)) if path.name == "__init__.py" else ("clerkmap", *parts_of(path)[:-1])
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*whole, alias.name) for alias in node.names)


def own_imports(path: Path, *, with_types: bool = False) -> set[str]:
    """The rooms of clerkmap that a file imports from, other than its own."""
    found = {room_of(parts[1:]) for parts in imports(path, with_types=with_types) if parts[0] == "clerkmap"}
    return found - {room_of(parts_of(path))}


def test_every_room_is_on_the_map() -> None:
    """A new room gets its place among the arrows before it gets its first import."""
    assert {room_of(parts_of(path)) for path in MODULES} == set(ARROWS)


def test_the_map_has_one_direction() -> None:
    """No room may import one that stands below it on the map, so there can be no circle."""
    rooms = list(ARROWS)
    for place, (_room, allowed) in enumerate(ARROWS.items()):
        assert allowed <= set(rooms[:place])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    """A module imports only from the rooms that its own room may import from."""
    assert own_imports(path) <= ARROWS[room_of(parts_of(path))]


def test_no_modules_import_each_other() -> None:
    """No module imports itself through other modules. Imports in functions and for types count."""
    modules = {("clerkmap", *parts_of(path)): path for path in MODULES}
    imported: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name, path in modules.items():
        for parts in imports(path, with_types=True):  # the last part may be a name in the module
            found = parts if parts in modules else parts[:-1]
            imported.setdefault(name, set()).update({found} & modules.keys() - {name})
    while free := [name for name, others in imported.items() if not others & imported.keys()]:
        for name in free:
            del imported[name]
    assert not imported, f"in a circle, or above one: {sorted('.'.join(name) for name in imported)}"


def test_each_class_name_is_defined_once() -> None:
    """A public class has its name alone, unless the list of twins says why not."""
    classes = [
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert {name for name in classes if classes.count(name) > 1} <= TWINS.keys()


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(parts_of(path)) not in TOP], ids=name_of)
def test_nothing_imports_what_stands_on_top(path: Path) -> None:
    """What is for tests and for developers stays with them, also where only types are meant."""
    assert not own_imports(path, with_types=True) & TOP


def _without_texts(path: Path) -> str:
    """A module's attributes, without its texts and comments."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute))


@pytest.mark.parametrize("path", sorted((SOURCE / "core").glob("*.py")), ids=name_of)
def test_the_core_touches_nothing(path: Path) -> None:
    """No socket, SQL, clock, threads or log; `instance.py` may read the environment, `settings.py` a file."""
    imported = {".".join(parts[:depth]) for parts in imports(path) for depth in (1, 2)}
    assert imported & WORLD <= WORLD_OF.get(name_of(path), set())
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"print", "input", "exec", "eval"}
    # A `datetime` is a value like any other; the clock is in its methods.
    assert not re.search(r"\b(datetime|date)\.(now|today|utcnow)\b", _without_texts(path))
    assert "open" not in called or name_of(path) == "core/validation.py"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_and_stays_short(path: Path) -> None:
    """A module opens with its essay, and one sitting reads it."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= LONG.get(name_of(path), MOST_LINES)


ON_DEMAND = pytest.mark.parametrize(
    ("package", "besides"),
    [(clerkmap, {"__version__"}), (clerkmap.clerk, set[str]()), (clerkmap.testing, set[str]())],
    ids=["clerkmap", "clerk", "testing"],
)


def _place(name: str) -> tuple[bool, bool, str]:
    """Constants come first, then classes, then functions."""
    return not name.isupper(), not name[0].isupper(), name


@ON_DEMAND
def test_the_public_names_are_sorted_and_can_all_be_had(package: ModuleType, besides: set[str]) -> None:
    """`__all__` is in order, and each name in it is there."""
    assert package.__all__ == sorted(set(package.__all__), key=_place)
    for name in package.__all__:
        assert getattr(getattr(package, name), "__name__", name) == name  # a union of types has none
    assert set(dir(package)) == {*package.__all__, *besides}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


@ON_DEMAND
def test_type_checkers_see_the_names_that_are_loaded(package: ModuleType, besides: set[str]) -> None:
    """The block for type checkers imports exactly what is loaded on demand, from the same places."""
    (block,) = type_checking_blocks(ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8")))
    seen = {
        node.module: tuple(alias.name for alias in node.names)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
    }
    assert len(seen) == len(block.body)
    assert seen == package._HOMES
    assert sorted((name for names in seen.values() for name in names), key=_place) == package.__all__


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import clerkmap", ("jwt", "cryptography", "httpx", "sqlite3", "clerkmap.core")),
        ("import clerkmap.repositories", ("jwt", "cryptography", "httpx", "sqlite3")),
        ("from clerkmap import Resolver; from clerkmap.repositories import MemoryRepository", ("httpx", "sqlite3")),
        ("import clerkmap.clerk", ("httpx", "asyncio", "cryptography", "clerkmap.core")),
        ("from clerkmap.clerk import AsyncClerkApi, ClerkApi, endpoints", ("httpx", "sqlite3")),
        ("import clerkmap.testing", ("pytest", "cryptography", "clerkmap.core")),
        ("from clerkmap.testing import FakeClerk; FakeClerk().token", ("pytest", "httpx", "sqlite3")),
        ("import clerkmap.cli.commands", ("clerkmap.local", "clerkmap.cli.dev", "uvicorn", "cryptography")),
        ("import clerkmap.cli.dev", ("clerkmap.local", "uvicorn", "cryptography")),
    ],
)
def test_an_import_loads_nothing_that_is_not_needed(statement: str, unloaded: tuple[str, ...]) -> None:
    """A process pays only for what it does."""
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & set(unloaded)


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    """Nothing in the project leads to a place that only one machine has, nor decides where packages come from."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        found += [(name, word) for word in UNMENTIONABLE if word in text]
    assert not found


def test_the_functions_to_begin_to_read_at_exist() -> None:
    """The design page answers each question with functions that are there."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = page.partition("Where to begin to read:")[2].split("\n\n")[1].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`(\w+\.[\w.]+)`", row)]
    assert len(named) >= len(rows)
    for name in named:
        path = next(SOURCE / f"{'/'.join(parts)}.py" for parts in _beginnings(name) if _is_module(parts))
        assert f"def {name.rpartition('.')[2]}(" in path.read_text(encoding="utf-8")


def _beginnings(name: str) -> Iterator[list[str]]:
    parts = name.split(".")
    yield from (parts[:length] for length in range(1, len(parts)))


def _is_module(parts: list[str]) -> bool:
    return (SOURCE / f"{'/'.join(parts)}.py").is_file()
