"""Every command there is, run as a person runs it, in a real terminal, and as a script does, through pipes."""

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from clerkmap import ClerkUser
from clerkmap.cli.failures import FINE, INTERRUPTED, NOT_FINE, UNAVAILABLE
from clerkmap.repositories import SqliteRepository
from cli_world import World, fresh, synced
from command_line_page import names

__all__ = ["fresh", "synced"]


@dataclass(frozen=True)
class Run:
    """What is typed behind `clerkmap`, how it ends, and what is then to be seen; `{ada}` is a Clerk id, and so on.

    `answer` is what a person answers to the question.
    """

    typed: str
    ends: int = FINE
    seen: str = ""
    answer: str = ""


RUNS = {
    "init": Run("init --framework starlette --database {folder}/new.db", seen="import"),
    "doctor": Run("doctor", seen="Nothing is wrong."),
    "sync": Run("sync", seen="users"),
    "diff": Run("diff", seen="No differences."),
    "show": Run("show ada@example.com", seen="ada@example.com"),
    "verify": Run("verify {token}", seen="Accepted"),
    "token": Run("token ada@example.com --port 1", UNAVAILABLE, "clerkmap dev"),
    "set-role": Run("set-role ada@example.com support", seen="support now"),
    "link": Run("link user_new {own} --shared", seen="user_new"),
    "unlink": Run("unlink {ada} {own}", seen="your new user"),
    "relink": Run("relink --from elsewhere --to {name} --by clerk_id", seen="user_old", answer="y"),
    "move": Run("move --from {folder}/app.db --to {folder}/moved.db", seen="identities"),
    "export": Run("export ada@example.com", seen='"identities"'),
    "erase": Run("erase ada@example.com", seen="is erased", answer="y"),
    "purge": Run("purge", seen="deleted", answer="y"),
    "outbox list": Run("outbox list", seen="0 entries"),
    "outbox drain": Run("outbox drain --repository shop_for_all:repository", seen="written"),
    "outbox fill": Run("outbox fill --repository shop_for_all:repository", seen="The entries are added"),
    "outbox retry": Run("outbox retry", seen="0 entries are due now"),
    "replay": Run("replay {folder}/events.json", seen="applied"),
    "replay-hooks": Run("replay-hooks --hook shop_for_all:note", seen="users"),
    "webhooks send": Run("webhooks send user.created --to http://127.0.0.1:1/", NOT_FINE, "no response"),
    "migrate": Run("migrate", seen="at schema version"),
    "schema": Run("schema sqlite", seen="CREATE TABLE"),
    "completion": Run("completion bash", seen="complete"),
}


@pytest.fixture
def everything(synced: World, tmp_path: Path) -> World:
    """A database in step with Clerk, an application, and a file of events."""
    path = synced.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///")
    (tmp_path / "shop_for_all.py").write_text(
        dedent(
            f"""
            from clerkmap import WriteBack
            from clerkmap.repositories import SqliteRepository

            repository = SqliteRepository.open({path!r}, write_back=WriteBack(user_id="userId"))

            def note(change, transaction):
                pass
            """
        )
    )
    repository = SqliteRepository.open(path)
    repository.put([ClerkUser.full("elsewhere", "user_old", observed_at=1)])
    repository.close()
    synced.clerk.update_user(next(iter(synced.clerk.users.values())), external_id="user_old")
    synced.clerk.create_user("late@example.com")
    messages = synced.clerk.wire.messages.values()
    (tmp_path / "events.json").write_bytes(b"\n".join(message.body for message in messages))
    synced.clerk.delete_user(list(synced.clerk.users.values())[-1])
    synced.run("sync")
    synced.folder = tmp_path
    return synced


def arguments(at: World, run: Run) -> list[str]:
    """What is typed, word by word."""
    ada = next(iter(at.clerk.users.values()))
    ((shown),) = json.loads(at.run("show", ada.id, "--json").stdout)
    filled = {"ada": ada.id, "own": shown["user"]["id"], "token": at.clerk.token(ada), "folder": at.folder}
    filled["name"] = at.clerk.instance.name
    return [word.format(**filled) for word in run.typed.split()]


def test_all_of_them_are_here() -> None:
    """A command that is added is tried like the others. The one that goes on until it is ended has a test below."""
    assert {*RUNS, "dev"} == set(names())


@pytest.mark.parametrize("name", RUNS)
def test_by_a_person(everything: World, name: str) -> None:
    """In a terminal: it asks where it has to, ends as is promised, and tells what came of it."""
    run = RUNS[name]
    terminal = everything.terminal(*arguments(everything, run), COLUMNS="200")
    if run.answer:
        terminal.wait_for("[y/N]")
        terminal.type(f"{run.answer}\n")
    assert terminal.end() == run.ends, terminal.seen
    assert run.seen in terminal.seen


@pytest.mark.parametrize("name", RUNS)
def test_by_a_script(everything: World, name: str) -> None:
    """Through pipes: nothing is drawn; where a question would be asked, nothing is done without --yes."""
    run = RUNS[name]
    typed = arguments(everything, run)
    if run.answer:
        assert everything.process(*typed).returncode != FINE
        typed.append("--yes")
    done = everything.process(*typed)
    assert done.returncode == run.ends, done.stderr
    assert run.seen in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_what_goes_on_until_it_is_ended(fresh: World, tmp_path: Path) -> None:
    """Clerk on localhost tells where it is, and ends when a person says so."""
    terminal = fresh.terminal("dev", "--port", "0", "--db", str(tmp_path / "demo.db"))
    terminal.wait_for("http://127.0.0.1:")
    terminal.interrupt()
    assert terminal.end() in (FINE, INTERRUPTED)
