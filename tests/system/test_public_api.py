"""The rules of the public API: exports, sync and async twins, arguments, context managers, and the imports in docs."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from clerkmap import Repository
from clerkmap.repositories import AsyncPostgresRepository, MemoryRepository
from clerkmap.repositories.django import DjangoRepository
from clerkmap.repositories.threaded import Threaded, ThreadedCore
from docs_pages import ROOT, fences

DOORS = [
    *("clerkmap", "clerkmap.repositories", "clerkmap.clerk", "clerkmap.sync", "clerkmap.testing"),
    *(
        f"clerkmap.adapters.{name}"
        for name in ("authenticator", "asgi", "fastapi", "flask", "mcp", "sqlalchemy", "starlette", "wsgi")
    ),
]
# Modules that are public as a whole, besides the doors: errors, and what Django's settings or a test suite names.
BESIDES = {
    *("clerkmap.errors", "clerkmap.testing.contract", "clerkmap.repositories.django", "clerkmap.adapters"),
    "clerkmap.adapters.django",
}
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def door(name: str) -> ModuleType:
    return import_module(name)


def exports() -> Iterator[tuple[str, str, Any]]:
    for name in DOORS:
        for export in door(name).__all__:
            yield name, export, getattr(door(name), export)


FUNCTIONS = [(f"{name}.{export}", value) for name, export, value in exports() if inspect.isfunction(value)]
CLASSES = [(f"{name}.{export}", value) for name, export, value in exports() if inspect.isclass(value)]


def of(functions: list[tuple[str, Any]], test: Callable[[Any], bool]) -> pytest.MarkDecorator:
    """The exports that a rule is about, once each."""
    chosen = {value: name for name, value in functions if test(value)}
    return pytest.mark.parametrize("export", chosen, ids=list(chosen.values()))


@pytest.mark.parametrize("name", DOORS)
def test_each_export_is_there_once(name: str) -> None:
    """`__all__` has no name twice, and each can be had. `dir()` lists it for an interactive session."""
    names = door(name).__all__
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(door(name)))
    assert [each for each in names if not hasattr(door(name), each)] == []


# The first protocol asks a backend for as little as a request needs.
@of(CLASSES, lambda each: inspect.isfunction(getattr(each, "close", None)) and "CoreRepository" not in each.__name__)
def test_what_is_closed_is_a_context_manager(export: type[Any]) -> None:
    """`with` closes what has a `close`, and `async with` where it is awaited."""
    is_awaited = inspect.iscoroutinefunction(inspect.getattr_static(export, "close"))
    assert hasattr(export, "__aenter__" if is_awaited else "__enter__")
    assert hasattr(export, "__aexit__" if is_awaited else "__exit__")


@of(CLASSES, lambda each: each.__name__.startswith("Async"))
def test_a_class_for_async_code_has_the_methods_of_its_twin(export: type[Any]) -> None:
    """`AsyncX` has the method names of `X`, with the same parameters."""
    (twin,) = {value for _, value in CLASSES if value.__name__ == export.__name__.removeprefix("Async")}
    mine, theirs = _methods(export), _methods(twin)
    assert set(theirs) - {"contents"} <= set(mine)  # to move a database is a synchronous job
    for name in theirs.keys() & mine.keys():
        assert list(inspect.signature(mine[name]).parameters) == list(inspect.signature(theirs[name]).parameters), name


REPOSITORIES = [each for name, each in CLASSES if name.endswith("Repository")]


@pytest.mark.parametrize("repository", [*REPOSITORIES, DjangoRepository, Threaded, ThreadedCore])
def test_each_method_of_a_repository_has_a_docstring(repository: type[Any]) -> None:
    """`help` shows a text for each public method and property of each repository."""
    names = [name for name, _ in inspect.getmembers(repository) if not name.startswith("_")]
    assert names
    silent = [name for name in names if not inspect.getdoc(inspect.getattr_static(repository, name))]
    assert silent == []


def test_a_docstring_of_a_repository_is_the_one_of_the_protocol() -> None:
    """A class that says nothing itself has the text of `Repository`, and keeps its own where it has one."""
    assert AsyncPostgresRepository.put.__doc__ == inspect.getdoc(Repository.put)
    assert "dictionaries" in (MemoryRepository.within.__doc__ or "")


def _methods(export: type[Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in inspect.getmembers(export, inspect.isroutine)
        if not name.startswith("_") and inspect.isfunction(inspect.unwrap(getattr(value, "__func__", value)))
    }


@of(FUNCTIONS, inspect.iscoroutinefunction)
def test_an_async_function_has_a_twin(export: Any) -> None:
    """`aname` has the parameters and the defaults of `name`, in the same module."""
    assert export.__name__.startswith("a")
    twin = inspect.signature(getattr(import_module(export.__module__), export.__name__[1:])).parameters
    mine = inspect.signature(export).parameters
    assert [(each.name, each.kind, each.default) for each in mine.values()] == [
        (each.name, each.kind, each.default) for each in twin.values()
    ]


@of(FUNCTIONS, lambda each: "repository" in inspect.signature(each).parameters)
def test_the_arguments_are_in_one_order(export: Any) -> None:
    """`(api, repository, *, options)`: first the source, which may be a file, then the repository, a plan or a hook."""
    parameters = inspect.signature(export).parameters.values()
    in_order = [
        each.name for each in parameters if each.kind is not each.KEYWORD_ONLY and each.kind is not each.VAR_KEYWORD
    ]
    behind = [["repository"], ["repository", "plan"], ["repository", "hook"]]
    assert in_order in (["api", "repository"], ["file", "repository"], *behind)


@of(FUNCTIONS, lambda each: "progress" in inspect.signature(each).parameters)
def test_progress_is_told_in_one_way(export: Any) -> None:
    """A function that is called with a `Progress`, or none."""
    annotation = str(inspect.signature(export).parameters["progress"].annotation)
    assert "Progress" in annotation


MOMENT = re.compile(r"(\w*_at|created_at_after|due|moment|timestamp|not_before|since|before)")
# Numbers as in Clerk's JSON and in tokens: records and the functions that make ranks of them, events, claims, and the
# fake Clerk. The rest are no times: a version of the schema, and an id.
NUMBERS = {
    *("ClerkUser", "ClerkOrganization", "ClerkMembership", "ClerkSession", "Event", "Claims", "deletion_time"),
    *("FakeAddress", "FakeClerk", "FakeInvitation", "FakeMachineToken", "FakeMembership", "FakeOrganization"),
    *("FakeSession", "FakeUser", "Message", "ddl", "Move", "upgrade_to"),
}


ENDPOINTS = inspect.getmembers(door("clerkmap.clerk").endpoints, inspect.isfunction)


@of([*CLASSES, *FUNCTIONS, *ENDPOINTS], lambda each: each.__name__ not in NUMBERS)
def test_a_time_is_a_datetime(export: Any) -> None:
    """Attributes, arguments and results that are named like a time are no numbers."""
    assert [
        name for name, annotation in _named_things(export) if MOMENT.fullmatch(name) and _is_number(annotation)
    ] == []


def _named_things(export: Any) -> Iterator[tuple[str, object]]:
    """What has a name and a type: an attribute, a parameter, or the result of a function or property."""
    if not inspect.isclass(export):
        yield from _named_in(export)
        return
    for part in inspect.getmro(export):
        if part.__module__.startswith("clerkmap"):
            yield from vars(part).get("__annotations__", {}).items()
    for name, value in inspect.getmembers_static(export):
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and name not in NUMBERS and (name == "__init__" or not name.startswith("_")):
            yield from _named_in(function)


def _named_in(function: Any) -> Iterator[tuple[str, object]]:
    signature = inspect.signature(function)
    yield function.__name__, signature.return_annotation
    yield from ((each.name, each.annotation) for each in signature.parameters.values())


def _is_number(annotation: object) -> bool:
    return re.search(r"\b(int|float)\b", str(annotation)) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_docs_import_what_is_public(page: Any) -> None:
    """Every import of clerkmap in a fence names a door, or a module that is public as a whole."""
    wrong = []
    for _, language, code in fences(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module and re.match(r"clerkmap\b", node.module):
                public = node.module in {*DOORS, *BESIDES} or node.module.startswith("clerkmap.adapters.django")
                wrong += [] if public else [ast.unparse(node)]
    assert wrong == []
