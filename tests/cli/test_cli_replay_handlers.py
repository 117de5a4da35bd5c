"""`clerkmap replay --reconciler`: the handlers of the application, once for each delivery or again on purpose."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from clerkmap.cli.failures import FINE, USAGE
from cli_world import World, fresh
from postgres_server import url_of_a_new_schema

__all__ = ["fresh"]

SQLITE = """
from clerkmap import Instance, Reconciler
from clerkmap.repositories import SqliteRepository

def note(event, tx):
    with open("handled", "a") as file:
        file.write(f"{event.delivery_id} {event.type}\\n")

def make():
    return Reconciler(Instance.from_env(), SqliteRepository.open("own.db"), on_event={"waitlistEntry.*": note})
"""
POSTGRES = """
import os
from clerkmap import Instance, Reconciler
from clerkmap.repositories import AsyncPostgresRepository

async def note(event, tx):
    with open("handled", "a") as file:
        file.write(f"{event.delivery_id} {event.type}\\n")

def make():
    repository = AsyncPostgresRepository.open(os.environ["OWN_DATABASE"])
    return Reconciler(Instance.from_env(), repository, on_event={"waitlistEntry.*": note})
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_handlers_are_called_once_or_again(fresh: World, tmp_path: Path, postgres_schema: str, kind: str) -> None:
    """An event without the id of its delivery is handled only with --again."""
    fresh.environment["CLERKMAP_DATABASE_URL"] = ""
    fresh.folder = tmp_path
    if kind == "postgres":
        fresh.environment["OWN_DATABASE"] = url_of_a_new_schema(postgres_schema)
    name = f"replayed_{kind}"
    (tmp_path / f"{name}.py").write_text({"sqlite": SQLITE, "postgres": POSTGRES}[kind])
    event = {"type": "waitlistEntry.created", "timestamp": 1_790_000_000_000, "data": {"id": "wl_1"}}
    body = b64encode(json.dumps(event).encode()).decode()
    (tmp_path / "events").write_text(f"{json.dumps({'svix_id': 'msg_1', 'body_b64': body})}\n{json.dumps(event)}\n")

    def replay(*options: str) -> tuple[int, int]:
        ran = fresh.process("replay", "events", "--reconciler", f"{name}:make", "--json", *options)
        assert ran.returncode == FINE, ran.stderr
        counts = json.loads(ran.stdout)
        return counts["applied"], counts["nothing_new"]

    assert [replay(), replay(), replay("--again")] == [(1, 0), (0, 1), (2, 0)]
    told = (tmp_path / "handled").read_text().split("\n")
    assert told == [*["msg_1 waitlistEntry.created"] * 2, "None waitlistEntry.created", ""]


def test_again_needs_a_reconciler(fresh: World, tmp_path: Path) -> None:
    """Only your application has handlers, and its reconciler has its own repository."""
    (tmp_path / "events").write_text("")
    ran = fresh.run("replay", str(tmp_path / "events"), "--again")
    assert (ran.exit_code, "--reconciler" in ran.stderr) == (USAGE, True)
    ran = fresh.run("replay", str(tmp_path / "events"), "--reconciler", "a:b", "--database", "x.db")
    assert (ran.exit_code, "own repository" in ran.stderr) == (USAGE, True)
